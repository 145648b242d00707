"""Consumer: all segments of a producer's name, the oldest first, and their end."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, following
from shmtelemetry.errors import ReaderBusyError
from shmtelemetry.segment import segment_names
from tests.processes import child, in_child, kill, wait_until

DTYPE = np.dtype([("seq", "<u8")])
WIDER = np.dtype([("seq", "<u8"), ("value", "<f8")])
PADDED = np.dtype({"names": ["seq", "flag"], "formats": ["<u8", "<u1"], "offsets": [8, 1], "itemsize": 24})


def numbered(*numbers: int) -> np.ndarray:
    return np.array([(number,) for number in numbers], DTYPE)


def leave(namespace: str, *numbers: int, dtype: np.dtype = DTYPE) -> None:
    """What a producer leaves that ended before it was drained."""
    records = np.zeros(len(numbers), dtype)
    records["seq"] = numbers
    with Producer("orders", dtype, namespace, capacity=64) as ring:
        assert ring.emit_many(records) == len(numbers)


def test_without_a_producer_there_is_nothing_and_no_dtype(namespace: str) -> None:
    with Consumer("orders", namespace) as ring:
        assert ring.dtype is None
        assert ring.read().shape == (0,)
        assert ring.read(5).shape == (0,)


def test_a_producer_that_starts_later_is_found(namespace: str) -> None:
    with Consumer("orders", namespace) as consumer:
        for begin in (0, 10, 20):
            with Producer("orders", DTYPE, namespace, capacity=64) as ring:
                ring.emit_many(numbered(begin, begin + 1))
                assert consumer.read()["seq"].tolist() == [begin, begin + 1]
                assert consumer.dtype == DTYPE


def test_no_directory_is_listed_while_nothing_changes_in_it(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listings = []
    monkeypatch.setattr(following, "segment_names", lambda *args: listings.append(args) or segment_names(*args))
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as reading:

        def settled() -> bool:
            before = len(listings)
            return len(reading.read()) == 0 and len(listings) == before

        wait_until(settled, "the directory's time is no longer young")
        ring.emit_many(numbered(1))
        before = len(listings)
        changed = os.stat("/dev/shm").st_mtime_ns
        assert reading.read()["seq"].tolist() == [1]
        assert len(listings) == before or os.stat("/dev/shm").st_mtime_ns != changed  # others may write there
        with Producer("orders", DTYPE, namespace, capacity=64) as second:
            second.emit_many(numbered(2))
            assert reading.read()["seq"].tolist() == [2]


def test_a_segment_that_appears_in_the_tick_of_the_listing_is_found(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def frozen(path: str, **options: bool) -> os.stat_result:
        return before if path == "/dev/shm" else stat(path, **options)

    with Producer("other", DTYPE, namespace, capacity=64), Consumer("orders", namespace) as reading:
        before = stat("/dev/shm")
        monkeypatch.setattr("shmtelemetry.following.os.stat", frozen)
        reading.read()
        with Producer("orders", DTYPE, namespace, capacity=64) as ring:
            ring.emit_many(numbered(1))
            assert reading.read()["seq"].tolist() == [1]


def test_several_segments_are_drained_in_the_order_of_their_creation(namespace: str) -> None:
    leave(namespace, 1, 2, 3)
    leave(namespace, 4)
    leave(namespace, 5, 6)
    with Consumer("orders", namespace) as ring:
        assert ring.read(2)["seq"].tolist() == [1, 2]
        assert ring.read(0).shape == (0,)
        assert ring.read(3)["seq"].tolist() == [3, 4, 5]
        assert ring.read()["seq"].tolist() == [6]


def test_records_of_another_dtype_come_in_a_batch_of_their_own(namespace: str) -> None:
    leave(namespace, 1, 2)
    leave(namespace, 3, dtype=WIDER)
    leave(namespace, 4)
    with Consumer("orders", namespace) as ring:
        batches = [ring.read() for _ in range(4)]
        assert [batch["seq"].tolist() for batch in batches] == [[1, 2], [3], [4], []]
        assert [batch.dtype for batch in batches] == [DTYPE, WIDER, DTYPE, DTYPE]


def test_a_padded_dtype_keeps_its_layout_over_several_segments(namespace: str) -> None:
    leave(namespace, 1, 2, dtype=PADDED)
    leave(namespace, 3, dtype=PADDED)
    with Consumer("orders", namespace) as ring:
        batch = ring.read()
        assert batch.dtype == PADDED
        assert batch["seq"].tolist() == [1, 2, 3]


def test_a_batch_is_a_copy(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=2) as ring, Consumer("orders", namespace) as consumer:
        ring.emit_many(numbered(1, 2))
        batch = consumer.read()
        ring.emit_many(numbered(3, 4))
        assert batch["seq"].tolist() == [1, 2]
        batch["seq"] = 9
        assert consumer.read()["seq"].tolist() == [3, 4]


def test_a_segment_goes_when_its_producer_has_ended_and_it_is_drained(namespace: str) -> None:
    leave(namespace, 1)
    with Consumer("orders", namespace) as ring:
        assert len(list(segment_names(namespace))) == 1
        assert len(ring.read()) == 1
        assert len(ring.read()) == 0
        assert len(list(segment_names(namespace))) == 0


def test_closing_removes_what_is_ended_and_drained_and_keeps_the_rest(namespace: str) -> None:
    leave(namespace, 1)
    leave(namespace, 2)
    with Consumer("orders", namespace) as ring:
        assert ring.read(1)["seq"].tolist() == [1]
    assert len(list(segment_names(namespace))) == 1
    with Consumer("orders", namespace) as ring:
        assert ring.read()["seq"].tolist() == [2]


def test_a_consumer_that_is_killed_frees_the_segment_and_loses_nothing_unread(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring:
        ring.emit_many(numbered(1, 2, 3))

        def consume_two() -> None:
            consumer = Consumer("orders", namespace)
            consumer.read(2)
            while True:
                time.sleep(1)

        with child(consume_two) as pid:
            wait_until(lambda: ring.stats().consumed == 2, "the other consumer read two records")
            with pytest.raises(ReaderBusyError, match=f"process {pid}"):
                Consumer("orders", namespace)
            kill(pid)
            with Consumer("orders", namespace) as consumer:
                assert consumer.read()["seq"].tolist() == [3]


def test_a_busy_segment_that_appears_later_is_an_error_in_read(namespace: str) -> None:
    with Consumer("orders", namespace) as first, Producer("orders", DTYPE, namespace, capacity=64) as ring:
        first_to_come = Consumer("orders", namespace)
        with pytest.raises(ReaderBusyError, match=ring.segment.name):
            first.read()
        first_to_come.close()
        ring.emit_many(numbered(1))
        assert first.read()["seq"].tolist() == [1]


def test_a_forked_child_is_told_that_the_consumer_is_its_parents(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as consumer:
        ring.emit_many(numbered(1, 2))

        def use() -> str:
            with pytest.raises(RuntimeError) as caught:
                consumer.read()
            consumer.close()
            return str(caught.value)

        assert f"process {os.getpid()}" in in_child(use)
        assert consumer.read()["seq"].tolist() == [1, 2]


def test_a_closed_consumer_says_so_and_closes_twice(namespace: str) -> None:
    consumer = Consumer("orders", namespace)
    consumer.close()
    consumer.close()
    with pytest.raises(ValueError, match="closed"):
        consumer.read()


@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_a_count_that_cannot_be_is_a_value_error(namespace: str, count: object) -> None:
    with Consumer("orders", namespace) as ring, pytest.raises(ValueError, match="max_records"):
        ring.read(count)  # type: ignore[arg-type]


def test_a_consumer_cannot_be_pickled(namespace: str) -> None:
    with Consumer("orders", namespace) as ring, pytest.raises(TypeError, match="open another one"):
        pickle.dumps(ring)


def test_a_segment_that_may_not_be_removed_is_said_once(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave(namespace, 1)
    (name,) = segment_names(namespace)

    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    with Consumer("orders", namespace) as ring, monkeypatch.context() as patch:
        patch.setattr("shmtelemetry.segment.os.unlink", refuse)
        assert [len(ring.read()) for _ in range(4)] == [1, 0, 0, 0]
    assert [name in record.getMessage() for record in caplog.records] == [True]
    Path("/dev/shm", name).unlink()


def test_a_segment_of_another_user_is_left_aside(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    leave(namespace, 1)

    def as_nobody() -> int:
        os.setuid(65534)
        with Consumer("orders", namespace) as ring:
            return len(ring.read())

    assert in_child(as_nobody) == 0
    with Consumer("orders", namespace) as ring:
        assert len(ring.read()) == 1


def test_a_segment_that_vanished_since_the_listing_is_no_news(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(following, "segment_names", lambda *_: iter([f"shmtel.{namespace}.orders.gone"]))
    with Consumer("orders", namespace) as ring:
        assert len(ring.read()) == 0
    assert not caplog.records
