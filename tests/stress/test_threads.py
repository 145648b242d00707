"""Threads that come and go by the thousand."""

from __future__ import annotations

import os
import threading

import pytest

from shmtelemetry import Telemetry
from tests.chaos import Record
from tests.processes import wait_until
from tests.readers import Running, reader
from tests.resources import Taken, assert_flat, taken
from tests.threads import at_once, ring_count

COUNT = 10_000
AT_ONCE = 8


def shows(served: Running, line: str) -> None:
    wait_until(lambda: line in served.get("/metrics"), f"the reader shows {line}")


@pytest.mark.stress
def test_ten_thousand_short_threads_leave_their_totals_and_nothing_else(
    namespace: str, record_property: Record
) -> None:
    readers: list[Taken] = []
    ours: list[Taken] = []
    with reader(namespace, "--ephemeral") as served, Telemetry("bot", namespace) as telemetry:
        steps, seconds = telemetry.counter("steps_total"), telemetry.histogram("step_seconds")
        steps.inc(0.0)

        def work() -> None:
            steps.inc()
            seconds.observe(0.5)

        for turn in range(COUNT // AT_ONCE):
            at_once(*[work] * AT_ONCE)
            if turn % 50 == 0:
                shows(served, f"steps_total {AT_ONCE * (turn + 1)}.0")
                readers.append(taken(served.process.pid, namespace))
                ours.append(taken(os.getpid(), namespace))
        shows(served, f"steps_total {COUNT}.0")
        shows(served, f"step_seconds_count {COUNT}.0")
        stats = telemetry.stats()
        assert (stats.attempted, stats.holds) == (2 * COUNT + 1, True)
        wait_until(lambda: ring_count(namespace) == 1, "the rings of ended threads are gone")
    assert_flat(readers)
    assert_flat(ours)
    assert threading.active_count() == 1
    record_property("threads that came and went: totals exact, nothing grew", COUNT)


@pytest.mark.stress
def test_threads_emit_define_and_remove_for_a_while_and_every_total_is_exact(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as served, Telemetry("bot", namespace) as telemetry:
        kept = telemetry.counter("kept_total", labels=("thread",))
        passing = telemetry.counter("passing_total", labels=("number",))

        def work(thread: int) -> None:
            handle = kept.labels(thread)
            for number in range(20_000):
                assert handle.inc()
                if number % 100 == 0:
                    assert passing.labels(number // 100).inc()
                    passing.remove(number // 100)

        at_once(*[lambda thread=thread: work(thread) for thread in range(6)])
        for thread in range(6):
            shows(served, f'kept_total{{thread="{thread}"}} 20000.0')
        assert telemetry.stats().holds
