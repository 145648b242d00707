"""kill -9 of a producer at any moment: what it published is consumed, in order, and nothing else."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, layout
from shmtelemetry._ring import segment_stats
from shmtelemetry.segment import Segment, attach, segment_names
from tests.processes import child, wait_until

# A record tells whether it is whole: the same number in words of several cache lines, each in a form of its own.
WORDS = 13
DTYPE = np.dtype([("seq", "<u8"), *((f"word_{n}", "<u8") for n in range(WORDS))])
MIX = (np.arange(1, WORDS + 1, dtype="u8") * np.uint64(0x9E3779B97F4A7C15)).reshape(1, WORDS)
CAPACITY = 256


def records(begin: int, count: int) -> np.ndarray:
    words = np.arange(begin, begin + count, dtype="u8").reshape(count, 1)
    return np.hstack([words, words ^ MIX]).reshape(-1).view(DTYPE)


def one_by_one(ring: Producer) -> None:
    begin = 0
    while True:
        for record in records(begin, 1000):
            ring.emit(record)
        begin += 1000


def many_at_once(ring: Producer) -> None:
    begin = 0
    while True:
        ring.emit_many(records(begin, 100))
        begin += 100


def assert_whole(batch: np.ndarray, begin: int) -> None:
    assert batch.tobytes() == records(begin, len(batch)).tobytes()


def segments(namespace: str) -> list[Segment]:
    return [attach(name) for name in segment_names(namespace)]


def kill_at_a_random_moment(
    namespace: str, emit: Callable[[Producer], None], bound: int, chance: random.Random
) -> None:
    def produce() -> None:
        emit(Producer("orders", DTYPE, namespace, capacity=CAPACITY, policy="block"))

    with Consumer("orders", namespace) as consumer, child(produce) as pid:
        (segment,) = wait_until(lambda: segments(namespace), "there is a segment")
        count, wanted = 0, chance.randrange(4 * CAPACITY)
        while count < wanted:
            batch = consumer.read(chance.randrange(1, CAPACITY))
            assert_whole(batch, count)
            count += len(batch)
        for _ in range(chance.randrange(2000)):
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        written = segment.mapping.load(segment.header.producer_offset + layout.WRITE_POSITION)
        stats = segment_stats(segment)
        assert 0 <= stats.aborted <= bound
        assert stats.attempted == written + stats.aborted
        assert stats.consumed == count
        while len(batch := consumer.read(chance.randrange(1, CAPACITY))):
            assert_whole(batch, count)
            count += len(batch)
        assert count == written
        segment.close()
    assert list(segment_names(namespace)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("emit", "bound"), [(one_by_one, 1), (many_at_once, 64)])
def test_a_killed_producer_loses_nothing_published_and_tears_nothing(
    namespace: str, emit: Callable[[Producer], None], bound: int
) -> None:
    chance = random.Random(5)
    for _ in range(30):
        kill_at_a_random_moment(namespace, emit, bound, chance)


@pytest.mark.stress
@pytest.mark.parametrize(("emit", "bound"), [(one_by_one, 1), (many_at_once, 64)])
def test_of_a_thousand_killed_producers_none_loses_or_tears_a_record(
    namespace: str, emit: Callable[[Producer], None], bound: int
) -> None:
    chance = random.Random()
    for _ in range(500):
        kill_at_a_random_moment(namespace, emit, bound, chance)


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
