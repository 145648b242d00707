"""Exponential histograms: the pages of a series as one distribution, and those of many series at once."""

import numpy as np
import numpy.typing as npt

from ..metric import Metric
from ._distributions import gather_all
from .series import BLOCK, PAGE_BUCKETS
from .snapshot import Distributions, HistogramValue

BIAS = 1023  # of a double's exponent


def exponential(entry: np.void, state: npt.NDArray[np.uint8]) -> tuple[int, npt.NDArray[np.uint64]]:
    """(index of the first bucket, counts) at scale 5 of one SERIES entry, from its octaves' pages in the state."""
    packed = int(entry["directory"])
    directory, first, length = (packed & 0xFFFFFFFF) * BLOCK, packed >> 32 & 0xFFFF, packed >> 48
    pages = state[directory : directory + 4 * length].view(np.uint32)
    used = np.flatnonzero(pages)
    if not len(used):
        return 0, np.empty(0, np.uint64)
    low, high = int(used[0]), int(used[-1])
    counts = np.zeros((high - low + 1, PAGE_BUCKETS), np.uint64)
    for octave in used:
        begin = int(pages[octave]) * BLOCK
        counts[octave - low] = state[begin : begin + 8 * PAGE_BUCKETS].view(np.uint64)
    return (first + low - BIAS) * PAGE_BUCKETS + 1, counts.reshape(-1)


def histogram_value(
    entry: np.void, metric: Metric, classic: npt.NDArray[np.uint64], state: npt.NDArray[np.uint8]
) -> HistogramValue:
    """The distribution of one SERIES entry. classic: its classic counts."""
    first, counts = exponential(entry, state)
    cumulative = np.cumsum(classic).tolist()
    count = int(cumulative[-1])
    return HistogramValue(
        count=count,
        sum=float(entry["value"]),
        min=float(entry["minimum"]) if count else float("nan"),
        max=float(entry["maximum"]) if count else float("nan"),
        zeros=int(entry["zeros"]),
        negatives=int(entry["negatives"]),
        infinities=int(entry["infinities"]),
        first=first,
        exponential=counts,
        buckets=tuple(zip((*metric.buckets, float("inf")), cumulative, strict=True)),
    )


def distributions(entries: np.ndarray, state: npt.NDArray[np.uint8]) -> Distributions:
    """Those of many SERIES entries."""
    begin, indices, counts = gather_all(state, np.ascontiguousarray(entries["directory"]))
    return Distributions(
        begin=begin,
        indices=indices,
        counts=counts,
        zeros=entries["zeros"],
        negatives=entries["negatives"],
        infinities=entries["infinities"],
        minima=entries["minimum"],
        maxima=entries["maximum"],
    )
