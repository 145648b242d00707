"""The connection of market data to the exchange's feed, which comes back by itself."""

from __future__ import annotations

import time
from typing import Final

from shmtelemetry import trading
from shmtelemetry.demo.messages import FeedBatch
from shmtelemetry.demo.wire import Link, connect
from shmtelemetry.trading import instruments

_RETRY_SECONDS: Final = 0.5


class Feed:
    """emits: how many records it emitted. port: where the exchange's feed is."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._link: Link[FeedBatch] | None = None
        self._was_connected = False
        self._retry_at = 0.0
        trading.WEBSOCKET_FAILURES.emit(0.0)  # so that their rates are 0, and not absent
        instruments.MARKET_DATA_WEBSOCKET_RECONNECTS.emit(0.0)
        instruments.MARKET_DATA_WEBSOCKET_CONNECTED.emit(0.0)
        self.emits = 3

    def descriptors(self) -> list[int]:
        """What is readable when there is something to receive."""
        return [] if self._link is None else [self._link.fileno()]

    def receive(self) -> list[FeedBatch]:
        """What has come; connects where there is no connection, and it is time to try again."""
        if self._link is None and not self._connect():
            return []
        assert self._link is not None
        try:
            return self._link.receive()
        except OSError:
            self._lose()
            return []

    def close(self) -> None:
        """Until the next receive, which begins with a snapshot."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connect(self) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._link = connect(self._port, FeedBatch)
        except OSError:
            self._lose()
            return False
        if self._was_connected:
            instruments.MARKET_DATA_WEBSOCKET_RECONNECTS.emit(1.0)
            self.emits += 1
        self._was_connected = True
        instruments.MARKET_DATA_WEBSOCKET_CONNECTED.emit(1.0)
        self.emits += 1
        return True

    def _lose(self) -> None:
        self.close()
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        trading.WEBSOCKET_FAILURES.emit(1.0)
        instruments.MARKET_DATA_WEBSOCKET_CONNECTED.emit(0.0)
        self.emits += 2
