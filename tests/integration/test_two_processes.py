"""Producer and consumer at full speed in two processes, watched by a third."""

from __future__ import annotations

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import attach, segment_names
from tests.processes import child, drained, wait_until

LARGE = np.dtype([("first", "<u8"), ("data", "S65520"), ("last", "<u8")])
SMALL = np.dtype([("seq", "<u8")])
COUNT = 200_000


@pytest.mark.parametrize("many", [False, True])
def test_a_large_record_is_never_seen_before_it_is_whole(namespace: str, many: bool) -> None:
    count = 3000

    def produce() -> None:
        records = np.zeros(1, LARGE)
        with Producer("orders", LARGE, namespace, capacity=4, policy="block") as ring:
            for number in range(1, count + 1):
                records["first"] = records["last"] = number
                assert ring.emit_many(records) if many else ring.emit(records[0])

    with Consumer("orders", namespace) as consumer, child(produce):
        expected = 1
        while expected <= count:
            for record in consumer.read():
                assert record["first"] == record["last"] == expected
                expected += 1


def produce(namespace: str) -> None:
    with Producer("orders", SMALL, namespace, capacity=1024, policy="block") as ring:
        for begin in range(0, COUNT, 1000):
            if begin % 2000:
                ring.emit_many(np.arange(begin, begin + 1000, dtype="u8").view(SMALL))
            else:
                for number in range(begin, begin + 1000):
                    ring.emit_fields(number)


def test_every_record_arrives_once_and_in_order(namespace: str) -> None:
    with Consumer("orders", namespace) as consumer, child(lambda: produce(namespace)):
        assert np.array_equal(drained(consumer, COUNT)["seq"], np.arange(COUNT, dtype="u8"))
        wait_until(lambda: len(consumer.read()) == 0 and not list(segment_names(namespace)), "the segment is gone")


def test_whoever_looks_at_the_figures_sees_none_that_cannot_be(namespace: str) -> None:
    def consume() -> None:
        with Consumer("orders", namespace) as consumer:
            drained(consumer, COUNT)

    with child(consume), child(lambda: produce(namespace)):
        (segment,) = wait_until(lambda: [attach(name) for name in segment_names(namespace)], "there is a segment")
        attempted = 0
        while attempted < COUNT:
            stats = segment_stats(segment)
            # A look takes time, in which both sides go on; but nothing is consumed before it was written.
            assert attempted <= stats.attempted <= COUNT
            assert stats.consumed <= COUNT
            assert stats.in_ring <= COUNT
            assert stats.aborted <= COUNT
            attempted = stats.attempted
        segment.close()
        wait_until(lambda: not list(segment_names(namespace)), "the segment is gone")
