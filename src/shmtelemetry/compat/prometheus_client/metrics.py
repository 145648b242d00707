"""prometheus_client's metrics, whose values are in shared memory and common to all processes.

Names, labels, arguments and errors are prometheus_client's own code: each class here is one of its classes, with a
compiled core before it that takes over the calls of the hot path, and with other values behind it.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, TypeVar

import numpy as np
from prometheus_client import metrics as original
from prometheus_client.metrics import MetricWrapperBase, disable_created_metrics, enable_created_metrics
from prometheus_client.utils import floatToGoString

from ...aggregate.snapshot import Family, Snapshot
from .. import _metrics
from .context_managers import ExceptionCounter, InprogressTracker, Timer
from .places import Definition
from .registry import REGISTRY, CollectorRegistry
from .shared import Exemplars, Line, SharedMetric, created_line
from .shown import Labels
from .values import PID, Buckets, GaugeValues, Values

__all__ = [
    "Counter", "Enum", "Gauge", "Histogram", "Info", "MetricWrapperBase", "Summary",
    "disable_created_metrics", "enable_created_metrics",
]  # fmt: skip

Mode = Literal[
    "all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent",
]  # fmt: skip


class _Default(str):
    """The mode of a gauge for which none was given: reads as prometheus_client's default, and is told from it."""


AS_USED: Final[Any] = _Default("all")

_T = TypeVar("_T", bound=type)


def _compiled(*names: str) -> Callable[[_T], _T]:
    def specialised(cls: _T) -> _T:
        _metrics.specialise(cls, *names)
        return cls

    return specialised


@_compiled("labels", "inc")
class Counter(_metrics.CounterCore, SharedMetric, original.Counter):
    _kind = "counter"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        *,
        _values: Values | None = None,
    ) -> None:
        self._values = _values
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues)
        if _values is None:
            self._share()

    def _begin(self) -> None:
        self._value = _metrics.CounterValue(self._values, self._labelvalues)
        self._created = time.time()

    def _release(self) -> None:
        self._value.release()

    def _reopen(self) -> None:
        self._value.reopen()

    def count_exceptions(
        self, exception: type[BaseException] | tuple[type[BaseException], ...] = Exception
    ) -> ExceptionCounter:
        """Count exceptions that a block, a function or a coroutine function raises."""
        self._raise_if_not_observable()
        return ExceptionCounter(self, exception)

    def _lines(self, family: Family, series: int, exemplars: Exemplars) -> Iterator[Line]:
        yield "_total", {}, float(family.values[series]), exemplars.get((series, 0))
        yield from created_line(family, series)


@_compiled("labels", "inc", "dec", "set")
class Gauge(_metrics.GaugeCore, SharedMetric, original.Gauge):
    _kind = "gauge"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        multiprocess_mode: Mode = AS_USED,
        *,
        _values: Values | None = None,
    ) -> None:
        self._values = _values
        super().__init__(
            name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues, multiprocess_mode
        )
        if _values is None:
            self._share()

    def _made_values(self) -> GaugeValues:
        mode = "" if self._multiprocess_mode is AS_USED else str(self._multiprocess_mode)
        return GaugeValues(self._name, Definition("gauge", self._documentation, self._labelnames, mode=mode))

    def _begin(self) -> None:
        adds = self._multiprocess_mode not in self._MOST_RECENT_MODES
        self._value = _metrics.GaugeValue(self._values, self._labelvalues, adds)
        self._created = 0.0

    def _release(self) -> None:
        self._value.release()

    def _reopen(self) -> None:
        self._value.reopen()

    def set_function(self, f: Callable[[], float]) -> None:
        """Show what the function returns; asked in this process, by whoever collects here."""
        super().set_function(f)
        self._release()
        self._values.asks = True

    def track_inprogress(self) -> InprogressTracker:
        """Count the blocks, functions or coroutine functions that run."""
        self._raise_if_not_observable()
        return InprogressTracker(self)

    def time(self) -> Timer:
        """Set the gauge to the seconds that a block, a function or a coroutine function took."""
        return Timer(self, "set")

    @property
    def _names(self) -> Labels:
        return (*self._labelnames, PID) if self._values is not None and self._values.by_process else self._labelnames

    def _own(self, labels: Labels) -> Labels:
        return labels if self._values is None else self._values.own(labels)

    def shown(self, snapshot: Snapshot | None) -> Family:
        family = super().shown(snapshot)
        if self._values is None or not self._values.asks:
            return family
        values = family.values.copy()
        for labels, child in (self._children() or {(): self}).items():
            if "_child_samples" in vars(child):
                (sample,) = child._child_samples()
                values[family.labels.index(self._own(labels))] = sample.value
        return replace(family, values=values)

    def _spoilt(self, family: Family, snapshot: Snapshot | None) -> Family:
        return family

    def _lines(self, family: Family, series: int, exemplars: Exemplars) -> Iterator[Line]:
        yield "", {}, float(family.values[series]), None


