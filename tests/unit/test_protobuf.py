"""The protobuf format: who gets it, and what is in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Family, Snapshot
from shmtelemetry.exporters.protobuf import MetricFamilies, is_asked_for
from shmtelemetry.exporters.shown import Shown
from shmtelemetry.metric import Metric
from tests.metric_family import native_counts, read_delimited

ASKED = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        # Prometheus 2.42 with native histograms, and without.
        (f"{ASKED},{OPENMETRICS};q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        (f"{OPENMETRICS},application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         False),
        # Prometheus 3.5 with native histograms; with PrometheusProto behind another one in scrape_protocols.
        (f"{ASKED};q=0.6,{OPENMETRICS};escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
         "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", True),
        (f"text/plain;version=0.0.4;q=0.6,{ASKED};q=0.5,*/*;q=0.4", False),
        (f"{OPENMETRICS};q=0.6,{ASKED};q=0.5", False),
        (f"{ASKED};q=0.5,text/html;q=0.9", True),
        ("Application/VND.google.protobuf; Encoding=delimited; proto=io.prometheus.client.MetricFamily", True),
        (f"{ASKED};q=0", False),
        (f"{ASKED};q=much", False),
        (ASKED.replace("delimited", "text"), False),
        (ASKED.replace(";encoding=delimited", ""), False),
        (ASKED.replace("MetricFamily", "Metric"), False),
        ("application/vnd.google.protobuf", False),
        ("*/*", False),
        ("", False),
    ],
)  # fmt: skip
def test_only_who_asks_for_it_gets_protobuf(accept: str, asked: bool) -> None:
    assert is_asked_for(accept) == asked


@pytest.fixture
def taken(namespace: str) -> Snapshot:
    with (
        Reader(namespace, ephemeral=True, windows=False) as reader,
        Telemetry("bot", namespace=namespace) as telemetry,
    ):
        latency = telemetry.histogram("latency_seconds", "Latency.", labels=("venue", "book"), buckets=(0.5, 1.0))
        for value in (0.0, 5e-324, 0.3, 1.0, 1.001, 1.001, 1.03, 64.0, -3.0, float("-inf"), 1.7e308, float("inf")):
            latency.labels("x", "y").observe(value)
        latency.labels("empty", "y")
        telemetry.counter("orders_total", "Orders.").inc(3)
        telemetry.gauge("queue_depth").set(-2.5)
        reader.poll()
        return reader.snapshot()


def read(snapshot: Snapshot, *names: str) -> list[object]:
    return read_delimited(MetricFamilies().expose(snapshot, names))


def test_a_histogram_has_both_kinds_of_buckets(taken: Snapshot) -> None:
    (family,) = read(taken, "latency_seconds_count")
    series = family.metric[0]
    assert [(pair.name, pair.value) for pair in series.label] == [("book", "y"), ("venue", "x")]
    found = series.histogram
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in found.bucket] == [
        (0.5, 5), (1.0, 6), (np.inf, 12),
    ]  # fmt: skip
    assert (found.schema, found.zero_count, found.sample_count) == (5, 2, 12)
    assert native_counts(found) == {-55: 1, 0: 1, 1: 2, 2: 1, 192: 1, 32766: 1, 32769: 1}
    assert [(span.offset, span.length) for span in found.positive_span] == [
        (-55, 1), (54, 3), (189, 1), (32573, 1), (2, 1),
    ]  # fmt: skip


def test_negative_values_are_counted_below_all_others(taken: Snapshot) -> None:
    (family,) = read(taken, "latency_seconds")
    assert native_counts(family.metric[0].histogram, "negative") == {32769: 2}


def test_a_histogram_without_observations_is_a_native_one_all_the_same(namespace: str) -> None:
    """Prometheus takes one without spans and without a zero threshold for a classic one."""
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.histogram("latency_seconds", buckets=(0.5,)).emit(0.1)
        reader.poll()
        snapshot = reader.snapshot()
    family, found = snapshot.families["latency_seconds"], snapshot.distributions("latency_seconds")
    nothing = replace(found, begin=np.zeros(2, np.int64), indices=np.empty(0, np.int32), counts=np.empty(0, np.uint64))
    none = replace(family, counts=np.zeros((1, 2), np.uint64), values=np.zeros(1))
    empty = replace(snapshot, families={"latency_seconds": none}, _distributions=lambda _: nothing)
    message = read(empty, "latency_seconds")[0].metric[0].histogram
    assert (message.sample_count, len(message.positive_span)) == (0, 0)
    assert message.zero_threshold > 0


def test_names_choose_families_by_their_own_name_or_that_of_a_sample(taken: Snapshot) -> None:
    assert [family.name for family in read(taken, "latency_seconds_bucket", "orders", "nothing")] == [
        "latency_seconds", "orders_total",
    ]  # fmt: skip
    assert {"orders_total", "queue_depth", "shmtel_series"} <= {
        family.name for family in read_delimited(MetricFamilies().expose(taken))
    }


def test_what_is_shown_of_a_snapshot_keeps_its_distributions(taken: Snapshot) -> None:
    shown = Shown(include=["latency_*"], const_labels=[("env", "prod")])
    (family,) = read_delimited(MetricFamilies().expose(shown(taken)))
    series = family.metric[0]
    assert [pair.name for pair in series.label] == ["book", "env", "venue"]
    assert sum(native_counts(series.histogram).values()) == 8


def test_a_family_without_series_is_left_out(taken: Snapshot) -> None:
    gauge = Family(Metric("g", "gauge", ""), (), (), np.empty(0), np.empty(0))
    assert MetricFamilies().expose(replace(taken, families={"g": gauge})) == b""


def test_later_snapshots_show_new_series_and_new_definitions(taken: Snapshot) -> None:
    writer = MetricFamilies()

    def written(labels: tuple[tuple[str, ...], ...], name: str = "l") -> list[tuple[str, str]]:
        count = len(labels)
        gauge = Family(Metric("g", "gauge", "", (name,)), (name,), labels, np.ones(count), np.zeros(count))
        (family,) = read_delimited(writer.expose(replace(taken, families={"g": gauge})))
        return [(pair.name, pair.value) for series in family.metric for pair in series.label]

    assert written((("a",),)) == [("l", "a")]
    assert written((("a",), ("b",))) == [("l", "a"), ("l", "b")]
    assert written((("a",), ("b",)), "m") == [("m", "a"), ("m", "b")]


def test_a_lone_surrogate_does_not_fail_the_rest(taken: Snapshot) -> None:
    gauge = Family(Metric("g", "gauge", "", ("l",)), ("l",), (("\ud800",), ("fine",)), np.ones(2), np.zeros(2))
    (family,) = read_delimited(MetricFamilies().expose(replace(taken, families={"g": gauge})))
    assert [series.label[0].value for series in family.metric] == ["?", "fine"]


def test_a_snapshot_without_distributions_is_refused(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.histogram("latency_seconds").emit(0.1)
        reader.poll()
        snapshot = reader.snapshot(distributions=False)
    with pytest.raises(ValueError, match="taken without distributions"):
        MetricFamilies().expose(snapshot)
    with pytest.raises(KeyError, match="no histogram shmtel_series"):
        snapshot.distributions("shmtel_series")


def test_numbers_that_do_not_belong_to_the_series_are_refused(taken: Snapshot) -> None:
    for name, change in (
        ("queue_depth", {"values": np.ones(2)}),
        ("orders_total", {"created": np.ones(2)}),
        ("latency_seconds", {"counts": np.ones((1, 3), np.uint64)}),
        ("latency_seconds", {"counts": np.ones((2, 2), np.uint64)}),
    ):
        wrong = replace(taken, families={name: replace(taken.families[name], **change)})
        with pytest.raises(ValueError, match=r"\d series|\d bounds"):
            MetricFamilies().expose(wrong)
