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

from shmtelemetry import Telemetry
from shmtelemetry.accounting import Stats
from shmtelemetry.demo.execution_engine import ExecutionEngine
from shmtelemetry.demo.market_data import MarketData
from shmtelemetry.demo.order_flow import OrderFlow
from shmtelemetry.demo.risk_manager import RiskManager
from shmtelemetry.demo.signal_bridge import SignalBridge

SERVICE_NAMES: Final = ("market-data", "signal-bridge", "risk-manager", "execution-engine")

READY: Final = "ready"  # from a service, once its producer is open
GO: Final = "go"  # to market-data; whatever follows it, and the end of the pipe too, means stop

_BATCH_SECONDS: Final = 0.002
_MOST_BEHIND_SECONDS: Final = 0.1  # market data that is later than this skips the rest, and so slows down
_MOST_UNANSWERED: Final = 16  # batches; few enough that all answers fit into their pipe, so that none blocks


@dataclass(frozen=True)
class Report:
    """What a service says of itself when all its work is done.

    name: of the producer.
    stats: the producer's own counters.
    emits: how many records the service emitted, counted by itself.
    """

    name: str
    stats: Stats
    emits: int


class _Service(Protocol):
    emits: int


def run_market_data(namespace: str, parent: Connection, downstream: Connection, rate: int, seed: int) -> None:
    """Matches ``rate`` messages a second until told to stop."""
    with _producer("market-data", namespace) as tel:
        service = MarketData(tel, OrderFlow(seed))
        say(parent, READY)
        if receive(parent) == GO:
            for count in _paced(parent, rate):
                if not say(downstream, service.next_batch(count)):
                    break
        _finish("market-data", tel, service, parent, downstream)


def run_signal_bridge(namespace: str, parent: Connection, upstream: Connection, downstream: Connection) -> None:
    """Turns batches of market data into batches of signals until there are no more."""
    with _producer("signal-bridge", namespace) as tel:
        service = SignalBridge(tel)
        say(parent, READY)
        while (batch := receive(upstream)) is not None:
            if not say(downstream, service.handle(batch)):
                break
        _finish("signal-bridge", tel, service, parent, downstream)


def run_risk_manager(
    namespace: str, parent: Connection, upstream: Connection, downstream: Connection, answers: Connection
) -> None:
    """Turns batches of signals into batches of orders until there are no more, and waits for all answers."""
    with _producer("risk-manager", namespace) as tel:
        service = RiskManager(tel)
        say(parent, READY)
        unanswered = 0
        while (batch := receive(upstream)) is not None:
            unanswered = _settle(service, answers, unanswered, most=_MOST_UNANSWERED - 1)
            if not say(downstream, service.handle(batch)):
                break
            unanswered += 1
        _settle(service, answers, unanswered, most=0)
        _finish("risk-manager", tel, service, parent, downstream)


def run_execution_engine(namespace: str, parent: Connection, upstream: Connection, answers: Connection) -> None:
    """Sends batches of orders to the venue and answers each until there are no more."""
    with _producer("execution-engine", namespace) as tel:
        service = ExecutionEngine(tel)
        say(parent, READY)
        while (batch := receive(upstream)) is not None:
            if not say(answers, service.handle(batch)):
                break
        _finish("execution-engine", tel, service, parent, answers)


@contextmanager
def _producer(name: str, namespace: str) -> Iterator[Telemetry]:
    # Ctrl-C reaches every process of the terminal's group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Telemetry(name, namespace=namespace) as tel:
        yield tel


def _finish(name: str, tel: Telemetry, service: _Service, parent: Connection, downstream: Connection) -> None:
    downstream.close()
    say(parent, Report(name, tel.stats(), service.emits))


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
