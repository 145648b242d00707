"""Telemetry: the instruments of one producer, and the catalogue that tells the reader what their records mean."""

from collections.abc import Sequence
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from . import layout
from ._instruments import Counter, Gauge, Handle, Histogram
from ._ring import Producer
from .accounting import Stats
from .liveness import fork_lock
from .metric import Metric, metric
from .producer import DEFAULT_CAPACITY, Setup
from .schema import SAMPLE, Schema
from .segment import check_group

MAX_LABEL_LENGTH = 4096  # bytes of one label value

_HandleType = TypeVar("_HandleType", bound=Handle)


def catalogue_record(kind: int, payload: bytes) -> bytes:
    """One record of a segment's catalogue, padded so that the next one is aligned."""
    padded = payload + bytes(-len(payload) % 8)
    return layout.CATALOGUE_RECORD.pack(kind, 0, len(padded)) + padded


def series_payload(metric_number: int, values: Sequence[str]) -> bytes:
    """An empty cell, the number of the metric in the catalogue, and the label values."""
    encoded = [value.encode() for value in values]
    labels = b"".join(layout.LABEL_LENGTH.pack(len(value)) + value for value in encoded)
    return bytes(layout.CELL_SIZE) + layout.SERIES_METRIC.pack(metric_number, len(values)) + labels


class Family(Generic[_HandleType]):
    """A metric with labels: `labels` gives the handle of one series. Resolve once, outside the hot path."""

    def __init__(self, telemetry: "Telemetry", definition: Metric, number: int, handle: type[_HandleType]) -> None:
        self.metric, self._telemetry, self._number, self._handle = definition, telemetry, number, handle
        self._series: dict[tuple[str, ...], _HandleType] = {}

    def labels(self, *values: object, **named: object) -> _HandleType:
        """The series with these label values, in the order of the metric's labels or by name; made at first use.

        Values become str. Raises ValueError for missing or unknown labels and values that cannot be.
        """
        key = self._key(values, named)
        handle = self._series.get(key)
        if handle is None:
            handle = self._telemetry._add_series(self, key)
        return handle

    def remove(self, *values: object, **named: object) -> None:
        """Let the series with these label values go; used again it begins from zero. Nothing if there is none.

        It is shown for as long as another living producer has it. A handle of it that somebody kept counts nowhere.
        """
        self._telemetry._remove_series(self, self._key(values, named))

    def clear(self) -> None:
        """Remove all series."""
        for key in list(self._series):
            self._telemetry._remove_series(self, key)

    def _key(self, values: tuple[object, ...], named: dict[str, object]) -> tuple[str, ...]:
        names = self.metric.labels
        if values and named:
            raise ValueError(f"{self.metric.name}: give label values either in order or by name, not both")
        if named:
            if set(named) != set(names):
                raise ValueError(f"{self.metric.name}: expected the labels {', '.join(names)}, got {', '.join(named)}")
            values = tuple(named[name] for name in names)
        if len(values) != len(names):
            raise ValueError(f"{self.metric.name}: expected {len(names)} label values, got {len(values)}")
        key = tuple(str(value) for value in values)
        for value in key:
            try:
                too_long = len(value.encode()) > MAX_LABEL_LENGTH
            except UnicodeEncodeError as error:
                raise ValueError(f"{self.metric.name}: label value {value!r} is not valid Unicode") from error
            if too_long:
                raise ValueError(f"{self.metric.name}: a label value of more than {MAX_LABEL_LENGTH} bytes")
        return key

    def _needs_labels(self, *_: object, **__: object) -> NoReturn:
        raise ValueError(f"{self.metric.name} has the labels {', '.join(self.metric.labels)}: use .labels(…) first")

    emit = inc = set = observe = time = start = stop = _needs_labels

    def __repr__(self) -> str:
        return f"<{self._handle.__name__} family {self.metric.name}>"


