"""The text formats against prometheus_client: its writers as the oracle, its parsers as the readers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as PrometheusMetric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PrometheusExemplar
from prometheus_client.utils import floatToGoString

from shmtelemetry.aggregate.snapshot import Exemplar, Family, Snapshot
from shmtelemetry.exporters._text import go_string
from shmtelemetry.exporters.prometheus import Exposition, expose
from shmtelemetry.metric import UNITS, Metric


class Oracle(Collector):
    """The same families in prometheus_client's words."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.families = list(snapshot.families.values())

    def collect(self) -> Iterator[PrometheusMetric]:
        for family in self.families:
            name, help = family.metric.name, family.metric.help
            base = name.removesuffix("_total") if family.metric.kind == "counter" else name
            unit = family.metric.unit if base.endswith(f"_{family.metric.unit}") else ""
            yield from getattr(self, f"_{family.metric.kind}")(family, name, help, unit)

    def _counter(self, family: Family, name: str, help: str, unit: str) -> Iterator[PrometheusMetric]:
        metric = CounterMetricFamily(name, help, labels=family.label_names, unit=unit)
        for labels, value, created in zip(family.labels, family.values, family.created, strict=True):
            metric.add_metric(labels, float(value), created=float(created) or None)
        yield with_exemplars(metric, family, f"{metric.name}_total", 1)

    def _gauge(self, family: Family, name: str, help: str, unit: str) -> Iterator[PrometheusMetric]:
        metric = GaugeMetricFamily(name, help, labels=family.label_names, unit=unit)
        for labels, value in zip(family.labels, family.values, strict=True):
            metric.add_metric(labels, float(value))
        yield metric

    def _histogram(self, family: Family, name: str, help: str, unit: str) -> Iterator[PrometheusMetric]:
        assert family.counts is not None
        metric = HistogramMetricFamily(name, help, labels=family.label_names, unit=unit)
        bounds = [*map(floatToGoString, family.metric.buckets), "+Inf"]
        rows = zip(family.labels, family.values, family.created, family.counts, strict=True)
        for labels, value, created, counts in rows:
            buckets = list(zip(bounds, np.cumsum(counts).tolist(), strict=True))
            metric.add_metric(labels, buckets, float(value))
            if created:
                named = dict(zip(family.label_names, labels, strict=True))
                metric.add_sample(f"{name}_created", named, float(created))
        yield with_exemplars(metric, family, f"{name}_bucket", len(bounds))


def with_exemplars(metric: PrometheusMetric, family: Family, name: str, buckets: int) -> PrometheusMetric:
    """The samples of this name, of which each series has as many as buckets, with the family's exemplars."""
    lines = [number for number, sample in enumerate(metric.samples) if sample.name == name]
    for one in family.exemplars:
        at = lines[one.series * buckets + one.bucket]
        exemplar = PrometheusExemplar(dict(one.labels), one.value, one.time_ns / 10**9)
        metric.samples[at] = metric.samples[at]._replace(exemplar=exemplar)
    return metric


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    st.sampled_from('\\"\n{}=, #aé'), max_size=8
)
any_float = st.floats() | st.integers(-(2**70), 2**70).map(float) | st.integers(-(10**8), 10**8).map(float)
counted = st.integers(0, 2_000_000) | st.integers(0, 2**60)
total = st.floats(0, allow_infinity=False) | counted.map(float)


@st.composite
def families(draw: st.DrawFn, number: int, readable: bool) -> Family:
    """A family; one that is `readable` has no number that the OpenMetrics parser refuses."""
    kind = draw(st.sampled_from(["counter", "gauge", "histogram"]))
    unit = draw(st.sampled_from(["", *UNITS]))
    suffix = draw(st.sampled_from(["", f"_{unit}" if unit else "", "_total", "_count", "_ratio_of"]))
    name = f"m{number}{suffix}" + ("_total" if kind == "counter" else "")
    label_names = st.sampled_from(["a", "Z", "la", "lf", "l_e", "symbol"])
    names = tuple(draw(st.lists(label_names, unique=True, max_size=3)))
    low = 0 if readable else None
    bounds = draw(st.lists(st.floats(low, allow_nan=False, allow_infinity=False), unique=True, max_size=4))
    buckets = tuple(sorted(bounds)) if kind == "histogram" else ()
    metric = Metric(name, kind, draw(anything).strip(), names, buckets, unit)
    values = st.lists(st.tuples(*[anything] * len(names)), unique=True, max_size=3)
    labels = tuple(draw(values)) if names else ((),) * draw(st.integers(0, 1))
    numbers = total if readable and kind != "gauge" else any_float
    rows = st.lists(counted, min_size=len(buckets) + 1, max_size=len(buckets) + 1)

    def column(strategy: st.SearchStrategy[Any], dtype: type) -> np.ndarray:
        return np.array([draw(strategy) for _ in labels], dtype)

    counts = column(rows, np.uint64).reshape(len(labels), len(buckets) + 1) if kind == "histogram" else None
    exemplars = draw(exemplars_of(metric, len(labels), readable)) if kind != "gauge" else ()
    return Family(metric, names, labels, column(numbers, np.float64), column(total, np.float64), counts, exemplars)


