"""A snapshot as Prometheus reads it in protobuf: length-delimited messages `MetricFamily`, histograms both as native
ones, in the full resolution of the aggregates, and with their classic buckets.

https://prometheus.io/docs/instrumenting/exposition_formats/#protobuf-format,
https://prometheus.io/docs/specs/native_histograms/; the fields are those of
https://github.com/prometheus/client_model/blob/v0.6.2/io/prometheus/client/metrics.proto.

A native histogram's count is the sum of its buckets, so all that was observed has a bucket: infinity and minus infinity
those that the specification gives them, beyond the largest double. Of negative values the aggregates know only how many
there were; they are in the bucket of minus infinity, so that quantiles among them are -Inf and all others are right.
"""

import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from ..aggregate.snapshot import Exemplar, Family, Labels, Snapshot
from ..metric import Metric
from ._protobuf import FamilyExemplars, Joined, counters, gauges, histograms
from .prometheus import sample_names, shown_grids

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_ASKED = {"proto": "io.prometheus.client.MetricFamily", "encoding": "delimited"}
_OTHERS = ("application/openmetrics-text", "text/plain")
_TYPES = {"counter": 0, "gauge": 1, "histogram": 4}  # of MetricType


def is_asked_for(accept: str) -> bool:
    """Whether an Accept header names this very format, and no text format with a greater weight."""
    asked = others = 0.0
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        named = {key.strip().lower(): value.strip() for key, _, value in (part.partition("=") for part in parameters)}
        if kind.lower() in _OTHERS:
            others = max(others, _weight(named.get("q", "1")))
        elif kind.lower() == "application/vnd.google.protobuf" and _ASKED.items() <= named.items():
            asked = max(asked, _weight(named.get("q", "1")))
    return asked > 0 and asked >= others


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


class MetricFamilies:
    """Writes one snapshot after another, and keeps what did not change between them. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def expose(self, snapshot: Snapshot, names: Collection[str] | None = None) -> bytes:
        """The families of a snapshot that was taken with distributions; ValueError for another one.

        names: as in prometheus.Exposition.
        """
        with self._lock:
            shown = [
                family
                for family in snapshot.families.values()
                if family.labels and (names is None or not sample_names(family.metric).isdisjoint(names))
            ]
            shown += [grid.plain() for grid in shown_grids(snapshot, names)]
            if names is None:
                for gone in self._kept.keys() - {family.metric.name for family in shown}:
                    del self._kept[gone]
            return b"".join(part for family in shown for part in self._parts(snapshot, family))

    def _parts(self, snapshot: Snapshot, family: Family) -> Iterator[bytes]:
        kept = self._kept.get(family.metric.name)
        if kept is None or not kept.stands_for(family):
            kept = self._kept[family.metric.name] = _keep(family)
        metrics = _metrics(snapshot, family, kept.texts)
        yield _varint(len(kept.head) + len(metrics))
        yield kept.head
        yield metrics


@dataclass(frozen=True, slots=True)
class _Kept:
    """What stays the same of one family until a series comes or goes."""

    metric: Metric
    label_names: tuple[str, ...]
    labels: Labels
    head: bytes
    texts: Joined

    def stands_for(self, family: Family) -> bool:
        same_labels = self.labels is family.labels or self.labels == family.labels
        return same_labels and self.label_names == family.label_names and self.metric == family.metric


def _keep(family: Family) -> _Kept:
    metric = family.metric
    base = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    head = _field(1, f"{base}_total" if metric.kind == "counter" else base) + _field(2, metric.help)
    head += _varint(3 << 3) + _varint(_TYPES[metric.kind])
    if metric.unit and base.endswith(f"_{metric.unit}"):
        head += _field(5, metric.unit)
    return _Kept(metric, family.label_names, family.labels, head, _label_texts(family.label_names, family.labels))


def _label_texts(names: tuple[str, ...], labels: Labels) -> Joined:
    """The label pairs of each series, sorted by name."""
    columns = dict(zip(names, zip(*labels, strict=True), strict=True))
    written = []
    for name in sorted(columns):
        named = _field(1, name)
        pairs = {value: _field(1, named + _field(2, value)) for value in set(columns[name])}
        written.append([pairs[value] for value in columns[name]])
    return _joined([b"".join(row) for row in zip(*written, strict=True)] if names else [b""] * len(labels))


def _metrics(snapshot: Snapshot, family: Family, labels: Joined) -> bytes:
    if family.metric.kind == "gauge":
        return gauges(labels, family.values)
    exemplars = _exemplars(family.exemplars)
    if family.counts is None:
        return counters(labels, family.values, family.created, exemplars)
    found = snapshot.distributions(family.metric.name)
    return histograms(
        labels,
        family.values,
        family.created,
        np.ascontiguousarray(family.counts),
        np.array(family.metric.buckets, np.float64),
        found.begin,
        found.indices,
        found.counts,
        found.zeros,
        found.negatives,
        found.infinities,
        exemplars,
    )


def _exemplars(exemplars: tuple[Exemplar, ...]) -> FamilyExemplars:
    return FamilyExemplars(
        np.array([exemplar.series for exemplar in exemplars], np.int32),
        np.array([exemplar.bucket for exemplar in exemplars], np.int32),
        np.array([exemplar.value for exemplar in exemplars], np.float64),
        np.array([exemplar.time_ns for exemplar in exemplars], np.int64),
        _joined([b"".join(_pair(*label) for label in exemplar.labels) for exemplar in exemplars]),
    )


# ---- the wire ----


_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))


def _varint(value: int) -> bytes:
    if value < 0x80:  # most are, and a first scrape of many series writes many
        return _ONE_BYTE[value]
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*written, value))


def _field(number: int, content: str | bytes) -> bytes:
    # No producer of ours accepts a lone surrogate; wherever it came from, it must not fail the scrape.
    encoded = content.encode(errors="replace") if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(encoded)) + encoded


def _pair(name: str, value: str) -> bytes:
    return _field(1, _field(1, name) + _field(2, value))


def _joined(texts: list[bytes]) -> Joined:
    begin = np.zeros(len(texts) + 1, np.uint64)
    np.cumsum([len(text) for text in texts], out=begin[1:])
    return Joined(b"".join(texts), begin)
