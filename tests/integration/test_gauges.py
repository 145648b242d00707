"""Gauges: the last value by time, or what several producers' values make together."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from shmtelemetry import SAMPLE, Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Snapshot


def values(snapshot: Snapshot, name: str) -> dict[tuple[str, ...], float]:
    family = snapshot.families[name]
    return dict(zip(family.labels, family.values.tolist(), strict=True))


def test_the_last_value_by_time_wins_whichever_ring_is_drained_first(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        ours, theirs = a.gauge("g"), b.gauge("g")
        reader.poll()
        for turn in range(20):
            early, late = (ours, theirs) if turn % 2 else (theirs, ours)
            early.set(-1.0)
            late.set(float(turn))
            reader.poll()
            assert reader.snapshot().value("g") == turn


def test_of_many_values_in_one_turn_the_last_stays(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        gauge = telemetry.gauge("g")
        for value in range(1000):
            gauge.set(value)
        reader.poll()
        assert reader.snapshot().value("g") == 999


@pytest.mark.parametrize("value", [math.inf, -math.inf, -0.0, 5e-324])
def test_a_gauge_takes_any_value(namespace: str, value: float) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.gauge("g").set(value)
        reader.poll()
        assert math.copysign(1.0, reader.snapshot().value("g")) == math.copysign(1.0, value)
        assert reader.snapshot().value("g") == value


def test_a_gauge_can_be_nan(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.gauge("g").set(math.nan)
        reader.poll()
        assert math.isnan(reader.snapshot().value("g"))


@pytest.mark.parametrize(("merge", "merged"), [("sum", 6.0), ("min", 1.0), ("max", 3.0)])
def test_values_of_several_producers_become_one_and_go_with_their_producers(
    namespace: str, merge: str, merged: float
) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        producers = [Telemetry(f"p{value}", namespace) for value in (1, 2, 3)]
        for value, telemetry in enumerate(producers, 1):
            telemetry.gauge("g", labels=("x",), merge=merge).labels("y").set(value)
        reader.poll()
        assert values(reader.snapshot(), "g") == {("y",): merged}
        producers[0].close()
        producers[2].close()
        reader.poll()
        assert values(reader.snapshot(), "g") == {("y",): 2.0}
        producers[1].close()
        reader.poll()
        assert values(reader.snapshot(), "g") == {}


def test_all_values_are_shown_with_their_producer(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        a.gauge("g", labels=("x",), merge="all").labels("y").set(1)
        b.gauge("g", labels=("x",), merge="all").labels("y").set(2)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.families["g"].label_names == ("x", "producer")
        assert values(snapshot, "g") == {("y", "a"): 1.0, ("y", "b"): 2.0}
        assert snapshot.value("g", x="y", producer="b") == 2.0


def test_of_two_segments_of_one_producer_the_newer_value_is_shown(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as a,
        Telemetry("p", namespace) as b,
    ):
        ours, theirs = a.gauge("g", merge="all"), b.gauge("g", merge="all")
        for value, gauge in enumerate((ours, theirs, ours)):
            gauge.set(value)
            reader.poll()
            assert values(reader.snapshot(), "g") == {("p",): value}


@pytest.mark.parametrize(("merge", "value"), [("min", 5.0), ("max", -5.0), ("sum", 5.0)])
def test_a_producer_that_never_set_its_gauge_has_no_part_in_it(namespace: str, merge: str, value: float) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        a.gauge("g", merge=merge).set(value)
        b.gauge("g", merge=merge)
        b.counter("c").inc()
        reader.poll()
        assert reader.snapshot().value("g") == value


def test_values_of_ended_producers_expire_also_when_they_ended_without_a_reader(namespace: str) -> None:
    with Telemetry("a", namespace) as a, Telemetry("b", namespace) as b:
        a.gauge("g", merge="sum").set(1)
        b.gauge("g", merge="sum").set(2)
        with Reader(namespace) as reader:
            reader.poll()
            assert reader.snapshot().value("g") == 3
        b.close()
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert reader.snapshot().value("g") == 1


def test_restarts_of_a_producer_use_the_same_series_again(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        counts = []
        for run in range(5):
            with Telemetry("p", namespace) as telemetry:
                telemetry.gauge("g", merge="sum").set(run)
                reader.poll()
                assert reader.snapshot().value("g") == run
                counts.append(reader.snapshot().value("shmtel_series"))
            reader.poll()
            assert values(reader.snapshot(), "g") == {}
        assert counts == counts[:1] * 5


def test_a_time_far_in_the_future_does_not_freeze_a_gauge(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        gauge = telemetry.gauge("g")
        telemetry._producer.emit_many(np.array([(2**63, 0, 0, 1.0)], SAMPLE))
        reader.poll()
        gauge.set(2.0)
        reader.poll()
        assert reader.snapshot().value("g") == 2.0


@pytest.mark.parametrize("merge", ["last", "sum", "all"])
def test_a_snapshot_says_when_a_gauge_was_set(namespace: str, merge: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        gauge = telemetry.gauge("g", merge=merge)
        before = time.time_ns()
        gauge.set(1.0)
        reader.poll()
        times = reader.snapshot().families["g"].times
        assert times is not None
        assert abs(int(times[0]) - before) < 1_000_000_000
