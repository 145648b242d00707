"""Windows: rates, quantiles and maxima of the last seconds, each with the share of what was attempted that they saw."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from . import seconds as layout
from ._seconds import add_up, summarise
from .seconds import DROPPED, KEYS, LATE_NS, ZEROS, Recent, Second
from .snapshot import Counts, Family, FamilyWindows, Floats, HistogramValue

LENGTHS: Final = (1, 10, 60)  # seconds of the windows that are exposed
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
LONGEST: Final = layout.KEPT

Numbers = npt.NDArray[np.uint32]
Series = npt.NDArray[np.int64]  # their numbers in the state, or indexes in a family
Find = Callable[[str, Mapping[str, str]], tuple[Family, int]]


class Windows:
    """Statistics of the seconds that a snapshot has.

    maxima: of each series the largest observation of the second that runs, -infinity for none. numbers: of the exposed
    series of each metric. metrics: number of each metric by its name.
    """

    def __init__(
        self, recent: Recent, maxima: Floats, numbers: Sequence[npt.NDArray[np.int64]], metrics: Mapping[str, int]
    ) -> None:
        self._recent, self._numbers, self._metrics = recent, numbers, metrics
        self.running = maxima if recent.running else np.full(len(maxima), -np.inf)

    def window(self, length: float, find: Find) -> "Window":
        """As Snapshot.window. find: (name, labels) → family, index of the series in it."""
        if not 0 < length <= LONGEST:
            raise ValueError(f"a window of {length!r} seconds: expected more than 0 and at most {LONGEST}")
        found = self.seconds(length)
        return Window(_length(found), self, found, find)

    def each(self, length: float, find: Find) -> list["Window"]:
        """As Snapshot.seconds."""
        return [
            Window(_length((second,)), self, (second,), find) for second in reversed(self.window(length, find)._found)
        ]

    def age(self, second: Second) -> float:
        """As Window.age."""
        return (self._recent.taken_ns - second.ended_ns) / 1e9

    def number(self, family: Family, at: Series) -> tuple[int, Series]:
        """(metric, series) in the state. Raises KeyError for a gauge and for the reader's own counters."""
        metric = self._metrics.get(family.metric.name)
        if metric is None or family.metric.kind == "gauge":
            raise KeyError(f"{family.metric.name}: windows are of counters and histograms that producers emit")
        return metric, self._numbers[metric][at]

    def seconds(self, length: float) -> tuple[Second, ...]:
        """The newest that make up `length`; each is a little longer than a second, since the keeper may come late."""
        oldest = self._recent.taken_ns - int(length * 1e9) - LATE_NS
        total, count = 0, 0
        for second in self._recent.seconds:
            if total >= length * 1e9 or second.ended_ns < oldest:
                break
            total += second.ended_ns - second.began_ns
            count += 1
        return self._recent.seconds[:count]

    def shares(self, seconds: Sequence[Second]) -> dict[int, float]:
        """Of each metric that is made of records, the share of them that was taken."""
        totals: dict[int, tuple[int, int]] = {}
        for second in seconds:
            for metric, taken, lost in second.losses.tolist():
                before = totals.get(metric, (0, 0))
                totals[metric] = before[0] + taken, before[1] + lost
        return {metric: taken / (taken + lost) for metric, (taken, lost) in totals.items() if taken + lost}

    def sum(self, seconds: Sequence[Second], numbers: Series) -> "Sum":
        """Of several series together."""
        counts = np.zeros(KEYS, np.uint64)
        where = self._stored, self._places(seconds)
        amount, maximum, first, end = add_up(*where, numbers.astype(np.uint32), counts)
        running = float(np.max(self.running[numbers], initial=-np.inf))
        return Sum(
            amount, max(maximum, running), first, counts[first:end], tuple(map(int, counts[ZEROS : DROPPED + 1]))
        )

    @property
    def _stored(self) -> npt.NDArray[np.uint8]:
        return self._recent.stored if len(self._recent.stored) else np.zeros(1, np.uint8)

    @staticmethod
    def _places(seconds: Sequence[Second]) -> list[tuple[int, int, int, int]]:
        """Of each its rows, counts and keys in the bytes that were read, and how many rows."""
        places = []
        for second in seconds:
            counted = second.offset + second.rows.nbytes + second.losses.nbytes
            places.append((second.offset, counted, counted + second.counts.nbytes, len(second.rows)))
        return places

    # ---- all series at once ----

    @cached_property
    def _active(self) -> Numbers:
        """Numbers of the series that gained something within the longest window, ascending."""
        active = self.running > -np.inf
        for second in self.seconds(LONGEST):
            numbers = second.rows["series"]
            active[numbers[numbers < len(active)]] = True
        return np.flatnonzero(active).astype(np.uint32)

    @cached_property
    def _summary(self) -> tuple[Floats, Counts, Counts, Floats, Floats]:
        """Amounts, counts, dropped, maxima (active series, window), and quantiles of each."""
        shape = len(self._active), len(LENGTHS)
        amounts, maxima = np.empty(shape), np.empty(shape)
        counts, dropped = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
        quantiles = np.empty((*shape, len(QUANTILES)))
        ends = np.array([len(self.seconds(length)) for length in LENGTHS], np.uint64)
        where = self._stored, self._places(self.seconds(LONGEST))
        summarise(*where, ends, self._active, np.array(QUANTILES), amounts, counts, dropped, maxima, quantiles)
        return amounts, counts, dropped, np.maximum(maxima, self.running[self._active][:, None]), quantiles

    def families(self, families: Mapping[str, Family]) -> Iterator[FamilyWindows]:
        """As Snapshot.windows."""
        if not len(self._active):
            return
        found = [self.seconds(length) for length in LENGTHS]
        lengths = np.array([_length(seconds) for seconds in found])
        shares = [self.shares(seconds) for seconds in found]
        for name, metric in self._metrics.items():
            numbers = self._numbers[metric]
            places = np.searchsorted(self._active, numbers)
            places[places == len(self._active)] = 0
            series = np.flatnonzero(self._active[places] == numbers)
            family = families.get(name)
            if len(series) and family is not None and family.metric.kind != "gauge":
                of_records = np.array([share.get(metric, 1.0) for share in shares])
                yield self._family(family, series, places[series], lengths, of_records)

    def _family(
        self, family: Family, series: npt.NDArray[np.int64], at: npt.NDArray[np.int64], lengths: Floats, shares: Floats
    ) -> FamilyWindows:
        amounts, counts, dropped, maxima, quantiles = self._summary
        observed, attempted = counts[at], counts[at] + dropped[at]
        gained = amounts[at] if family.metric.kind == "counter" else observed
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = gained / lengths
            seen = np.where(attempted > 0, observed / attempted, 1.0)  # what lost nothing saw all
        return FamilyWindows(
            family=family,
            series=series,
            lengths=LENGTHS,
            rates=rates,
            coverages=seen * np.where(lengths > 0, shares, np.nan),
            maxima=np.where(maxima[at] > -np.inf, maxima[at], np.nan),
            wanted=QUANTILES,
            quantiles=quantiles[at],
        )


