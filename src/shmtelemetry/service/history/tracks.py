"""Tracks: what each series of a metric is now, and what it was when the time that runs began, at each resolution."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from ...aggregate.snapshot import Family, FamilyWindows, Snapshot
from .blocks import KINDS, QUANTILES, RESOLUTIONS, Numbers, Records
from .distributions import Counts, Floats, Quantiles

LEVELS: Final = len(RESOLUTIONS)  # a level is an index in them
FIELDS: Final = [("created", "f8"), ("known", "?"), ("present", "?"), ("new", "?", LEVELS)]
TOTALS: Final = np.dtype([("count", "i8"), ("sum", "f8"), ("negatives", "i8"), ("zeros", "i8"), ("infinities", "i8")])
NOTHING: Final = Counts(np.empty(0, np.int64), np.empty(0, np.int64))

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """One metric in a snapshot. numbers: of its series. windows: None where nothing was gained of late. begun: whether
    there was a look before."""

    family: Family
    numbers: Numbers
    snapshot: Snapshot
    windows: FamilyWindows | None
    begun: bool


class Track(ABC):
    """Figures of one metric's series, by their numbers, from one look to the next.

    A series that is seen for the first time has gained all that it has since the look before, or nothing if there was
    none.
    """

    dtype: ClassVar[np.dtype[np.void]]

    def __init__(self) -> None:
        self._series = np.zeros(0, self.dtype)

    @abstractmethod
    def take(self, look: Look) -> None:
        """Note what there is in a look."""

    def _look(self, family: Family, numbers: Numbers) -> tuple[Mask, Mask]:
        """Note which series there are; returns which were not known, and which have begun from zero again."""
        if len(numbers) and (more := int(numbers.max()) + 1 - len(self._series)) > 0:
            self._series = np.concatenate([self._series, np.zeros(more, self.dtype)])
        series = self._series
        series["present"] = False
        fresh = ~series["known"][numbers]
        anew = ~fresh & (series["created"][numbers] != family.created)
        series["present"][numbers] = series["known"][numbers] = True
        series["created"][numbers] = family.created
        self._note(numbers, fresh)
        return fresh, anew

    def _note(self, numbers: Numbers, new: Mask) -> None:
        """There is something new of these series, at all levels."""
        self._series["new"][numbers[new]] = True

    def leave(self) -> None:
        """The metric is not there any more."""
        self._series["present"] = False

    def close(self, level: int, everything: bool) -> tuple[Numbers, Records]:
        """End the time that runs at a level: numbers of the series of which there is something new, or of all that
        there are, and what to keep of them, still without slots."""
        series = self._series
        numbers = np.flatnonzero(series["present"] & (series["new"][:, level] | everything))
        records = self._records(numbers, level)
        series["new"][:, level] = False
        return numbers, records

    @abstractmethod
    def _records(self, numbers: Numbers, level: int) -> Records:
        """What to keep of these series of the time that ends at a level."""


class CounterTrack(Track):
    dtype = np.dtype([*FIELDS, ("value", "f8"), ("gain", "f8", LEVELS)])

    def take(self, look: Look) -> None:
        family, numbers = look.family, look.numbers
        fresh, anew = self._look(family, numbers)
        gain = family.values - self._series["value"][numbers]
        anew |= (gain < 0) | (fresh & look.begun)
        gain[anew] = family.values[anew]
        gain[fresh & ~anew] = 0.0
        self._series["value"][numbers] = family.values
        self._series["gain"][numbers] += gain[:, None]
        self._note(numbers, gain != 0)

    def _records(self, numbers: Numbers, level: int) -> Records:
        found = np.zeros(len(numbers), KINDS["counter"])
        found["value"], found["gain"] = self._series["value"][numbers], self._series["gain"][numbers, level]
        self._series["gain"][:, level] = 0.0
        return found


class GaugeTrack(Track):
    dtype = np.dtype([*FIELDS, ("value", "f8")])

    def take(self, look: Look) -> None:
        family, numbers = look.family, look.numbers
        self._look(family, numbers)
        before, now = self._series["value"][numbers], family.values
        self._series["value"][numbers] = now
        self._note(numbers, (before != now) & ~(np.isnan(before) & np.isnan(now)))

    def _records(self, numbers: Numbers, level: int) -> Records:
        found = np.zeros(len(numbers), KINDS["gauge"])
        found["value"] = self._series["value"][numbers]
        return found


class HistogramTrack(Track):
    """Quantiles are those of the observations between two moments. Maxima and coverages are of the last second of the
    windows: a maximum only as far as it lies in the highest bucket of these observations."""

    dtype = np.dtype(
        [
            *FIELDS, ("now", TOTALS), ("base", TOTALS, LEVELS), ("anew", "?", LEVELS), ("lowest", "f8"),
            ("highest", "f8"), ("last_maximum", "f8"), ("last_coverage", "f8"), ("maximum", "f8", LEVELS),
            ("observed", "f8", LEVELS), ("attempted", "f8", LEVELS),
        ]
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._now = NOTHING
        self._bases = [NOTHING] * LEVELS

    def take(self, look: Look) -> None:
        family, numbers, windows = look.family, look.numbers, look.windows
        found = look.snapshot.distributions(family.metric.name)
        assert family.counts is not None
        fresh, anew = self._look(family, numbers)
        series = self._series
        now = np.zeros(len(numbers), TOTALS)
        now["count"], now["sum"] = family.counts.sum(axis=1), family.values
        now["negatives"], now["zeros"], now["infinities"] = found.negatives, found.zeros, found.infinities
        anew |= now["count"] < series["now"]["count"][numbers]
        self._note(numbers, now["count"] != series["now"]["count"][numbers])
        series["now"][numbers] = now
        series["lowest"][numbers], series["highest"][numbers] = found.minima, found.maxima
        series["base"][numbers[anew]] = np.zeros((), TOTALS)
        series["anew"][numbers[anew]] = True
        series["maximum"][numbers[fresh]] = -np.inf
        series["last_maximum"] = series["last_coverage"] = np.nan
        if windows is not None:
            last = numbers[windows.series]
            series["last_maximum"][last], series["last_coverage"][last] = windows.maxima[:, 0], windows.coverages[:, 0]
        self._now = Counts.of(numbers, found)
        if not look.begun:
            series["base"] = series["now"][:, None]
            self._bases = [self._now] * LEVELS

    def _records(self, numbers: Numbers, level: int) -> Records:
        series = self._series
        gained = _difference(series["now"][numbers], series["base"][numbers, level])
        wanted = np.zeros(len(series), bool)
        wanted[numbers] = True
        counts = self._now.since(self._bases[level], wanted, series["anew"][:, level])
        quantiles = Quantiles(numbers, counts, gained["count"], gained["negatives"], gained["zeros"])
        if level == 0:
            self._note_extremes(numbers, gained, quantiles)
        found = np.zeros(len(numbers), KINDS["histogram"])
        found["count"], found["sum"] = gained["count"], gained["sum"]
        found["max"] = np.where(gained["count"] > 0, series["maximum"][numbers, level], np.nan)
        for name, q in QUANTILES.items():
            found[name] = np.minimum(quantiles.at(q, series["lowest"][numbers]), found["max"])
        observed, attempted = series["observed"][numbers, level], series["attempted"][numbers, level]
        found["coverage"] = np.divide(observed, attempted, out=np.full(len(numbers), np.nan), where=attempted > 0)
        self._begin(level)
        return found

    def _note_extremes(self, numbers: Numbers, gained: Records, quantiles: Quantiles) -> None:
        """Maxima and coverages of the second that ends, for the times of all levels that it is in."""
        series = self._series
        maximum = self._maximum(numbers, gained, quantiles)
        series["maximum"][numbers] = np.fmax(series["maximum"][numbers], maximum[:, None])
        coverage = series["last_coverage"][numbers]
        known = coverage > 0
        observed = gained["count"][known].astype(np.float64)
        series["observed"][numbers[known]] += observed[:, None]
        series["attempted"][numbers[known]] += (observed / coverage[known])[:, None]

    def _maximum(self, numbers: Numbers, gained: Records, quantiles: Quantiles) -> Floats:
        series = self._series
        lower, upper = quantiles.top()
        upper = np.minimum(upper, series["highest"][numbers])
        last = series["last_maximum"][numbers]
        found: Floats = np.where(last >= lower, np.minimum(last, upper), upper)
        others = np.where(gained["zeros"] > 0, 0.0, np.minimum(series["highest"][numbers], 0.0))
        found = np.where(quantiles.in_buckets > 0, found, others)
        return np.where(gained["infinities"] > 0, np.inf, np.where(gained["count"] > 0, found, -np.inf))

    def _begin(self, level: int) -> None:
        series = self._series
        series["base"][:, level], self._bases[level] = series["now"], self._now
        series["anew"][:, level], series["maximum"][:, level] = False, -np.inf
        series["observed"][:, level] = series["attempted"][:, level] = 0.0


def _difference(now: Records, before: Records) -> Records:
    found = np.zeros(len(now), TOTALS)
    with np.errstate(invalid="ignore"):  # sums may be infinite
        for name in TOTALS.names or ():
            found[name] = now[name] - before[name]
    return found
