"""A stage between bots and a sidecar: messages by routes, in envelopes that number them."""

import time

import zmq

from ..telemetry import Telemetry
from .intake import Refused
from .messages import envelope
from .recorder import Bot

HIGH_WATER = 10_000  # messages that may wait for the other side; further ones are refused, and counted
LINGER = 1000  # ms that the end waits for the other side to take what waits


class Forwarder:
    """A PUSH socket. Exported: ingest_forwarded_total{source}.

    A bot's messages are numbered from 0, those that are refused as well: the other side sees what it misses.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, telemetry: Telemetry) -> None:
        """Raises ValueError for an address that cannot be."""
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, LINGER)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._socket.close(0)
            raise ValueError(
                f"forward {address!r}: {error.strerror}; expected tcp://HOST:PORT or ipc://PATH"
            ) from error
        self._forwarded = telemetry.counter("ingest_forwarded_total", "Messages handed on.", ("source",)).labels("zmq")
        self._sequences: dict[str, int] = {}
        self.forwarded = 0

    def send(self, bot: Bot, raw: object) -> None:
        """Hand a message on. raw: as `messages.envelope` takes it. Raises Refused if too many wait already."""
        sequence = self._sequences.get(bot.name, 0)
        self._sequences[bot.name] = sequence + 1
        try:
            self._socket.send(envelope(raw, time.time_ns(), bot.name, sequence), zmq.NOBLOCK)
        except zmq.Again as error:
            raise Refused("forward_full") from error
        self._forwarded.emit(1)
        self.forwarded += 1

    def close(self) -> None:
        self._socket.close()
