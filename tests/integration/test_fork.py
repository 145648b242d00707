"""Forked and spawned children: rings of their own, and the parent's left alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import suppress

import numpy as np

from shmtelemetry import Consumer, Producer, Telemetry
from shmtelemetry.accounting import Stats
from tests.processes import drained, in_child

DTYPE = np.dtype([("pid", "<u8"), ("seq", "<u8")])


def test_a_child_writes_into_a_ring_of_its_own(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as consumer:
        ring.emit_fields(0, 0)
        parents = ring.segment.name

        def emit_in_child() -> tuple[Stats, Stats, str]:
            before = ring.stats()
            for number in range(5):
                assert ring.emit_fields(1, number)
            return before, ring.stats(), ring.segment.name

        before, after, childs = in_child(emit_in_child)
        assert childs != parents
        assert before.attempted == 0
        assert (after.attempted, after.in_ring) == (5, 5)
        stats = ring.stats()
        assert (stats.attempted, stats.in_ring) == (1, 1)
        ring.emit_fields(0, 1)
        records = drained(consumer, 7)
        assert records[records["pid"] == 0]["seq"].tolist() == [0, 1]
        assert records[records["pid"] == 1]["seq"].tolist() == [0, 1, 2, 3, 4]


def test_every_form_of_emit_is_a_childs_first(namespace: str) -> None:
    record = np.array([(1, 2)], DTYPE)
    forms = {
        "void": lambda ring: ring.emit(record[0]),
        "bytes": lambda ring: ring.emit(record.tobytes()),
        "array": lambda ring: ring.emit(record),
        "fields": lambda ring: ring.emit_fields(1, 2),
        "many": lambda ring: ring.emit_many(record) == 1,
    }
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as consumer:
        ring.emit(record[0])
        for form, emit in forms.items():
            assert in_child(lambda emit=emit: (emit(ring), ring.stats().in_ring)) == (True, 1), form
        assert drained(consumer, 1 + len(forms)).tolist() == [(1, 2)] * (1 + len(forms))


def test_a_refused_record_is_counted_in_the_child(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring:

        def refuse() -> Stats:
            with suppress(ValueError):
                ring.emit(b"")
            return ring.stats()

        stats = in_child(refuse)
        assert (stats.attempted, stats.rejected) == (1, 1)
        assert ring.stats().attempted == 0
        with Consumer("orders", namespace) as consumer:
            consumer.read()


def test_a_grandchild_of_a_child_that_emitted_writes_into_a_third_ring(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as consumer:

        def parent() -> list[int]:
            ring.emit_fields(1, 0)
            seen = in_child(lambda: (ring.emit_fields(2, 0), ring.stats().attempted))
            return [*seen, ring.stats().attempted]

        assert in_child(parent) == [True, 1, 1]
        assert sorted(drained(consumer, 2)["pid"].tolist()) == [1, 2]


def test_a_child_of_a_full_ring_has_room(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=2) as ring, Consumer("orders", namespace) as consumer:
        while ring.emit_fields(0, 0):
            pass
        assert in_child(lambda: [ring.emit_fields(1, 0) for _ in range(3)]) == [True, True, False]
        assert len(drained(consumer, 4)) == 4


def test_a_child_that_closes_or_forgets_the_producer_leaves_the_parents_alone(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=64)
    ring.emit_fields(0, 0)

    def close() -> bool:
        ring.close()
        return ring.closed

    def forget() -> None:
        nonlocal ring
        del ring

    assert in_child(close)
    in_child(forget)
    assert ring.segment.linked
    assert ring.emit_fields(0, 1)
    ring.close()
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == [0, 1]


def test_the_child_of_a_closed_producer_counts_for_itself(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=64)
    ring.close()
    ring.emit_fields(0, 0)

    def emit() -> tuple[bool, int]:
        return ring.emit_fields(0, 0), ring.stats().attempted

    assert in_child(emit) == (False, 1)
    assert ring.stats().attempted == 1


def test_eight_threads_of_a_child_that_emit_at_once_share_one_ring_and_lose_nothing(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=8192) as ring, Consumer("orders", namespace) as consumer:

        def emit() -> Stats:
            barrier = threading.Barrier(8)

            def work(number: int) -> None:
                barrier.wait()
                for seq in range(100):
                    assert ring.emit_fields(number, seq)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return ring.stats()

        for _ in range(5):
            stats = in_child(emit)
            assert (stats.attempted, stats.in_ring) == (800, 800)
            records = drained(consumer, 800)
            for number in range(8):
                assert records[records["pid"] == number]["seq"].tolist() == list(range(100))


def test_a_signal_handler_may_emit_while_a_child_opens_its_ring(namespace: str) -> None:
    def emit() -> tuple[int, Stats]:
        attempts = 0

        def handler(*_: object) -> None:
            nonlocal attempts
            attempts += 1
            ring.emit_fields(1, 0)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        for seq in range(2000):
            ring.emit_fields(0, seq)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return attempts + 2000, ring.stats()

    for _ in range(10):
        with Producer("orders", DTYPE, namespace, capacity=8192) as ring, Consumer("orders", namespace) as consumer:
            attempts, stats = in_child(emit)
            assert stats.attempted == attempts
            assert stats.in_ring + stats.dropped["no_ring"] == attempts
            records = drained(consumer, stats.in_ring)
            assert records[records["pid"] == 0]["seq"].tolist() == list(range(2000))


def test_instruments_go_on_in_a_child_with_every_definition(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=64) as tel, Consumer("bot", namespace) as consumer:
        orders = tel.counter("orders_total", labels=("symbol",))
        aapl, depth, latency = orders.labels("AAPL"), tel.gauge("depth"), tel.histogram("latency_seconds")
        aapl.inc()

        def emit() -> tuple[int, float]:
            assert aapl.inc(2.0)
            assert depth.set(3.0)
            assert latency.stop(latency.start()) < 60
            assert orders.labels("MSFT").inc(4.0)
            return tel.stats().attempted, 0.0

        assert in_child(emit)[0] == 4
        records = drained(consumer, 5)
        values = {(int(record["series"]), float(record["value"])) for record in records}
        assert {(0, 1.0), (0, 2.0), (1, 3.0), (3, 4.0)} <= values


def test_a_child_that_forks_while_another_thread_defines_a_series_can_define_its_own(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=64) as tel, Consumer("bot", namespace) as consumer:
        orders = tel.counter("orders_total", labels=("symbol",))
        stop = threading.Event()

        def define() -> None:
            number = 0
            while not stop.is_set() and number < 50_000:
                orders.labels(f"thread-{number}")
                number += 1

        thread = threading.Thread(target=define)
        thread.start()
        try:
            for number in range(20):
                assert in_child(lambda number=number: orders.labels(f"child-{number}").inc())
        finally:
            stop.set()
            thread.join()
        assert len(drained(consumer, 20)) == 20


def emit_from_multiprocessing(namespace: str, number: int) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring:
        for seq in range(10):
            assert ring.emit_fields(number, seq)


def emit_inherited(ring: Producer, number: int) -> None:
    for seq in range(10):
        assert ring.emit_fields(number, seq)


def test_children_of_multiprocessing_emit_whether_forked_or_spawned(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64) as ring, Consumer("orders", namespace) as consumer:
        fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
        processes = [
            fork.Process(target=emit_inherited, args=(ring, 1)),  # fork passes arguments unpickled
            fork.Process(target=emit_from_multiprocessing, args=(namespace, 2)),
            spawn.Process(target=emit_from_multiprocessing, args=(namespace, 3)),
        ]
        for process in processes:
            process.start()
        ring.emit_fields(os.getpid(), 0)
        for process in processes:
            process.join()
            assert process.exitcode == 0
            process.close()
        assert ring.stats().attempted == 1
        records = drained(consumer, 31)
        for number in (1, 2, 3):
            assert records[records["pid"] == number]["seq"].tolist() == list(range(10))
