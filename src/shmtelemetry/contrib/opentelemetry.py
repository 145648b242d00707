"""OpenTelemetry's metrics API over rings: code that is instrumented with it needs OTEL_PYTHON_METER_PROVIDER alone.

OTEL_PYTHON_METER_PROVIDER=shmtelemetry python app.py
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, CallbackT, Observation

from .. import config
from ..liveness import fork_lock
from ..producer import warn_once
from ..telemetry import Telemetry
from .semantic import Attributes, Points, metric_name

PRODUCER: Final = "opentelemetry"
INTERVAL: Final = 1.0  # seconds between two looks at what is observed
BOUNDS: Final = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)  # the SDK's

logger = logging.getLogger("shmtelemetry")

_Instrument = TypeVar("_Instrument", bound="_Writes")


class MeterProvider(metrics.MeterProvider):
    """Instruments that write to rings.

    telemetry: where they do; by default one of its own, named SHMTEL_PRODUCER or `opentelemetry`, in SHMTEL_NAMESPACE
    or `default`. interval: seconds between two looks at what callbacks observe; a thread calls them.
    """

    def __init__(self, telemetry: Telemetry | None = None, interval: float = INTERVAL) -> None:
        self._own = telemetry is None
        if telemetry is None:
            telemetry = Telemetry(config.producer() or PRODUCER, config.namespace() or "default")
        self.telemetry = telemetry
        self.observer, self.levels = _Observer(interval), list[_Level]()
        self._points: dict[str, tuple[str, Points]] = {}
        os.register_at_fork(after_in_child=self._forked)
        atexit.register(self.shutdown)

    def _forked(self) -> None:
        for level in self.levels:
            level.begin_anew()
        self.observer.begin_again()

    def get_meter(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Attributes = None
    ) -> "Meter":
        """All meters write to one place: an instrument of the same name is the same."""
        return Meter(self, name, version, schema_url)

    def points(self, name: str, kind: str, define: Callable[[tuple[str, ...]], Callable[..., Any]]) -> Points | None:
        """The series of a metric; None, with one warning, where another kind of instrument has the name."""
        with fork_lock():
            known = self._points.setdefault(name, (kind, Points(name, define)))
        if known[0] == kind:
            return known[1]
        logger.warning("%s is a %s already: the %s of that name does nothing", name, known[0], kind)
        return None

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Observe once more, and end the thread."""
        atexit.unregister(self.shutdown)
        self.observer.stop()
        if self._own:
            self.telemetry.close()


class _Observer:
    """Calls callbacks, once an interval, in a thread that begins with the first of them."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._looks: list[Callable[[], None]] = []
        self._failed: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, look: Callable[[], None]) -> None:
        self._looks.append(look)
        if self._thread is None:
            self._begin()

    def begin_again(self) -> None:
        """In a forked child, which has no threads of its parent."""
        if self._thread is not None and not self._stopping.is_set():
            self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="shmtel-observer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._look()

    def _look(self) -> None:
        for look in list(self._looks):
            try:
                look()
            except Exception:
                if look not in self._failed:
                    self._failed.append(look)
                    logger.exception("an observation failed, which is said once")

    def stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._interval)
            self._look()


class _Level:
    """What this process adds to a sum over processes that goes up and down."""

    def __init__(self, gauge: Any) -> None:
        self._gauge = gauge
        self.begin_anew()

    def begin_anew(self) -> None:
        """Also in a forked child: what its parent adds stays its parent's."""
        self._value, self._lock = 0.0, threading.Lock()

    def emit(self, amount: float) -> None:
        with self._lock:
            self._gauge.emit(self._value + amount)
            self._value += amount


class _Total:
    """A counter that is told its total; one that falls has begun anew."""

    def __init__(self, counter: Any) -> None:
        self._counter, self._last = counter, 0.0

    def emit(self, total: float) -> None:
        step = total - self._last if total >= self._last else total
        self._counter.emit(step)
        self._last = total


class _Writes:
    """An instrument that writes to the series of the attributes it is called with, and never raises."""

    def __init__(self, points: Points | None) -> None:
        self._points = points

    def _write(self, value: float, attributes: Attributes) -> None:
        if self._points is None:
            return
        try:
            self._points(attributes).emit(value)
        except Exception as error:
            warn_once("opentelemetry", f"a measurement is left out: {error}")


