"""Messages of bots over ZeroMQ into a ring, and to a sidecar further on."""

import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any, Final

import zmq

from ..errors import ShmtelError
from ..telemetry import Telemetry
from . import definitions, sockets
from .broker import Forwarder
from .inbox import Inbox
from .recorder import Recorder

# Frames of each bot that may wait here. Beyond, libzmq leaves what comes to the kernel, and loses it if that bot ends
# its ipc connection meanwhile: it sees the end before the data.
HIGH_WATER: Final = 100_000
LARGEST: Final = 2 << 20  # bytes of a frame; libzmq ends the connection of who sends a larger one
TURN: Final = 1000  # frames between two looks at signals
LOOK: Final = 1.0  # seconds between two looks at the file of definitions
QUIET: Final = 250  # ms without a message after which there are no more
LAST: Final = 5.0  # seconds at most that the end goes on taking what bots go on sending

logger = logging.getLogger("shmtelemetry")


class ZmqSource:
    """A PULL socket whose messages are recorded; a context manager.

    bind: ipc://PATH or tcp://HOST:PORT; `address` says it whole. own: the bot whose messages do not say which one sent
    them. path: the file of definitions, None for the documented metrics. forward: where to hand messages on to. Raises
    ValueError for what cannot be, and OSError for an address that is taken.
    """

    def __init__(self, telemetry: Telemetry, bind: str, own: str, path: str | None, forward: str | None) -> None:
        self._path = path
        self._file = definitions.Watched(path) if path is not None else None
        defined = definitions.read(path) if path is not None else definitions.Definitions(definitions.File())
        self._recorder = Recorder(telemetry, defined)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._forwarder = Forwarder(self._context, forward, telemetry) if forward is not None else None
            self._inbox = Inbox(self._recorder, defined, own, self._forwarder)
            self._socket = _bound(self._context, bind)
        except BaseException:
            self._context.destroy(0)
            raise
        self.address = _whole(self._socket)

    def run(self, signals: int) -> None:
        """Take messages until SIGTERM or SIGINT come as bytes of a descriptor; SIGHUP reads the definitions again."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(signals, zmq.POLLIN)
        looked = time.monotonic()
        while True:
            ready = dict(poller.poll(int(LOOK * 1000)))
            if signals in ready:
                if os.read(signals, 1)[0] != signal.SIGHUP:
                    break
                self._define()
            if self._socket in ready:
                self._turn()
            if time.monotonic() >= looked + LOOK:
                looked = time.monotonic()
                if self._file is not None and self._file.changed():
                    self._define()
        self._drain()

    def summary(self) -> dict[str, Any]:
        """What `--json` says at the end."""
        forwarded = self._forwarder.forwarded if self._forwarder is not None else 0
        return self._recorder.intake.summary() | {"forwarded": forwarded, "missing": self._recorder.missing}

    def close(self) -> None:
        """Give what is forwarded its time to go, and end."""
        if self.address.startswith("ipc:///"):
            Path(self.address.removeprefix("ipc://")).unlink(missing_ok=True)  # before somebody else can have it
        self._socket.close(0)
        if self._forwarder is not None:
            self._forwarder.close()
        self._context.term()

    def __enter__(self) -> "ZmqSource":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _define(self) -> None:
        """Take over what the file says now; one that cannot be used changes nothing."""
        if self._path is None:
            return
        try:
            fresh = definitions.read(self._path)
            self._recorder.define(fresh)
        except (ValueError, ShmtelError) as error:
            logger.error("definitions stay as they were: %s", error)
            return
        self._inbox.define(fresh)
        logger.info("definitions are read again")

    def _turn(self) -> None:
        """Take frames that are there, at most TURN."""
        receive, take, taken = self._socket.recv, self._inbox.take, 0
        try:
            for _ in range(TURN):
                taken += take(receive(zmq.NOBLOCK))
        except zmq.Again:
            pass
        if taken:
            self._recorder.intake.take(taken)

    def _drain(self) -> None:
        """Take what was sent before the end, and is on its way through the kernel and libzmq's thread."""
        deadline = time.monotonic() + LAST
        while self._socket.poll(QUIET) and time.monotonic() < deadline:
            self._turn()


def _bound(context: "zmq.Context[zmq.Socket[bytes]]", bind: str) -> "zmq.Socket[bytes]":
    if bind.startswith("ipc://") and not bind.startswith("ipc://@"):
        sockets.check_path(bind.removeprefix("ipc://"), socket.SOCK_STREAM)
    pull = context.socket(zmq.PULL)
    pull.setsockopt(zmq.RCVHWM, HIGH_WATER)
    pull.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    try:
        pull.bind(bind)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise OSError(f"{bind} is in use: stop who has it, or take another address") from error
        raise ValueError(f"bind {bind!r}: {error.strerror}; expected ipc://PATH or tcp://HOST:PORT") from error
    return pull


def _whole(bound: "zmq.Socket[bytes]") -> str:
    """An address for others: a path as seen from any directory."""
    address = bound.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    if not address.startswith("ipc://") or address.startswith("ipc://@"):
        return address
    return "ipc://" + os.path.abspath(address.removeprefix("ipc://"))
