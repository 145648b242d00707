"""Metrics of several producers become one; restarts go on; definitions that disagree."""

from __future__ import annotations

import logging
import math

import pytest

from shmtelemetry import Reader, Telemetry
from tests.histograms import exponential_counts, histogram_of


def test_counters_add_up_over_producers_and_label_sets_stay_apart(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        for amount, telemetry in enumerate((a, b), 1):
            family = telemetry.counter("c", labels=("x", "y"))
            family.labels("1", "2").inc(amount)
            family.labels("2", "1").inc(10 * amount)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("c_total", x="1", y="2") == 3
        assert snapshot.value("c_total", x="2", y="1") == 30


def test_histograms_of_several_producers_are_as_if_one_had_observed_everything(namespace: str) -> None:
    first, second, bounds = [0.001, 2.0, math.inf, 0.0], [2.0, 1e9, -1.0, 0.5], (0.5, 2.0)
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        for telemetry, values in ((a, first), (b, second)):
            observe = telemetry.histogram("h", buckets=bounds).observe
            assert all(observe(value) for value in values)
        reader.poll()
        merged, one = reader.snapshot().histogram("h"), histogram_of(first + second, bounds)
    assert exponential_counts(merged) == exponential_counts(one)
    assert merged.buckets == one.buckets
    assert (merged.count, merged.min, merged.max) == (one.count, one.min, one.max)
    assert (merged.zeros, merged.negatives, merged.infinities) == (1, 1, 1)


def test_a_restart_under_the_same_name_goes_on_with_the_totals(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        for run in range(1, 4):
            with Telemetry("p", namespace) as telemetry:
                telemetry.counter("c").inc(2)
                telemetry.histogram("h", buckets=(1.0,)).observe(0.5)
            reader.poll()
            snapshot = reader.snapshot()
            assert snapshot.value("c_total") == 2 * run
            assert snapshot.histogram("h").buckets == ((1.0, run), (math.inf, run))
            assert (snapshot.producers["p"].consumed, snapshot.producers["p"].live) == (2 * run, 0)


def test_two_producers_of_one_name_are_counted_as_both(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as a,
        Telemetry("p", namespace) as b,
    ):
        a.counter("c").inc()
        b.counter("c").inc()
        reader.poll()
        assert reader.snapshot().value("c_total") == 2
        assert reader.snapshot().producers["p"].live == 2


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (("counter", "x_total", {}), ("gauge", "x_total", {})),
        (("gauge", "x", {}), ("histogram", "x", {})),
        (("gauge", "x", {"labels": ("a",)}), ("gauge", "x", {"labels": ("b",)})),
        (("gauge", "x", {"labels": ("a",)}), ("gauge", "x", {})),
        (("gauge", "x", {"merge": "sum"}), ("gauge", "x", {"merge": "max"})),
        (("gauge", "x", {"unit": "seconds"}), ("gauge", "x", {"unit": "ms"})),
    ],
)
def test_of_definitions_that_disagree_the_first_stays_and_the_other_is_counted(
    namespace: str, first: tuple[str, str, dict], other: tuple[str, str, dict], caplog: pytest.LogCaptureFixture
) -> None:
    def use(telemetry: Telemetry, definition: tuple[str, str, dict], value: float) -> None:
        kind, name, options = definition
        instrument = getattr(telemetry, kind)(name, **options)
        handle = instrument.labels(*("v" for _ in options["labels"])) if "labels" in options else instrument
        for _ in range(3):
            handle.emit(value)

    name = first[1]
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
        caplog.at_level(logging.WARNING),
    ):
        use(a, first, 1.0)
        reader.poll()
        before = reader.snapshot().families[name]
        use(b, other, 1000.0)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.families[name].metric == before.metric
        assert list(snapshot.families[name].values) == list(before.values)
        assert snapshot.value("shmtel_conflicting_metrics_total") == 1
        assert snapshot.value("shmtel_invalid_records_total", producer="b") == 3
        assert snapshot.value("shmtel_invalid_records_total", producer="a") == 0
        assert sum(f"metric {name}" in line or "disagrees" in line for line in caplog.messages) == 1


def test_other_buckets_of_one_metric_are_counted_exactly_in_the_firsts(namespace: str) -> None:
    values = [0.1, 0.3, 0.5, 0.7, 2.0]
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        ours = a.histogram("h", buckets=(0.3, 0.5))
        reader.poll()
        theirs = b.histogram("h", buckets=(0.2, 0.6, 1.0))
        for value in values:
            ours.observe(value)
            theirs.observe(value)
        reader.poll()
        assert reader.snapshot().histogram("h").buckets == ((0.3, 4), (0.5, 6), (math.inf, 10))
        assert reader.snapshot().value("shmtel_conflicting_metrics_total") == 0


def test_definitions_that_differ_only_in_their_help_are_one_metric(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("a", namespace) as a,
        Telemetry("b", namespace) as b,
    ):
        a.counter("c", "One.").inc()
        b.counter("c", "Another.").inc()
        reader.poll()
        assert reader.snapshot().value("c_total") == 2
