"""Ranges: one figure of one series over time, or of several added up, from the rows that are kept."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from sqlite3 import Connection, OperationalError
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from .blocks import ALL_EVERY, KINDS, QUANTILES, RESOLUTIONS, SHARD, Numbers, Records, key, table

MOST: Final = 11_000  # points of one range, as Prometheus has it
LATEST: Final = 2.0**33  # seconds since the epoch
FIGURES: Final = {
    "counter": ("value", "rate"),
    "gauge": ("value",),
    "histogram": ("count", "sum", "rate", *QUANTILES, "max", "coverage"),
}
ADDED: Final = ("value", "rate", "count", "sum")  # figures of several series that make one
SIDES: Final[tuple[Literal["left"], Literal["right"]]] = ("left", "right")
STALE: Final = ALL_EVERY + 5  # times of a resolution after which a series is not there any more that was in no row

Floats = npt.NDArray[np.float64]
Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows of some series are: their slots in shards."""

    kind: str
    shards: Mapping[int, Numbers]

    @property
    def count(self) -> int:
        return sum(map(len, self.shards.values()))


def check_range(start: float, end: float, step: float) -> None:
    """Raises ValueError for a range that nobody can mean."""
    for name, value in (("start", start), ("end", end)):
        if not 0 <= value < LATEST:  # nor NaN
            raise ValueError(f"{name} {value!r}: expected seconds since the epoch")
    if not RESOLUTIONS[0] <= step < LATEST:
        raise ValueError(f"step {step!r}: expected at least {RESOLUTIONS[0]} second")
    if end < start:
        raise ValueError(f"a range from {start!r} to {end!r}: expected start before end")
    if (end - start) / step > MOST:
        raise ValueError(f"{(end - start) / step:,.0f} points: expected at most {MOST:,}; use a larger step")


def find_series(database: Connection, metric: str, labels: Mapping[str, str]) -> Places | None:
    """The newest of that name that has these labels and no others."""
    for number, kind, names in _definitions(database, metric):
        if set(names) != set(labels):
            continue
        values = json.dumps([labels[name] for name in names], separators=(",", ":"))
        found = database.execute(
            "SELECT series.number, shard.id FROM series JOIN shard ON shard.metric = series.metric"
            " AND shard.number = series.number / ? WHERE series.metric = ? AND series.labels = ?",
            (SHARD, number, values),
        ).fetchone()
        if found is not None:
            return Places(kind, {found[1]: np.array([found[0] % SHARD])})
    return None


def find_all(database: Connection, metric: str, labels: Mapping[str, str]) -> Places | None:
    """All of that name that have these labels, and others besides; of one that was defined anew as another kind, those
    of the newest."""
    kind, slots, seen = "", defaultdict[int, list[int]](list), set[frozenset[tuple[str, str]]]()
    for number, this, names in _definitions(database, metric):
        kind = kind or this
        if this != kind or not set(labels) <= set(names):
            continue
        rows = database.execute(
            "SELECT series.labels, series.number, shard.id FROM series JOIN shard ON shard.metric = series.metric"
            " AND shard.number = series.number / ? WHERE series.metric = ?",
            (SHARD, number),
        )
        for stored, place, shard in rows:
            there = frozenset(zip(names, json.loads(stored), strict=True))
            if labels.items() <= there and there not in seen:
                seen.add(there)
                slots[shard].append(place % SHARD)
    return Places(kind, {shard: np.array(found) for shard, found in slots.items()}) if slots else None


def _definitions(database: Connection, metric: str) -> list[tuple[int, str, list[str]]]:
    """(number, kind, names of labels) of metrics of that name, the newest first."""
    rows = database.execute("SELECT id, kind, labels FROM metric WHERE name = ? ORDER BY id DESC", (metric,))
    return [(number, kind, json.loads(names)) for number, kind, names in rows]


def all_series(database: Connection, metric: str) -> list[dict[str, str]]:
    """As History.series."""
    rows = database.execute(
        "SELECT metric.labels, series.labels FROM series JOIN metric ON metric.id = series.metric WHERE name = ?"
        " ORDER BY metric.id, number",
        (metric,),
    )
    return [dict(zip(json.loads(names), json.loads(values), strict=True)) for names, values in rows]


def range_of(
    database: Connection,
    places: Places,
    start: float,
    end: float,
    step: float,
    figure: str,
    stopped: Callable[[], bool] | None = None,
) -> Points:
    """As History.range and History.sum, of a range that was checked."""
    if figure not in FIGURES[places.kind]:
        raise ValueError(f"figure {figure!r} of a {places.kind}: expected one of {', '.join(FIGURES[places.kind])}")
    if places.count > 1 and figure not in ADDED:
        raise ValueError(
            f"figure {figure}: expected one of {', '.join(ADDED)} of {places.count:,} series, or more labels"
        )
    resolution = _resolution(database, places, start, step)
    (newest,) = database.execute("SELECT time FROM history_newest WHERE resolution = ?", (resolution,)).fetchone() or (
        0,
    )
    end = min(end, newest)  # nobody knows yet what comes then
    step = max(float(resolution), math.floor(step / resolution) * resolution)
    times: Floats = np.arange(math.ceil(start / step), math.floor(end / step) + 1) * np.float64(step)
    if not len(times):
        return []
    begin = int(times[0] - max(step, STALE * resolution))
    total, there = np.zeros(len(times)), np.zeros(len(times), bool)
    for at, records in _all_rows(database, places, resolution, begin, int(times[-1])):
        if stopped is not None and stopped():
            raise OperationalError("interrupted")  # as a query that is stopped
        values = _figure(figure, times, step, at, records, resolution)
        known = ~np.isnan(values)
        with np.errstate(all="ignore"):  # they may be infinite
            total[known] += values[known]
        there |= known
    there &= ~np.isnan(total)
    return list(zip(times[there].tolist(), total[there].tolist(), strict=True))


