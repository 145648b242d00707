"""An emit in the middle of an emit: signal handlers, finalizers, conversions, threads."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Telemetry
from tests.processes import child, drained, wait_until

DTYPE = np.dtype([("who", "<u4"), ("seq", "<u4"), ("copy", "<f8")])


@pytest.fixture
def ring(namespace: str) -> Iterator[Producer]:
    with Producer("orders", DTYPE, namespace, capacity=2**17) as producer:
        yield producer


@pytest.fixture
def consumer(ring: Producer, namespace: str) -> Iterator[Consumer]:
    with Consumer("orders", namespace) as reading:
        yield reading
        assert len(reading.read()) == 0


def assert_whole(records: np.ndarray, counts: dict[int, int]) -> None:
    """That every writer's records are there once, in order and not torn."""
    assert np.array_equal(records["copy"], records["who"] * 1e6 + records["seq"])
    for who, count in counts.items():
        assert np.array_equal(records[records["who"] == who]["seq"], np.arange(count))
    assert len(records) == sum(counts.values())


def emit_as(ring: Producer, who: int, seq: int) -> bool:
    return ring.emit_fields(who, seq, who * 1e6 + seq)


def test_a_signal_handler_may_emit_in_the_middle_of_an_emit(ring: Producer, consumer: Consumer) -> None:
    handled = 0

    def handler(*_: Any) -> None:  # which the next signal may interrupt
        nonlocal handled
        handled += 1
        assert emit_as(ring, 1, 0)

    before = signal.signal(signal.SIGALRM, handler)
    count = 0
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        while handled < 200 or count < 2000:
            if count % 3 == 0:
                record = np.array([(0, count, float(count))], DTYPE)
                assert ring.emit(record[0])
            elif count % 3 == 1:
                assert emit_as(ring, 0, count)
            else:
                assert ring.emit_many(np.array([(0, count, float(count))], DTYPE)) == 1
            count += 1
            if count >= 100_000:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled
    stats = ring.stats()
    assert (stats.attempted, stats.in_ring) == (count + handled, count + handled)
    records = drained(consumer, count + handled)
    assert np.count_nonzero(records["who"] == 1) == handled
    assert_whole(records[records["who"] == 0], {0: count})


