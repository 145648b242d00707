"""The parent's side of the processes: starting, stopping and hearing what they have to say in the end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self

from shmtelemetry.demo.model import write_model
from shmtelemetry.demo.redis_server import RedisServer
from shmtelemetry.demo.services import (
    GO,
    SERVICE_NAMES,
    Report,
    Set,
    receive,
    run_exchange,
    run_execution_engine,
    run_market_data,
    run_risk_manager,
    run_signal_bridge,
    say,
)
from shmtelemetry.demo.sources import run_sources
from shmtelemetry.demo.streams import ports

EXCHANGE: Final = "exchange"
SOURCES: Final = "sources"
REDIS: Final = "redis"
STOPPED: Final = "stopped"

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
    """The processes. A context manager that leaves none of them behind, and no file.

    namespaces: name of a service → namespace of its producers.
    rate: market data messages a second.
    seed: of the order flow.
    zmq_port: of the first of the four sockets between the services, the others follow; 0 takes free ones.
    """

    def __init__(self, namespaces: Mapping[str, str], rate: int, seed: int = 1, zmq_port: int = 0) -> None:
        self._namespaces = namespaces
        self._rate = rate
        self._seed = seed
        self._ports = ports(zmq_port)
        self._processes: dict[str, SpawnProcess] = {}
        self._pipes: dict[str, Connection] = {}  # name of a process → our end of its pipe
        self._stack = ExitStack()
        self._redis: RedisServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        for process in self._processes.values():
            process.kill()
            process.join()
        self._stack.close()

    @property
    def pids(self) -> dict[str, int]:
        """Name of a service → its process, once started."""
        return {name: pid for name in SERVICE_NAMES if (pid := self._processes[name].pid) is not None}

    @property
    def sentinels(self) -> list[int]:
        """One a process, ready for ``multiprocessing.connection.wait`` when the process ends."""
        return [process.sentinel for process in self._processes.values()]

    def start(self) -> None:
        """Starts the processes and returns once all have opened their producers.

        Raises ServiceError if one ends before that.
        """
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="shmtel-demo-")))
        model, redis = folder / "model.npz", folder / "redis"
        write_model(model)
        self._redis = self._stack.enter_context(RedisServer(redis))
        names, ports = self._namespaces, self._ports
        with _interrupts_held_back():
            self._spawn(EXCHANGE, run_exchange, self._rate, self._seed)
            self._spawn(SOURCES, run_sources, names["risk-manager"], folder)
            self._spawn("signal-bridge", run_signal_bridge, names["signal-bridge"], ports, model)
            self._spawn("risk-manager", run_risk_manager, names["risk-manager"], ports, folder, str(redis))
            feed_port, orders_port = self._await(EXCHANGE)
            (bots_port,) = self._await("risk-manager")
            self._spawn("market-data", run_market_data, names["market-data"], ports, feed_port)
            self._spawn(
                "execution-engine", run_execution_engine, names["execution-engine"], ports, orders_port, bots_port
            )
        for name in (SOURCES, "signal-bridge", "market-data", "execution-engine"):
            self._await(name)

    def go(self) -> None:
        """Lets market data flow."""
        say(self._pipes[EXCHANGE], GO)

    def change(self, process: str, name: str, value: Any) -> None:
        """Sets a condition of a process. `stopped` is one of each: whether it gets no CPU; `redis` has only that."""
        if process == REDIS:
            assert self._redis is not None
            self._redis.stop() if value else self._redis.start()
        elif name == STOPPED:
            pid = self._processes[process].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP if value else signal.SIGCONT)
        else:
            say(self._pipes[process], Set(name, value))

    def stop(self) -> list[Report]:
        """Stops market data, waits until all that it caused is done, and returns what the services report.

        The producers of a service that did not come to its regular end are missing in the list.
        """
        for process in self._processes.values():
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGCONT)
        deadline = time.monotonic() + _STOP_SECONDS
        reports: list[Report] = []
        for name in (*SERVICE_NAMES, SOURCES, EXCHANGE):  # each has nothing more to come from the one before
            pipe = self._pipes[name]
            say(pipe, None)
            if name != EXCHANGE and pipe.poll(max(0.0, deadline - time.monotonic())):
                reports += receive(pipe) or []
        return reports

    def join(self) -> None:
        """Waits until the processes have ended, and with them their producers."""
        deadline = time.monotonic() + _JOIN_SECONDS
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))

    def _await(self, name: str) -> tuple[int, ...]:
        """The ports where others find the process, once it can be used."""
        said = receive(self._pipes[name])
        if said is None:
            raise ServiceError(f"the process {name} ended before it was ready; its own message says why")
        return tuple(said[1:])

    def _spawn(self, name: str, run: Callable[..., None], *arguments: Any) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=run, name=name, args=(theirs, *arguments), daemon=True
        )
        process.start()
        theirs.close()
        self._pipes[name] = ours
        self._processes[name] = process


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
