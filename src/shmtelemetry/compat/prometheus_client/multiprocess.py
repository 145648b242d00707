"""What applications in prometheus_client's multiprocess mode call. Here there is no mode to be in: no directory, no
variable, and nothing to do when a process ends."""

import os
import weakref
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

from ...aggregate.snapshot import Family, Snapshot
from .registry import CollectorRegistry, SharedCollector
from .shared import SharedMetric

__all__ = ["MultiProcessCollector", "mark_process_dead"]


class MultiProcessCollector(SharedCollector):
    """Collects every shared metric of this process, whatever registry it is in, but those in the given one already."""

    def __init__(self, registry: CollectorRegistry | None, path: str | os.PathLike[str] | None = None) -> None:
        self._registry = weakref.ref(registry) if registry is not None else None
        if registry is not None:
            registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect_from(self, snapshot: Snapshot | None) -> Iterator[Metric]:
        for metric in self._metrics():
            yield from metric.collect_from(snapshot)

    def families_from(self, snapshot: Snapshot | None) -> Iterator[Family | Metric]:
        for metric in self._metrics():
            yield from metric.families_from(snapshot)

    def _metrics(self) -> Iterator[SharedMetric]:
        registry = None if self._registry is None else self._registry()
        there = set() if registry is None else set(registry._names_to_collectors)
        for metric in SharedMetric.living():
            if metric._name not in there:
                there.add(metric._name)  # of several of one name, the first
                yield metric


def mark_process_dead(pid: int, path: str | os.PathLike[str] | None = None) -> None:
    """Nothing: the reader sees by itself that a process has ended."""
