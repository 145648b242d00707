"""The forms of emit, the looks at a ring, and its accounting."""

from __future__ import annotations

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer
from tests.processes import drained

DTYPE = np.dtype([("seq", "<u8"), ("value", "<f8")])


def records(*numbers: int) -> np.ndarray:
    return np.array([(number, number / 2) for number in numbers], DTYPE)


@pytest.mark.parametrize(
    "form",
    [
        lambda array: array[0],
        lambda array: array[:1],
        lambda array: array.reshape(1, 1),
        lambda array: array[:1].reshape(()),
        lambda array: array[0].tobytes(),
        lambda array: bytearray(array[0].tobytes()),
        lambda array: memoryview(array[0].tobytes()),
        lambda array: np.rec.array(array)[0],
        lambda array: array.astype(np.dtype([("seq", "<u8"), ("value", "<f8")]))[0],
        lambda array: np.array([(9, 9), (7, 3.5)], DTYPE)[::-1][:1],
    ],
    ids=["void", "array", "2-d", "0-d", "bytes", "bytearray", "memoryview", "np.record", "equal dtype", "strided"],
)
def test_one_record_enters_in_every_form(namespace: str, form: object) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace) as consumer:
        for _ in range(3):
            assert ring.emit(form(records(7))) is True  # type: ignore[operator]
        assert drained(consumer, 3).tolist() == [(7, 3.5)] * 3


def test_emit_many_takes_any_stride_and_says_how_many_entered(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring, Consumer("orders", namespace) as consumer:
        assert ring.emit_many(records()) == 0
        assert ring.emit_many(records(1, 2, 3, 4, 5)[::-2]) == 3
        assert ring.emit_many(records(*range(10))) == 5
        assert ring.emit_many(records(1)) == 0
        assert drained(consumer, 8)["seq"].tolist() == [5, 3, 1, 0, 1, 2, 3, 4]
        stats = ring.stats()
        assert (stats.attempted, stats.consumed, stats.dropped["full"]) == (14, 8, 6)


def test_emit_many_publishes_a_batch_that_wraps_the_ring_in_order(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=128) as ring, Consumer("orders", namespace) as consumer:
        for begin in range(0, 5000, 100):
            assert ring.emit_many(records(*range(begin, begin + 100))) == 100
            assert consumer.read()["seq"].tolist() == list(range(begin, begin + 100))


def test_a_full_ring_drops_the_newest_and_counts_it(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4) as ring, Consumer("orders", namespace) as consumer:
        assert [ring.emit_fields(number, 0.0) for number in range(6)] == [True] * 4 + [False] * 2
        assert drained(consumer, 2)["seq"].tolist() == [0, 1]
        assert ring.emit_fields(6, 0.0) is True
        assert drained(consumer, 3)["seq"].tolist() == [2, 3, 6]
        stats = ring.stats()
        assert (stats.attempted, stats.consumed, stats.in_ring, stats.dropped) == (
            7, 5, 0, {"full": 2, "timeout": 0, "no_ring": 0},
        )  # fmt: skip


def test_the_stats_say_what_is_in_the_ring_and_who_reads_it(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8) as ring:
        ring.emit_many(records(1, 2, 3))
        stats = ring.stats()
        assert (stats.attempted, stats.in_ring, stats.capacity, stats.reader_attached) == (3, 3, 8, False)
        with Consumer("orders", namespace) as consumer:
            assert ring.stats().reader_attached
            assert len(consumer.read(2)) == 2
        stats = ring.stats()
        assert (stats.consumed, stats.in_ring, stats.reader_attached) == (2, 1, False)
        with Consumer("orders", namespace) as consumer:
            consumer.read()


def test_last_shows_the_newest_records_and_consumes_nothing(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4) as ring, Consumer("orders", namespace) as consumer:
        assert ring.last(3).shape == (0,)
        for number in range(6):
            ring.emit_fields(number, 0.0)
            if number == 3:
                consumer.read()
        assert ring.last(0).shape == (0,)
        assert ring.last(2)["seq"].tolist() == [4, 5]
        assert ring.last(2**70)["seq"].tolist() == [2, 3, 4, 5]
        assert ring.last(4).dtype == DTYPE
        with pytest.raises(ValueError, match="-1"):
            ring.last(-1)
        assert ring.stats().in_ring == 2
        consumer.read()


def test_a_closed_producer_takes_nothing_and_its_figures_stay(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=4)
    with Consumer("orders", namespace) as consumer:
        ring.emit_many(records(1, 2, 3, 4, 5))
        with pytest.raises(ValueError, match="expected 16 bytes"):
            ring.emit(b"")
        before = ring.stats()
        ring.close()
        ring.close()
        assert ring.closed
        assert ring.stats().attempted == before.attempted == 6
        assert ring.emit(records(6)[0]) is False
        assert ring.emit_fields(6, 0.0) is False
        assert ring.emit_many(records(6, 7)) == 0
        with pytest.raises(TypeError):
            ring.emit(None)
        stats = ring.stats()
        assert (stats.attempted, stats.in_ring, stats.rejected) == (11, 4, 2)
        assert stats.dropped == {"full": 1, "timeout": 0, "no_ring": 4}
        assert stats.holds
        assert ring.last(5).shape == (0,)
        assert drained(consumer, 4)["seq"].tolist() == [1, 2, 3, 4]


def test_closing_a_drained_producer_removes_its_segment_at_once(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4) as ring:
        assert ring.segment.linked


def test_a_producer_that_nobody_holds_any_more_has_ended(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=4)
    ring.emit_many(records(1, 2))
    del ring
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == [1, 2]


def test_a_producer_cannot_be_pickled(namespace: str) -> None:
    import pickle

    with Producer("orders", DTYPE, namespace, capacity=4) as ring, pytest.raises(TypeError, match="open another one"):
        pickle.dumps(ring)


def test_a_ring_that_is_full_and_unread_is_said_once(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with Producer("orders", DTYPE, namespace, capacity=2) as ring:
        for number in range(5):
            ring.emit_fields(number, 0.0)
        assert [record.getMessage() for record in caplog.records] == [
            f"producer orders: its ring is full and nobody reads it; start one: shmtel reader --namespace {namespace}"
        ]
    with Consumer("orders", namespace) as consumer:
        consumer.read()
