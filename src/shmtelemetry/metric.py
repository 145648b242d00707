"""Metrics: name, kind, labels, buckets, unit, and what they must be."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import numpy as np

KINDS: Final = ("counter", "gauge", "histogram")
MERGES: Final = ("last", "sum", "min", "max", "all")
MAX_BUCKETS: Final = 256
MAX_EXEMPLAR_CHARACTERS: Final = 128  # of all its names and values together, as OpenMetrics 1.0 has it

NANOSECONDS_PER: Final = {"seconds": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
SECONDS_PER: Final = {"seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_OF_SUFFIX: Final = {
    "seconds": "seconds", "ms": "ms", "milliseconds": "ms", "us": "us", "microseconds": "us", "ns": "ns",
    "nanoseconds": "ns", "bytes": "bytes", "ratio": "ratio", "percent": "percent", "celsius": "celsius",
    "volts": "volts", "joules": "joules", "grams": "grams", "meters": "meters", "usd": "usd",
}  # fmt: skip
UNITS: Final = tuple(dict.fromkeys(_UNIT_OF_SUFFIX.values()))

DEFAULT_BUCKETS: Final = (
    1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 25e-3, 100e-3, 1.0,
)  # fmt: skip
"""Upper bounds in seconds, from 1 µs to 1 s; a histogram in another unit of time has them in that unit."""

_METRIC_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


def is_label_name(name: object) -> bool:
    """Whether a label may have this name: [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __."""
    return isinstance(name, str) and bool(_LABEL_NAME.fullmatch(name))


def unit_of_name(name: str) -> str | None:
    """The unit that a metric's name says, by its last word before `_total`; None if it says none."""
    return _UNIT_OF_SUFFIX.get(name.removesuffix("_total").rpartition("_")[2])


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: what its series have in common.

    name: as it is exposed; a counter's ends in `_total`. kind: counter, gauge or histogram. labels: label names, in
    order. buckets: finite, rising upper bounds of a histogram. unit: of the values, one of UNITS, or "" for none.
    merge: how a gauge's values of several producers become one; keep: whether those of ended producers still count.
    Raises ValueError for anything else.
    """

    name: str
    kind: str
    help: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    unit: str = ""
    merge: str = "last"
    keep: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _METRIC_NAME.fullmatch(self.name):
            raise ValueError(f"metric name {self.name!r}: expected [a-zA-Z_:][a-zA-Z0-9_:]*")
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} of {self.name}: expected one of {', '.join(KINDS)}")
        if self.merge not in MERGES:
            raise ValueError(f"merge {self.merge!r} of {self.name}: expected one of {', '.join(MERGES)}")
        if not isinstance(self.keep, bool) or (self.keep and self.kind != "gauge"):
            raise ValueError(f"keep {self.keep!r} of {self.name}: expected True or False, and True of gauges only")
        if not isinstance(self.help, str):
            raise TypeError(f"help of {self.name}: expected str, got {type(self.help).__name__}")
        self._check_labels()
        self._check_buckets()
        self._check_unit()

    def _check_labels(self) -> None:
        reserved = {"le"} if self.kind == "histogram" else {"producer"} if self.merge == "all" else set()
        for label in self.labels:
            if not is_label_name(label) or label in reserved:
                raise ValueError(
                    f"label name {label!r} of {self.name}: expected [a-zA-Z_][a-zA-Z0-9_]*, "
                    "not beginning with __, and none of le, producer where they have a meaning"
                )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels of {self.name} repeat: {self.labels}")

    def _check_buckets(self) -> None:
        if self.kind != "histogram":
            if self.buckets:
                raise ValueError(f"buckets of {self.name}: a {self.kind} has none")
            return
        bounds = self.buckets
        rising = all(low < high for low, high in pairwise(bounds))
        if not rising or not all(np.isfinite(bounds)) or len(bounds) > MAX_BUCKETS:
            raise ValueError(
                f"buckets of {self.name}: expected at most {MAX_BUCKETS} finite rising bounds, got {bounds}"
            )

    def _check_unit(self) -> None:
        if self.unit and self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r} of {self.name}: expected one of {', '.join(UNITS)}")
        said = unit_of_name(self.name)
        if self.unit and said and said != self.unit:
            raise ValueError(f"unit {self.unit!r} of {self.name}: the name says {said}; rename it or change the unit")

    def agrees(self, other: "Metric") -> bool:
        """Whether values of both can be one metric's. Buckets and help may differ, and one may leave out the unit."""
        same = (self.kind, self.labels, self.merge) == (other.kind, other.labels, other.merge)
        return same and (self.unit == other.unit or not self.unit or not other.unit)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> "Metric":
        """Raises ValueError or TypeError for anything that to_json did not write."""
        values = json.loads(stored)
        if not isinstance(values, dict):
            raise ValueError(f"a metric's definition is a JSON object, got {type(values).__name__}")
        values["labels"] = tuple(values.get("labels", ()))
        values["buckets"] = tuple(float(bound) for bound in values.get("buckets", ()))
        return cls(**values)


def sample_names(metric: Metric) -> tuple[str, ...]:
    """The names that a metric takes in an exposition, of its family and of its samples."""
    if metric.kind == "histogram":
        return metric.name, *(f"{metric.name}_{suffix}" for suffix in ("bucket", "count", "sum", "created"))
    if metric.kind == "counter":
        family = metric.name.removesuffix("_total")
        return metric.name, family, f"{family}_created"
    return (metric.name,)


def metric(
    kind: str,
    name: str,
    help: str = "",
    *,
    labels: Sequence[str] = (),
    buckets: Sequence[float] | None = None,
    unit: str | None = None,
    merge: str = "last",
    keep: bool = False,
) -> Metric:
    """A Metric with what users leave out: a counter's `_total`, the unit that the name says, buckets in that unit."""
    if isinstance(labels, str):
        raise TypeError(f"labels of {name}: expected a sequence of names, got the string {labels!r}")
    if kind == "counter" and isinstance(name, str) and not name.endswith("_total"):
        name += "_total"
    if unit is None:
        unit = (unit_of_name(name) if isinstance(name, str) else None) or ""
    if kind == "histogram" and buckets is None:
        scale = SECONDS_PER.get(unit or "seconds", 1.0)
        buckets = [float(f"{bound / scale:.12g}") for bound in DEFAULT_BUCKETS]
    bounds = [float(bound) for bound in buckets or ()]
    if bounds and bounds[-1] == float("inf"):
        bounds.pop()  # always there
    return Metric(name, kind, help, tuple(labels), tuple(bounds), unit, merge, keep)
