"""Series that go: removed by their producers, and gauges that nobody has any more."""

from __future__ import annotations

import math
import time

import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import child, in_child, kill, wait_until
from tests.reading import shown_pid


def series(snapshot: Snapshot, name: str) -> dict[tuple[str, ...], float]:
    """Values of a family's series; counts of a histogram's."""
    family = snapshot.families.get(name)
    if family is None:
        return {}
    values = family.values if family.counts is None else family.counts.sum(axis=1)
    return dict(zip(family.labels, values.tolist(), strict=True))


def test_a_removed_series_goes_and_begins_from_zero_when_it_is_used_again(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        families = [
            telemetry.counter("m_total", labels=("x",)),
            telemetry.histogram("h", labels=("x",)),
            telemetry.gauge("g", labels=("x",)),
        ]
        for turn in range(1, 5):
            for family in families:
                for _ in range(turn):
                    family.labels("a").emit(1.0)
                family.labels("b").emit(1.0)
            reader.poll()
            snapshot = reader.snapshot()
            assert series(snapshot, "m_total") == {("a",): turn, ("b",): turn}
            assert series(snapshot, "h") == {("a",): turn, ("b",): turn}
            assert series(snapshot, "g") == {("a",): 1, ("b",): 1}
            histogram = snapshot.histogram("h", x="a")
            assert (histogram.count, int(histogram.exponential.sum()), histogram.sum) == (turn, turn, turn)
            assert (histogram.min, histogram.max) == (1.0, 1.0)
            for family in families:
                family.remove("a")
            reader.poll()
            assert all(set(series(reader.snapshot(), name)) == {("b",)} for name in ("m_total", "h", "g"))
        families[0].clear()
        reader.poll()
        assert series(reader.snapshot(), "m_total") == {}


def test_what_was_emitted_before_and_after_is_told_apart_in_one_turn(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.counter("m_total", labels=("x",))
        for turn in range(1, 6):
            for _ in range(100):
                family.labels("a").inc()
            family.remove("a")
            for _ in range(turn):
                family.labels("a").inc()
            reader.poll()
            assert series(reader.snapshot(), "m_total") == {("a",): turn}
            family.remove("a")


def test_a_handle_that_outlives_its_series_counts_nowhere(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.counter("m_total", labels=("x",))
        old = family.labels("a")
        old.inc()
        family.remove(x="a")
        reader.poll()
        assert old.inc()
        family.labels("a").inc(3)
        reader.poll()
        assert series(reader.snapshot(), "m_total") == {("a",): 3}
        assert telemetry.stats().holds


def test_a_series_stays_for_as_long_as_another_living_producer_has_it(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("a", namespace) as a, Telemetry("b", namespace) as b:
        ours, theirs = (one.counter("m_total", labels=("x",)) for one in (a, b))
        ours.labels("l").inc(1)
        theirs.labels("l").inc(2)
        reader.poll()
        ours.remove("l")
        reader.poll()
        assert series(reader.snapshot(), "m_total") == {("l",): 3}
        theirs.remove("l")
        reader.poll()
        assert series(reader.snapshot(), "m_total") == {}


def test_a_metric_without_labels_can_be_removed_and_defined_again(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        telemetry.counter("m_total").inc(5)
        telemetry.remove("m_total")
        telemetry.counter("m_total").inc(2)
        reader.poll()
        assert reader.snapshot().value("m_total") == 2
        telemetry.remove("m_total")
        reader.poll()
        assert series(reader.snapshot(), "m_total") == {}
        with pytest.raises(KeyError):
            telemetry.remove("m_total")


def test_the_next_reader_neither_brings_back_nor_takes_away(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        family = telemetry.counter("m_total", labels=("x",))
        for _ in range(3):
            family.labels("gone").inc(7)
            family.labels("again").inc(7)
            with Reader(namespace) as reader:
                reader.poll()
            family.remove("gone")
            family.remove("again")
            family.labels("again").inc(2)
            with Reader(namespace) as reader:
                reader.poll()
                assert series(reader.snapshot(), "m_total") == {("again",): 2}
            with Reader(namespace) as reader:
                assert series(reader.snapshot(), "m_total") == {("again",): 2}
                reader.poll()
                assert series(reader.snapshot(), "m_total") == {("again",): 2}
            family.remove("again")
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert series(reader.snapshot(), "m_total") == {}


def test_a_forked_child_does_not_bring_back_what_its_parent_removed(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        reader.start()
        family = telemetry.counter("m_total", labels=("x",))
        kept = family.labels("kept")
        family.labels("gone").inc()
        family.remove("gone")
        kept.inc()
        assert series(reader.scrape(), "m_total") == {("kept",): 1}
        assert in_child(lambda: kept.inc())
        assert reader.settle()
        assert series(reader.scrape(), "m_total") == {("kept",): 2}


def test_removing_while_the_reader_runs_and_is_killed_keeps_all_counts_exact(namespace: str) -> None:
    def read() -> None:
        reader = Reader(namespace)
        reader.start()
        while True:
            time.sleep(60)

    with Telemetry("p", namespace, capacity=1024) as telemetry:
        family = telemetry.counter("m_total", labels=("x",))
        always = telemetry.counter("always_total")
        for turn in range(12):
            with child(read) as pid:
                wait_until(lambda pid=pid: shown_pid(namespace) == pid, "a reader runs")
                for _ in range(20 + 40 * turn):
                    family.labels("a").inc()
                    always.inc()
                    family.remove("a")
                    family.labels("b").inc()
                kill(pid)
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            total = sum(20 + 40 * turn for turn in range(12))
            assert series(reader.snapshot(), "m_total") == {("b",): total}
            assert reader.snapshot().value("always_total") == total


def test_thousands_of_removals_use_the_same_places_in_the_state(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.histogram("h", labels=("x",))

        def turn() -> int:
            for number in range(50):
                family.labels(number).emit(1e-3)
            family.clear()
            reader.poll()
            return int(reader._role._state.get("series"))

        first = turn()
        assert {turn() for _ in range(40)} == {first}


def test_gauges_of_the_dead_expire_and_totals_stay(namespace: str) -> None:
    with Reader(namespace, ephemeral=True, gauge_ttl=0.0) as reader:
        with Telemetry("p", namespace) as telemetry:
            telemetry.gauge("g").set(1)
            telemetry.gauge("kept", keep=True).set(2)
            telemetry.gauge("kept_sum", merge="sum", keep=True).set(3)
            telemetry.counter("c").inc()
            reader.poll()
            reader.poll()
            assert reader.snapshot().value("g") == 1
        reader.poll()
        reader.poll()
        snapshot = reader.snapshot()
        assert series(snapshot, "g") == {}
        assert [snapshot.value(name) for name in ("kept", "kept_sum", "c_total")] == [2, 3, 1]
        with Telemetry("p", namespace) as telemetry:
            telemetry.gauge("g")
            telemetry.gauge("kept_sum", merge="sum", keep=True).set(4)
            reader.poll()
            snapshot = reader.snapshot()
            assert [snapshot.value(name) for name in ("g", "kept", "kept_sum")] == [0, 2, 7]


def test_a_gauge_that_another_process_has_does_not_expire(namespace: str) -> None:
    with Reader(namespace, ephemeral=True, gauge_ttl=0.0) as reader, Telemetry("a", namespace) as living:
        living.gauge("g")
        with Telemetry("b", namespace) as telemetry:
            telemetry.gauge("g").set(5)
            reader.poll()
        for _ in range(3):
            reader.poll()
        assert reader.snapshot().value("g") == 5


def test_gauges_of_the_dead_stay_for_their_time(namespace: str) -> None:
    with Reader(namespace, ephemeral=True, gauge_ttl=math.inf) as reader:
        with Telemetry("p", namespace) as telemetry:
            telemetry.gauge("g").set(1)
        reader.poll()
        reader.poll()
        assert reader.snapshot().value("g") == 1
    for wrong in (-1.0, math.nan):
        with pytest.raises(ValueError, match="gauge_ttl"):
            Reader(namespace, gauge_ttl=wrong)


def test_what_one_of_several_removes_while_no_reader_runs_stays(namespace: str) -> None:
    with Telemetry("a", namespace) as a, Telemetry("m", namespace) as m, Telemetry("z", namespace) as z:
        families = [telemetry.counter("m_total", labels=("x",)) for telemetry in (a, m, z)]
        with Reader(namespace) as reader:
            for family in families:
                family.labels("l").inc(1000)
            reader.poll()
        for family in families[:2]:
            family.remove("l")
        with Reader(namespace, ephemeral=True) as reader:
            for _ in range(3):
                reader.poll()
                assert series(reader.snapshot(), "m_total") == {("l",): 3000}
            families[2].remove("l")
            reader.poll()
            assert series(reader.snapshot(), "m_total") == {}


def test_gauges_of_records_stay_for_as_long_as_their_producer_lives(namespace: str) -> None:
    schema = Schema([("x", "S8"), ("depth", "<f8")], {"x": field("label"), "depth": field("gauge", name="depth")})
    with Producer("p", schema, namespace) as ring:
        ring.emit_fields(b"a", 7.0)
        with Reader(namespace, gauge_ttl=0.0) as reader:
            reader.poll()
        with Reader(namespace, gauge_ttl=0.0) as reader:
            for _ in range(3):
                reader.poll()
            assert series(reader.snapshot(), "depth") == {("a",): 7}
    with Reader(namespace, ephemeral=True, gauge_ttl=0.0) as reader:
        for _ in range(3):
            reader.poll()
        assert series(reader.snapshot(), "depth") == {}
