"""A consistent copy of the state at one moment: all that exporters, the service and the command line ever see."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..metric import Metric

if TYPE_CHECKING:
    from .windows import Window

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint64]
Labels = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A reference, such as a trace's id, to one observation of a series: the newest of its bucket.

    series: index in Family.labels. bucket: index in metric.buckets, len(metric.buckets) for the last one; 0 of a
    counter. time_ns: nanoseconds since the epoch.
    """

    series: int
    bucket: int
    labels: tuple[tuple[str, str], ...]
    value: float
    time_ns: int


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one metric.

    metric: its definition. label_names: of the series, as exposed. labels: the values of each series, shape (n,); the
    same object as in the snapshot before if no series came or went. values: f8 (n,): total of a counter, value of a
    gauge, sum of a histogram. created: f8 (n,), seconds since the epoch. counts: u8 (n, len(metric.buckets) + 1), how
    many observations fell into each classic bucket alone, the last one up to infinity; None but for histograms.
    exemplars: of counters and histograms, in order of (series, bucket). times: u8 (n,), when each gauge was set, in
    nanoseconds since the epoch, 0 for never; None but for gauges of producers.
    """

    metric: Metric
    label_names: tuple[str, ...]
    labels: Labels
    values: Floats
    created: Floats
    counts: Counts | None = None
    exemplars: tuple[Exemplar, ...] = ()
    times: Counts | None = None


@dataclass(frozen=True, slots=True)
class ProducerTotals:
    """The accounting of all segments of one producer name, ended ones included, in records, as accounting.Stats.

    What a living producer is writing at the moment is in_ring here: aborted never falls.
    """

    name: str
    live: int
    attempted: int
    consumed: int
    in_ring: int
    coalesced: int
    dropped: Mapping[str, int]
    overwritten: int
    rejected: int
    aborted: int
    invalid: int
    capacity: int

    @property
    def holds(self) -> bool:
        lost = sum(self.dropped.values()) + self.overwritten + self.rejected + self.aborted
        return self.attempted == self.consumed + self.in_ring + self.coalesced + lost


@dataclass(frozen=True, slots=True)
class HistogramValue:
    """One distribution. exponential: u8, counts of base-2 buckets of scale 5 from index `first` on, where bucket i
    holds the values in (2**((i - 1) / 32), 2**(i / 32)]; zeros and negatives have places of their own."""

    count: int
    sum: float
    min: float
    max: float
    zeros: int
    negatives: int
    infinities: int
    first: int
    exponential: Counts
    buckets: tuple[tuple[float, int], ...]

    def quantile(self, q: float) -> float:
        """The smallest value that at least `q` (0 to 1) of the observations do not exceed; NaN without observations.

        Relative error <= 1.1 %: half a bucket. Negative values are only known by their minimum.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"quantile {q!r}: expected 0 to 1")
        if not self.count:
            return math.nan
        rank = max(1, math.ceil(q * self.count))
        if rank <= self.negatives:
            return self.min
        if rank <= self.negatives + self.zeros:
            return 0.0
        below = self.negatives + self.zeros + np.cumsum(self.exponential)
        at = int(np.searchsorted(below, rank))
        if at >= len(below):
            return math.inf
        # The middle of a bucket in logarithm, 2**((i - 1/2) / 32), is at most 1.09 % away from any of its values.
        return float(min(max(2.0 ** ((self.first + at - 0.5) / 32), self.min), self.max))


@dataclass(frozen=True, slots=True)
class FamilyWindows:
    """Statistics of the last seconds of those series of one family that gained something within the longest window.

    series: i8 (n,), indexes in family.labels, ascending. lengths: of the windows in seconds, shape (w,). rates: f8
    (n, w), a counter's gain or a histogram's observations a second. coverages: f8 (n, w), observed ÷ attempted, 0 to 1.
    Of histograms also maxima: f8 (n, w), and quantiles: f8 (n, w, q) for each of `wanted`. NaN is what is not known.
    """

    family: Family
    series: npt.NDArray[np.int64]
    lengths: tuple[int, ...]
    rates: Floats
    coverages: Floats
    maxima: Floats
    wanted: tuple[float, ...]
    quantiles: Floats


