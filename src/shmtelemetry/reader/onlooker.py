"""Onlooker: what the reader of a namespace has aggregated, seen from any process, as often as somebody asks."""

import os
import threading
import time
from typing import Final, Self

from ..aggregate.outside import Published, last_turn
from ..aggregate.snapshot import Snapshot
from ..aggregate.state import state_path
from ..segment import DIRECTORY, check_name
from .control import ask

SCRAPE_WAIT: Final = 0.05  # seconds that a scrape waits at most for what was published before it


class Onlooker:
    """Reads a namespace's state and disturbs nobody; what was learned of it is kept from one look to the next.

    Threads may share it. There need be no reader and no state yet.
    """

    def __init__(self, namespace: str = "default") -> None:
        self.namespace = check_name("namespace", namespace)
        self._path = state_path(DIRECTORY, namespace, os.geteuid())
        self._published = Published(namespace, self._path)
        self._lock = threading.Lock()

    def snapshot(self, distributions: bool = True) -> Snapshot:
        """A consistent copy. distributions: with what Snapshot.histogram reads. Raises StateError."""
        with self._lock:
            return self._published.snapshot(distributions)

    def scrape(self, distributions: bool = False) -> Snapshot:
        """A snapshot in which everything is that was published before the call, unless that takes the reader 50 ms."""
        self.catch_up()
        return self.snapshot(distributions)

    def catch_up(self, timeout: float = SCRAPE_WAIT) -> bool:
        """Wait until everything that was published before this call is in the state; False if it is not."""
        return bool(ask(self.namespace, timeout))

    def turn(self) -> tuple[int, float]:
        """The pid of the last reader, 0 for none, and how many seconds ago it made its last turn, inf for never."""
        pid, turn_ns = last_turn(self._path)
        return pid, max(0.0, (time.time_ns() - turn_ns) / 1e9) if turn_ns else float("inf")

    def close(self) -> None:
        with self._lock:
            self._published.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
