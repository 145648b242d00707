"""Windows: rates, quantiles and maxima of the last seconds, each with the share of what was attempted that they saw."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from . import seconds as layout
from ._seconds import summarise
from .seconds import DROPPED, INFINITIES, KEYS, LATE_NS, NEGATIVES, ZEROS, Recent, Second
from .snapshot import Counts, Family, FamilyWindows, Floats, HistogramValue

LENGTHS: Final = (1, 10, 60)  # seconds of the windows that are exposed
QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
LONGEST: Final = layout.KEPT

Numbers = npt.NDArray[np.uint32]
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

    def number(self, family: Family, at: int) -> tuple[int, int]:
        """(metric, series) in the state. Raises KeyError for a gauge and for the reader's own counters."""
        metric = self._metrics.get(family.metric.name)
        if metric is None or family.metric.kind == "gauge":
            raise KeyError(f"{family.metric.name}: windows are of counters and histograms that producers emit")
        return metric, int(self._numbers[metric][at])

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
        found = self.seconds(LONGEST)
        places = []
        for second in found:
            counted = second.offset + second.rows.nbytes + second.losses.nbytes
            places.append((second.offset, counted, counted + second.counts.nbytes, len(second.rows)))
        ends = np.array([len(self.seconds(length)) for length in LENGTHS], np.uint64)
        stored = self._recent.stored if len(self._recent.stored) else np.zeros(1, np.uint8)
        summarise(stored, places, ends, self._active, np.array(QUANTILES), amounts, counts, dropped, maxima, quantiles)
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

    def rate(self, name: str, **labels: str) -> float:
        """What a counter gained, or how many observations a histogram got, a second. NaN without seconds."""
        kind, _, number = self._series(name, labels)
        if not self.seconds:
            return math.nan
        if kind == "histogram":
            return self._histogram(number).count / self.seconds
        return sum(amount for amount, *_ in self._gains(number)) / self.seconds

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
        _, _, counts = self._totals(number)
        observed = int(counts[:DROPPED].sum())
        attempted = observed + int(counts[DROPPED])
        return observed / attempted * share if attempted else share

    def _series(self, name: str, labels: Mapping[str, str]) -> tuple[str, int, int]:
        """(kind, number of the metric, number of the series)."""
        family, at = self._find(name, labels)
        return family.metric.kind, *self._windows.number(family, at)

    def _gains(self, number: int) -> Iterator[tuple[float, float, npt.NDArray[np.uint16], Numbers]]:
        """(amount, maximum, keys, counts) of each second in which the series gained something."""
        for second in self._found:
            at = int(np.searchsorted(second.rows["series"], number))
            if at < len(second.rows) and second.rows["series"][at] == number:
                row = second.rows[at]
                buckets = slice(int(second.rows["end"][at - 1]) if at else 0, int(row["end"]))
                yield float(row["amount"]), float(row["maximum"]), second.keys[buckets], second.counts[buckets]

    def _totals(self, number: int) -> tuple[float, float, Counts]:
        """Sum, maximum, and counts by key."""
        total, maximum, counts = 0.0, float(self._windows.running[number]), np.zeros(KEYS, np.uint64)
        for amount, largest, keys, gained in self._gains(number):
            total, maximum = total + amount, max(maximum, largest)
            np.add.at(counts, keys, gained)
        return total, maximum, counts

    def _histogram(self, number: int) -> HistogramValue:
        total, maximum, counts = self._totals(number)
        plain = counts[:ZEROS]
        used = np.flatnonzero(plain)
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, -1)
        zeros, negatives, infinities = (int(counts[key]) for key in (ZEROS, NEGATIVES, INFINITIES))
        return HistogramValue(
            count=int(plain.sum()) + zeros + negatives + infinities,
            sum=total,
            min=math.nan,
            max=maximum if maximum > -math.inf else math.nan,
            zeros=zeros,
            negatives=negatives,
            infinities=infinities,
            first=first - 1023 * 32 + 1,
            exponential=plain[first : last + 1].copy(),
            buckets=(),
        )