@dataclass(frozen=True, slots=True)
class Distributions:
    """The distributions of all n series of a histogram family, in the order of Family.labels, in flat arrays.

    begin: i8 (n + 1,): the buckets of series i that are not empty are begin[i]:begin[i + 1] of the next two arrays.
    indices: i4, in order, and counts: u8; buckets are those of HistogramValue. zeros, negatives, infinities: u8 (n,),
    how many observations were 0 or subnormal, below, and +Inf; a series' count is the sum of these and of its counts.
    minima, maxima: f8 (n,), inf and -inf where nothing was observed.
    """

    begin: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    counts: Counts
    zeros: Counts
    negatives: Counts
    infinities: Counts
    minima: Floats
    maxima: Floats


@dataclass(frozen=True, slots=True)
class Snapshot:
    """taken_ns: nanoseconds since the epoch. families: by metric name, in order of appearance; own figures included.
    producers: by name. withheld: names that exporters give to no window."""

    namespace: str
    taken_ns: int
    families: Mapping[str, Family]
    producers: Mapping[str, ProducerTotals]
    _histograms: Any = None  # reads one histogram of the copied state: (name, number of the series) → HistogramValue
    _distributions: Callable[[str], Distributions] | None = None  # the same for all series of a metric
    _windows: Any = None  # windows.Windows
    withheld: frozenset[str] = frozenset()

    def value(self, name: str, **labels: str) -> float:
        """The value of one counter or gauge. Raises KeyError for an unknown metric or series."""
        family, at = self._find(name, labels)
        if family.counts is not None:
            raise KeyError(f"{name} is a histogram: use snapshot.histogram")
        return float(family.values[at])

    def histogram(self, name: str, **labels: str) -> HistogramValue:
        """One histogram. Raises KeyError for an unknown metric or series."""
        family, at = self._find(name, labels)
        if family.counts is None:
            raise KeyError(f"{name} is a {family.metric.kind}: use snapshot.value")
        value: HistogramValue = self._histograms(name, at)
        return value

    def window(self, seconds: float) -> "Window":
        """Rates and distributions of the last completed seconds, 1 to 60 of them. Raises ValueError for others."""
        if self._windows is None:
            raise ValueError("this snapshot was made without windows")
        window: Window = self._windows.window(seconds, self._find)
        return window

    def seconds(self, length: float) -> list["Window"]:
        """The completed seconds of `window(length)` as a window each, oldest first. Raises ValueError as that does."""
        if self._windows is None:
            raise ValueError("this snapshot was made without windows")
        seconds: list[Window] = self._windows.each(length, self._find)
        return seconds

    def windows(self) -> Iterator[FamilyWindows]:
        """The windows of 1, 10 and 60 s of each family that has series which gained something meanwhile."""
        if self._windows is not None:
            yield from self._windows.families(self.families)

    def distributions(self, name: str) -> Distributions:
        """Those of all series of a histogram. Raises KeyError for what is none, ValueError if they were not taken."""
        if name not in self.families or self.families[name].counts is None:
            raise KeyError(f"no histogram {name} in namespace {self.namespace}")
        if self._distributions is None:
            raise ValueError("this snapshot was taken without distributions")
        return self._distributions(name)

    def _find(self, name: str, labels: Mapping[str, str]) -> tuple[Family, int]:
        family = self.families.get(name)
        if family is None:
            raise KeyError(f"no metric {name} in namespace {self.namespace}")
        if set(labels) != set(family.label_names):
            raise KeyError(f"{name} has the labels {family.label_names}, asked for {tuple(labels)}")
        key = tuple(labels[label] for label in family.label_names)
        try:
            return family, family.labels.index(key)
        except ValueError:
            raise KeyError(f"no series {name}{dict(labels)}") from None
