"""Families as they are exposed: this process's series in the order in which it made them, then those of others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...aggregate.snapshot import Family
from ...metric import Metric

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown(Metric):
    """A metric as prometheus_client defined it, which allows names, units and buckets that Metric does not."""

    def __post_init__(self) -> None:
        pass


class Arrangement:
    """The order in which the series of one family are shown; kept until a series comes or goes."""

    def __init__(self) -> None:
        self._own: tuple[Labels, ...] = ()
        self._known: tuple[Labels, ...] = ()
        self._labels: tuple[Labels, ...] = ()
        self._at = np.empty(0, np.int64)  # of each label set: its number in the snapshot's family, or -1

    def of(
        self, metric: Metric, names: Labels, own: tuple[Labels, ...], created: Sequence[float], family: Family | None
    ) -> Family:
        """The family's series under the names and in the order in which they are shown.

        own: label values of this process's series; created: when it made each, in seconds since the epoch. A series
        that the reader does not know yet is zero.
        """
        known = () if family is None else family.labels
        if known is not self._known or own != self._own:
            self._arrange(own, known)
        if family is not None and self._labels is known:
            return Family(metric, names, known, family.values, family.created, family.counts, family.exemplars)
        labels, at = self._labels, self._at
        began = np.array([*created, *[0.0] * (len(labels) - len(own))], np.float64)
        if family is None:
            width = len(metric.buckets) + 1
            counts = np.zeros((len(labels), width), np.uint64) if metric.kind == "histogram" else None
            return Family(metric, names, labels, np.zeros(len(labels)), began, counts)
        counts = None if family.counts is None else _picked(family.counts, at)
        new = {old: place for place, old in enumerate(at.tolist())} if family.exemplars else {}
        exemplars = tuple(replace(exemplar, series=new[exemplar.series]) for exemplar in family.exemplars)
        values, seen = _picked(family.values, at), _picked(family.created, at)
        return Family(metric, names, labels, values, np.where(seen > 0, seen, began), counts, exemplars)

    def _arrange(self, own: tuple[Labels, ...], known: tuple[Labels, ...]) -> None:
        numbers = {labels: at for at, labels in enumerate(known)}
        foreign = numbers.keys() - set(own)
        labels = (*own, *(key for key in known if key in foreign))
        self._labels = known if labels == known else labels
        self._at = np.array([numbers.get(key, -1) for key in labels], np.int64)
        self._own, self._known = own, known


def _picked(rows: Any, at: Any) -> Any:
    """Those rows; zeros for -1."""
    if not len(rows):
        return np.zeros((len(at), *rows.shape[1:]), rows.dtype)
    found = rows[at]
    found[at < 0] = 0
    return found
