"""What messages mean: metrics, routes and processors in a YAML file, checked before anything of it is used.

A file is data: it can neither execute nor include anything. Anchors are refused, since a few lines of them can stand
for more values than there is memory (https://en.wikipedia.org/wiki/Billion_laughs_attack).
"""

import os
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import msgspec
import yaml

from ..errors import one_line
from ..metric import Metric
from ..schema import field, metric_of_field
from .intake import Names

MAX_BYTES: Final = 1 << 20  # of one file
MAX_METRICS: Final = 1000  # of one file
MAX_DEPTH: Final = 10
BOT: Final = "bot_id"  # the label that who sent a message gives, and not the message
MAX_WORD: Final = 100  # characters of a number, or of what else is no text
TEXT: Final = "tag:yaml.org,2002:str"
RESERVED: Final = ("ingest_", "shmtel_")  # metric names of the project's own

Destination = Literal["ring", "forward"]


class MetricDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One metric and the type of the messages that it is made of.

    message: their type, by default the metric's name. labels: names, in the order of the values in a message; bot_id is
    filled with who sent it. unit: of the values, which are converted to the one that the metric's name says; by default
    that one. adds: a counter counts messages, or adds up their values.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    message: str | None = None
    help: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] | None = None
    unit: str | None = None
    adds: Literal["one", "value"] | None = None


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where messages go whose type and bot match patterns as a shell has them; an empty `to` drops them."""

    to: tuple[Destination, ...]
    message: str = "*"
    bot: str = "*"


class OfBot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metrics: tuple[MetricDefinition, ...] = ()


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file.

    metrics: of all bots. bots: those of one bot, which come instead of those of all for the same message. routes: the
    first that matches counts. processors: message type → name of an entry point.
    """

    metrics: tuple[MetricDefinition, ...] = (
        MetricDefinition(
            name="orders_total", type="counter", message="order_placed", help="Orders placed.", labels=("symbol",)
        ),
        MetricDefinition(
            name="execution_time_ms", type="histogram", message="latency", help="Time of an execution.",
            labels=("symbol",),
        ),
    )  # fmt: skip
    bots: dict[str, OfBot] = {}
    routes: tuple[Route, ...] = ()
    processors: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a message: its value times factor over divisor, or 1."""

    metric: Metric
    factor: float = 1.0
    divisor: float = 1.0
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of messages: the names of the labels that a message has, and what is made of it."""

    labels: tuple[str, ...]
    measures: tuple[Measure, ...]


class Definitions:
    """A file that is checked. Raises ValueError naming the place of what cannot be."""

    def __init__(self, file: File) -> None:
        self._kinds = _kinds("metrics", file.metrics)
        self._of_bot = {bot: _kinds(f"bots.{bot}.metrics", own.metrics) for bot, own in file.bots.items()}
        self.routes, self.processors = file.routes, file.processors
        if len(list(self.metrics())) > MAX_METRICS:
            raise ValueError(f"expected at most {MAX_METRICS:,} metrics")
        defined: dict[str, Metric] = {}
        names = Names()
        for metric in self.metrics():
            if defined.setdefault(metric.name, metric) != metric:
                raise ValueError(f"{metric.name} is defined twice, and otherwise: use another name")
            if other := names.other(metric):
                raise ValueError(f"{metric.name} has samples of the same name as {other}: use another name")
            names.take(metric)

    def metrics(self) -> Iterable[Metric]:
        """Those of all bots and types; one that several are made of comes several times."""
        for kinds in (self._kinds, *self._of_bot.values()):
            for kind in kinds.values():
                yield from (measure.metric for measure in kind.measures)

    def kinds(self, bot: str) -> Mapping[str, Kind]:
        """The types of messages that a bot may send."""
        return self._kinds | self._of_bot.get(bot, {})

    def route(self, bot: str, message: str, default: tuple[Destination, ...]) -> tuple[Destination, ...]:
        """Where a bot's messages of a type go."""
        for route in self.routes:
            if fnmatchcase(message, route.message) and fnmatchcase(bot, route.bot):
                return route.to
        return default


