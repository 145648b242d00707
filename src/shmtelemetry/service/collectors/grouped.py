"""Values of a snapshot by what a label says."""

from collections import defaultdict

from ...aggregate.snapshot import Snapshot
from ...schema import Schema
from ..figures import finite

PRICE_DIGITS = 8


def by_labels(snapshot: Snapshot, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Values of a counter or gauge by the values of some of its labels: counters add up, of gauges one counts."""
    family = snapshot.families.get(name)
    if family is None or not set(labels) <= set(family.label_names):
        return {}
    places = [family.label_names.index(label) for label in labels]
    found: defaultdict[tuple[str, ...], float] = defaultdict(float)
    adds_up = family.metric.kind == "counter"
    for values, value in zip(family.labels, family.values.tolist(), strict=True):
        key = tuple(values[place] for place in places)
        found[key] = found[key] + value if adds_up else value
    return dict(found)


def by_label(snapshot: Snapshot, name: str, label: str) -> dict[str, float]:
    """The same by the values of one label."""
    return {key: value for (key,), value in by_labels(snapshot, name, label).items()}


def metric_of(schema: Schema, field: str) -> str:
    """The name of the metric that a field of the trading pack's schemas makes."""
    name = schema.roles[field].name
    assert name is not None
    return name


def rounded(value: float | None, digits: int = PRICE_DIGITS) -> float | None:
    """Without the noise of binary fractions; None for None, NaN and infinity."""
    known = finite(value)
    return None if known is None else round(known, digits)


def whole(value: float | None) -> int | None:
    """As a number of things; None for None, NaN and infinity."""
    known = finite(value)
    return None if known is None else int(known)
