"""The processes of the platform, and what joins them: TCP to the exchange, ZeroMQ between the services.

    exchange ──▶ market-data ──▶ signal-bridge ──▶ risk-manager ──▶ execution-engine ──▶ exchange
                                                         ▲                  │
                                                         └──── answers ─────┘

A service ends when its sender has said that this was all, and it has worked through what came. So it does when its
parent asks or is gone, and nothing comes any more: whoever was before it in the line may have been killed.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, Protocol

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.accounting import Stats
from shmtelemetry.demo.bots_api import BotsApi, BotsLog
from shmtelemetry.demo.database import Database
from shmtelemetry.demo.exchange import Exchange
from shmtelemetry.demo.exchange_server import Server
from shmtelemetry.demo.execution_engine import ExecutionEngine
from shmtelemetry.demo.feed import Feed
from shmtelemetry.demo.market_data import MarketData
from shmtelemetry.demo.messages import ExecutionBatch, MarketBatch, OrderBatch, SignalBatch
from shmtelemetry.demo.model import write_model
from shmtelemetry.demo.order_entry import OrderEntry
from shmtelemetry.demo.order_flow import OrderFlow
from shmtelemetry.demo.order_link import MOST_UNANSWERED
from shmtelemetry.demo.redis_store import RedisStore
from shmtelemetry.demo.reporting import Reporting
from shmtelemetry.demo.resources import Resources
from shmtelemetry.demo.risk_manager import RiskManager
from shmtelemetry.demo.signal_bridge import SignalBridge
from shmtelemetry.demo.streams import Ports, Receiver, Sender

PRODUCERS: Final = {
    "market-data": ("market-data", "market-data-ticks"),
    "signal-bridge": ("signal-bridge",),
    "risk-manager": ("risk-manager", "risk-manager-strategies", "risk-manager-samples"),
    "execution-engine": ("execution-engine", "execution-engine-orders", "execution-engine-trades"),
}
SERVICE_NAMES: Final = tuple(PRODUCERS)
PRODUCER_NAMES: Final = tuple(name for names in PRODUCERS.values() for name in names)

READY: Final = "ready"  # from a process, once it can be used; ports where others find it follow
GO: Final = "go"  # to market-data

_LOOK_SECONDS: Final = 0.1  # at what the parent says, where nothing else comes
_TELL_SECONDS: Final = 1.0
_NOTHING: Final = -1  # is less than any number of answers that are missing
_QUIET_SECONDS: Final = 1.0  # without anything, after which a service that is asked to end does


@dataclass(frozen=True)
class Set:
    """To a process: one of its conditions, by name."""

    name: str
    value: Any


@dataclass(frozen=True)
class Report:
    """What a service says of one of its producers when all its work is done.

    name: of the producer.
    stats: the producer's own counters.
    emits: how many records the service emitted, counted by itself.
    """

    name: str
    stats: Stats
    emits: int


class _Emits(Protocol):
    @property
    def emits(self) -> int: ...


class _Service(_Emits, Protocol):
    def rings(self) -> list[tuple[Producer, int]]: ...


class _Parent:
    """What the parent says. ends: whether it wants the process to end, or is gone."""

    def __init__(self, pipe: Connection, change: Callable[[str, Any], object]) -> None:
        self._pipe, self._change = pipe, change
        self.ends = False

    def look(self) -> bool:
        """Do what it says; whether the process shall end."""
        while not self.ends and self._pipe.poll():
            message = receive(self._pipe)
            if isinstance(message, Set):
                self._change(message.name, message.value)
            else:
                self.ends = message != GO
        return self.ends


def run_exchange(parent: Connection, rate: int, seed: int) -> None:
    """Matches ``rate`` messages a second, and our orders, until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(Exchange(OrderFlow(seed)), rate)
    said = _Parent(parent, server.set)
    say(parent, (READY, server.feed.port, server.orders.port))
    if receive(parent) == GO:
        server.run(said.look, parent)
    server.close()


def run_market_data(parent: Connection, namespace: str, ports: Ports, feed_port: int) -> None:
    """Takes the feed until told to stop."""
    with _producer("market-data", namespace) as tel:
        service, feed, resources = MarketData(), Feed(feed_port), Resources(tel.name)
        sender = Sender(tel.name, "quotes", ports.quotes)
        said = _Parent(parent, _no_condition)
        _ready(service, parent)
        sender.greet()
        beat = _Beat(resources.tell)
        while not said.look():
            wait([parent, *feed.descriptors()], _LOOK_SECONDS)
            for batch in feed.receive():
                sender.send(service.handle(batch))
                if service.behind:
                    feed.close()
            beat()
        feed.close()
        _finish(tel, service, parent, [feed, resources, sender], sender)


