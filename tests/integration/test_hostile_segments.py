"""Segments that somebody changes or cuts short while the reader drains: nobody else notices."""

from __future__ import annotations

import logging
import mmap
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import SAMPLE, Consumer, Producer, Reader, Schema, Telemetry, field, layout
from shmtelemetry._mapping import Mapping, install_guard
from shmtelemetry.segment import Segment, attach, segment_names
from tests.processes import child, in_child, wait_until
from tests.reading import SHM, talker

PAGE = mmap.PAGESIZE


def produce_and_wait(namespace: str) -> None:
    """A producer of which all areas are in use, and that does nothing more."""
    telemetry = Telemetry("bad", namespace, capacity=1024)
    latency = telemetry.histogram("bad_latency_seconds", labels=("a",), buckets=(1.0, 2.0))
    for value in range(1500):
        latency.labels(str(value % 3)).observe(value, exemplar="abc")
        telemetry.counter("bad").inc()
        telemetry.gauge("bad_gauge").set(value)
    while True:
        signal.pause()


def segment_of(namespace: str, producer: str) -> Segment:
    (name,) = wait_until(lambda: list(segment_names(namespace, producer)), f"{producer} has a segment")
    return attach(name)


def store(segment: Segment, offset: int, value: int) -> None:
    """Write a word of a segment, as anybody of the same user can."""
    with (SHM / segment.name).open("r+b") as file:
        os.pwrite(file.fileno(), value.to_bytes(8, "little"), offset)


