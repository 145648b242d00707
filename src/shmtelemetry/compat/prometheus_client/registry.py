"""prometheus_client's registry, which looks at the processes' common state once for all metrics that it collects."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeGuard

from prometheus_client import registry as original
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, RestrictedRegistry
from prometheus_client.registry import CollectorRegistry as _CollectorRegistry

from ...aggregate.snapshot import Family, Snapshot
from ...exporters.prometheus import Exposition
from .store import store
from .values import PID

DuplicateTimeseries: type[ValueError] = getattr(original, "DuplicateTimeseries", ValueError)  # which 0.26 has

__all__ = ["REGISTRY", "Collector", "CollectorRegistry", "DuplicateTimeseries", "RestrictedRegistry"]


class SharedCollector(ABC):
    """A collector of what all processes have in common."""

    def collect(self) -> Iterable[Metric]:
        return self.collect_from(store().snapshot())

    @abstractmethod
    def collect_from(self, snapshot: Snapshot | None) -> Iterable[Metric]:
        """What `collect` gives, from a look that others share."""

    def families_from(self, snapshot: Snapshot | None) -> Iterable[Family | Metric]:
        """The same, but arrays where these say everything."""
        return self.collect_from(snapshot)


def shares(collector: object) -> TypeGuard[SharedCollector]:
    """Whether a collector takes a look of others; one of a user's class that collects for itself does not."""
    return isinstance(collector, SharedCollector) and type(collector).collect is SharedCollector.collect


class CollectorRegistry(_CollectorRegistry):
    @cached_property
    def exposition(self) -> Exposition:
        """Remembers what stays the same between two expositions."""
        return Exposition()

    def collect(self) -> Iterator[Metric]:
        """The families of all collectors; those of shared metrics are of one moment."""
        return self._collected(lambda collector, snapshot: collector.collect_from(snapshot))

    def families(self) -> Iterator[Family | Metric]:
        """The same, but arrays where these say everything."""
        return self._collected(lambda collector, snapshot: collector.families_from(snapshot))

    def _collected(self, shared: Callable[[SharedCollector, Snapshot | None], Iterable[Any]]) -> Iterator[Any]:
        with self._lock:
            collectors = list(self._collector_to_names)
            target_info = self._target_info_metric() if self._target_info else None
        if target_info is not None:
            yield target_info
        snapshot = None
        for collector in collectors:
            if shares(collector):
                snapshot = snapshot or store().snapshot()
                yield from shared(collector, snapshot)
            else:
                yield from collector.collect()

    def get_sample_value(self, name: str, labels: Mapping[str, str] | None = None) -> float | None:
        """The value of a sample, None if there is none. A gauge of mode all needs no pid for this process's."""
        wanted = dict(labels or {})
        own = {PID: str(os.getpid()), **wanted}
        mine = None
        for metric in self.collect():
            for sample in metric.samples:
                if sample.name == name and sample.labels == wanted:
                    return sample.value
                if sample.name == name and sample.labels == own:
                    mine = sample.value
        return mine


REGISTRY = CollectorRegistry(auto_describe=True)
