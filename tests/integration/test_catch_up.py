"""catch_up: everything that was published before the call is in the state; settle: every ended producer is gone."""

from __future__ import annotations

import threading

import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.segment import segment_names

ENOUGH = 60.0  # seconds


@pytest.mark.parametrize("running", [True, False])
def test_what_was_published_before_the_call_is_there_after_it(namespace: str, running: bool) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        if running:
            reader.start()
        for total in range(1, 101):
            counter.inc()
            assert reader.catch_up(ENOUGH)
            assert reader.snapshot().value("c_total") == total


@pytest.mark.parametrize("running", [True, False])
def test_so_is_what_a_producer_published_that_nobody_knew(namespace: str, running: bool) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        if running:
            reader.start()
        for number in range(30):
            with Telemetry(f"p{number}", namespace, capacity=64) as telemetry:
                telemetry.counter("c").inc()
                assert reader.catch_up(ENOUGH)
                assert reader.snapshot().value("c_total") == number + 1


def test_so_are_records_that_name_series_nobody_knew(namespace: str) -> None:
    schema = Schema([("id", "<u4"), ("x", "<u8")], {"id": field("label"), "x": field("counter", name="m")})
    with Reader(namespace, ephemeral=True) as reader, Producer("p", schema, namespace) as ring:
        reader.start()
        for number in range(300):
            ring.emit_fields(number, 1)
            ring.emit_fields(number + 1_000_000, 1)
            if number % 10 == 9:
                assert reader.catch_up(ENOUGH)
                assert reader.snapshot().families["m_total"].values.sum() == 2 * (number + 1)


def test_so_is_what_a_full_ring_kept_in_cells(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=2) as telemetry:
        counter, late = telemetry.counter("c"), 0
        reader.start()
        for number in range(50):
            assert all(counter.inc() for _ in range(20))
            late += telemetry.counter(f"late_{number}").inc()
            assert reader.catch_up(ENOUGH)
            snapshot = reader.snapshot()
            assert snapshot.value("c_total") == 20 * (number + 1)
            assert snapshot.value(f"late_{number}_total") == 1


def test_cells_of_series_that_nobody_has_looked_up_yet_are_not_taken_for_counted(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=2) as telemetry:
        counter = telemetry.counter("c")
        counter.inc()
        reader.poll()
        assert all(counter.inc() for _ in range(3))
        telemetry.counter("late").inc()
        published = reader._role._agent.published()
        reader._role._agent.poll()  # a turn without the keeper
        assert reader._role._agent.behind(published) != []
        reader.poll()
        assert reader._role._agent.behind(published) == []
        assert reader.snapshot().value("late_total") == 1


@pytest.mark.slow
def test_so_is_a_record_in_one_of_thousands_of_idle_rings(namespace: str) -> None:
    schema = Schema([("x", "<u8")], {"x": field("counter", name="m")})
    rings = [Producer("p", schema, namespace, capacity=2) for _ in range(2000)]
    try:
        with Reader(namespace, ephemeral=True) as reader:
            assert [ring.emit_fields(1) for ring in rings] == [True] * len(rings)
            reader.poll()
            assert reader.snapshot().value("m_total") == 2000
            assert [ring.emit_fields(1) for ring in rings] == [True] * len(rings)
            reader.start()
            assert reader.catch_up(ENOUGH)
            assert reader.snapshot().value("m_total") == 4000
            for ring in rings[::100]:
                ring.emit_fields(1)
                assert reader.catch_up(ENOUGH)
            assert reader.snapshot().value("m_total") == 4020
            for ring in rings:
                ring.close()
            assert reader.settle(ENOUGH)
            assert list(segment_names(namespace)) == []
    finally:
        for ring in rings:
            ring.close()


def test_many_threads_may_catch_up_at_once(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        reader.start()
        behind = []

        def emit_and_look() -> None:
            for _ in range(20):
                counter.inc()
                at_least = telemetry.stats().attempted
                assert reader.catch_up(ENOUGH)
                if reader.snapshot().value("c_total") < at_least:
                    behind.append(at_least)

        threads = [threading.Thread(target=emit_and_look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert behind == []


def test_catch_up_says_when_it_ran_out_of_time(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        reader.start()
        with reader._role._keeping:  # the keeper cannot begin a round
            assert not reader.catch_up(0.01)
        assert reader.catch_up(ENOUGH)


@pytest.mark.parametrize("running", [True, False])
def test_settle_waits_until_ended_producers_are_drained_and_gone(namespace: str, running: bool) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        if running:
            reader.start()
        for run in range(1, 6):
            for _ in range(10):
                with Telemetry("p", namespace, capacity=64) as telemetry:
                    telemetry.counter("c").inc()
            assert reader.settle(ENOUGH)
            assert list(segment_names(namespace)) == []
            snapshot = reader.snapshot()
            assert snapshot.value("c_total") == 10 * run
            assert snapshot.producers["p"].live == 0


def test_settle_does_not_wait_for_those_that_live(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        reader.start()
        assert reader.settle(ENOUGH)
        assert reader.snapshot().value("c_total") == 1
        assert len(list(segment_names(namespace))) == 1


def test_settle_says_when_it_ran_out_of_time(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        reader.start()
        with reader._role._keeping:  # the keeper cannot begin a round
            telemetry.close()
            assert not reader.settle(0.01)
        assert reader.settle(ENOUGH)