class Telemetry:
    """The instruments of one producer, which share one ring.

    name, namespace: 1 to 64 of A-Z a-z 0-9 _ -. capacity: records, a power of two. Definitions are made once, at
    set-up; the same definition twice gives the same instrument, a different one under the same name is a ValueError.
    Threads share it, and a forked child emits into a ring of its own: nothing to configure.
    """

    def __init__(
        self,
        name: str,
        namespace: str = "default",
        capacity: int = DEFAULT_CAPACITY,
        *,
        mode: int = 0o600,
        group: str | int | None = None,
    ) -> None:
        self.name, self.namespace = name, namespace
        flags = layout.FLAG_INSTRUMENTS
        setup = Setup(namespace, name, Schema(SAMPLE), capacity, mode=mode, group=check_group(group), flags=flags)
        self._producer = Producer(name, SAMPLE, setup=setup)
        self._lock = fork_lock()
        self._instruments: dict[str, tuple[Metric, Any]] = {}
        self._metrics = self._series = 0  # in the catalogue, where they are numbered

    @overload
    def counter(self, name: str, help: str = "", *, unit: str | None = None) -> Counter: ...
    @overload
    def counter(
        self, name: str, help: str = "", labels: Sequence[str] = ..., *, unit: str | None = None
    ) -> Family[Counter]: ...
    def counter(
        self, name: str, help: str = "", labels: Sequence[str] = (), *, unit: str | None = None
    ) -> Counter | Family[Counter]:
        """A total that only grows; `_total` is appended to a name that lacks it."""
        defined: Counter | Family[Counter] = self._define(
            Counter, metric("counter", name, help, labels=labels, unit=unit)
        )
        return defined

    @overload
    def gauge(
        self, name: str, help: str = "", *, unit: str | None = None, merge: str = "last", keep: bool = False
    ) -> Gauge: ...
    @overload
    def gauge(
        self,
        name: str,
        help: str = "",
        labels: Sequence[str] = ...,
        *,
        unit: str | None = None,
        merge: str = "last",
        keep: bool = False,
    ) -> Family[Gauge]: ...
    def gauge(
        self,
        name: str,
        help: str = "",
        labels: Sequence[str] = (),
        *,
        unit: str | None = None,
        merge: str = "last",
        keep: bool = False,
    ) -> Gauge | Family[Gauge]:
        """A value that goes up and down.

        merge: how values of several producers become one: last, sum, min, max, or all (a label for the producer).
        keep: whether those of ended producers still count; if not, the last value goes some time after its producer,
        see Reader's gauge_ttl, and merged ones at once.
        """
        defined: Gauge | Family[Gauge] = self._define(
            Gauge, metric("gauge", name, help, labels=labels, unit=unit, merge=merge, keep=keep)
        )
        return defined

    @overload
    def histogram(
        self, name: str, help: str = "", *, buckets: Sequence[float] | None = None, unit: str | None = None
    ) -> Histogram: ...
    @overload
    def histogram(
        self,
        name: str,
        help: str = "",
        labels: Sequence[str] = ...,
        *,
        buckets: Sequence[float] | None = None,
        unit: str | None = None,
    ) -> Family[Histogram]: ...
    def histogram(
        self,
        name: str,
        help: str = "",
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] | None = None,
        unit: str | None = None,
    ) -> Histogram | Family[Histogram]:
        """A distribution. buckets: rising upper bounds in the metric's unit, by default from 1 µs to 1 s.

        unit: what `time` and `stop` convert to; by default what the name says, else seconds.
        """
        defined: Histogram | Family[Histogram] = self._define(
            Histogram, metric("histogram", name, help, labels=labels, buckets=buckets, unit=unit)
        )
        return defined

    def _define(self, handle: type[Any], definition: Metric) -> Any:
        with self._lock:
            known = self._instruments.get(definition.name)
            if known is not None:
                if known[0] != definition:
                    raise ValueError(f"{definition.name} is defined already, and otherwise: {known[0]}")
                return known[1]
            number = self._metrics
            self._append(layout.KIND_METRIC, definition.to_json())
            self._metrics += 1
            family = Family(self, definition, number, handle)
            instrument = family if definition.labels else self._add_series(family, ())
            self._instruments[definition.name] = definition, instrument
            return instrument

    def _add_series(self, family: Family[_HandleType], key: tuple[str, ...]) -> _HandleType:
        with self._lock:
            handle = family._series.get(key)
            if handle is None:
                begin = self._append(layout.KIND_SERIES, series_payload(family._number, key))
                cell = begin + layout.CATALOGUE_RECORD.size
                handle = family._handle(self._producer, family.metric, key, self._series, cell)
                self._series += 1
                family._series[key] = handle
            return handle

    def remove(self, name: str) -> None:
        """Let a metric and all its series go, as Family.remove does. KeyError for one that is not defined."""
        with self._lock:
            _, instrument = self._instruments.pop(name)
        if isinstance(instrument, Family):
            instrument.clear()
        else:
            self._producer.retire(instrument.series, instrument.cell_offset)

    def _remove_series(self, family: Family[Any], key: tuple[str, ...]) -> None:
        with self._lock:
            handle = family._series.pop(key, None)
            if handle is not None:
                self._producer.retire(handle.series, handle.cell_offset)

    def _append(self, kind: int, payload: bytes) -> int:
        return self._producer.define(catalogue_record(kind, payload))

    @property
    def catalogue_length(self) -> int:
        """Bytes of all definitions and removals so far, of at most 16 MiB."""
        return len(self._producer.setup.catalogue)

    def stats(self) -> Stats:
        """The accounting of this process's records."""
        return self._producer.stats()

    def close(self) -> None:
        """End the producer; what is not drained yet is left to the reader. An emit from now on returns False."""
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Telemetry {self.namespace}.{self.name} with {self._series} series>"
