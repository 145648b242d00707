"""The parent's side of the four services: starting, stopping and hearing what they have to say in the end."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Final, Self

from shmtelemetry.demo.services import (
    GO,
    READY,
    SERVICE_NAMES,
    Report,
    receive,
    run_execution_engine,
    run_market_data,
    run_risk_manager,
    run_signal_bridge,
    say,
)

_STOP_SECONDS: Final = 30.0  # to flush the pipeline and report
_JOIN_SECONDS: Final = 10.0  # to end after that; what still runs then is terminated


def together(namespace: str) -> dict[str, str]:
    """All services in one namespace."""
    return dict.fromkeys(SERVICE_NAMES, namespace)


def apart(namespace: str) -> dict[str, str]:
    """Each service in one of its own."""
    return {name: f"{namespace}-{name}" for name in SERVICE_NAMES}


class ServiceError(Exception):
    """A service could not start; it has printed why."""


class Platform:
    """The four processes. A context manager that leaves none of them behind.

    namespaces: name of a service → namespace of its producers.
    rate: market data messages a second.
    seed: of the order flow.
    """

    def __init__(self, namespaces: Mapping[str, str], rate: int, seed: int = 1) -> None:
        self._namespaces = namespaces
        self._rate = rate
        self._seed = seed
        self._processes: list[SpawnProcess] = []
        self._pipes: dict[str, Connection] = {}  # name of a service → our end of its pipe

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join()

    @property
    def pids(self) -> dict[str, int]:
        """Name of a service → its process, once started."""
        return {process.name: process.pid for process in self._processes if process.pid is not None}

    @property
    def sentinels(self) -> list[int]:
        """One a process, ready for ``multiprocessing.connection.wait`` when the process ends."""
        return [process.sentinel for process in self._processes]

    def start(self) -> None:
        """Starts the processes and returns once all have opened their producers.

        Raises ServiceError if one ends before that.
        """
        with _interrupts_held_back():
            self._spawn_all()
        for name, pipe in self._pipes.items():
            if receive(pipe) != READY:
                raise ServiceError(f"the service {name} ended before it was ready; its own message says why")

    def go(self) -> None:
        """Lets market data flow."""
        say(self._pipes["market-data"], GO)

    def stop(self) -> list[Report]:
        """Stops market data, waits until all that it caused is done, and returns what the services report.

        The producers of a service that did not come to its regular end are missing in the list.
        """
        deadline = time.monotonic() + _STOP_SECONDS
        say(self._pipes["market-data"], None)
        reports: list[Report] = []
        for pipe in self._pipes.values():
            if pipe.poll(max(0.0, deadline - time.monotonic())):
                reports += receive(pipe) or []
        return reports

    def join(self) -> None:
        """Waits until the processes have ended, and with them their producers."""
        deadline = time.monotonic() + _JOIN_SECONDS
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))

    def _spawn_all(self) -> None:
        pipes = [multiprocessing.Pipe(duplex=False) for _ in range(4)]
        (
            (quotes_out, quotes_in),
            (signals_out, signals_in),
            (orders_out, orders_in),
            (answers_out, answers_in),
        ) = pipes
        self._spawn("market-data", run_market_data, quotes_in, self._rate, self._seed)
        self._spawn("signal-bridge", run_signal_bridge, quotes_out, signals_in)
        self._spawn("risk-manager", run_risk_manager, signals_out, orders_in, answers_out)
        self._spawn("execution-engine", run_execution_engine, orders_out, answers_in)
        # A stream ends when nobody holds its writing end: the children have theirs, ours must go.
        for reading_end, writing_end in pipes:
            reading_end.close()
            writing_end.close()

    def _spawn(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run, name=name, args=(self._namespaces[name], theirs, *arguments), daemon=True
        )
        process.start()
        theirs.close()
        self._pipes[name] = ours
        self._processes.append(process)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Blocks SIGINT, which new processes inherit: Ctrl-C cannot hit one before it has learnt to ignore it."""
    # Starting the tracker unblocks SIGINT as a side effect: have it running before.
    resource_tracker.ensure_running()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