def read_guarded(namespace: str, asked: Callable[[], bool]) -> dict[str, float]:
    """What a guarded reader has when it is asked, and what it said."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("shmtelemetry").addHandler(handler)
    with Reader(namespace, ephemeral=True, guard=True) as reader:
        reader.start()
        while not asked():
            time.sleep(0.001)
        reader.catch_up(10.0)
        snapshot = reader.snapshot()
        figures = {name: snapshot.value(name) for name in ("good_total", "shmtel_quarantined_segments")}
    return figures | {"said": len(said), "cut": sum("cut short" in line for line in said)}


def cut_to(segment: Segment, size: int) -> None:
    os.truncate(SHM / segment.name, size)


CUTS: dict[str, Callable[[Segment], object]] = {
    "to nothing": lambda bad: cut_to(bad, 0),
    "within the producer's page": lambda bad: cut_to(bad, bad.header.producer_offset + 8),
    "before the reader's page": lambda bad: cut_to(bad, bad.header.reader_offset),
    "within the ring": lambda bad: cut_to(bad, bad.header.ring_offset + PAGE),
    "before the catalogue": lambda bad: cut_to(bad, bad.header.catalogue_offset),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_file_that_is_cut_short_under_the_reader_is_left_aside(namespace: str, cut: str) -> None:
    with (
        child(partial(produce_and_wait, namespace)),
        talker(partial(read_guarded, namespace)) as reader,
        Telemetry("good", namespace) as good,
    ):
        counter = good.counter("good")
        bad = segment_of(namespace, "bad")
        out, into = bad.header.producer_offset, bad.header.reader_offset
        wait_until(lambda: bad.mapping.load(into + layout.READ_POSITION) >= 1024, "the reader has drained it")
        written, catalogue = (bad.mapping.load(out + at) for at in (layout.WRITE_POSITION, layout.CATALOGUE_LENGTH))
        counter.inc()
        CUTS[cut](bad)
        if (SHM / bad.name).stat().st_size >= out + PAGE:  # have the reader look at what is missing
            store(bad, out + layout.WRITE_POSITION, written + 1024)
            store(bad, out + layout.CATALOGUE_LENGTH, catalogue + 8)
        for _ in range(1000):
            counter.inc()
        wait_until(lambda: good.stats().in_ring == 0, "the other producer is drained")
        time.sleep(0.3)  # some rounds of the keeper: there is nothing else to see from here
        figures = reader.finish()
        assert figures["good_total"] == 1001
        assert figures["shmtel_quarantined_segments"] == 1
        assert figures["said"] == 1
        bad.close()
        (SHM / bad.name).unlink()


def test_a_consumer_under_a_guard_leaves_aside_what_is_cut_short(namespace: str) -> None:
    def consume() -> tuple[int, int]:
        install_guard()
        ring = Producer("p", SAMPLE, namespace, capacity=1024)
        ring.emit_many(np.zeros(512, SAMPLE))
        with Consumer("p", namespace) as consumer:
            first = len(consumer.read(100))
            os.truncate(SHM / ring.segment.name, ring.segment.header.ring_offset + PAGE)
            second = len(consumer.read())
            (SHM / ring.segment.name).unlink()
            return first, second

    assert in_child(consume) == (100, 0)


def test_faults_that_are_nobodys_go_to_the_handler_before(tmp_path: Path) -> None:
    def fault(guarded: bool) -> str:
        install_guard()
        (path := tmp_path / "file").write_bytes(bytes(2 * PAGE))
        fd = os.open(path, os.O_RDWR)
        mapping = Mapping(fd, 2 * PAGE)
        if guarded:
            mapping.guard()
        os.truncate(path, PAGE)
        assert mapping.load(0) == 0
        assert not mapping.cut
        assert mapping.load(PAGE) == 0
        return "alive" if mapping.cut else "unnoticed"

    assert in_child(partial(fault, True)) == "alive"
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)  # pytest's own handler would write a trace
        fault(False)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGBUS


def test_a_forked_child_of_a_guarded_process_can_be_guarded_too(tmp_path: Path) -> None:
    def fault() -> bool:
        (path := tmp_path / "file").write_bytes(bytes(PAGE))
        install_guard()
        mapping = Mapping(os.open(path, os.O_RDWR), PAGE)
        mapping.guard()
        os.truncate(path, 0)
        mapping.load(0)
        return mapping.cut

    def parent() -> tuple[bool, bool]:
        return fault(), in_child(fault)

    assert in_child(parent) == (True, True)


HUGE = 1 << 20
WIDE = Schema([(f"f{n}", "f8") for n in range(16)], {f"f{n}": field("histogram") for n in range(16)})


def test_a_huge_ring_that_is_full_holds_up_no_other(namespace: str) -> None:
    with (
        Producer("huge", WIDE, namespace, capacity=HUGE) as huge,
        Telemetry("good", namespace) as good,
        Reader(namespace, ephemeral=True, windows=False) as reader,
    ):
        counter = good.counter("good")
        counter.inc()
        reader.poll()
        huge.emit_many(np.ones(HUGE, WIDE.dtype))
        reader.start()
        waits = []
        while huge.stats().in_ring:
            begin = time.perf_counter()
            counter.inc()
            wait_until(lambda: good.stats().in_ring == 0, "the other ring is drained")
            waits.append(time.perf_counter() - begin)
        reader.stop()
        assert sorted(waits)[len(waits) // 2] < 0.1, waits


@pytest.mark.slow
def test_ever_new_label_values_take_a_bounded_memory(namespace: str) -> None:
    schema = Schema([("who", "S4096"), ("n", "<u8")], {"who": field("label"), "n": field("counter", name="n")})
    records = np.zeros(256, schema.dtype)
    records["n"] = 1
    with (
        Producer("liar", schema, namespace, capacity=256) as liar,
        Reader(namespace, ephemeral=True, max_series=10, windows=False) as reader,
    ):
        before = anonymous_pages(os.getpid())
        for begin in range(0, 48 * 1024, 256):
            records["who"] = [b"%04095d" % number for number in range(begin, begin + 256)]
            assert liar.emit_many(records) == 256
            while reader.poll():
                pass
        assert reader.snapshot().value("n_total", who="overflow") >= 48 * 1024 - 10
        assert (anonymous_pages(os.getpid()) - before) * PAGE < 110 * 2**20  # all of them would be 192 MiB


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


def hit(namespace: str, seconds: float) -> None:
    """A reader beside an attacker: the other producer stays exact, and the reader does not grow."""
    with child(partial(produce_and_wait, namespace)):
        bad = segment_of(namespace, "bad")
        wait_until(lambda: bad.mapping.load(bad.header.producer_offset + layout.WRITE_POSITION) >= 1024, "it is full")
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
        count, end, waits = 0, time.monotonic() + seconds, []
        grown = 0
        while (now := time.monotonic()) < end:
            begin = time.perf_counter()
            counter.inc()
            count += 1
            wait_until(lambda: good.stats().in_ring == 0, "the reader lives and drains the other producer")
            waits.append(time.perf_counter() - begin)
            if not grown and now > end - seconds / 2:
                grown = anonymous_pages(reader.pid)
        grown = anonymous_pages(reader.pid) - grown
        figures = reader.finish()
        assert figures["good_total"] == count
        assert grown * PAGE < 32 * 2**20
        assert sorted(waits)[int(len(waits) * 0.99)] < 0.1
        assert figures["said"] > 1
    for path in SHM.glob(f"shmtel.{namespace}*"):
        path.unlink(missing_ok=True)


def anonymous_pages(pid: int) -> int:
    resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    return resident - shared


@pytest.mark.slow
def test_whoever_flips_bytes_while_the_reader_drains_harms_nobody_else(namespace: str) -> None:
    hit(namespace, 5.0)


@pytest.mark.stress
def test_minutes_of_flipped_bytes_harm_nobody_else(namespace: str) -> None:
    hit(namespace, 120.0)
