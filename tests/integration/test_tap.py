"""A tap follows a ring next to whoever drains it, and leaves no trace."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, Tap, layout
from shmtelemetry.accounting import has_consumer
from shmtelemetry.segment import segment_names
from tests.processes import child, in_child, kill, wait_until
from tests.reading import running_reader, talker, the_segment, write_position
from tests.whole import DTYPE, numbers_of, records

OTHER = np.dtype([("x", "<u4")])


@pytest.fixture(autouse=True)
def segments_are_removed(namespace: str) -> Iterator[None]:
    yield
    for name in segment_names(namespace):
        os.unlink(f"/dev/shm/{name}")


def ring_of(namespace: str, capacity: int = 64, policy: str = "drop_newest") -> Producer:
    return Producer("orders", DTYPE, namespace, capacity=capacity, policy=policy)


def read(tap: Tap) -> list[int]:
    batch = tap.read()
    return numbers_of(batch).tolist() if len(batch) else []


def test_a_tap_sees_what_comes_after_it_and_the_reader_sees_all(namespace: str) -> None:
    with ring_of(namespace) as ring:
        ring.emit_many(records(0, 5))
        with Tap("orders", namespace) as tap, Consumer("orders", namespace) as consumer:
            assert read(tap) == []
            ring.emit_many(records(5, 5))
            assert read(tap) == [5, 6, 7, 8, 9]
            assert read(tap) == []
            assert numbers_of(consumer.read()).tolist() == list(range(10))
            ring.emit_many(records(10, 2))
            assert numbers_of(consumer.read()).tolist() == [10, 11]
            assert numbers_of(tap.read(1)).tolist() == [10]
            assert read(tap) == [11]
            assert tap.missed == 0
        assert ring.stats().holds


def test_a_tap_leaves_no_trace_in_the_segment(namespace: str) -> None:
    with ring_of(namespace) as ring:
        ring.emit_many(records(0, 70))
        file = Path("/dev/shm", ring.segment.name)
        before = file.read_bytes()
        with Tap("orders", namespace, last=3) as tap:
            assert read(tap) == [61, 62, 63]
            assert not has_consumer(ring.segment)
            with Consumer("orders", namespace):  # which nobody hinders
                pass
        reader = ring.segment.header.reader_offset
        after = bytearray(file.read_bytes())
        after[reader + layout.READER_PID : reader + layout.READER_PID + 8] = bytes(8)
        assert after == before


@pytest.mark.parametrize("policy", ["drop_newest", "overwrite_oldest"])
def test_a_tap_that_falls_behind_says_how_much_it_missed(namespace: str, policy: str) -> None:
    with ring_of(namespace, 16, policy) as ring, Tap("orders", namespace) as tap:
        with Consumer("orders", namespace) as consumer:
            for begin in range(0, 100, 10):
                ring.emit_many(records(begin, 10))
                consumer.read()
        assert read(tap) == list(range(84, 100))
        assert tap.missed == 84
    assert tap.missed == 84


def test_a_tap_follows_new_incarnations_and_what_ended_ones_left(namespace: str) -> None:
    with Tap("orders", namespace) as tap:
        assert tap.dtype is None
        assert len(tap.read()) == 0
        for begin in (0, 10, 20):
            with ring_of(namespace) as ring:
                ring.emit_many(records(begin, 2))
                assert read(tap) == [begin, begin + 1]
                ring.emit_many(records(begin + 2, 1))
            assert read(tap) == [begin + 2]
            assert read(tap) == []
        assert tap.dtype == DTYPE
        with Producer("orders", OTHER, namespace, capacity=64) as ring, ring_of(namespace) as last:
            ring.emit_fields(1)
            last.emit_many(records(30, 1))
            assert tap.read().dtype == OTHER
            assert read(tap) == [30]


def test_a_tap_begins_with_the_last_records_of_several_incarnations(namespace: str) -> None:
    for begin in (0, 10):
        with ring_of(namespace, 4, "overwrite_oldest") as ring:
            ring.emit_many(records(begin, 6))
    with ring_of(namespace, 4, "overwrite_oldest") as ring:
        ring.emit_many(records(20, 3))
        everything = [2, 3, 4, 5, 12, 13, 14, 15, 20, 21, 22]
        for last in (0, 2, 5, 99):
            wanted = everything[-last:] if last else []
            with Tap("orders", namespace, last=last) as tap:
                assert read(tap) == wanted
                assert tap.missed == 0


def test_records_that_a_reader_has_drained_can_still_be_looked_at(namespace: str) -> None:
    with ring_of(namespace) as ring, Consumer("orders", namespace) as consumer:
        ring.emit_many(records(0, 20))
        consumer.read()
        with Tap("orders", namespace, last=5) as tap:
            assert read(tap) == [15, 16, 17, 18, 19]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["drop_newest", "overwrite_oldest"])
def test_a_tap_beside_a_reader_at_full_speed_tears_nothing_and_misses_what_it_says(namespace: str, policy: str) -> None:
    def work(asked: Callable[[], bool]) -> tuple[int, int]:
        begin = 0
        with ring_of(namespace, 256, policy) as ring:
            while not asked():
                begin += ring.emit_many(records(begin, 100))
            return begin, ring.stats().dropped["full"]

    with running_reader(namespace) as reader:
        with Tap("orders", namespace) as tap, talker(work) as producer:
            segment = the_segment(namespace)
            seen, last = 0, -1
            while tap.missed < 1_000 or seen < 20_000:
                behind = seen + tap.missed + 270
                wait_until(lambda: write_position(segment) >= behind, "what comes next is being overwritten")  # noqa: B023
                numbers = numbers_of(tap.read())
                if len(numbers):
                    assert int(numbers[0]) > last
                    assert np.all(np.diff(numbers.astype(np.int64)) > 0)
                    last, seen = int(numbers[-1]), seen + len(numbers)
            segment.close()
            sent, _ = producer.finish()
            while len(numbers := numbers_of(tap.read())):
                last, seen = int(numbers[-1]), seen + len(numbers)
            assert last == sent - 1
            assert seen + tap.missed == sent
        kill(reader)
    Reader(namespace, ephemeral=True).close()


def test_the_last_records_of_a_producer_that_was_killed_in_the_middle_of_one(namespace: str) -> None:
    def run() -> None:
        ring = ring_of(namespace)
        ring.emit_many(records(0, 64))
        segment = ring.segment
        segment.mapping.store(segment.header.producer_offset + layout.CLAIMED_POSITION, 65)
        os.kill(os.getpid(), signal.SIGKILL)

    with child(run) as pid:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with Tap("orders", namespace, last=64) as tap:
        assert read(tap) == list(range(1, 64))  # the first may be half overwritten
        assert tap.missed == 0


def test_what_a_tap_refuses(namespace: str) -> None:
    for last in (-1, 1.5, None):
        with pytest.raises(ValueError, match="last"):
            Tap("orders", namespace, last=last)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="producer"):
        Tap("or/ders", namespace)
    tap = Tap("orders", namespace)
    with pytest.raises(ValueError, match="max_records"):
        tap.read(-1)
    with pytest.raises(TypeError, match="open another one"):
        pickle.dumps(tap)

    def use() -> str:
        with pytest.raises(RuntimeError) as caught:
            tap.read()
        return str(caught.value)

    assert f"Tap belongs to process {os.getpid()}" in in_child(use)
    tap.close()
    with pytest.raises(ValueError, match="closed"):
        tap.read()