@_compiled("labels", "observe")
class Summary(_metrics.SummaryCore, SharedMetric, original.Summary):
    _kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        *,
        _values: Values | None = None,
    ) -> None:
        self._values = _values
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues)
        if _values is None:
            self._share()

    def _begin(self) -> None:
        self._sum = _metrics.HistogramValue(self._values, self._labelvalues)
        self._count = Buckets(self._sum, 1)[0]
        self._created = time.time()

    def _release(self) -> None:
        self._sum.release()

    def _reopen(self) -> None:
        self._sum.reopen()

    def time(self) -> Timer:
        """Observe the seconds that a block, a function or a coroutine function took."""
        return Timer(self, "observe")

    @property
    def _is_plain(self) -> bool:
        return False  # arrays are written with buckets

    def _with_steps(self, family: Family, steps: dict[Labels, float], value: float) -> Family:
        assert family.counts is not None
        many = np.array([[steps.get(labels, 0.0)] for labels in family.labels], np.uint64)
        return replace(super()._with_steps(family, steps, value), counts=family.counts + many)

    def _lines(self, family: Family, series: int, exemplars: Exemplars) -> Iterator[Line]:
        assert family.counts is not None
        yield "_count", {}, float(family.counts[series].sum()), None
        yield "_sum", {}, float(family.values[series]), None
        yield from created_line(family, series)


@_compiled("labels", "observe")
class Histogram(_metrics.HistogramCore, SharedMetric, original.Histogram):
    _kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        buckets: Sequence[float | str] = original.Histogram.DEFAULT_BUCKETS,
        *,
        _values: Values | None = None,
    ) -> None:
        self._values = _values
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues, buckets)
        if _values is None:
            self._share()

    def _prepare_buckets(self, source_buckets: Sequence[float | str]) -> None:
        super()._prepare_buckets(source_buckets)
        self._bounds = tuple(sorted({bound for bound in self._upper_bounds if math.isfinite(bound)}))

    def _made_values(self) -> Values:
        return Values(self._name, Definition("histogram", self._documentation, self._labelnames, self._bounds))

    def _begin(self) -> None:
        self._sum = _metrics.HistogramValue(self._values, self._labelvalues)
        self._buckets: Any = Buckets(self._sum, len(self._upper_bounds))
        self._created = time.time()

    def _release(self) -> None:
        self._sum.release()

    def _reopen(self) -> None:
        self._sum.reopen()

    def time(self) -> Timer:
        """Observe the seconds that a block, a function or a coroutine function took."""
        return Timer(self, "observe")

    @property
    def _is_plain(self) -> bool:
        return self._upper_bounds[0] >= 0 and super()._is_plain

    def shown(self, snapshot: Snapshot | None) -> Family:
        """Buckets as they were asked for: where a bound was given twice, the first of the two counts."""
        family = super().shown(snapshot)
        asked, counts = tuple(self._upper_bounds[:-1]), family.counts
        if asked == self._bounds or counts is None:
            return family
        shown = np.zeros((len(counts), len(asked) + 1), np.uint64)
        places = [self._upper_bounds.index(bound) for bound in (*self._bounds, math.inf)]
        shown[:, places] = counts
        exemplars = tuple(replace(item, bucket=places[item.bucket]) for item in family.exemplars)
        return replace(family, metric=self._metric(asked), counts=shown, exemplars=exemplars)

    def _lines(self, family: Family, series: int, exemplars: Exemplars) -> Iterator[Line]:
        assert family.counts is not None
        total = 0.0
        for bucket, (bound, many) in enumerate(zip(self._upper_bounds, family.counts[series].tolist(), strict=True)):
            total += many
            yield "_bucket", {"le": floatToGoString(bound)}, total, exemplars.get((series, bucket))
        yield "_count", {}, total, None
        if self._upper_bounds[0] >= 0:
            yield "_sum", {}, float(family.values[series]), None
        yield from created_line(family, series)


class Info(original.Info):
    """Of this process alone, as prometheus_client's."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues)


class Enum(original.Enum):
    """Of this process alone, as prometheus_client's."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        namespace: str = "",
        subsystem: str = "",
        unit: str = "",
        registry: CollectorRegistry | None = REGISTRY,
        _labelvalues: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, documentation, labelnames, namespace, subsystem, unit, registry, _labelvalues, states)