@st.composite
def exemplars_of(draw: st.DrawFn, metric: Metric, series: int, readable: bool) -> tuple[Exemplar, ...]:
    """Of some of the buckets of these series, in order. readable: without what that parser gets wrong, as quotes."""
    places = [(number, bucket) for number in range(series) for bucket in range(len(metric.buckets) + 1)]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=4)) if places else []
    values = st.text("aé0 -_.:", max_size=12) if readable else anything
    named = st.dictionaries(st.sampled_from(["trace_id", "span_id", "Z", "_a1"]), values, min_size=1)
    times = st.integers(0, 2**62)
    return tuple(
        Exemplar(*place, tuple(draw(named).items()), draw(st.floats(allow_nan=False)), draw(times))
        for place in sorted(chosen)
    )


@st.composite
def snapshots(draw: st.DrawFn, readable: bool) -> Snapshot:
    drawn = [draw(families(number, readable)) for number in range(draw(st.integers(0, 3)))]
    return Snapshot("default", 0, {family.metric.name: family for family in drawn}, {})


def samples(metric: PrometheusMetric) -> list[tuple[str, list[tuple[str, str]], str]]:
    """repr tells -0.0 from 0.0, and makes NaN equal to itself."""
    return [(item.name, sorted(item.labels.items()), repr(float(item.value))) for item in metric.samples]


def exemplars(metric: PrometheusMetric) -> list[tuple[dict[str, str], float, float] | None]:
    found = [item.exemplar for item in metric.samples]
    # By its text: the parser's seconds and nanoseconds, added up, may be another double than the one written.
    return [one and (one.labels, float(one.value), float(str(one.timestamp))) for one in found]


@given(any_float)
def test_a_number_is_written_as_prometheus_client_writes_it(value: float) -> None:
    assert go_string(value).decode() == floatToGoString(value)


@given(st.lists(snapshots(readable=False), min_size=1, max_size=3))
def test_one_snapshot_after_another_is_written_as_prometheus_client_writes_it(taken: list[Snapshot]) -> None:
    exposition = Exposition()
    for snapshot in taken:
        assert exposition.expose(snapshot) == generate_latest(Oracle(snapshot))
        assert exposition.expose(snapshot, openmetrics=True) == generate_openmetrics(Oracle(snapshot))


@given(snapshots(readable=True))
def test_the_openmetrics_parser_reads_back_what_was_written(snapshot: Snapshot) -> None:
    read = list(parse_openmetrics(expose(snapshot, openmetrics=True).decode()))
    wanted = list(Oracle(snapshot).collect())
    assert [(item.name, item.type, item.documentation, item.unit) for item in read] == [
        (item.name, item.type, item.documentation, item.unit) for item in wanted
    ]
    assert list(map(samples, read)) == list(map(samples, wanted))
    assert list(map(exemplars, read)) == list(map(exemplars, wanted))


@given(snapshots(readable=False))
def test_the_text_parser_reads_back_what_was_written(snapshot: Snapshot) -> None:
    read = {item.name: item for item in parse_text(expose(snapshot).decode())}
    for wanted in Oracle(snapshot).collect():
        found = read[wanted.name]
        born = read.get(f"{wanted.name}_created")
        assert sorted(samples(found) + (samples(born) if born else [])) == sorted(samples(wanted))
        assert (found.documentation, found.type) == (wanted.documentation, wanted.type)