def run_signal_bridge(parent: Connection, namespace: str, ports: Ports, model: Path) -> None:
    """Turns batches of market data into batches of signals until there are no more."""

    def change(name: str, value: Any) -> None:  # the model's, which is the only one
        write_model(model, broken=value == "broken")
        service.load()

    with _producer("signal-bridge", namespace) as tel:
        service, resources = SignalBridge(model), Resources(tel.name)
        receiver = Receiver(tel.name, "quotes", ports.quotes, MarketBatch)
        sender = Sender(tel.name, "signals", ports.signals)
        _ready(service, parent)
        sender.greet()
        beat = _Beat(resources.tell)
        for batch in _batches(receiver, _Parent(parent, change), beat):
            sender.send(service.handle(batch))
        _finish(tel, service, parent, [resources, receiver, sender], sender)


def run_risk_manager(parent: Connection, namespace: str, ports: Ports, folder: Path, redis: str) -> None:
    """Turns batches of signals into batches of orders until there are no more, and waits for all answers."""

    def tell() -> None:
        service.tell()
        resources.tell()
        reporting.tell(service.traded)
        database.store([execution for execution, _ in service.traded])
        store.store(service.positions())
        service.traded.clear()

    def settle(most: int) -> None:
        """Takes in what answers there are, and waits until at most so many are missing, or there is nobody."""
        quiet_at = time.monotonic() + _QUIET_SECONDS
        while not answers.ended:
            came = answers.receive(_LOOK_SECONDS if service.unanswered > most else 0.0)
            for answer in came:
                service.settle(answer)
            beat()
            if came:
                quiet_at = time.monotonic() + _QUIET_SECONDS
            elif service.unanswered <= most or (said.look() and time.monotonic() > quiet_at):
                return

    with _producer("risk-manager", namespace) as tel:
        service, resources, store = RiskManager(), Resources(tel.name), RedisStore(redis)
        database, reporting = Database(folder / "trades.sqlite"), Reporting(folder)
        receiver = Receiver(tel.name, "signals", ports.signals, SignalBatch)
        sender = Sender(tel.name, "orders", ports.orders)
        answers = Receiver(tel.name, "executions", ports.executions, ExecutionBatch)
        api = BotsApi(namespace, service.bots)
        said, beat = _Parent(parent, service.set), _Beat(tell)
        _ready(service, parent, api.port)
        sender.greet()
        for batch in _batches(receiver, said, beat):
            settle(MOST_UNANSWERED - 1)
            sender.send(service.handle(batch))
        sender.close()
        settle(_NOTHING)
        service.stop()
        database.close()
        store.close()
        reporting.close()
        api.close()
        _finish(tel, service, parent, [resources, store, database, receiver, sender, answers])


def run_execution_engine(parent: Connection, namespace: str, ports: Ports, orders_port: int, bots_port: int) -> None:
    """Sends batches of orders to the exchange and answers each until there are no more."""
    with _producer("execution-engine", namespace) as tel:
        entry, resources = OrderEntry(orders_port), Resources(tel.name)
        service = ExecutionEngine(entry)
        receiver = Receiver(tel.name, "orders", ports.orders, OrderBatch)
        sender = Sender(tel.name, "executions", ports.executions)
        bots = BotsLog(namespace, bots_port)
        _ready(service, parent)
        sender.greet()

        def tell() -> None:
            entry.look()
            resources.tell()
            bots.look()

        for batch in _batches(receiver, _Parent(parent, _no_condition), _Beat(tell)):
            sender.send(service.handle(batch))
        entry.close()
        bots.close()
        _finish(tel, service, parent, [entry, resources, receiver, sender], sender)


@contextmanager
def _producer(name: str, namespace: str) -> Iterator[Telemetry]:
    # Ctrl-C reaches every process of the terminal's group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Telemetry(name, namespace=namespace) as tel:
        trading.use(tel)
        try:
            yield tel
        finally:
            trading.close()


class _Beat:
    """Tells something once a second, when it is called that often."""

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._at = 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._at:
            self._at = now + _TELL_SECONDS
            self._tell()


def _batches(receiver: Receiver[Any], said: _Parent, beat: _Beat) -> Iterator[Any]:
    """What comes until that was all, or the parent wants the end and nothing comes any more."""
    quiet_at = 0.0
    while not receiver.ended:
        beat()
        came = receiver.receive(_LOOK_SECONDS)
        ends = said.look()
        now = time.monotonic()
        if came or not ends:
            quiet_at = now + _QUIET_SECONDS
        elif now > quiet_at:
            return
        yield from came


def _ready(service: _Service, parent: Connection, *ports: int) -> None:
    for ring, _ in service.rings():
        ring.stats()  # which opens it
    say(parent, (READY, *ports))


def _finish(
    tel: Telemetry, service: _Service, parent: Connection, parts: list[Any], sender: Sender | None = None
) -> None:
    if sender is not None:
        sender.close()
    emits = service.emits + sum(part.emits for part in parts)
    reports = [Report(tel.name, tel.stats(), emits)]
    reports += [Report(ring.setup.name, ring.stats(), count) for ring, count in service.rings()]
    say(parent, reports)


def _no_condition(name: str, value: Any) -> None:
    raise ValueError(f"this service has no condition {name}")


def receive(pipe: Connection) -> Any:
    """The next object, or None at the end of the stream."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        return None


def say(pipe: Connection, message: object) -> bool:
    """Whether the message went out; False if nobody is left to read it."""
    try:
        pipe.send(message)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True
