"""Messages into series, by definitions that may change meanwhile."""

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..errors import one_line
from ..metric import Metric
from ..telemetry import Telemetry
from .definitions import BOT, Definitions, Kind, Measure
from .intake import MAX_LABEL, OVERFLOW, Intake, Names, Refused
from .messages import Message
from .processors import Processor, load

MAX_BOTS: Final = 1000  # that are told apart; what further ones send is that of one named overflow
MAX_KNOWN: Final = 50_000  # label sets that are found without being resolved again

logger = logging.getLogger("shmtelemetry")

Emit = Callable[[float], object]
_Key = str | tuple[str, tuple[object, ...]]


class Bot:
    """One sender: what its messages mean, the label sets that it sent, and the sequence number that comes next."""

    def __init__(self, name: str, kinds: dict[str, Kind]) -> None:
        self.name, self.kinds = name, kinds
        self.known: dict[_Key, tuple[Emit, ...]] = {}
        self.next: int | None = None


class Recorder:
    """Takes messages. Figures beside those of Intake: ingest_missing_total{source,bot_id}, messages that the sequence
    numbers say there were and that did not come; ingest_gaps_total{source,bot_id}, how often that happened."""

    def __init__(self, telemetry: Telemetry, definitions: Definitions) -> None:
        """Raises ValueError as `define` does."""
        self._telemetry, self.intake = telemetry, Intake(telemetry, "zmq")
        labels = ("source", BOT)
        self._missing = telemetry.counter("ingest_missing_total", "Messages that are missing.", labels)
        self._gaps = telemetry.counter("ingest_gaps_total", "Times that messages were missing.", labels)
        self.missing = 0
        self._families: dict[str, tuple[Metric, Any]] = {}
        self._names = Names()
        self._processors: dict[str, Processor] = {}
        self._bots: dict[str, Bot] = {}
        self._known = 0
        self.define(definitions)

    def define(self, definitions: Definitions) -> None:
        """From now on messages mean this. Raises ValueError, and all stays as it was, for definitions that cannot be
        taken over while others are shown, and for processors that are not there."""
        for metric in definitions.metrics():
            known = self._families.get(metric.name, (metric,))[0]
            if known != metric or self._names.other(metric):
                raise ValueError(f"{metric.name} is otherwise now: use another name, or start again")
        wanted = set(definitions.processors.values())
        self._processors |= load(wanted - set(self._processors), self._telemetry, self.intake)
        for metric in definitions.metrics():
            self._families[metric.name] = metric, self._family(metric)
            self._names.take(metric)
        self._definitions = definitions
        self._to_process = {kind: self._processors[name] for kind, name in definitions.processors.items()}
        self._forget()
        for bot in self._bots.values():
            bot.kinds = dict(definitions.kinds(bot.name))

    def _family(self, metric: Metric) -> Any:
        name, help, labels, unit = metric.name, metric.help, metric.labels, metric.unit or None
        if metric.kind == "counter":
            return self._telemetry.counter(name, help, labels, unit=unit)
        if metric.kind == "gauge":
            return self._telemetry.gauge(name, help, labels, unit=unit)
        return self._telemetry.histogram(name, help, labels, buckets=metric.buckets, unit=unit)

    def bot(self, name: str) -> Bot:
        """The bot of this name; `overflow` if there are too many. Raises Refused for a name that is too long."""
        bot = self._bots.get(name)
        if bot is None:
            if len(name.encode()) > MAX_LABEL:
                raise Refused("bot_id")
            if len(self._bots) >= MAX_BOTS and name != OVERFLOW:
                return self.bot(OVERFLOW)
            bot = self._bots[name] = Bot(name, dict(self._definitions.kinds(name)))
        return bot

    def number(self, bot: Bot, sequence: int) -> None:
        """This is the number of a message that came. A lower one than the next: its sender began again."""
        if bot.next is not None and sequence > bot.next and bot.name != OVERFLOW:
            missing = sequence - bot.next
            self.missing += missing
            self.intake.series(self._missing, ("zmq", bot.name)).emit(missing)
            self.intake.series(self._gaps, ("zmq", bot.name)).emit(1)
        bot.next = sequence + 1

    def text(self, bot: Bot, text: str) -> None:
        """Take `type:label:value`. Raises Refused."""
        head, _, number = text.rpartition(":")
        emits = bot.known.get(head)
        try:
            value = float(number)
        except ValueError as error:
            raise Refused("value" if head else "syntax") from error
        if emits is None or self._to_process:
            kind, *labels = head.split(":")
            emits = emits or self._resolve(bot, head, kind, tuple(labels))
            if kind in self._to_process:
                self._process(Message(kind, [*labels], value, bot.name))
        self._emit(emits, value)

    def message(self, bot: Bot, message: Message) -> None:
        """Take an object. Raises Refused."""
        labels = message.labels
        key = message.type, tuple(labels if isinstance(labels, list) else labels.items())
        emits = bot.known.get(key)
        if emits is None:
            emits = self._resolve(bot, key, message.type, self._values(bot, message))
        if message.type in self._to_process:
            self._process(msgspec.structs.replace(message, bot_id=bot.name))
        self._emit(emits, message.value)

    def _emit(self, emits: tuple[Emit, ...], value: float) -> None:
        try:
            for emit in emits:
                emit(value)
        except ValueError as error:
            raise Refused("value") from error

    def _process(self, message: Message) -> None:
        try:
            self._to_process[message.type](message)
        except Exception as error:  # it is anybody's code
            logger.warning("the processor of %s: %s", message.type, one_line(repr(error)))
            raise Refused("processor") from error

    def _values(self, bot: Bot, message: Message) -> tuple[str, ...]:
        labels = message.labels
        if isinstance(labels, list):
            return tuple(map(str, labels))
        kind = bot.kinds.get(message.type)
        names = kind.labels if kind is not None else tuple(sorted(labels))
        if len(labels) != len(names) or not all(name in labels for name in names):
            raise Refused("labels")
        return tuple(str(labels[name]) for name in names)

    def _resolve(self, bot: Bot, key: _Key, message: str, values: tuple[str, ...]) -> tuple[Emit, ...]:
        """What messages with these label values are emitted to."""
        kind = bot.kinds.get(message)
        if kind is None:
            if message in self._to_process:
                return ()
            raise Refused("type" if message else "syntax")
        if len(values) != len(kind.labels):
            raise Refused("labels")
        named = dict(zip(kind.labels, values, strict=True)) | {BOT: bot.name}
        found = [
            self._way(measure, tuple(named[label] for label in measure.metric.labels)) for measure in kind.measures
        ]
        emits = tuple(emit for emit, _ in found)
        if not any(beyond for _, beyond in found):  # what goes to an overflow series is counted each time
            self._remember(bot, key, emits)
        return emits

    def _way(self, measure: Measure, values: tuple[str, ...]) -> tuple[Emit, bool]:
        """Into a series, and whether that is one of overflow."""
        _, family = self._families[measure.metric.name]
        try:
            handle = self.intake.series(family, values) if values else family
        except ValueError as error:
            raise Refused("labels") from error
        emit, factor, divisor = handle.emit, measure.factor, measure.divisor
        beyond = handle.values != values
        if measure.counts:
            return lambda _: emit(1.0), beyond
        if factor != 1.0 or divisor != 1.0:
            return lambda value: emit(value * factor / divisor), beyond
        return emit, beyond

    def _remember(self, bot: Bot, key: _Key, emits: tuple[Emit, ...]) -> None:
        if self._known >= MAX_KNOWN:
            self._forget()
        self._known += 1
        bot.known[key] = emits

    def _forget(self) -> None:
        self._known = 0
        for bot in self._bots.values():
            bot.known.clear()
