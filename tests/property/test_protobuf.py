"""The protobuf exposition against the official runtime: what it reads is the snapshot."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry.aggregate.snapshot import Distributions, Exemplar, Family, Snapshot
from shmtelemetry.exporters.protobuf import MetricFamilies
from tests.metric_family import TYPES, native_counts, read_delimited
from tests.property.test_exposition import any_float, anything, counted, families

OVERFLOW = 1024 * 32 + 1  # the bucket of infinity
index = st.integers(-1022 * 32, 1024 * 32) | st.integers(-40, 40)  # neighbours and gaps


@st.composite
def histograms(draw: st.DrawFn, family: Family) -> tuple[Family, Distributions]:
    """A histogram with distributions whose counts agree with its classic ones."""
    size = len(family.labels)
    buckets = [draw(st.dictionaries(index, st.integers(1, 2**50), max_size=8)) for _ in range(size)]
    apart = np.array([draw(st.tuples(*[counted | st.just(0)] * 3)) for _ in range(size)], np.uint64).reshape(size, 3)
    assert family.counts is not None
    counts = np.zeros_like(family.counts)
    for series in range(size):
        total = sum(buckets[series].values()) + int(apart[series].sum())
        part = draw(st.integers(0, total))
        counts[series, 0] += part
        counts[series, -1] += total - part
    made = Distributions(
        np.cumsum([0, *map(len, buckets)]),
        np.array([one for row in buckets for one in sorted(row)], np.int32),
        np.array([row[one] for row in buckets for one in sorted(row)], np.uint64),
        *apart.T,
        minima=np.zeros(size),
        maxima=np.zeros(size),
    )
    return replace(family, counts=counts), made


@st.composite
def exemplars(draw: st.DrawFn, family: Family) -> tuple[Exemplar, ...]:
    last = 0 if family.counts is None else family.counts.shape[1] - 1
    places = st.tuples(st.integers(0, len(family.labels) - 1), st.integers(0, last))
    labels = st.lists(st.tuples(st.sampled_from(["trace_id", "span_id", "é"]), anything), max_size=2)
    return tuple(
        Exemplar(*place, tuple(draw(labels)), draw(any_float), draw(st.integers(0, 2**62)))
        for place in sorted(draw(st.sets(places, max_size=4)))
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    drawn, distributions = {}, {}
    for number in range(draw(st.integers(0, 3))):
        family = draw(families(number, readable=False))
        if family.counts is not None:
            family, distributions[family.metric.name] = draw(histograms(family))
        if family.metric.kind != "gauge" and family.labels:
            family = replace(family, exemplars=draw(exemplars(family)))
        drawn[family.metric.name] = family
    return Snapshot("default", 0, drawn, {}, None, distributions.__getitem__)


def time_of(message: Any, field: str) -> int:
    """Nanoseconds since the epoch; 0 where there is none."""
    time = getattr(message, field)
    return time.seconds * 10**9 + time.nanos if message.HasField(field) else 0


def same(one: float, other: float) -> bool:
    """repr tells -0.0 from 0.0, and makes NaN equal to itself."""
    return repr(float(one)) == repr(float(other))


def read_exemplar(message: Any) -> tuple[Any, ...]:
    return [(label.name, label.value) for label in message.label], repr(message.value), time_of(message, "timestamp")


def wanted_exemplar(exemplar: Exemplar) -> tuple[Any, ...]:
    return list(exemplar.labels), repr(float(exemplar.value)), exemplar.time_ns


def check_created(message: Any, created: float) -> None:
    found = time_of(message, "created_timestamp") / 1e9
    # From 2**33 s on, two doubles are further apart than a microsecond.
    assert abs(found - created) <= max(1e-6, math.ulp(created)) if 0 < created < 253402300800 else found == 0


def check_histogram(message: Any, family: Family, found: Distributions, series: int) -> None:
    assert family.counts is not None
    cumulative = np.cumsum(family.counts[series])
    assert [bucket.cumulative_count for bucket in message.bucket] == cumulative.tolist()
    assert [bucket.upper_bound for bucket in message.bucket] == [*family.metric.buckets, np.inf]
    assert same(message.sample_sum, family.values[series])
    begin, end = found.begin[series : series + 2]
    counts = dict(zip(found.indices[begin:end].tolist(), found.counts[begin:end].tolist(), strict=True))
    positive, negative = native_counts(message), native_counts(message, "negative")
    assert positive == {**counts, **({OVERFLOW: found.infinities[series]} if found.infinities[series] else {})}
    assert negative == ({OVERFLOW: found.negatives[series]} if found.negatives[series] else {})
    assert message.zero_count == found.zeros[series]
    assert message.sample_count == message.zero_count + sum(positive.values()) + sum(negative.values())
    assert (message.schema, message.zero_threshold) == (5, np.nextafter(2.0**-1022, 0))
    exemplars = [exemplar for exemplar in family.exemplars if exemplar.series == series]
    assert [read_exemplar(one) for one in message.exemplars] == [wanted_exemplar(one) for one in exemplars]
    assert {
        place: read_exemplar(bucket.exemplar)
        for place, bucket in enumerate(message.bucket)
        if bucket.HasField("exemplar")
    } == {one.bucket: wanted_exemplar(one) for one in exemplars}


def check_counter(message: Any, family: Family, series: int) -> None:
    assert same(message.value, family.values[series])
    exemplars = [wanted_exemplar(one) for one in family.exemplars if one.series == series]
    assert ([read_exemplar(message.exemplar)] if message.HasField("exemplar") else []) == exemplars


def check(read: Any, snapshot: Snapshot, family: Family) -> None:
    definition, name = family.metric, family.metric.name
    base = name.removesuffix("_total") if definition.kind == "counter" else name
    unit = definition.unit if base.endswith(f"_{definition.unit}") else ""
    assert (read.name, read.help, TYPES[read.type], read.unit) == (name, definition.help, definition.kind, unit)
    for series, (message, labels) in enumerate(zip(read.metric, family.labels, strict=True)):
        pairs = sorted(zip(family.label_names, labels, strict=True))
        assert [(label.name, label.value) for label in message.label] == pairs
        assert message.HasField(definition.kind)
        value = getattr(message, definition.kind)
        if definition.kind == "gauge":
            assert same(value.value, family.values[series])
            continue
        check_created(value, family.created[series])
        if definition.kind == "counter":
            check_counter(value, family, series)
        else:
            check_histogram(value, family, snapshot.distributions(name), series)


@given(st.lists(snapshots(), min_size=1, max_size=3))
def test_the_official_runtime_reads_each_snapshot_after_another(taken: list[Snapshot]) -> None:
    writer = MetricFamilies()
    for snapshot in taken:
        shown = [family for family in snapshot.families.values() if family.labels]
        for read, family in zip(read_delimited(writer.expose(snapshot)), shown, strict=True):
            check(read, snapshot, family)
