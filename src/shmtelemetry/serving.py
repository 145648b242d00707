"""Serving: a reader, and the web service of what it aggregates, in this process or in several beside it."""

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final, Self

import uvicorn

from .errors import ShmtelError
from .exporters.connections import END_SECONDS, IDLE_SECONDS
from .exporters.shown import Shown
from .heaps import share_heap
from .listen import Address, parse_listen
from .recording import Recording
from .service.app import Service
from .service.protocol import BoundedHttp, BoundedWebSocket
from .service.settings import ServiceSettings
from .signals import caught_signals

MAX_MESSAGE: Final = 64 * 1024  # bytes of one message that a client sends over a WebSocket
BACKLOG: Final = 1024
SWITCH: Final = 0.0005  # seconds
START_SECONDS: Final = 60.0  # until a worker listens
SHORTEST_LIFE: Final = 1.0  # seconds between the starts of a worker that ends at once and of the next one
JOIN_PERIOD: Final = 0.1  # seconds
LEAVE_SECONDS: Final = 2 * END_SECONDS  # until a worker that was asked to end is killed

# What SIGHUP cannot change: field of the settings → the options that say it.
WAITING: Final = {
    "namespace": "namespace", "attached": "attach", "interval": "collection-interval", "cors_origins": "cors-origin",
    "protection": "what guards (insecure, token-file, allowed-host, tls-cert, tls-key, tls-client-ca)",
    "ws_max_connections": "ws-max-connections", "ws_heartbeat_interval": "ws-heartbeat-interval",
    "ws_message_queue_size": "ws-message-queue-size", "state_dir": "state-dir", "rules": "rules",
    "keep_events": "keep-events", "log_format": "log-format",
}  # fmt: skip

logger = logging.getLogger("shmtelemetry")

Anew = Callable[[], ServiceSettings]
Announce = Callable[[str], object]


