"""Lines of StatsD into series: metrics are defined by their first line, and bounded in number."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..errors import SegmentSpaceError
from ..metric import SECONDS_PER, Metric, metric, unit_of_name
from ..telemetry import Telemetry
from .intake import MAX_LABEL, Intake, Names, Refused
from .lines import Line, labels, legal, parse

MAX_METRICS: Final = 1000
MAX_NAME: Final = 128  # characters of a metric's name, of a label's, and of a value of a set
MAX_TAGS: Final = 32  # of one metric
MAX_KNOWN: Final = 50_000  # names with tags that are found without being resolved again
MAX_REPEAT: Final = 100  # observations that one with a sample rate stands for
MAX_OBSERVATIONS: Final = 10_000  # of one line
MAX_MEMBERS: Final = 100_000  # of all sets together, in one interval
RESERVED: Final = ("ingest_", "shmtel_")  # metric names of the project's own
BUCKETS: Final = tuple(float(f"{digit}e{power}") for power in range(-3, 7) for digit in (1, 2.5, 5))
"""Of histograms whose name says no unit: nobody knows what their values are."""

_KINDS: Final = {"c": "counter", "g": "gauge", "s": "set", "ms": "histogram", "h": "histogram", "d": "histogram"}

_OBSERVED: Final = ("ms", "h", "d")
_Key = tuple[str, tuple[str, ...]]

Take = Callable[[Line, list[float]], None]
"""Takes a line, and the numbers of its value. Raises Refused."""


@dataclass(frozen=True, slots=True)
class Defined:
    """A metric as its first line has made it."""

    kind: str
    labels: tuple[str, ...]
    family: Any


class Metrics:
    """Takes lines. Figures beside those of Intake: ingest_ignored_tags_total{source}, tags that a metric does not have,
    since its first line had others."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry, self.intake = telemetry, Intake(telemetry, "statsd")
        self._ignored = telemetry.counter(
            "ingest_ignored_tags_total", "Tags that a metric does not have.", ("source",)
        ).labels("statsd")
        self.ignored = 0
        self._defined: dict[str, Defined] = {}
        self._known: dict[tuple[str, str, str], Take] = {}
        self._names = Names()
        self._gauges: dict[_Key, float] = {}
        self._sets: dict[_Key, tuple[Any, set[str]]] = {}
        self._members = 0

    def take(self, text: str) -> None:
        """Take a line. Raises Refused."""
        line = parse(text)
        numbers = _checked(line)
        take = self._known.get((line.name, line.kind, line.tags)) or self._resolve(line)
        take(line, numbers)

    def flush(self) -> None:
        """Show how many distinct values each set had since the last time, and begin anew."""
        for handle, members in self._sets.values():
            handle.set(len(members))
            members.clear()
        self._members = 0

    def _resolve(self, line: Line) -> Take:
        kind = _KINDS.get(line.kind)
        if kind is None:
            raise Refused("type")
        tags = labels(line.tags)
        if any(len(value.encode()) > MAX_LABEL for value in tags.values()):
            raise Refused("labels")
        name = _name(line)
        defined = self._defined.get(name) or self._define(name, kind, tuple(tags))
        if defined.kind != kind:
            raise Refused("type")
        values = tuple(tags.get(label, "") for label in defined.labels)
        handle = self.intake.series(defined.family, values) if values else defined.family
        take = self._way(name, line.kind, handle)
        if ignored := len(tags.keys() - set(defined.labels)):
            take = self._ignoring(ignored, take)
        if handle.values == values:  # what overflows is counted each time
            self._remember(line, take)
        return take

    def _define(self, name: str, kind: str, names: tuple[str, ...]) -> Defined:
        if len(self._defined) >= MAX_METRICS:
            raise Refused("metrics")
        if len(names) > MAX_TAGS or any(len(label) > MAX_NAME for label in names):
            raise Refused("tags")
        try:
            made = metric("gauge" if kind == "set" else kind, name, labels=names, buckets=_buckets(kind, name))
        except ValueError as error:
            raise Refused("tags") from error
        if self._names.other(made):
            raise Refused("type")
        try:
            defined = self._defined[name] = Defined(kind, names, self._family(made))
        except SegmentSpaceError as error:
            raise Refused("space") from error
        self._names.take(made)
        return defined

    def _family(self, made: Metric) -> Any:
        if made.kind == "counter":
            return self._telemetry.counter(made.name, "", made.labels)
        if made.kind == "gauge":
            return self._telemetry.gauge(made.name, "", made.labels)
        return self._telemetry.histogram(made.name, "", made.labels, buckets=made.buckets)

    def _remember(self, line: Line, take: Take) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[line.name, line.kind, line.tags] = take

    def _way(self, name: str, kind: str, handle: Any) -> Take:
        """Into one series."""
        key = name, handle.values
        emit = handle.emit
        if kind == "s":
            members = self._sets.setdefault(key, (handle, set()))[1]
            return lambda line, _: self._add(members, line.value)
        if kind == "g":
            self._gauges.setdefault(key, 0.0)
            return lambda line, numbers: self._set(key, emit, line.value, numbers)
        if kind == "c":
            return lambda line, numbers: emit(sum(numbers) / line.rate)
        unit = unit_of_name(name)
        scale = SECONDS_PER["ms"] / SECONDS_PER[unit] if kind == "ms" and unit else 1.0
        return lambda line, numbers: _observe(emit, numbers, line.rate, scale)

    def _ignoring(self, tags: int, take: Take) -> Take:
        def counted(line: Line, numbers: list[float]) -> None:
            take(line, numbers)
            self.ignored += tags
            self._ignored.emit(tags)

        return counted

    def _set(self, key: _Key, emit: Callable[[float], object], value: str, numbers: list[float]) -> None:
        """What begins with a sign is a step."""
        now = self._gauges[key]
        for text, number in zip(value.split(":"), numbers, strict=True):
            now = now + number if text.startswith(("+", "-")) else number
        emit(now)
        self._gauges[key] = now

    def _add(self, members: set[str], value: str) -> None:
        if value not in members:
            if self._members >= MAX_MEMBERS:
                raise Refused("set")
            members.add(value)
            self._members += 1


def _name(line: Line) -> str:
    """The metric's, as Prometheus has it."""
    name = legal(line.name)
    if line.kind == "c" and not name.endswith("_total"):
        name += "_total"
    if line.kind == "ms" and unit_of_name(name) not in SECONDS_PER:
        name += "_ms"
    if len(name) > MAX_NAME or name.startswith(RESERVED):
        raise Refused("name")
    return name


def _buckets(kind: str, name: str) -> tuple[float, ...] | None:
    return BUCKETS if kind == "histogram" and not unit_of_name(name) else None


def _checked(line: Line) -> list[float]:
    """The numbers of a value; none of a set. What is refused here makes no series."""
    if line.kind == "s":
        if len(line.value) > MAX_NAME:
            raise Refused("set")
        return []
    value = line.value
    try:
        numbers = [float(value)] if ":" not in value else [float(text) for text in value.split(":")]
    except ValueError as error:
        raise Refused("value") from error
    if not math.isfinite(sum(numbers) / line.rate) or (line.kind == "c" and min(numbers) < 0):
        raise Refused("value")
    if line.kind in _OBSERVED:
        times = round(1 / line.rate)
        if times > MAX_REPEAT or times * len(numbers) > MAX_OBSERVATIONS:
            raise Refused("rate")
    return numbers


def _observe(emit: Callable[[float], object], numbers: list[float], rate: float, scale: float) -> None:
    for number in numbers:
        for _ in range(round(1 / rate)):
            emit(number * scale)
