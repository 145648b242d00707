"""Batches from one service to the next, over ZeroMQ on 127.0.0.1, each with the time at which it was sent."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec
import zmq

from shmtelemetry.trading import instruments

SOCKETS: Final = ("quotes", "signals", "orders", "executions")
"""Market data to signal bridge, to risk manager, to execution engine, and back to the risk manager."""

_HIGH_WATER: Final = 2_000  # batches that may wait on either side; a sender loses what is beyond
_PATIENCE_SECONDS: Final = 5.0  # with a receiver that takes nothing, at the beginning and in the end
_RANGE: Final = (20_000, 30_000)  # of ports, below those that the kernel gives to whoever connects
_GREETING: Final = b"\0"
_END: Final = b""

_Batch = TypeVar("_Batch")
_HEAD: Final = 8  # bytes of the time, ns since the epoch

_encode: Final = msgspec.msgpack.Encoder().encode


class Ports(NamedTuple):
    """Of each socket, in the order of SOCKETS."""

    quotes: int
    signals: int
    orders: int
    executions: int


def ports(first: int) -> Ports:
    """The four from `first` on; others that are free where one of them is taken, or for 0."""
    while not first or not all(map(_is_free, range(first, first + len(SOCKETS)))):
        first = random.randrange(*_RANGE)
    return Ports(*range(first, first + len(SOCKETS)))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Sender:
    """A PUSH socket. emits: how many records it emitted. Raises zmq.ZMQError for a port that is taken."""

    def __init__(self, service: str, stream: str, port: int) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.set_hwm(_HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, int(_PATIENCE_SECONDS * 1000))
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self._sent = instruments.ZMQ_MESSAGES_SENT.labels(service, stream)
        self._failures = instruments.ZMQ_SEND_FAILURES.labels(service, stream)
        self._size = instruments.ZMQ_MESSAGE_SIZE_BYTES.labels(stream)
        self._failures.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = 1

    def greet(self) -> None:
        """Wait until somebody is there to receive: nobody keeps what is sent before."""
        self._say(_GREETING)

    def send(self, batch: object) -> bool:
        """Whether there was room for it."""
        message = time.time_ns().to_bytes(_HEAD, "little") + _encode(batch)
        try:
            self._socket.send(message, zmq.NOBLOCK)
        except zmq.Again:
            self._failures.emit(1.0)
            self.emits += 1
            return False
        self._sent.emit(1.0)
        self._size.emit(len(message))
        self.emits += 2
        return True

    def close(self) -> None:
        """Say that this was all."""
        self._say(_END)
        self._socket.close()

    def _say(self, word: bytes) -> None:
        self._socket.setsockopt(zmq.SNDTIMEO, int(_PATIENCE_SECONDS * 1000))
        with suppress(zmq.Again):  # nobody takes anything
            self._socket.send(word)


class Receiver(Generic[_Batch]):
    """A PULL socket. emits: how many records it emitted. ended: whether the sender has said that this was all."""

    def __init__(self, service: str, stream: str, port: int, kind: type[_Batch]) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.set_hwm(_HIGH_WATER)
        self._socket.connect(f"tcp://127.0.0.1:{port}")
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._received = instruments.ZMQ_MESSAGES_RECEIVED.labels(service, stream)
        self._backlog = instruments.ZMQ_BACKLOG_MESSAGES.labels(service, stream)
        self._transit = instruments.ZMQ_TRANSIT.labels(stream)
        self.emits = 0
        self.ended = False

    def receive(self, seconds: float = 0.0) -> list[_Batch]:
        """All that waits; if nothing does, what comes first within that time."""
        if not self._socket.poll(int(seconds * 1000)):
            return []
        found = []
        while not self.ended and self._socket.poll(0):
            message = self._socket.recv(zmq.NOBLOCK)
            if message == _END:
                self.ended = True
            elif message != _GREETING:
                found.append(message)
        self._backlog.emit(len(found))
        self.emits += 1
        return [self._taken(message) for message in found]

    def _taken(self, message: bytes) -> _Batch:
        self._received.emit(1.0)
        self._transit.emit(max(0.0, (time.time_ns() - int.from_bytes(message[:_HEAD], "little")) / 1e9))
        self.emits += 2
        return self._decode(message[_HEAD:])

    def close(self) -> None:
        self._socket.close(0)