class Sum(NamedTuple):
    """Of some series over some seconds. maximum: that of the second that runs included, -infinity for none. first: key
    of the first of the counts of buckets. specials: how many zeros, negatives, infinities and dropped."""

    amount: float
    maximum: float
    first: int
    counts: Counts
    specials: tuple[int, ...]

    @property
    def observed(self) -> int:
        return int(self.counts.sum()) + sum(self.specials[:-1])


def _length(seconds: Sequence[Second]) -> float:
    return sum(second.ended_ns - second.began_ns for second in seconds) / 1e9


@dataclass(frozen=True, slots=True)
class Window:
    """The last completed seconds, as many as make up the length that was asked for, where there are so many.

    seconds: how long they were together: 0 without any, as in a reader's first second. A method raises KeyError for a
    metric or series that there is none of, and for a gauge.
    """

    seconds: float
    _windows: Windows
    _found: tuple[Second, ...]
    _find: Find

    @property
    def age(self) -> float:
        """For how many seconds its last second had been over when the snapshot was taken; NaN without seconds."""
        return self._windows.age(self._found[0]) if self._found else math.nan

    def rate(self, name: str, **labels: str) -> float:
        """What a counter gained, or how many observations a histogram got, a second. NaN without seconds."""
        kind, _, number = self._series(name, labels)
        if not self.seconds:
            return math.nan
        if kind == "histogram":
            return self._histogram(number).count / self.seconds
        return self._windows.sum(self._found, number).amount / self.seconds

    def merged(self, family: Family, series: Series) -> HistogramValue:
        """The distribution of several series of a histogram together. series: their indexes in family.labels."""
        if family.counts is None:
            raise KeyError(f"{family.metric.name} is a {family.metric.kind}: it has no distribution")
        return self._histogram(self._windows.number(family, series)[1])

    def histogram(self, name: str, **labels: str) -> HistogramValue:
        """The distribution of the window's observations; without classic buckets, and `min` is not known.

        `max` is what `maximum` returns.
        """
        kind, _, number = self._series(name, labels)
        if kind != "histogram":
            raise KeyError(f"{name} is a {kind}: use rate")
        return self._histogram(number)

    def maximum(self, name: str, **labels: str) -> float:
        """A histogram's largest observation, also of the second that runs now; NaN for none."""
        return self.histogram(name, **labels).max

    def coverage(self, name: str, **labels: str) -> float:
        """Observed ÷ attempted: the share of what producers attempted that this window has seen. NaN without seconds.

        Histograms lose observations that meet a full ring. Counters lose nothing, so theirs is 1. Of records of a
        schema only the producer knows how many were lost: all series of a metric share the coverage of its records.
        """
        kind, metric, number = self._series(name, labels)
        if not self.seconds:
            return math.nan
        share = self._windows.shares(self._found).get(metric, 1.0)
        if kind != "histogram":
            return share
        gained = self._windows.sum(self._found, number)
        observed, attempted = gained.observed, gained.observed + gained.specials[-1]
        return observed / attempted * share if attempted else share

    def _series(self, name: str, labels: Mapping[str, str]) -> tuple[str, int, Series]:
        """(kind, number of the metric, number of the series)."""
        family, at = self._find(name, labels)
        return family.metric.kind, *self._windows.number(family, np.array([at]))

    def _histogram(self, numbers: Series) -> HistogramValue:
        gained = self._windows.sum(self._found, numbers)
        zeros, negatives, infinities, _ = gained.specials
        return HistogramValue(
            count=gained.observed,
            sum=gained.amount,
            min=math.nan,
            max=gained.maximum if gained.maximum > -math.inf else math.nan,
            zeros=zeros,
            negatives=negatives,
            infinities=infinities,
            first=gained.first - 1023 * 32 + 1,
            exponential=gained.counts,
            buckets=(),
        )
