"""Series one by one: what each is at present, and how the observations of some of them were spread."""

import math
from collections.abc import Mapping
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from ..aggregate.snapshot import Family, FamilyWindows, HistogramValue, Snapshot
from ..metric import SECONDS_PER, unit_of_name
from .figures import WINDOW, chosen, finite

SCALE: Final = 2  # of the buckets that are told: 2**SCALE of them an octave
MERGED: Final = 32 >> SCALE  # buckets of a HistogramValue that make one of them
COLUMNS: Final = ("p50", "p90", "p99", "p999")  # the quantiles of FamilyWindows

Sort = Literal["metric", "labels", "rate", "p50", "p90", "p99", "p999", "max", "coverage", "value"]
Row = dict[str, Any]
Key = float | tuple[str | tuple[str, ...], ...] | None


def series(
    snapshot: Snapshot, kind: str | None, search: str, limit: int, sort: Sort = "rate", descending: bool = True
) -> tuple[list[Row], int]:
    """The first `limit` series of a kind, or of all, whose name or labels have the text; and how many there are.

    sort: what they are in order of; times in different units are compared as times. What is not known
    comes last, either way. Rates, quantiles, maxima and coverages are of the last 10 s; None is what is not known.
    """
    windows = {found.family.metric.name: found for found in snapshot.windows()}
    wanted = search.casefold()
    known: list[tuple[Key, Family, int]] = []
    unknown: list[tuple[Key, Family, int]] = []
    for name, family in snapshot.families.items():
        if kind not in (None, family.metric.kind):
            continue
        keys = _keys(sort, family, windows.get(name))
        for at, (labels, key) in enumerate(zip(family.labels, keys, strict=True)):
            if not wanted or wanted in " ".join((name, *labels)).casefold():
                (unknown if key is None else known).append((key, family, at))
    # Rows are made for those alone that are shown: of ten thousand series that is the dear part.
    first = (nlargest if descending else nsmallest)(limit, known, key=itemgetter(0))
    shown = [*first, *unknown[: limit - len(first)]]
    return [_row(family, at, windows.get(family.metric.name)) for _, family, at in shown], len(known) + len(unknown)


def _keys(sort: Sort, family: Family, windows: FamilyWindows | None) -> list[Key]:
    """By what each series of a family is sorted; None where it is not known."""
    name, unit = family.metric.name, family.metric.unit
    if sort == "metric":
        return [(name, labels) for labels in family.labels]
    if sort == "labels":
        return [(labels, name) for labels in family.labels]
    if sort == "value":
        figures = family.values if family.counts is None else family.counts.sum(axis=1)
    else:
        figures = np.full(len(family.labels), np.nan)
        if windows is not None:
            figures[windows.series] = _column(windows, sort)
    is_in_unit = sort in (*COLUMNS, "max") or (sort == "value" and family.counts is None)
    factor = SECONDS_PER.get(unit or unit_of_name(name) or "", 1.0) if is_in_unit else 1.0
    return [key if math.isfinite(key) else None for key in (figures * factor).tolist()]


def _column(windows: FamilyWindows, figure: str) -> npt.NDArray[np.float64]:
    """One figure of all series that have windows."""
    at = windows.lengths.index(WINDOW)
    if figure in COLUMNS:
        return windows.quantiles[:, at, COLUMNS.index(figure)]
    return {"rate": windows.rates, "max": windows.maxima, "coverage": windows.coverages}[figure][:, at]


def _row(family: Family, at: int, windows: FamilyWindows | None) -> Row:
    metric = family.metric
    value = family.values[at] if family.counts is None else family.counts[at].sum()
    return {
        "metric": metric.name,
        "kind": metric.kind,
        "unit": metric.unit,
        "labels": dict(zip(family.label_names, family.labels[at], strict=True)),
        "value": finite(value),
        **_recent(windows, at),
    }


def _recent(windows: FamilyWindows | None, at: int) -> Row:
    row = -1 if windows is None else int(np.searchsorted(windows.series, at))
    if windows is None or row == len(windows.series) or windows.series[row] != at:
        return dict.fromkeys(("rate", "max", "coverage", *COLUMNS))
    return {name: finite(_column(windows, name)[row]) for name in ("rate", "max", "coverage", *COLUMNS)}


def distribution(snapshot: Snapshot, name: str, labels: Mapping[str, str], seconds: float) -> Row:
    """The observations of all series of a histogram that have these labels together, in each of the last seconds.

    counts: of the buckets from index `first` on, where bucket i holds what is above 2**((i - 1) / 4), and at most
    2**(i / 4). low: what is 0 or less. high: what is infinite. Raises ValueError for what is no histogram.
    """
    found = list(chosen(snapshot, name, labels))
    family = snapshot.families.get(name)
    if family is None or family.counts is None:
        raise ValueError(f"metric {name[:64]!r}: expected a histogram that there is")
    at = np.array([index for _, index in found], np.int64)
    now = snapshot.taken_ns / 1e9
    try:
        told = [
            {"end": now - each.age, "seconds": each.seconds, **_told(each.merged(family, at))}
            for each in snapshot.seconds(seconds)
        ]
    except KeyError as error:
        raise ValueError(error.args[0]) from error
    return {"unit": family.metric.unit, "scale": SCALE, "series": len(found), "seconds": told}


def _told(value: HistogramValue) -> Row:
    first, counts = _coarse(value)
    return {
        "count": value.count,
        "low": value.negatives + value.zeros,
        "high": value.infinities,
        "first": first,
        "counts": counts,
    }


def _coarse(value: HistogramValue) -> tuple[int, list[int]]:
    """(index of the first, counts) of the buckets that are told: exact, since each is made of whole ones."""
    if not len(value.exponential):
        return 0, []
    first = -(-value.first // MERGED)  # rounded up
    places = -(-(value.first + np.arange(len(value.exponential))) // MERGED) - first
    counts = np.zeros(int(places[-1]) + 1, np.uint64)
    np.add.at(counts, places, value.exponential)
    return first, counts.tolist()
