"""What the terms of rules are worth in a snapshot."""

import fnmatch
import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from ...aggregate.snapshot import Family, FamilyWindows, Snapshot
from .rules import METRIC, OVER, WINDOWS, Rule, Term, is_pattern

logger = logging.getLogger("shmtelemetry")

KINDS: Final = {"value": ("counter", "gauge"), "rate": ("counter", "histogram"), "coverage": ("counter", "histogram")}
OF_HISTOGRAMS: Final = ("histogram",)  # what else there is

Key = tuple[str, ...]
Indexes = npt.NDArray[np.int64]


class OwnRates:
    """Rates of the reader's own counters, which have no windows: from totals of the last minute."""

    def __init__(self, metrics: Iterable[str]) -> None:
        self._metrics = frozenset(metrics)
        self._seen: deque[tuple[float, dict[str, dict[Key, float]]]] = deque()

    def look(self, snapshot: Snapshot, now: float) -> None:
        families = {name: snapshot.families[name] for name in self._metrics if name in snapshot.families}
        totals = {
            name: dict(zip(family.labels, family.values.tolist(), strict=True)) for name, family in families.items()
        }
        if self._seen and now <= self._seen[-1][0]:  # the clock was set back
            self._seen.clear()
        self._seen.append((now, totals))
        while len(self._seen) > 1 and self._seen[1][0] <= now - max(WINDOWS):
            self._seen.popleft()

    @property
    def begun(self) -> bool:
        """Whether there is anything to compare with."""
        return len(self._seen) > 1

    def __contains__(self, metric: str) -> bool:
        return metric in self._metrics

    def rate(self, metric: str, labels: Key, window: int) -> float:
        """Of one series, in a second."""
        now, totals = self._seen[-1]
        old = [(time, before) for time, before in self._seen if time <= now - window] or [self._seen[0]]
        time, before = old[-1]
        total, base = totals[metric][labels], before.get(metric, {}).get(labels, 0.0)
        return (total - base if total >= base else total) / (now - time)


class Figures:
    """One snapshot, as rules see it. warned: texts that were said already."""

    def __init__(self, snapshot: Snapshot, own: OwnRates, warned: set[str]) -> None:
        self._snapshot, self._own, self._warned = snapshot, own, warned

    @cached_property
    def _windows(self) -> Mapping[str, FamilyWindows]:
        return {found.family.metric.name: found for found in self._snapshot.windows()}

    def are_there(self, rule: Rule) -> bool:
        """Whether there is anything yet to say of a rule: windows begin empty with each reader, own rates with us."""
        for term in (rule.term, rule.divided_by):
            if term is None or term.figure == "value":
                continue
            if not (self._own.begun if term.metric in self._own else self._snapshot.window(1).seconds):
                return False
        return True

    def knows(self, term: Term) -> bool:
        """Whether there is such a metric, whatever its series."""
        return term.metric in self._snapshot.families

    def of(self, term: Term, by: Key) -> dict[Key, float]:
        """The term's value for each set of values of the labels in `by`."""
        found = {}
        for family in self._families(term):
            for key, series in _groups(family, term, by).items():
                found[key] = self._value(term, family, series)
        return found

    def _families(self, term: Term) -> list[Family]:
        families = self._snapshot.families
        if is_pattern(term.metric):
            names = fnmatch.filter(families, term.metric)
            return [families[name] for name in names if _has(families[name], term)]
        family = families.get(term.metric)
        if family is None:
            return []
        if not _has(family, term):
            self._warn(
                f"a rule asks for {term.figure} of {term.metric}, which is a {family.metric.kind}: it says nothing"
            )
            return []
        return [family]

    def _warn(self, said: str) -> None:
        if said not in self._warned:
            self._warned.add(said)
            logger.warning(said)

    def _value(self, term: Term, family: Family, series: Indexes) -> float:
        if term.figure == "value":
            return float(OVER[term.over](family.values[series].tolist()))
        if term.figure == "rate" and family.metric.name in self._own:
            return sum(self._own.rate(term.metric, family.labels[at], term.window) for at in series.tolist())
        windows = self._windows.get(family.metric.name)
        places = np.flatnonzero(np.isin(windows.series, series)) if windows is not None else np.empty(0, np.int64)
        if windows is None or not len(places):  # nothing was gained for a minute
            return 0.0 if term.figure == "rate" else math.nan
        column = WINDOWS.index(term.window)
        rates, coverages = windows.rates[places, column], windows.coverages[places, column]
        if term.figure == "rate":
            return float(rates.sum())
        if term.figure == "max":
            return float(np.fmax.reduce(windows.maxima[places, column]))
        if term.figure == "coverage":
            return _coverage(rates, coverages)
        distribution = self._snapshot.window(term.window).merged(family, windows.series[places])
        return distribution.quantile(term.quantile or 0.0)


def _has(family: Family, term: Term) -> bool:
    """Whether metrics of that kind have such a figure."""
    return family.metric.kind in KINDS.get(term.figure, OF_HISTOGRAMS)


def _groups(family: Family, term: Term, by: Key) -> dict[Key, Indexes]:
    """Indexes of the series with the term's labels, by their values of other labels."""
    names = family.label_names
    if not set(term.labels) <= set(names):
        return {}
    wanted = [(names.index(label), values) for label, values in term.labels.items()]
    found: dict[Key, list[int]] = {}
    for at, labels in enumerate(family.labels):
        if all(labels[place] in values for place, values in wanted):
            there = dict(zip(names, labels, strict=True)) if by else {}
            key = tuple(family.metric.name if label == METRIC else there.get(label, "") for label in by)
            found.setdefault(key, []).append(at)
    return {key: np.array(series, np.int64) for key, series in found.items()}


def _coverage(rates: npt.NDArray[np.float64], coverages: npt.NDArray[np.float64]) -> float:
    """Of series together: observed ÷ attempted."""
    seen = rates > 0
    attempted = float((rates[seen] / coverages[seen]).sum())
    return float(rates[seen].sum()) / attempted if attempted else math.nan