def _resolution(database: Connection, places: Places, start: float, step: float) -> int:
    """The coarsest that is no coarser than the step, or where that does not go back as far, the next that does."""
    fine = max(resolution for resolution in RESOLUTIONS if resolution <= step)
    oldest: dict[int, int] = {}
    for resolution in RESOLUTIONS[RESOLUTIONS.index(fine) :]:
        query = f"SELECT min(key) FROM {table(resolution)} WHERE key >= ? AND key < ?"
        for shard in places.shards:
            (found,) = database.execute(query, (key(shard, 0), key(shard + 1, 0))).fetchone()
            if found is not None:
                oldest[resolution] = min(found - key(shard, 0), oldest.get(resolution, found))
    begin = max(start, min(oldest.values(), default=0))
    return next((resolution for resolution, time in oldest.items() if time <= begin), fine)


def _all_rows(
    database: Connection, places: Places, resolution: int, begin: int, end: int
) -> Iterator[tuple[Numbers, Records]]:
    """(times, records) of each series, from a time to another, both included; each shard is read once."""
    query = f"SELECT key, data FROM {table(resolution)} WHERE key >= ? AND key <= ? ORDER BY key"
    dtype = KINDS[places.kind]
    for shard, slots in places.shards.items():
        rows = database.execute(query, (key(shard, max(0, begin)), key(shard, end))).fetchall()
        records = np.frombuffer(b"".join(data for _, data in rows), dtype)
        sizes = [len(data) // dtype.itemsize for _, data in rows]
        at = np.repeat(np.array([number for number, _ in rows], np.int64), sizes) - key(shard, 0)
        order = np.argsort(records["slot"], kind="stable")
        sorted_slots = records["slot"][order]
        for first, last in zip(*(np.searchsorted(sorted_slots, slots, side) for side in SIDES), strict=True):
            mine = order[first:last]
            yield at[mine], records[mine]


def _figure(figure: str, times: Floats, step: float, at: Numbers, records: Records, resolution: int) -> Floats:
    """The figure at each time, of what lies in the step before it; NaN where there is none."""
    begin, end = np.searchsorted(at, times - step, "right"), np.searchsorted(at, times, "right")
    found = np.full(len(times), np.nan)
    there = end > 0
    there[there] = times[there] - at[end[there] - 1] <= STALE * resolution
    begin, end = begin[there], end[there]
    if figure == "value":
        found[there] = records["value"][end - 1]
    elif figure == "rate":
        found[there] = _sums(records["gain" if "gain" in (records.dtype.names or ()) else "count"], begin, end) / step
    elif figure in ("count", "sum"):
        found[there] = _sums(records[figure], begin, end)
    elif figure == "coverage":
        found[there] = _coverage(records, begin, end)
    else:
        found[there] = _largest(records[figure], begin, end)
    return found


def _sums(values: npt.NDArray[np.generic], begin: Numbers, end: Numbers) -> Floats:
    """Of values[begin:end] for each pair; exact for counts below 2**53, since nothing else is added up."""
    with np.errstate(all="ignore"):  # they may be infinite
        return _reduced(np.add, values.astype(np.float64), begin, end, 0.0)


def _coverage(records: Records, begin: Numbers, end: Numbers) -> Floats:
    """Observed ÷ attempted, of the times that know it."""
    known = records["coverage"] > 0
    observed = np.where(known, records["count"], 0).astype(np.float64)
    attempted = np.divide(observed, records["coverage"], out=np.zeros(len(records)), where=known)
    total = _sums(attempted, begin, end)
    found = np.full(len(begin), np.nan)
    np.divide(_sums(observed, begin, end), total, out=found, where=total > 0)
    return found


def _largest(values: npt.NDArray[np.generic], begin: Numbers, end: Numbers) -> Floats:
    """Of values[begin:end] for each pair: a quantile of several times is at most the largest of theirs."""
    return _reduced(np.fmax, values, begin, end, np.nan)


def _reduced(
    operation: np.ufunc, values: npt.NDArray[np.generic], begin: Numbers, end: Numbers, nothing: float
) -> Floats:
    """Of values[begin:end] for each pair; nothing: of none."""
    found = np.full(len(begin), nothing)
    some = np.flatnonzero(begin < end)
    if len(some):
        bounds = np.stack((begin[some], end[some]), axis=1).reshape(-1)
        found[some] = operation.reduceat(np.append(values, nothing), bounds)[::2]
    return found
