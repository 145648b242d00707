"""Segments whose bytes somebody changes while the reader drains: nobody else notices."""

from __future__ import annotations

import mmap
import random
import time
from functools import partial

import pytest

from shmtelemetry import Reader, Telemetry, layout
from shmtelemetry.segment import segment_names
from tests.chaos import Record
from tests.hostile import anonymous_bytes, loop_seconds, produce_and_wait, read_guarded, segment_at_rest, store
from tests.processes import child, wait_until
from tests.reading import SHM, talker

PAGE = mmap.PAGESIZE
BATCH = 64  # records that emit_many claims at once


FIGURES = ("COALESCED", "DROPPED_FULL", "DROPPED_TIMEOUT", "DROPPED_NO_RING", "REJECTED")


@pytest.mark.parametrize("figure", FIGURES)
def test_a_producer_whose_figures_fall_is_left_aside_with_those_that_it_had(namespace: str, figure: str) -> None:
    with (
        Telemetry("bad", namespace) as bad,
        Telemetry("good", namespace) as good,
        Reader(namespace, ephemeral=True) as reader,
    ):
        segment = bad._producer.segment
        at = segment.header.producer_offset + getattr(layout, figure)

        def look() -> tuple[float, int, float]:
            good.counter("good").inc()
            reader.poll()
            snapshot = reader.snapshot()
            lost = snapshot.producers["bad"].attempted
            return snapshot.value("shmtel_quarantined_segments"), lost, snapshot.value("good_total")

        store(segment, at, 5)
        assert look() == (0, 5, 1)
        store(segment, at, 4)
        assert look() == (1, 5, 2)
        store(segment, at, 6)
        assert look() == (1, 5, 3)
    (SHM / segment.name).unlink()


def test_a_producer_that_has_claimed_more_than_can_be_is_left_aside(namespace: str) -> None:
    with Telemetry("bad", namespace) as bad, Reader(namespace, ephemeral=True) as reader:
        segment = bad._producer.segment
        at = segment.header.producer_offset + layout.CLAIMED_POSITION
        for ahead, quarantined in ((BATCH, 0), (BATCH + 1, 1)):
            store(segment, at, ahead)
            reader.poll()
            assert reader.snapshot().value("shmtel_quarantined_segments") == quarantined
            account = reader.snapshot().producers["bad"]  # of one that is left aside nothing is awaited any more
            assert (account.in_ring, account.aborted) == ((0, BATCH) if quarantined else (BATCH, 0))
    (SHM / segment.name).unlink()


def attack(namespace: str, seed: int) -> None:
    """Write random bytes into a bad producer's segments, as long as this process lives."""
    dice = random.Random(seed)
    while True:
        for name in list(segment_names(namespace, "bad")):
            try:
                with (SHM / name).open("r+b") as file, mmap.mmap(file.fileno(), 0) as image:
                    for _ in range(2000):
                        area = dice.choice((len(image), 3 * PAGE))  # the pages of header and positions more often
                        width = dice.choice((1, 8))
                        at = dice.randrange(area) // width * width
                        image[at : at + width] = dice.randbytes(width)
            except (OSError, ValueError, IndexError):
                continue


def produce_bad(namespace: str, original: bytes, seed: int) -> None:
    """Put ever new copies of a segment under names of the bad producer, some changed before they are seen."""
    dice = random.Random(seed)
    uuid = layout.HEADER_OFFSETS["uuid"]
    for number in range(10**9):
        image = bytearray(original)
        image[uuid : uuid + 16] = dice.randbytes(16)
        for _ in range(dice.choice((0, 0, 1, 4))):
            at = dice.randrange(len(image))
            image[at] = dice.randrange(256)
        path = SHM / f"shmtel.{namespace}.bad.{number % 16}"
        path.unlink(missing_ok=True)
        made = SHM / f"shmtel.{namespace}-made"
        made.write_bytes(image)
        made.rename(path)
        time.sleep(0.005)


def hit(namespace: str, seconds: float) -> int:
    """A reader beside an attacker: the other producer stays exact, and its ring is emptied before the loop has had
    100 ms of CPU; other time passes asleep, or is other programs'. The reader does not grow. Returns the steps."""
    with child(partial(produce_and_wait, namespace)):
        bad = segment_at_rest(namespace)
        original = (SHM / bad.name).read_bytes()
        bad.close()
    (SHM / bad.name).unlink()
    with (
        talker(partial(read_guarded, namespace)) as reader,
        Telemetry("good", namespace) as good,
        child(partial(produce_bad, namespace, original, 1)),
        child(partial(attack, namespace, 2)),
    ):
        counter = good.counter("good")
        count, grown, longest = 0, 0, 0.0
        wait_until(lambda: bool(good.stats().reader_attached), "the reader's loop runs")
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            begin = loop_seconds(reader.pid)
            counter.inc()
            count += 1
            wait_until(lambda: good.stats().in_ring == 0, "the reader lives and drains the other producer")
            longest = max(longest, loop_seconds(reader.pid) - begin)
            if not grown and now > end - seconds / 2:
                grown = anonymous_bytes(reader.pid)
        grown = anonymous_bytes(reader.pid) - grown
        figures = reader.finish()
        assert figures["good_total"] == count
        assert grown < 32 * 2**20
        assert longest < 0.1
        assert figures["said"] > 1
    for path in SHM.glob(f"shmtel.{namespace}*"):
        path.unlink(missing_ok=True)
    return count


@pytest.mark.slow
def test_whoever_flips_bytes_while_the_reader_drains_harms_nobody_else(namespace: str) -> None:
    hit(namespace, 5.0)


@pytest.mark.stress
def test_minutes_of_flipped_bytes_harm_nobody_else(namespace: str, record_property: Record) -> None:
    count = hit(namespace, 120.0)
    record_property("steps counted, each within 100 ms of CPU, while segments were flipped beside it", count)
