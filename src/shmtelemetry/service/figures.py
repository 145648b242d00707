"""Single figures of a snapshot, over all series of a metric."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..aggregate.snapshot import Family, HistogramValue, Snapshot

WINDOW = 10  # seconds, of every rate and quantile that does not say otherwise


def chosen(snapshot: Snapshot, name: str, labels: Mapping[str, str]) -> Iterator[tuple[Family, int]]:
    """The series of a metric that have these labels, and perhaps others: (family, index)."""
    family = snapshot.families.get(name)
    if family is None or not labels.keys() <= set(family.label_names):
        return
    places = [(family.label_names.index(label), value) for label, value in labels.items()]
    for at, values in enumerate(family.labels):
        if all(values[place] == value for place, value in places):
            yield family, at


def added(values: Iterable[float]) -> float:
    """Their sum, as exact as may be; NaN where infinities of both signs meet."""
    values = list(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def total(snapshot: Snapshot, name: str, **labels: str) -> float | None:
    """The sum of a counter or gauge over its series with these labels; None where there is none that is finite."""
    found = [float(family.values[at]) for family, at in chosen(snapshot, name, labels)]
    return finite(added(found)) if found else None


def rate(snapshot: Snapshot, name: str, **labels: str) -> float | None:
    """What its series with these labels gained a second, of late; None where that is not known."""
    window = snapshot.window(WINDOW)
    rates = [
        window.rate(name, **dict(zip(family.label_names, family.labels[at], strict=True)))
        for family, at in chosen(snapshot, name, labels)
    ]
    return finite(added(rates)) if rates else None


def recent(snapshot: Snapshot, name: str) -> HistogramValue | None:
    """The distribution of late of a histogram without labels; None where there is none."""
    family = snapshot.families.get(name)
    if family is None or family.counts is None or family.label_names:
        return None
    return snapshot.window(WINDOW).histogram(name)


def newest(snapshot: Snapshot, *names: str) -> int | None:
    """When one of these gauges was set last, in nanoseconds since the epoch; None where none was."""
    families = [snapshot.families[name] for name in names if name in snapshot.families]
    times = [int(np.max(family.times)) for family in families if family.times is not None and len(family.times)]
    return max(times, default=0) or None


def finite(value: Any) -> float | None:
    """The same as a float; None for None, NaN and infinity, of which JSON has no word."""
    return float(value) if value is not None and math.isfinite(value) else None