def test_a_signal_handler_may_close_the_producer_that_is_emitting(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=2, policy="block")
    before = signal.signal(signal.SIGALRM, lambda *_: ring.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        accepted = 0
        while emit_as(ring, 0, accepted):  # the third waits for room until the handler closes the ring
            accepted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    stats = ring.stats()
    assert (accepted, stats.attempted, stats.in_ring, stats.dropped["no_ring"]) == (2, 3, 2, 1)
    with Consumer("orders", namespace) as consumer:
        assert len(consumer.read()) == 2


def test_a_signal_handler_that_raises_ends_the_wait_and_the_record_is_counted(namespace: str) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    with Producer("orders", DTYPE, namespace, capacity=2, policy="block") as ring:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            assert emit_as(ring, 0, 0)
            assert emit_as(ring, 0, 1)
            with pytest.raises(KeyboardInterrupt):
                emit_as(ring, 0, 2)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        stats = ring.stats()
        assert (stats.attempted, stats.in_ring, sum(stats.dropped.values())) == (3, 2, 1)
        with Consumer("orders", namespace) as consumer:
            assert len(consumer.read()) == 2


def test_a_finalizer_may_emit_during_garbage_collection(ring: Producer, consumer: Consumer) -> None:
    finalized = 0

    class Cycle:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            nonlocal finalized
            assert emit_as(ring, 1, finalized)
            finalized += 1

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for seq in range(2000):
            Cycle()
            record = np.array([(0, seq, float(seq))], DTYPE)
            assert ring.emit(record) if seq % 2 else emit_as(ring, 0, seq)
        gc.collect()
    finally:
        gc.set_threshold(*threshold)
    assert finalized == 2000
    assert_whole(drained(consumer, 4000), {0: 2000, 1: 2000})


def test_a_conversion_may_emit_in_the_middle_of_emit_fields(ring: Producer, consumer: Consumer) -> None:
    inner = 0

    class Chatty:
        def __init__(self, value: int) -> None:
            self.value = value

        def _emit(self) -> None:
            nonlocal inner
            assert emit_as(ring, 1, inner)
            inner += 1

        def __index__(self) -> int:
            self._emit()
            return self.value

        def __float__(self) -> float:
            self._emit()
            return float(self.value)

    for seq in range(100):
        assert ring.emit_fields(0, Chatty(seq), Chatty(seq))
    assert_whole(drained(consumer, 300), {0: 100, 1: 200})


def test_a_conversion_may_emit_in_the_middle_of_an_instruments_emit(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=1024) as tel, Consumer("bot", namespace) as consumer:
        orders, depth = tel.counter("orders_total"), tel.gauge("depth")

        class Chatty:
            def __float__(self) -> float:
                assert depth.set(5.0)
                return 2.0

        assert orders.inc(Chatty())
        assert [(int(r["series"]), float(r["value"])) for r in drained(consumer, 2)] == [(1, 5.0), (0, 2.0)]


def test_a_conversion_may_close_the_producer(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=8)

    class Closing:
        def __float__(self) -> float:
            ring.close()
            return 0.0

    assert ring.emit_fields(0, 0, Closing()) is False
    stats = ring.stats()
    assert (stats.attempted, stats.dropped["no_ring"]) == (1, 1)


def test_eight_threads_share_a_ring_and_every_record_is_there_once(ring: Producer, consumer: Consumer) -> None:
    count = 3000

    def work(who: int) -> None:
        for seq in range(0, count, 3):
            emit_as(ring, who, seq)
            ring.emit(np.array([(who, seq + 1, who * 1e6 + seq + 1)], DTYPE)[0])
            ring.emit_many(np.array([(who, seq + 2, who * 1e6 + seq + 2)], DTYPE))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    stats = ring.stats()
    assert (stats.attempted, stats.in_ring) == (8 * count, 8 * count)
    assert_whole(drained(consumer, 8 * count), dict.fromkeys(range(8), count))


def test_eight_threads_lose_nothing_uncounted_while_another_closes_the_producer(namespace: str) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(20):
            ring = Producer("orders", DTYPE, namespace, capacity=64)
            results: list[list[bool]] = []
            started = threading.Barrier(9)

            def work(who: int, ring: Producer = ring, results: list[list[bool]] = results,
                     started: threading.Barrier = started) -> None:  # fmt: skip
                started.wait()
                results.append([emit_as(ring, who, seq) for seq in range(200)])

            threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
            for thread in threads:
                thread.start()
            with Consumer("orders", namespace) as consumer:
                started.wait()
                records = [consumer.read()]
                ring.close()
                for thread in threads:
                    thread.join()
                records += [consumer.read(), consumer.read()]
            stats = ring.stats()
            accepted = sum(map(sum, results))
            assert stats.attempted == 1600
            assert sum(map(len, records)) == accepted
            assert stats.consumed + stats.in_ring == accepted
            assert sum(stats.dropped.values()) == 1600 - accepted
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("threads", [1, 4])
def test_blocked_threads_let_others_run_and_all_records_arrive(namespace: str, threads: int) -> None:
    count = 500

    def consume() -> None:
        with Consumer("orders", namespace) as reading:
            left = threads * count
            while left:
                left -= len(reading.read())

    with Producer("orders", DTYPE, namespace, capacity=4, policy="block") as ring, child(consume):

        def work(who: int) -> None:
            for seq in range(count):
                assert emit_as(ring, who, seq)

        workers = [threading.Thread(target=work, args=(who,)) for who in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        stats = ring.stats()
        assert stats.attempted == threads * count
        assert sum(stats.dropped.values()) == 0
        wait_until(lambda: ring.stats().in_ring == 0, "all is consumed")