class Serving:
    """Takes the reader's role of a namespace and binds the address, from `with` to its end; `run` or `start` serves.

    listen: HOST:PORT, port 0 for a free one; a host that others reach needs a protection that means it. reset_state:
    as Reader has it. Raises ValueError for settings that cannot be used, ShmtelError for what cannot be had.
    """

    def __init__(self, settings: ServiceSettings, listen: str, reset_state: bool = False) -> None:
        address = parse_listen(listen, settings.protection.is_meant)
        self._settings = replace(settings, reader=None)
        self._service = Service(self._settings)  # which says what of the settings cannot be used
        with ExitStack() as stack:
            self._listener = stack.enter_context(_bound(address))
            self.reader = stack.enter_context(Recording(settings, reset_state=reset_state)).reader
            self._stack = stack.pop_all()
        scheme = "https" if settings.protection.tls_cert else "http"
        self.url = f"{scheme}://{Address(address.host, self._listener.getsockname()[1])}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Serve beside this thread until the end of `with`, in this process alone, which hears its own signals.

        Raises ShmtelError if it does not begin to listen.
        """
        listens = threading.Event()
        server = _Server(self._service, listens.set)
        thread = threading.Thread(target=server.run, args=([self._listener],), name="shmtel-service", daemon=True)
        self._stack.callback(thread.join)
        self._stack.callback(setattr, server, "should_exit", True)
        thread.start()
        while not listens.wait(JOIN_PERIOD):
            if not thread.is_alive():
                raise ShmtelError("the service did not begin to listen; what it said says why")

    def run(self, announce: Announce, workers: int, anew: Anew) -> None:
        """Serve until SIGTERM or SIGINT. Only in the main thread.

        announce: called with the URL when it listens. workers: how many processes answer; with one it is this process.
        anew: reads the settings again, at SIGHUP; raises ValueError for bad ones.
        """
        # A thread that waits for the GIL beside a busy one waits so long: here updates do, for those who keep events.
        sys.setswitchinterval(SWITCH)
        share_heap()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection has a descriptor
        if workers == 1:
            self._run_here(announce, anew)
        else:
            self._run_workers(announce, workers, anew)

    def _run_here(self, announce: Announce, anew: Anew) -> None:
        signal.signal(signal.SIGHUP, lambda *_: self._reload(anew, self._service.reload))
        _outlive_signals()
        _Server(self._service, lambda: announce(self.url)).run([self._listener])

    def _run_workers(self, announce: Announce, count: int, anew: Anew) -> None:
        with caught_signals() as signals, ExitStack() as stack:
            workers = [_Worker(self._settings, self._listener) for _ in range(count)]
            stack.callback(_end, workers)
            for worker in workers:
                worker.await_start()
            announce(self.url)
            while True:
                ready = wait([signals, *(worker.process.sentinel for worker in workers)])
                if signals in ready:
                    if os.read(signals, 1)[0] != signal.SIGHUP:
                        return
                    self._reload(anew, lambda settings: _tell(workers, settings))
                for at, worker in enumerate(workers):
                    if worker.process.sentinel in ready:
                        pid, code = worker.process.pid, worker.end()
                        logger.error("worker %s ended with exit code %s: another one begins", pid, code)
                        wait([signals], max(0.0, worker.began + SHORTEST_LIFE - time.monotonic()))
                        workers[at] = _Worker(self._settings, self._listener)

    def _reload(self, anew: Anew, tell: Callable[[ServiceSettings], object]) -> None:
        """Take over what the settings say now; such that cannot be used change nothing."""
        try:
            fresh = anew()
            Shown(*fresh.shown)
            self._settings.protection.read()
            reader = fresh.reader or {}
            self.reader.bound(reader["max_series"], reader["gauge_ttl"])
            taken = replace(self._settings, shown=fresh.shown, log_level=fresh.log_level)
            tell(taken)
        except ValueError as error:
            logger.error("settings stay as they were: %s", error)
            return
        logger.info("settings are read again")
        for name, options in WAITING.items():
            if getattr(fresh, name) != getattr(self._settings, name):
                logger.warning("%s changes with the next start only", options)
        self._settings = taken


class _Server(uvicorn.Server):
    """uvicorn, set up for a service. started: called in its event loop when it listens."""

    def __init__(self, service: Service, on_start: Callable[[], object]) -> None:
        settings, tls = service.settings, service.access.access.tls
        beat = settings.ws_heartbeat_interval
        config = uvicorn.Config(
            service.app,
            loop="uvloop",
            http=BoundedHttp,
            ws=BoundedWebSocket,
            ws_max_size=MAX_MESSAGE,
            ws_ping_interval=beat,
            ws_ping_timeout=beat,
            ws_per_message_deflate=False,  # which costs more time than what it saves, on the way to whom it concerns
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=int(IDLE_SECONDS),
            timeout_graceful_shutdown=int(END_SECONDS),
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


class _Worker:
    """A process that answers. It ends with this one."""

    def __init__(self, settings: ServiceSettings, listener: socket.socket) -> None:
        self.began = time.monotonic()
        self._ours, theirs = multiprocessing.Pipe()
        self.process: SpawnProcess = multiprocessing.get_context("spawn").Process(
            target=_work, args=(settings, listener, theirs), name="shmtel-worker"
        )
        self.process.start()
        theirs.close()

    def await_start(self) -> None:
        """Raises ShmtelError if it does not begin to listen."""
        with suppress(EOFError, ConnectionResetError):
            if self._ours.poll(START_SECONDS):
                self._ours.recv()
                return
        raise ShmtelError("a worker did not begin to listen; what it said says why")

    def tell(self, settings: ServiceSettings) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and its successor knows
            self._ours.send(settings)

    def end(self) -> int | None:
        """Let it end, and wait; returns its exit code."""
        self.process.terminate()
        self.process.join(LEAVE_SECONDS)
        self.process.kill()
        self.process.join()
        self._ours.close()
        return self.process.exitcode


def _tell(workers: list[_Worker], settings: ServiceSettings) -> None:
    for worker in workers:
        worker.tell(settings)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()  # all at once
    for worker in workers:
        worker.end()


def _work(settings: ServiceSettings, listener: socket.socket, parent: Connection) -> None:
    """What a worker does."""
    service = Service(settings)

    def hear() -> None:
        try:
            service.reload(parent.recv())
        except ValueError as error:
            logger.error("settings stay as they were: %s", error)
        except (EOFError, ConnectionResetError):
            asyncio.get_running_loop().remove_reader(parent.fileno())
            server.should_exit = True

    def started() -> None:
        asyncio.get_running_loop().add_reader(parent.fileno(), hear)
        parent.send(os.getpid())

    server = _Server(service, started)
    _outlive_signals()
    server.run([listener])


def _outlive_signals() -> None:
    """uvicorn raises those again by which it has ended: they are not to end the process as well."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def _bound(address: Address) -> socket.socket:
    """A listening socket. Raises ShmtelError."""
    listener = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ShmtelError(
            f"cannot listen on {address}: {error.strerror or error}; choose another address or port, "
            "or stop what listens there (port 0 takes a free one)"
        ) from error
    return listener
