"""The bots' Redis: the newest positions, set once a second.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Final

from shmtelemetry.trading import instruments

_SECONDS: Final = 1.0
_STATUSES: Final = ("success", "error")


class RedisStore:
    """emits: how many records it emitted. path: of the server's socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: socket.socket | None = None
        self._sets = {status: instruments.REDIS_OPERATIONS.labels("hset", status) for status in _STATUSES}
        for handle in (*self._sets.values(), instruments.REDIS_CONNECTION_ERRORS):
            handle.emit(0.0)  # so that their rates are 0, and not absent
        self.emits = len(self._sets) + 1

    def store(self, positions: Mapping[str, float]) -> None:
        """Symbol → shares."""
        words = ["HSET", "positions", *(str(part) for pair in positions.items() for part in pair)]
        try:
            self._ask(words)
        except OSError:
            self.close()
            instruments.REDIS_CONNECTION_ERRORS.emit(1.0)
            self._sets["error"].emit(1.0)
            self.emits += 2
        else:
            self._sets["success"].emit(1.0)
            self.emits += 1

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, words: list[str]) -> None:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(_SECONDS)
            self._connection.connect(self._path)
        encoded = [word.encode() for word in words]
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)
        self._connection.sendall(b"*%d\r\n%b" % (len(encoded), parts))
        if not self._connection.recv(4096).startswith(b":"):
            raise OSError("Redis refused")
