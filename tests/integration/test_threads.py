"""Threads emit at once: exact with a GIL and without, where each has a ring of its own."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, Telemetry
from tests.processes import drained, in_child, run_python, wait_until
from tests.threads import at_once, free_threaded, ring_count

DTYPE = np.dtype([("thread", "<u4"), ("seq", "<u4")])
COUNT = 20_000


def test_one_handle_in_many_threads_counts_every_step(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        steps, seconds = telemetry.counter("steps_total"), telemetry.histogram("step_seconds")
        reader.start()

        def work() -> None:
            for _ in range(COUNT):
                assert steps.inc()
                seconds.observe(0.5)

        at_once(*[work] * 4)
        stats = telemetry.stats()
        assert stats.holds
        assert stats.attempted == 2 * 4 * COUNT
        reader.stop()
        snapshot = reader.snapshot()
        assert snapshot.value("steps_total") == 4 * COUNT
        assert snapshot.histogram("step_seconds").count == 4 * COUNT - stats.dropped["full"]


def test_each_thread_s_records_stay_in_order(namespace: str) -> None:
    with (
        Producer("orders", DTYPE, namespace, capacity=1024, policy="block") as ring,
        Consumer("orders", namespace) as consumer,
    ):

        def work(number: int) -> None:
            for seq in range(COUNT):
                assert ring.emit_fields(number, seq)

        workers = [lambda number=number: work(number) for number in range(3)]
        emitting = threading.Thread(target=at_once, args=workers)
        emitting.start()
        found = drained(consumer, 3 * COUNT)
        emitting.join()
    for number in range(3):
        assert found["seq"][found["thread"] == number].tolist() == list(range(COUNT))


def test_series_that_are_made_while_others_emit_count_in_every_thread(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        family = telemetry.counter("orders_total", labels=("symbol",))
        reader.start()

        def work() -> None:
            for number in range(200):
                handle = family.labels(f"symbol-{number}")
                for _ in range(10):
                    assert handle.inc()

        at_once(*[work] * 4)
        reader.stop()
        snapshot = reader.snapshot()
        assert [snapshot.value("orders_total", symbol=f"symbol-{number}") for number in range(200)] == [40.0] * 200


@pytest.mark.parametrize("merge", ["sum", "min", "max", "last"])
def test_the_threads_of_a_process_set_one_gauge(namespace: str, merge: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        gauge = telemetry.gauge("depth", merge=merge)
        gauge.set(7.0)
        for value in (5.0, 3.0):
            thread = threading.Thread(target=gauge.set, args=(value,))
            thread.start()
            thread.join()
        reader.poll()
        assert reader.snapshot().value("depth") == 3.0
        gauge.set(4.0)
        reader.poll()
        assert reader.snapshot().value("depth") == 4.0


def test_exemplars_of_several_threads_never_mix(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        histogram = telemetry.histogram("step_seconds", buckets=(1.0,))

        def work(letter: str) -> None:
            for length in (1, 60, 100, 3) * 200:
                histogram.observe(0.5, exemplar={"trace_id": letter * length})

        at_once(*[lambda letter=letter: work(letter) for letter in "abcd"])
        reader.poll()
        (shown,) = reader.snapshot().families["step_seconds"].exemplars
        assert len(set(shown.labels[0][1])) == 1


def test_closing_while_others_emit_loses_no_record_that_was_accepted(namespace: str) -> None:
    accepted, attempted = [0, 0, 0], [0, 0, 0]
    with Consumer("orders", namespace) as consumer:
        ring = Producer("orders", DTYPE, namespace, capacity=2**17)

        def work(number: int) -> None:
            while not ring.closed:
                attempted[number] += 1
                accepted[number] += ring.emit_fields(number, accepted[number])

        def close() -> None:
            try:
                # Not that they are accepted: who begins late finds the ring full.
                wait_until(lambda: min(attempted) > 100, "all threads emit")
            finally:
                ring.close()

        at_once(*[lambda number=number: work(number) for number in range(3)], close)
        found = drained(consumer, sum(accepted))
        assert len(consumer.read()) == 0
    for number in range(3):
        assert found["seq"][found["thread"] == number].tolist() == list(range(accepted[number]))


def test_a_child_that_a_thread_forks_counts_for_itself(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        steps = telemetry.counter("steps_total")
        steps.inc()
        counts: list[int] = []

        def in_thread() -> None:
            steps.inc()

            def in_its_child() -> int:
                assert steps.inc()
                at_once(steps.inc, steps.inc)
                return telemetry.stats().attempted

            counts.append(in_child(in_its_child))

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        reader.poll()
        assert counts == [3]
        assert telemetry.stats().attempted == 2
        assert reader.snapshot().value("steps_total") == 5


@free_threaded
def test_a_thread_has_a_ring_from_its_first_emit_to_its_end(namespace: str) -> None:
    ending = threading.Event()
    with Telemetry("bot", namespace) as telemetry:
        steps = telemetry.counter("steps_total")
        steps.inc()
        emitted = threading.Barrier(4)

        def work() -> None:
            assert ring_count(namespace) >= 1
            steps.inc()
            emitted.wait()
            ending.wait()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        emitted.wait()
        assert ring_count(namespace) == 4
        ending.set()
        for thread in threads:
            thread.join()
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            wait_until(lambda: reader.poll() is not None and ring_count(namespace) == 1, "three rings are unlinked")
            assert reader.snapshot().value("steps_total") == 4
            assert telemetry.stats().attempted == 4


@free_threaded
def test_a_ring_that_no_thread_has_is_taken_by_the_next(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace) as telemetry:
        steps = telemetry.counter("steps_total")
        for _ in range(100):
            thread = threading.Thread(target=steps.inc)
            thread.start()
            thread.join()
        assert ring_count(namespace) == 1
        assert telemetry.stats().in_ring == 100
        reader.poll()
        assert reader.snapshot().value("steps_total") == 100


@free_threaded
def test_importing_everything_leaves_the_gil_off() -> None:
    run_python(
        "import sys\n"
        "import shmtelemetry.compat.prometheus_client, shmtelemetry.cli, shmtelemetry.contrib.asgi\n"
        "import shmtelemetry.sidecar\n"
        "assert not sys._is_gil_enabled()",
        PYTHONWARNINGS="error",
    )


def test_a_process_that_exits_with_threads_at_work_leaves_a_whole_account(namespace: str) -> None:
    script = """
import sys, threading, time
from shmtelemetry import Telemetry
telemetry = Telemetry("bot", sys.argv[1])
steps = telemetry.counter("steps_total")
def work():
    while True:
        steps.inc()
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
while telemetry.stats().attempted < 10_000:
    time.sleep(0.001)
"""
    with Reader(namespace, ephemeral=True) as reader:
        run_python(script, namespace)
        wait_until(lambda: reader.poll() is not None and ring_count(namespace) == 0, "nothing is left of it")
        assert reader.snapshot().value("steps_total") >= 10_000