class Counter(_Writes, metrics.Counter):
    def add(self, amount: float, attributes: Attributes = None, context: Any = None) -> None:
        """amount: at least 0."""
        self._write(amount, attributes)


class UpDownCounter(_Writes, metrics.UpDownCounter):
    def add(self, amount: float, attributes: Attributes = None, context: Any = None) -> None:
        """Over all processes that live, the amounts add up."""
        self._write(amount, attributes)


class Histogram(_Writes, metrics.Histogram):
    def record(self, amount: float, attributes: Attributes = None, context: Any = None) -> None:
        """amount: in the instrument's unit."""
        self._write(amount, attributes)


class Gauge(_Writes, metrics._Gauge):
    def set(self, amount: float, attributes: Attributes = None, context: Any = None) -> None:
        """Of several processes the last one counts."""
        self._write(amount, attributes)


class _Observed(_Writes):
    """An instrument whose values callbacks tell."""

    def observe_by(self, callbacks: Sequence[CallbackT] | None, observer: _Observer) -> None:
        for callback in callbacks or ():
            observer.add(partial(self._take, _teller(callback)))

    def _take(self, tell: Callable[[], Iterable[Observation]]) -> None:
        for observation in tell():
            self._write(observation.value, observation.attributes)


class ObservableCounter(_Observed, metrics.ObservableCounter): ...


class ObservableUpDownCounter(_Observed, metrics.ObservableUpDownCounter): ...


class ObservableGauge(_Observed, metrics.ObservableGauge): ...


def _teller(callback: CallbackT) -> Callable[[], Iterable[Observation]]:
    if isinstance(callback, Generator):
        next(callback)
        return lambda: callback.send(CallbackOptions())
    return lambda: callback(CallbackOptions())


class Meter(metrics.Meter):
    """Makes instruments. Their names, with the unit, are those that OpenTelemetry's exporter for Prometheus gives."""

    def __init__(self, provider: MeterProvider, name: str, version: str | None, schema_url: str | None) -> None:
        super().__init__(name, version, schema_url)
        self._provider = provider

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        return self._made(Counter, "counter", name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> UpDownCounter:
        return self._made(UpDownCounter, "gauge", name, unit, description, self._level, merge="sum")

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        """Without bounds, those of the SDK, or where the unit is seconds from 1 µs to 1 s."""
        bounds = explicit_bucket_boundaries_advisory or (None if unit == "s" else BOUNDS)
        return self._made(Histogram, "histogram", name, unit, description, buckets=bounds)

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        return self._made(Gauge, "gauge", name, unit, description)

    def create_observable_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableCounter:
        made = self._made(ObservableCounter, "counter", name, unit, description, _Total)
        made.observe_by(callbacks, self._provider.observer)
        return made

    def create_observable_up_down_counter(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableUpDownCounter:
        made = self._made(ObservableUpDownCounter, "gauge", name, unit, description, merge="sum")
        made.observe_by(callbacks, self._provider.observer)
        return made

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> ObservableGauge:
        made = self._made(ObservableGauge, "gauge", name, unit, description)
        made.observe_by(callbacks, self._provider.observer)
        return made

    def _level(self, gauge: Any) -> _Level:
        self._provider.levels.append(level := _Level(gauge))
        return level

    def _made(
        self,
        instrument: type[_Instrument],
        kind: str,
        name: str,
        unit: str,
        description: str,
        through: Callable[[Any], Any] | None = None,
        **how: Any,
    ) -> _Instrument:
        """One with its series. kind: of the metric. through: what makes of a measurement what the series is told."""
        exposed = metric_name(name, unit, kind)
        define = getattr(self._provider.telemetry, kind)

        def family(labels: tuple[str, ...]) -> Callable[..., Any]:
            made = define(exposed, description, labels, **how)
            series = made.labels if labels else lambda: made
            return (lambda *values: through(series(*values))) if through else series

        return instrument(self._provider.points(exposed, instrument.__name__, family))
