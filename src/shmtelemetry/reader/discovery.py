"""Discovery: which segments of a namespace are there that nobody looked at yet."""

import os
import time

from ..segment import DIRECTORY, segment_names

SHARE = 200  # a look at the directory may take one 200th of a core at most, however many files there are
RETRY = 1.0  # seconds after which segments that somebody else consumes are tried again


class Discovery:
    """Looks at /dev/shm when its modification time has changed."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._known: set[str] = set()
        self._aside: dict[str, str] = {}  # name → why it is left aside
        self.gone: set[str] = set()  # names that the last look missed
        self._modified_ns = -1
        self._next = 0.0
        self._retry = 0.0
        self._asked = False

    def new_names(self) -> list[str]:
        """Segments that came since the last look, by name; empty at once if nothing can have come."""
        now = time.monotonic()
        self.gone = set()
        asked, self._asked = self._asked, False
        if now < self._next and not asked:
            return []
        if now >= self._retry and "foreign" in self._aside.values():
            self._retry = now + RETRY
            self._known -= {name for name, why in self._aside.items() if why == "foreign"}
            self._aside = {name: why for name, why in self._aside.items() if why != "foreign"}
            self._modified_ns = -1
        # CPU time: a look in which others had the core, or the GIL, would put off the next one for as long, 200 times.
        began = time.thread_time()
        modified = os.stat(DIRECTORY).st_mtime_ns
        if modified == self._modified_ns and not asked:
            return []
        names = set(segment_names(self._namespace))
        # The clock of modification times is coarse: look again unless the change is well past.
        self._modified_ns = modified if time.time_ns() - modified > 20_000_000 else -1
        found, self.gone = names - self._known, self._known - names
        self._known = names
        self._aside = {name: why for name, why in self._aside.items() if name in names}
        self._next = time.monotonic() + SHARE * (time.thread_time() - began)
        return sorted(found)

    def look_now(self) -> None:
        """From any thread: whatever look begins from now on is a real one."""
        self._asked = True

    def forget(self, name: str) -> None:
        """Show a segment again in the next look, although nothing changed."""
        self._known.discard(name)
        self._modified_ns = -1

    def put_aside(self, name: str, why: str) -> None:
        """Remember a segment that is not drained; why: foreign, quarantined or retired."""
        self._aside[name] = why

    def is_aside(self, name: str) -> bool:
        """Whether a segment is not drained, for whatever reason."""
        return name in self._aside

    def aside(self, why: str) -> int:
        """How many are left aside for that reason."""
        return sum(reason == why for reason in self._aside.values())
