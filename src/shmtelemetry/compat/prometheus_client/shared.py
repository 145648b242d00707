"""What the shared metrics have in common: series that come and go, and families made of what all processes have."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np
from prometheus_client import metrics as original
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.validation import METRIC_LABEL_NAME_RE, METRIC_NAME_RE

from ...aggregate import snapshot as taken
from ...aggregate.snapshot import Family, Snapshot
from .places import Definition, check_free
from .registry import SharedCollector
from .shown import Arrangement, Labels, Shown
from .values import SPOILERS, Values

_numbers = count()

Line = tuple[str, dict[str, str], float, Exemplar | None]  # suffix, further labels, value
Exemplars = dict[tuple[int, int], Exemplar]  # by series and bucket


class SharedMetric(SharedCollector, MetricWrapperBase):
    """What the metrics have in common: their values, and families made of what all processes have."""

    _kind: str
    _created: float
    _values: Any  # Values; None until the metric is registered

    _living: ClassVar["WeakValueDictionary[int, SharedMetric]"] = WeakValueDictionary()  # in order of their making

    @staticmethod
    def living() -> list["SharedMetric"]:
        """All metrics of this process, whatever registry they are in; not their children."""
        return list(SharedMetric._living.values())

    def describe(self) -> Iterable[Metric]:
        check_free(self._name)  # a registry asks before it takes the metric
        return super().describe()

    def _share(self) -> None:
        """When the metric is registered: its values, and if it has no labels, its one series."""
        self._values = self._made_values()
        self._living[next(_numbers)] = self
        self._kwargs["_values"] = self._values
        if self._is_observable():
            self._begin()

    def _made_values(self) -> Values:
        return Values(self._name, Definition(self._kind, self._documentation, self._labelnames))

    def _metric_init(self) -> None:
        if self._values is not None:  # a child, whose values its parent made
            self._begin()

    @abstractmethod
    def _begin(self) -> None:
        """The series is used from now on."""

    @abstractmethod
    def _release(self) -> None:
        """The series was removed; whoever still holds this object writes nowhere."""

    @abstractmethod
    def _reopen(self) -> None:
        """The name was another process's; go on under the one that is right."""

    # ---- series that come and go ----

    def remove(self, *labelvalues: Any) -> None:
        before = self._children()
        super().remove(*labelvalues)
        self._drop_gone(before)

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        before = self._children()
        super().remove_by_labels(labels)
        self._drop_gone(before)

    def clear(self) -> None:
        before = self._children()
        super().clear()
        self._drop_gone(before)

    def _children(self) -> dict[Labels, "SharedMetric"]:
        children: dict[Labels, SharedMetric] = dict(self._metrics) if self._is_parent() else {}  # type: ignore[arg-type]
        return children

    def _drop_gone(self, before: dict[Labels, "SharedMetric"]) -> None:
        for labels, child in before.items():
            if self._metrics.get(labels) is not child:
                child._release()
                self._values.remove(labels)

    # ---- what is shown ----

    def collect_from(self, snapshot: Snapshot | None) -> Iterable[Metric]:
        """The family, from a snapshot that others share."""
        metric = self._get_metric()
        family = self.shown(snapshot)
        exemplars = {(item.series, item.bucket): exemplar_of(item) for item in family.exemplars}
        for series, values in enumerate(family.labels):
            labels = dict(zip(family.label_names, values, strict=True))
            for suffix, further, value, exemplar in self._lines(family, series, exemplars):
                metric.add_sample(self._name + suffix, {**labels, **further}, value, None, exemplar)
        return [metric]

    def families_from(self, snapshot: Snapshot | None) -> Iterable[Family | Metric]:
        return [self.shown(snapshot)] if self._is_plain else self.collect_from(snapshot)

    @cached_property
    def _is_plain(self) -> bool:
        """Whether the family's arrays, written as ordinary names allow, are all there is to show."""
        legal = METRIC_NAME_RE.match(self._name) and all(METRIC_LABEL_NAME_RE.match(name) for name in self._labelnames)
        return bool(legal) and type(self).collect_from is SharedMetric.collect_from

    def shown(self, snapshot: Snapshot | None) -> Family:
        """The family as it is exposed."""
        children = list(self._children().items()) if self._is_parent() else [((), self)]
        own = tuple(self._own(labels) for labels, _ in children)
        created = [child._created for _, child in children]
        if self._values is not None and self._values.dislodged(snapshot):
            for _, child in children:
                child._reopen()
        found = None if self._values is None else self._values.family(snapshot)
        family = self._arrangement.of(self._metric(self._bounds), self._names, own, created, found)
        if not getattr(original, "_use_created", True):
            family = replace(family, created=np.zeros(len(family.labels)))
        return self._spoilt(family, snapshot)

    def _metric(self, bounds: tuple[float, ...] = ()) -> Shown:
        name = f"{self._name}_total" if self._kind == "counter" else self._name
        return Shown(name, self._kind, self._documentation, buckets=bounds, unit=self._unit)

    @cached_property
    def _arrangement(self) -> Arrangement:
        return Arrangement()

    _bounds: tuple[float, ...] = ()  # of the buckets in which values are counted

    @property
    def _names(self) -> Labels:
        names: Labels = self._labelnames
        return names

    def _own(self, labels: Labels) -> Labels:
        """The label values of this process's series."""
        return labels

    def _spoilt(self, family: Family, snapshot: Snapshot | None) -> Family:
        """Totals that were given NaN or infinity."""
        for suffix, value in SPOILERS.items():
            steps = None if self._values is None else self._values.family(snapshot, suffix)
            if steps is not None:
                family = self._with_steps(family, dict(zip(steps.labels, steps.values.tolist(), strict=True)), value)
        return family

    def _with_steps(self, family: Family, steps: dict[Labels, float], value: float) -> Family:
        many = np.array([steps.get(labels, 0.0) for labels in family.labels], np.float64)
        return replace(family, values=np.where(many > 0, family.values + value, family.values))

    @abstractmethod
    def _lines(self, family: Family, series: int, exemplars: Exemplars) -> Iterator[Line]:
        """Suffix, further labels, value and exemplar of each line of a series."""


def exemplar_of(kept: taken.Exemplar) -> Exemplar:
    return Exemplar(dict(kept.labels), kept.value, kept.time_ns / 1e9)


def created_line(family: Family, series: int) -> Iterator[Line]:
    """None where created timestamps are switched off."""
    if family.created[series]:
        yield "_created", {}, float(family.created[series]), None
