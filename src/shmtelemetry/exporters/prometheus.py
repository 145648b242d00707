"""A snapshot as Prometheus reads it: the text format 0.0.4 and OpenMetrics 1.0, byte for byte as
prometheus_client writes the same families.

https://prometheus.io/docs/instrumenting/exposition_formats/,
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

import math
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..aggregate.snapshot import Exemplar, Family, Labels, Snapshot
from ..metric import Metric
from ._text import FamilyLines, GridLines, Joined, compose, go_string
from .windows import Grid, grids

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_Section = bytes | tuple[FamilyLines, bool, bool] | GridLines


def expose(snapshot: Snapshot, openmetrics: bool = False) -> bytes:
    """All families of the snapshot in the text format 0.0.4, or in OpenMetrics 1.0."""
    return Exposition().expose(snapshot, openmetrics)


class Exposition:
    """Writes one snapshot after another, and keeps what did not change between them. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: dict[str, _Written] = {}

    def expose(self, snapshot: Snapshot, openmetrics: bool = False, names: Collection[str] | None = None) -> bytes:
        """The families of the snapshot in the text format 0.0.4, or in OpenMetrics 1.0.

        names: only the families of these names or with samples of these names (`x_bucket`); None for all.
        """
        with self._lock:
            self._forget_all_but(snapshot.families.keys())
            sections: list[_Section] = []
            for family in snapshot.families.values():
                if names is None or not sample_names(family.metric).isdisjoint(names):
                    has_created = family.metric.kind != "gauge" and bool(family.created.any())
                    sections += self._written_of(family, openmetrics).sections(openmetrics, has_created)
            for grid in shown_grids(snapshot, names):
                sections += self._kept_of(grid.family).grid_sections(grid)
            return compose([*sections, b"# EOF\n"] if openmetrics else sections)

    def write(self, parts: Iterable[Family | bytes], openmetrics: bool = False) -> bytes:
        """Families, whatever snapshot they are of, between texts that stand as they are."""
        with self._lock:
            sections: list[_Section] = []
            parts = list(parts)
            self._forget_all_but({part.metric.name for part in parts if isinstance(part, Family)})
            for part in parts:
                if isinstance(part, bytes):
                    sections.append(part)
                else:
                    has_created = part.metric.kind != "gauge" and bool(part.created.any())
                    sections += self._written_of(part, openmetrics).sections(openmetrics, has_created)
            return compose([*sections, b"# EOF\n"] if openmetrics else sections)

    def _forget_all_but(self, names: Set[str]) -> None:
        for name in self._written.keys() - names:
            del self._written[name]

    def _kept_of(self, family: Family) -> "_Written":
        written = self._written.get(family.metric.name)
        if written is None or not written.stands_for(family):
            written = self._written[family.metric.name] = _written(family)
        return written

    def _written_of(self, family: Family, openmetrics: bool) -> "_Written":
        written = self._kept_of(family)
        counts = None if family.counts is None else np.ascontiguousarray(family.counts, np.uint64)
        written.lines.update(family.values, family.created, counts)
        written.show_exemplars(family.exemplars if openmetrics else ())
        return written


def negotiate(accept: str) -> tuple[bool, str]:
    """Whether a scraper with this Accept header gets OpenMetrics, and the content type.

    As prometheus_client does it: the first format that is known, whatever its weight, else text 0.0.4.
    Names of metrics are plain ASCII, so either escaping leaves them as they are.
    """
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        wanted = dict(part.split("=", 1) for part in parameters if "=" in part)
        version = wanted.get("version", "")
        if kind == "application/openmetrics-text" and not version:
            return True, OPENMETRICS
        if version == "1.0.0" and kind in ("application/openmetrics-text", "text/plain"):
            escaping = "allow-utf-8" if wanted.get("escaping") == "allow-utf-8" else "underscores"
            return kind != "text/plain", f"{kind}; version=1.0.0; charset=utf-8; escaping={escaping}"
    return False, TEXT


