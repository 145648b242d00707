"""overwrite_oldest: the newest records are never refused; whoever was lapped knows what it lost, and tears nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, Schema, field, recordings
from shmtelemetry.accounting import Stats, segment_stats
from shmtelemetry.errors import SegmentError
from shmtelemetry.producer import Setup
from shmtelemetry.segment import attach, segment_names
from tests.chaos import Record
from tests.processes import child, wait_until
from tests.reading import read_position, running_reader, talker, the_segment, write_position
from tests.whole import DTYPE, numbers_of, records

CAPACITY = 1024
Emit = Callable[[Producer, np.ndarray], int]


def one_by_one(ring: Producer, batch: np.ndarray) -> int:
    return sum(ring.emit(record) for record in batch)


def field_by_field(ring: Producer, batch: np.ndarray) -> int:
    return sum(ring.emit_fields(*record.tolist()) for record in batch)


def many_at_once(ring: Producer, batch: np.ndarray) -> int:
    return ring.emit_many(batch)


def kills(short: int, long: int) -> pytest.MarkDecorator:
    """So many by default, and so many by make stress."""
    return pytest.mark.parametrize(
        "count", [pytest.param(short, marks=pytest.mark.slow), pytest.param(long, marks=pytest.mark.stress)]
    )


EMITS = pytest.mark.parametrize("emit", [one_by_one, field_by_field, many_at_once])


@pytest.fixture(autouse=True)
def recordings_are_removed(namespace: str) -> Iterator[None]:
    yield
    for name in segment_names(namespace):
        os.unlink(f"/dev/shm/{name}")


def flight(namespace: str, capacity: int = CAPACITY) -> Producer:
    return Producer("flight", DTYPE, namespace, capacity=capacity, policy="overwrite_oldest")


def produce(namespace: str, emit: Emit) -> Callable[[Callable[[], bool]], tuple[int, Stats]]:
    """Work for a process: emits at full speed until it is asked; returns how many, and its accounts."""

    def work(asked: Callable[[], bool]) -> tuple[int, Stats]:
        begin = 0
        with flight(namespace) as ring:
            while not asked():
                assert emit(ring, records(begin, 300)) == 300
                begin += 300
            return begin, ring.stats()

    return work


@EMITS
def test_the_newest_records_replace_the_oldest(namespace: str, emit: Emit) -> None:
    with flight(namespace, 64) as ring:
        assert emit(ring, records(0, 1000)) == 1000
        assert numbers_of(ring.last(64)).tolist() == list(range(936, 1000))
        stats = ring.stats()
        assert (stats.attempted, stats.in_ring, stats.overwritten) == (1000, 64, 936)
        assert stats.holds
        with Consumer("flight", namespace) as consumer:
            assert numbers_of(consumer.read(4)).tolist() == list(range(936, 940))
            assert numbers_of(consumer.read()).tolist() == list(range(940, 1000))
            assert emit(ring, records(1000, 70)) == 70
            assert numbers_of(consumer.read(1)).tolist() == [1006]
        stats = ring.stats()
        assert (stats.attempted, stats.consumed, stats.in_ring, stats.overwritten) == (1070, 65, 63, 942)
        assert stats.holds


def test_the_ring_may_be_smaller_than_a_batch_and_positions_may_wrap(namespace: str) -> None:
    setup = Setup(namespace, "flight", Schema(DTYPE), 2, "overwrite_oldest", start_position=2**64 - 3)
    with Producer("flight", DTYPE, setup=setup) as ring, Consumer("flight", namespace) as consumer:
        for begin in range(0, 40, 5):
            assert ring.emit_many(records(begin, 5)) == 5
            assert ring.stats().holds
            assert numbers_of(consumer.read()).tolist() == [begin + 3, begin + 4]
            assert ring.stats().overwritten == (begin // 5 + 1) * 3


@pytest.mark.slow
@EMITS
@pytest.mark.parametrize("limit", [1, 100, None])
def test_a_consumer_that_is_lapped_at_full_speed_counts_exactly_and_tears_nothing(
    namespace: str, emit: Emit, limit: int | None
) -> None:
    with Consumer("flight", namespace) as consumer, talker(produce(namespace, emit)) as producer:
        segment = the_segment(namespace)
        seen, last = 0, -1
        for _ in range(300):
            wait_until(lambda: segment_stats(segment).in_ring >= CAPACITY - 64, "the oldest are being overwritten")
            numbers = numbers_of(consumer.read(limit))
            if not len(numbers):  # all that was copied has been overwritten meanwhile
                continue
            assert int(numbers[0]) > last
            assert np.all(np.diff(numbers.astype(np.int64)) > 0)
            last, seen = int(numbers[-1]), seen + len(numbers)
        sent, stats = producer.finish()
        while len(numbers := numbers_of(consumer.read())):
            assert int(numbers[0]) > last
            last, seen = int(numbers[-1]), seen + len(numbers)
        assert last == sent - 1
        assert stats.attempted == sent
        stats = segment_stats(segment)
        assert (stats.consumed, stats.overwritten, stats.in_ring, stats.aborted) == (seen, sent - seen, 0, 0)
        assert stats.overwritten > CAPACITY
        segment.close()


@kills(10, 500)
@EMITS
def test_a_producer_that_is_killed_leaves_its_last_records_whole(
    namespace: str, emit: Emit, count: int, record_property: Record
) -> None:
    chance = Random()

    def produce_for_ever() -> None:
        produce(namespace, emit)(lambda: False)

    for _ in range(count):
        with child(produce_for_ever) as pid:
            segment = the_segment(namespace)
            wanted = chance.randrange(1, 8 * CAPACITY)
            wait_until(lambda: write_position(segment) >= wanted, "it has written so many")  # noqa: B023
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            written = write_position(segment)
            before = segment_stats(segment)
            assert before.holds
            assert before.in_ring == min(written, CAPACITY - before.aborted)
            with Consumer("flight", namespace) as consumer:
                numbers = numbers_of(consumer.read())
                assert numbers.tolist() == list(range(written - before.in_ring, written))
                assert len(consumer.read()) == 0
            after = segment_stats(segment)
            assert after.holds
            assert (after.consumed, after.overwritten) == (before.in_ring, before.overwritten)
            assert segment.linked
            segment.unlink()
            segment.close()
    record_property("producers of overwrite_oldest killed with kill -9: the last records whole, accounts exact", count)


@kills(20, 500)
def test_a_consumer_that_is_killed_leaves_exact_accounts(namespace: str, count: int, record_property: Record) -> None:
    chance = Random()

    def consume() -> None:
        with Consumer("flight", namespace) as consumer:
            while True:
                numbers_of(consumer.read())

    with talker(produce(namespace, one_by_one)) as producer:
        segment = the_segment(namespace)
        for _ in range(count):
            with child(consume) as pid:
                goal = read_position(segment) + chance.randrange(1, 3000)
                wait_until(lambda: read_position(segment) >= goal, "so many are read")  # noqa: B023
                os.kill(pid, signal.SIGKILL)
        sent, _ = producer.finish()
        with Consumer("flight", namespace) as consumer:
            numbers = numbers_of(consumer.read())
            assert int(numbers[-1]) == sent - 1
        stats = segment_stats(segment)
        assert stats.holds
        assert (stats.attempted, stats.in_ring) == (sent, 0)
        assert stats.consumed + stats.overwritten == sent
        assert stats.overwritten > 0
        segment.close()
    record_property("consumers of overwrite_oldest killed with kill -9: accounts exact", count)


# ---- the reader ----


COUNTED = Schema([("who", "S4"), ("one", "<u4")], {"who": field("label"), "one": field("counter", name="n")})
# Of a torn record the first and the last fields are not the same, and the longer it is the easier it tears.
LONG = Schema(
    [("who", "S8"), ("x", "<u4"), ("between", "S65000"), ("y", "<u4"), ("again", "S8")],
    {
        "who": field("label"),
        "x": field("counter", name="first"),
        "y": field("counter", name="last"),
        "again": field("label"),
    },
)
WHO = (b"ann", b"bob", b"cy")


def counted_records(count: int) -> np.ndarray:
    batch = np.zeros(count, COUNTED.dtype)
    batch["who"], batch["one"] = [WHO[n % 3] for n in range(count)], 1
    return batch


def produce_counted(namespace: str) -> Callable[[Callable[[], bool]], int]:
    def work(asked: Callable[[], bool]) -> int:
        sent = 0
        batch = counted_records(300)
        with Producer("flight", COUNTED, namespace, capacity=CAPACITY, policy="overwrite_oldest") as ring:
            while not asked():
                sent += ring.emit_many(batch)
        return sent

    return work


def test_a_reader_that_comes_late_counts_what_was_overwritten(namespace: str) -> None:
    with (
        Producer("flight", COUNTED, namespace, capacity=64, policy="overwrite_oldest") as ring,
        Reader(namespace, ephemeral=True) as reader,
    ):
        for turn in range(1, 4):
            assert ring.emit_many(counted_records(300)) == 300
            reader.poll()
            snapshot = reader.snapshot()
            assert snapshot.families["n_total"].values.sum() == 64 * turn
            totals = snapshot.producers["flight"]
            assert totals.holds
            assert (totals.attempted, totals.consumed, totals.overwritten) == (300 * turn, 64 * turn, 236 * turn)
            assert snapshot.value("shmtel_overwritten_records_total", producer="flight") == 236 * turn


@pytest.mark.slow
@pytest.mark.parametrize("names", [3, 2000])
def test_a_reader_that_is_lapped_at_full_speed_takes_no_torn_record(namespace: str, names: int) -> None:
    def work(asked: Callable[[], bool]) -> None:
        record, number = np.zeros(1, LONG.dtype), 0
        with Producer("flight", LONG, namespace, capacity=4, policy="overwrite_oldest") as ring:
            while not asked():
                number += 1
                record["who"] = record["again"] = b"%d" % (number % names)
                record["x"] = record["y"] = number * 2654435761 % 2**32
                ring.emit(record)

    with talker(work) as producer, Reader(namespace, ephemeral=True) as reader:
        wait_until(lambda: list(segment_names(namespace)), "there is a segment")
        while reader.records < 800:
            reader.poll()
        producer.finish()
        reader.poll()
        assert reader.settle()
        snapshot = reader.snapshot()
    first, last, totals = (
        snapshot.families["first_total"],
        snapshot.families["last_total"],
        snapshot.producers["flight"],
    )
    assert {who == again for who, again in first.labels} == {True}
    assert np.array_equal(first.values, last.values)
    assert totals.holds
    assert totals.overwritten > 0


@kills(15, 300)
def test_every_account_is_exact_when_readers_of_an_overwrite_ring_are_killed(
    namespace: str, count: int, record_property: Record
) -> None:
    chance = Random()
    with talker(produce_counted(namespace)) as producer:
        segment = the_segment(namespace)
        for _ in range(count):
            with running_reader(namespace) as reader:
                goal = read_position(segment) + chance.randrange(1, 30_000)
                wait_until(lambda: read_position(segment) >= goal, "the reader has come that far")  # noqa: B023
                os.kill(reader, signal.SIGKILL)
        with Reader(namespace, ephemeral=True) as last:
            last.start()
            sent = producer.finish()
            assert last.settle(60.0)
            snapshot = last.snapshot()
        totals, stats = snapshot.producers["flight"], segment_stats(segment)
        segment.close()
    assert totals.holds
    assert snapshot.families["n_total"].values.sum() == totals.consumed == stats.consumed
    assert totals.overwritten == stats.overwritten > 0
    assert totals.attempted == sent == stats.attempted
    assert (totals.in_ring, totals.aborted, totals.invalid) == (0, 0, 0)
    record_property("readers of overwrite_oldest killed with kill -9: every account exact", count)


# ---- what stays ----


def firsts(namespace: str) -> list[int]:
    """The first record of each segment that is there, oldest segment first."""
    found = []
    for name in segment_names(namespace):
        with suppress(SegmentError):  # removed meanwhile
            segment = attach(name)
            at = segment.header.ring_offset
            found.append((segment.header.created_ns, int.from_bytes(segment.buf[at : at + 8], "little")))
            segment.close()
    return [number for _, number in sorted(found)]


def leave(namespace: str, number: int) -> None:
    with flight(namespace, 4) as ring:
        ring.emit_many(records(number, 1))


def killed(namespace: str, number: int) -> None:
    def run() -> None:
        ring = flight(namespace, 4)
        ring.emit_many(records(number, 1))
        signal.pause()

    with child(run) as pid:
        wait_until(lambda: number in firsts(namespace), "it has written")
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [leave, killed])
def test_the_newest_four_recordings_of_a_producer_stay(namespace: str, end: Callable[[str, int], None]) -> None:
    for number in range(1, 8):
        end(namespace, number)
    recordings.prune(namespace, "flight")
    assert firsts(namespace) == [4, 5, 6, 7]


def test_a_reader_drains_recordings_and_lets_the_newest_four_stay(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        for number in range(1, 8):
            leave(namespace, number)
            reader.poll()
            assert reader.settle()
        assert firsts(namespace) == [4, 5, 6, 7]
        assert reader.snapshot().producers["flight"].consumed == 7
    with Consumer("flight", namespace) as consumer:
        assert len(consumer.read()) == 0
    assert firsts(namespace) == [4, 5, 6, 7]


def test_recordings_count_once_however_often_readers_change(namespace: str) -> None:
    leave(namespace, 1)
    for turn in range(3):
        with Reader(namespace, ephemeral=turn == 2) as reader:
            reader.poll()
            assert reader.settle()
            assert reader.snapshot().producers["flight"].consumed == 1
            assert reader.snapshot().producers["flight"].attempted == 1


def test_a_recorder_that_recorded_nothing_leaves_nothing(namespace: str) -> None:
    flight(namespace).close()
    assert list(segment_names(namespace)) == []
