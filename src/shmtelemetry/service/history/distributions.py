"""The exponential counts of a metric's series, and the quantiles of what was added between two moments."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...aggregate.snapshot import Distributions
from .blocks import Numbers

INDEX_BITS: Final = 17
BIAS: Final = 1 << 16  # indices of buckets are between -2**16 and 2**16
BUCKETS: Final = 32  # an octave

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Of buckets that are not empty: number of the series << 17 | index of the bucket + 2**16, rising, and counts."""

    keys: Numbers
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, numbers: Numbers, found: Distributions) -> "Counts":
        """numbers: of the series of `found`."""
        keys = np.repeat(numbers << INDEX_BITS, np.diff(found.begin)) + (found.indices.astype(np.int64) + BIAS)
        counts = found.counts.astype(np.int64)
        if np.any(numbers[1:] <= numbers[:-1]):
            order = np.argsort(keys)
            keys, counts = keys[order], counts[order]
        return cls(keys, counts)

    def since(self, before: "Counts", wanted: npt.NDArray[np.bool_], anew: npt.NDArray[np.bool_]) -> "Counts":
        """What was added to the wanted series since; anew: those that have begun from zero since. Both by number."""
        mine = wanted[self.keys >> INDEX_BITS]
        keys, counts = self.keys[mine], self.counts[mine]
        series = before.keys >> INDEX_BITS
        theirs = wanted[series] & ~anew[series]
        old = before.keys[theirs]
        places = np.searchsorted(keys, old)
        there = places < len(keys)
        there[there] = keys[places[there]] == old[there]
        counts[places[there]] -= before.counts[theirs][there]
        return Counts(keys, np.maximum(counts, 0))


class Quantiles:
    """Ranks and values of observations of some series.

    counts: of buckets of these series, by number. total: of all their observations. negatives, zeros: of those below.
    """

    def __init__(self, numbers: Numbers, counts: Counts, total: Numbers, negatives: Numbers, zeros: Numbers) -> None:
        self._total, self._negatives, self._below = total, negatives, negatives + zeros
        self._indices = np.append((counts.keys & ((1 << INDEX_BITS) - 1)) - BIAS, 0)  # and one for those without any
        self._cumulative = np.concatenate(([0], np.cumsum(counts.counts)))
        self._begin = self._cumulative[np.searchsorted(counts.keys, numbers << INDEX_BITS)]
        end = self._cumulative[np.searchsorted(counts.keys, (numbers + 1) << INDEX_BITS)]
        self.in_buckets: Numbers = end - self._begin

    def _bucket(self, rank: Numbers) -> Numbers:
        """Index of the bucket in which that observation is, the first of those in buckets being 1."""
        places = np.searchsorted(self._cumulative, self._begin + rank) - 1
        return self._indices[np.clip(places, 0, len(self._indices) - 1)]

    def at(self, q: float, lowest: Floats) -> Floats:
        """As HistogramValue.quantile; lowest: what stands for negative observations."""
        rank = np.maximum(1, np.ceil(q * self._total)).astype(np.int64)
        within = rank - self._below
        found = _power(self._bucket(within) - 0.5)
        found[within > self.in_buckets] = np.inf
        found[within <= 0] = 0.0
        return np.where(rank <= self._negatives, lowest, found)

    def top(self) -> tuple[Floats, Floats]:
        """Bounds of the highest bucket that is not empty; anything where none is."""
        bucket = self._bucket(self.in_buckets)
        return _power(bucket - 1), _power(bucket)


def _power(index: npt.NDArray[Any]) -> Floats:
    """The upper bound of a bucket."""
    with np.errstate(over="ignore"):
        found: Floats = np.exp2(index / BUCKETS)
    return found