class Watched:
    """A file that may change."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether it is another one than at the last look."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[int, ...]:
        try:
            status = os.stat(self.path)
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read(path: str) -> Definitions:
    """Raises ValueError, which names the file and the place in it, for one that cannot be used."""
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes")
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse(text: bytes) -> Definitions:
    """Raises ValueError, in one line."""
    try:
        return _parsed(text)
    except ValueError as error:
        raise ValueError(one_line(error)) from error


def _parsed(text: bytes) -> Definitions:
    try:
        said = yaml.load(text, _Loader)
        return Definitions(msgspec.convert({} if said is None else said, File))
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{where}{error.problem}") from error
    except yaml.reader.ReaderError as error:  # bytes that are no text
        raise ValueError(f"no YAML: {error.reason}, at {error.position}") from error
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        raise ValueError(f"{place.strip('`').removeprefix('$.') or 'the file'}: {problem}") from error


def _kinds(place: str, definitions: Iterable[MetricDefinition]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for number, definition in enumerate(definitions):
        try:
            message = _message_of(definition)
            labels = tuple(label for label in definition.labels if label != BOT)
            known = found.get(message, Kind(labels, ()))
            if known.labels != labels:
                raise ValueError(f"expected the labels {', '.join(known.labels)}, as of other metrics of {message}")
            measures = *known.measures, _measure(definition)
            found[message] = Kind(labels, tuple(sorted(measures, key=_strictness)))
        except ValueError as error:
            raise ValueError(f"{place}[{number}]: {error}") from error
    return found


def _message_of(definition: MetricDefinition) -> str:
    message = definition.name if definition.message is None else definition.message
    if not message or not message.isascii() or not message.isprintable() or ":" in message or message[0] in ' "[{':
        raise ValueError(f'message {message!r}: expected ASCII without ":", not beginning with a blank, ", [ or {{')
    return message


def _measure(definition: MetricDefinition) -> Measure:
    if definition.name.startswith(RESERVED):
        raise ValueError(f"name {definition.name!r}: {' and '.join(RESERVED)} are of the project's own metrics")
    if definition.adds and definition.type != "counter":
        raise ValueError(f"adds: a {definition.type} has none")
    name = definition.name
    if definition.type == "counter" and not name.endswith("_total"):
        name += "_total"
    role = field(definition.type, help=definition.help, unit=definition.unit, buckets=definition.buckets)
    metric, factor, divisor = metric_of_field(definition.type, name, role, definition.labels)
    return Measure(metric, factor, divisor, definition.type == "counter" and definition.adds != "value")


def _strictness(measure: Measure) -> int:
    """The metrics that refuse most values come first: a message that one refuses then enters none."""
    return 2 if measure.counts else ("counter", "histogram", "gauge").index(measure.metric.kind)


class _Loader(yaml.SafeLoader):
    """The safe loader, without anchors, tags, merge keys and keys that come twice."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.MarkedYAMLError(problem="expected no anchors and aliases", problem_mark=event.start_mark)
        if event.tag is not None:
            raise yaml.MarkedYAMLError(problem=f"expected no tags such as {event.tag}", problem_mark=event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = set()
        for key, _ in node.value:
            if key.tag != TEXT:
                raise yaml.MarkedYAMLError(problem="expected a text as key", problem_mark=key.start_mark)
            if key.value in keys:
                raise yaml.MarkedYAMLError(problem=f"{key.value} comes twice", problem_mark=key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            if node.tag != TEXT and len(node.value) > MAX_WORD and isinstance(node, yaml.ScalarNode):
                raise ValueError(f"expected at most {MAX_WORD} characters of what is in no quotes")
            made = super().construct_object(node, deep)
            if isinstance(made, str):
                made.encode()
        except ValueError as error:  # such as a month 13, or a half of a surrogate pair
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error
        return made
