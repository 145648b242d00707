"""kill -9 of a producer at any moment: what it published is consumed, in order, and nothing else."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, layout
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import Segment, attach, segment_names
from tests.chaos import Record
from tests.processes import child, wait_until

# A record tells whether it is whole: its number in each of its words, in another form in each. It is so large that a
# producer spends much of its time between claim and publish.
WORDS = 128
DTYPE = np.dtype([(f"word_{n}", "<u8") for n in range(WORDS)])
MIX = (np.arange(WORDS, dtype="u8") * np.uint64(0x9E3779B97F4A7C15)).reshape(1, WORDS)
CAPACITY = 256


def records(begin: int, count: int) -> np.ndarray:
    numbers = np.arange(begin, begin + count, dtype="u8").reshape(count, 1)
    return (numbers ^ MIX).reshape(-1).view(DTYPE)


def one_by_one(ring: Producer, batch: np.ndarray) -> None:
    for record in batch:
        ring.emit(record)


def many_at_once(ring: Producer, batch: np.ndarray) -> None:
    ring.emit_many(batch)


EMITS = pytest.mark.parametrize(("emit", "bound"), [(one_by_one, 1), (many_at_once, 64)])
Emit = Callable[[Producer, np.ndarray], None]


def assert_whole(batch: np.ndarray, begin: int) -> None:
    assert batch.tobytes() == records(begin, len(batch)).tobytes()


def segments(namespace: str) -> list[Segment]:
    return [attach(name) for name in segment_names(namespace)]


def kill_now(pid: int, segment: Segment, bound: int) -> int:
    """kill -9; returns how many records it had published."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    stats = segment_stats(segment)
    written: int = segment.mapping.load(segment.header.producer_offset + layout.WRITE_POSITION)
    segment.close()
    assert 0 <= stats.aborted <= bound
    assert stats.attempted == written + stats.aborted
    return written


def kill_while_it_is_read(namespace: str, emit: Emit, bound: int, chance: random.Random) -> None:
    def produce() -> None:
        ring = Producer("orders", DTYPE, namespace, capacity=CAPACITY, policy="block")
        begin = 0
        while True:
            emit(ring, records(begin, 300))
            begin += 300

    with Consumer("orders", namespace) as consumer, child(produce) as pid:
        (segment,) = wait_until(lambda: segments(namespace), "there is a segment")
        count, wanted = 0, chance.randrange(4 * CAPACITY)
        while count < wanted:
            batch = consumer.read(chance.randrange(1, CAPACITY))
            assert_whole(batch, count)
            count += len(batch)
        written = kill_now(pid, segment, bound)
        while len(batch := consumer.read(chance.randrange(1, CAPACITY))):
            assert_whole(batch, count)
            count += len(batch)
        assert count == written
    assert list(segment_names(namespace)) == []


def kill_while_it_writes(namespace: str, emit: Emit, bound: int, chance: random.Random) -> None:
    capacity = 8192
    go, word = os.pipe()

    def produce() -> None:
        everything = records(0, capacity)
        ring = Producer("orders", DTYPE, namespace, capacity=capacity)
        os.read(go, 1)
        emit(ring, everything)
        while True:
            time.sleep(1)

    with child(produce) as pid:
        (segment,) = wait_until(lambda: segments(namespace), "there is a segment")
        wanted = chance.randrange(capacity)
        written_at = segment.header.producer_offset + layout.WRITE_POSITION
        os.write(word, b"!")
        os.close(word)
        os.close(go)
        while segment.mapping.load(written_at) < wanted:
            pass
        written = kill_now(pid, segment, bound)
    with Consumer("orders", namespace) as consumer:
        batch = consumer.read()
        assert len(batch) == written >= wanted
        assert_whole(batch, 0)
    assert list(segment_names(namespace)) == []


@pytest.mark.slow
@EMITS
@pytest.mark.parametrize("kill", [kill_while_it_is_read, kill_while_it_writes])
def test_a_killed_producer_loses_nothing_published_and_tears_nothing(
    namespace: str, emit: Emit, bound: int, kill: Callable[[str, Emit, int, random.Random], None]
) -> None:
    chance = random.Random(5)
    for _ in range(15):
        kill(namespace, emit, bound, chance)


@pytest.mark.stress
@EMITS
@pytest.mark.parametrize("kill", [kill_while_it_is_read, kill_while_it_writes])
def test_of_a_thousand_killed_producers_none_loses_or_tears_a_record(
    namespace: str,
    emit: Emit,
    bound: int,
    kill: Callable[[str, Emit, int, random.Random], None],
    record_property: Record,
) -> None:
    chance = random.Random()
    for _ in range(250):
        kill(namespace, emit, bound, chance)
    record_property("producers killed with kill -9 amid large records: none lost or torn", 250)


@pytest.mark.slow
def test_a_producer_that_is_killed_while_it_opens_its_ring_leaves_nothing_or_a_whole_segment(namespace: str) -> None:
    chance = random.Random(7)

    def open_and_close() -> None:
        while True:
            Producer("orders", DTYPE, namespace, capacity=4096).close()

    for _ in range(30):
        with child(open_and_close) as pid:
            spins = chance.randrange(200_000)
            for _ in range(spins):
                pass
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for segment in segments(namespace):
            assert segment.header.capacity == 4096
            segment.close()
        with Consumer("orders", namespace) as consumer:
            assert len(consumer.read()) == 0
        assert list(segment_names(namespace)) == []


def test_a_claim_without_publish_is_one_aborted_record(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=CAPACITY) as ring, Consumer("orders", namespace) as consumer:
        ring.emit_many(records(0, 3))
        segment = ring.segment
        segment.mapping.store(segment.header.producer_offset + layout.CLAIMED_POSITION, 4)
        assert segment_stats(segment).aborted == 1
        assert_whole(consumer.read(), 0)
        ring.emit_many(records(3, 1))
        assert segment_stats(segment).aborted == 0
        assert_whole(consumer.read(), 3)
