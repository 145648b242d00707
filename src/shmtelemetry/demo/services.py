"""The four services as processes of their own, and the pipes that join them.

    market-data ──▶ signal-bridge ──▶ risk-manager ──▶ execution-engine
                                           ▲                  │
                                           └──── answers ─────┘

A pipe carries one batch every couple of milliseconds. The end of a stream is the end of its pipe: told to
stop, market-data closes its pipe, and each service works through what it was sent and closes its own. The
same happens when the parent dies, because market-data then reads the end of the parent's pipe.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.accounting import Stats
from shmtelemetry.demo.execution_engine import ExecutionEngine
from shmtelemetry.demo.market_data import MarketData
from shmtelemetry.demo.order_flow import OrderFlow
from shmtelemetry.demo.order_link import MOST_UNANSWERED
from shmtelemetry.demo.risk_manager import RiskManager
from shmtelemetry.demo.signal_bridge import SignalBridge

PRODUCERS: Final = {
    "market-data": ("market-data", "market-data-ticks"),
    "signal-bridge": ("signal-bridge",),
    "risk-manager": ("risk-manager", "risk-manager-strategies", "risk-manager-samples"),
    "execution-engine": ("execution-engine", "execution-engine-orders", "execution-engine-trades"),
}
SERVICE_NAMES: Final = tuple(PRODUCERS)
PRODUCER_NAMES: Final = tuple(name for names in PRODUCERS.values() for name in names)

READY: Final = "ready"  # from a service, once its producer is open
GO: Final = "go"  # to market-data; whatever follows it, and the end of the pipe too, means stop

_BATCH_SECONDS: Final = 0.002
_MOST_BEHIND_SECONDS: Final = 0.1  # market data that is later than this skips the rest, and so slows down


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


class _Service(Protocol):
    emits: int

    def rings(self) -> list[tuple[Producer, int]]: ...


def run_market_data(namespace: str, parent: Connection, downstream: Connection, rate: int, seed: int) -> None:
    """Matches ``rate`` messages a second until told to stop."""
    with _producer("market-data", namespace) as tel:
        service = MarketData(tel, OrderFlow(seed))
        _ready(service, parent)
        if receive(parent) == GO:
            for count in _paced(parent, rate):
                if not say(downstream, service.next_batch(count)):
                    break
        _finish(tel, service, parent, downstream)


def run_signal_bridge(namespace: str, parent: Connection, upstream: Connection, downstream: Connection) -> None:
    """Turns batches of market data into batches of signals until there are no more."""
    with _producer("signal-bridge", namespace) as tel:
        service = SignalBridge(tel)
        _ready(service, parent)
        while (batch := receive(upstream)) is not None:
            if not say(downstream, service.handle(batch)):
                break
        _finish(tel, service, parent, downstream)


def run_risk_manager(
    namespace: str, parent: Connection, upstream: Connection, downstream: Connection, answers: Connection
) -> None:
    """Turns batches of signals into batches of orders until there are no more, and waits for all answers."""
    with _producer("risk-manager", namespace) as tel:
        service = RiskManager(tel)
        _ready(service, parent)
        unanswered = 0
        while (batch := receive(upstream)) is not None:
            unanswered = _settle(service, answers, unanswered, most=MOST_UNANSWERED - 1)
            if not say(downstream, service.handle(batch)):
                break
            unanswered += 1
        _settle(service, answers, unanswered, most=0)
        service.stop()
        _finish(tel, service, parent, downstream)


def run_execution_engine(namespace: str, parent: Connection, upstream: Connection, answers: Connection) -> None:
    """Sends batches of orders to the venue and answers each until there are no more."""
    with _producer("execution-engine", namespace) as tel:
        service = ExecutionEngine(tel)
        _ready(service, parent)
        while (batch := receive(upstream)) is not None:
            if not say(answers, service.handle(batch)):
                break
        _finish(tel, service, parent, answers)


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


def _ready(service: _Service, parent: Connection) -> None:
    for ring, _ in service.rings():
        ring.stats()  # which opens it
    say(parent, READY)


def _finish(tel: Telemetry, service: _Service, parent: Connection, downstream: Connection) -> None:
    downstream.close()
    reports = [Report(tel.name, tel.stats(), service.emits)]
    reports += [Report(ring.setup.name, ring.stats(), emits) for ring, emits in service.rings()]
    say(parent, reports)


def _settle(service: RiskManager, answers: Connection, unanswered: int, most: int) -> int:
    """Takes in what answers there are, waits until at most ``most`` are missing, and returns how many are."""
    while unanswered and (unanswered > most or answers.poll()):
        batch = receive(answers)
        if batch is None:
            return 0  # nobody is left to answer
        service.settle(batch)
        unanswered -= 1
    return unanswered


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


def _paced(parent: Connection, rate: int) -> Iterator[int]:
    """How many messages are due, once a batch, until the parent says something or is gone."""
    credited = time.monotonic()
    while not parent.poll(_BATCH_SECONDS):
        now = time.monotonic()
        credited = max(credited, now - _MOST_BEHIND_SECONDS)
        due = int((now - credited) * rate)
        if due:
            credited += due / rate
            yield due
