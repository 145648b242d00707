"""Hundreds of short-lived producers; thousands of them in tests/stress."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from shmtelemetry import Consumer, Reader, Telemetry, layout
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.churn import assert_nothing_was_lost, churn
from tests.forging import Forgery
from tests.processes import child, kill, wait_until
from tests.readers import reader


@pytest.mark.unsanitized(reason="a sanitizer keeps memory that was freed")
def test_short_lived_producers_leave_their_totals_and_nothing_else(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as served:
        assert_nothing_was_lost(churn(namespace, served.url, served.process.pid, 200), 200)


def states(snapshot: Snapshot) -> dict[str, float]:
    family = snapshot.families["shmtel_producers"]
    return {label: value for (label,), value in zip(family.labels, family.values.tolist(), strict=True) if value}


def test_producers_are_shown_by_their_state_as_they_come_and_go(namespace: str) -> None:
    def produce() -> None:
        telemetry = Telemetry("p", namespace)
        telemetry.counter("c").inc()
        signal.pause()

    with Reader(namespace, ephemeral=True) as running, ExitStack() as stack:
        running.start()
        alive = [stack.enter_context(child(produce)) for _ in range(6)]
        wait_until(lambda: states(running.scrape()) == {"live": 6}, "six produce")
        for left in range(5, -1, -1):
            kill(alive.pop())
            wait_until(lambda left=left: states(running.scrape()) == ({"live": left} if left else {}), "one has ended")
            assert running.scrape().value("c_total") == 6


def test_a_broken_segment_and_one_that_somebody_else_consumes_are_shown_and_spoil_nothing(namespace: str) -> None:
    with Telemetry("good", namespace) as telemetry, Telemetry("consumed", namespace) as other:
        counter = telemetry.counter("c")
        counter.inc()
        other.counter("d").inc()
        broken = Forgery(telemetry._producer.segment)
        broken.set_produced(layout.WRITE_POSITION, 2**63)
        path = broken.put()
        with Consumer("consumed", namespace) as consumer, Reader(namespace, ephemeral=True) as running:
            assert len(consumer.read()) == 1
            for number in range(1, 4):
                running.poll()
                snapshot = running.snapshot()
                assert states(snapshot) == {"live": 1, "foreign": 1, "quarantined": 1}
                assert snapshot.value("c_total") == number
                counter.inc()
            path.unlink()
            running.poll()
            assert states(running.snapshot()) == {"live": 1, "foreign": 1}