@dataclass(frozen=True)
class _Written:
    """What stays the same of one family until a series comes or goes."""

    metric: Metric
    label_names: tuple[str, ...]
    labels: Labels
    lines: FamilyLines
    text_head: bytes
    text_created_head: bytes
    openmetrics_head: bytes

    def stands_for(self, family: Family) -> bool:
        same_labels = self.labels is family.labels or self.labels == family.labels
        return same_labels and self.label_names == family.label_names and self.metric == family.metric

    def show_exemplars(self, exemplars: tuple[Exemplar, ...]) -> None:
        """Let the lines of buckets and counters end with these, in OpenMetrics; the old format knows none."""
        buckets = len(self.metric.buckets) + 1 if self.metric.kind == "histogram" else 1
        numbers = [exemplar.series * buckets + exemplar.bucket for exemplar in exemplars]
        self.lines.show_exemplars(np.array(numbers, np.uint64), [_exemplar_text(exemplar) for exemplar in exemplars])

    def sections(self, openmetrics: bool, has_created: bool) -> Iterator[_Section]:
        if openmetrics:
            yield self.openmetrics_head
            yield self.lines, True, has_created
            return
        yield self.text_head
        yield self.lines, True, False
        if has_created:  # a gauge of its own, since the old format knows no created samples
            yield self.text_created_head
            yield self.lines, False, True

    @cached_property
    def beginnings(self) -> Joined:
        """Of each series, what the labels of a grid's lines begin with."""
        texts = _label_texts(self.label_names, self.labels)
        return Joined([_encode(f"{{{''.join(item + ',' for item in text)}") for text in texts])

    def grid_sections(self, grid: Grid) -> Iterator[_Section]:
        name, help = _encode(grid.metric.name), _encode(grid.metric.help)
        pairs = [zip(grid.label_names, column, strict=True) for column in grid.columns]
        ends = Joined([_encode(",".join(f'{label}="{value}"' for label, value in pair) + "} ") for pair in pairs])
        yield b"# HELP %b %b\n# TYPE %b gauge\n" % (name, help, name)
        yield GridLines(name, self.beginnings, grid.series, ends, grid.values, grid.rounded)


def sample_names(metric: Metric) -> frozenset[str]:
    """The names under which somebody may ask for a metric: its own, the family's, and its samples'."""
    base = _base_name(metric)
    suffixes = {"counter": ("_total", "_created"), "histogram": ("_bucket", "_count", "_sum", "_created")}
    return frozenset((metric.name, base, *(base + suffix for suffix in suffixes.get(metric.kind, ()))))


def shown_grids(snapshot: Snapshot, names: Collection[str] | None) -> Iterator[Grid]:
    """The windows of these names, or all, but for those whose names metrics have or the snapshot withholds."""
    taken = snapshot.withheld.union(*(sample_names(family.metric) for family in snapshot.families.values()))
    return (grid for grid in grids(snapshot, taken) if names is None or grid.metric.name in names)


def _base_name(metric: Metric) -> str:
    """The family's name in OpenMetrics, which prometheus_client uses throughout."""
    return metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name


def _written(family: Family) -> _Written:
    metric, base = family.metric, _base_name(family.metric)
    name = f"{base}_total" if metric.kind == "counter" else base
    text_help = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    unit = f"# UNIT {base} {metric.unit}\n" if metric.unit and base.endswith(f"_{metric.unit}") else ""
    return _Written(
        metric,
        family.label_names,
        family.labels,
        _lines(family, base, name),
        _encode(f"# HELP {name} {text_help}\n# TYPE {name} {metric.kind}\n"),
        _encode(f"# HELP {base}_created {text_help}\n# TYPE {base}_created gauge\n"),
        _encode(f"# HELP {base} {_escape(metric.help)}\n# TYPE {base} {metric.kind}\n{unit}"),
    )


def _lines(family: Family, base: str, name: str) -> FamilyLines:
    texts = _label_texts(family.label_names, family.labels)
    labels = [_encode(f"{{{','.join(text)}}} " if text else " ") for text in texts]
    if family.metric.kind == "gauge":
        return FamilyLines(_encode(name), b"", b"", labels, [], [], [])
    created = _encode(f"{base}_created")
    if family.metric.kind == "counter":
        return FamilyLines(_encode(name), b"", created, labels, [], [], [])
    bounds = family.metric.buckets
    # OpenMetrics allows no sum where a bound is negative, and no count without a sum.
    signed = bool(bounds) and bounds[0] < 0
    at = sum(label < "le" for label in family.label_names)  # labels are sorted by name, le among them
    return FamilyLines(
        b"" if signed else _encode(f"{base}_sum"),
        b"" if signed else _encode(f"{base}_count"),
        created,
        labels,
        [_encode(f"{base}_bucket{{{''.join(item + ',' for item in text[:at])}") for text in texts],
        [b'le="%b"' % go_string(bound) for bound in (*bounds, math.inf)],
        [_encode(f"{''.join(',' + item for item in text[at:])}}} ") for text in texts],
    )


def _label_texts(names: tuple[str, ...], labels: Labels) -> list[tuple[str, ...]]:
    """For each series, `name="value"` of each label, sorted by name."""
    if not names:
        return [()] * len(labels)
    columns = dict(zip(names, zip(*labels, strict=True), strict=True)) if labels else {}
    return list(zip(*(_column(name, columns[name]) for name in sorted(columns)), strict=True))


def _exemplar_text(exemplar: Exemplar) -> bytes:
    labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(exemplar.labels))
    seconds = exemplar.time_ns / 1_000_000_000  # of two integers: rounded once
    return _encode(f" # {{{labels}}} ") + go_string(exemplar.value) + b" %b\n" % str(seconds).encode()


def _column(name: str, values: Sequence[str]) -> list[str]:
    written = {value: f'{name}="{_escape(value)}"' for value in set(values)}
    return [written[value] for value in values]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _encode(text: str) -> bytes:
    # No producer of ours accepts a lone surrogate; wherever it came from, it must not fail the scrape.
    return text.encode(errors="replace")
