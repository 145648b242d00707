"""How many connections there may be over all workers: a lock of the kernel's for each, which no worker's end leaves."""

import os
from pathlib import Path
from random import randrange

from ..files import open_file
from ..liveness import lock, unlock


class Slots:
    """At most `limit` of them are taken at a time, by all processes that name one file.

    Bytes of the file are locked, nothing is written. A process's locks are free when it ends, however it ends.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._limit = limit
        self._taken: set[int] = set()
        self._fd = open_file(path, os.O_RDWR | os.O_CREAT)

    def take(self) -> int | None:
        """A slot, to be given back; None if all are taken."""
        # From a random one on: workers that all began at the first would try each other's in vain.
        first = randrange(self._limit)
        slot: int
        for slot in (*range(first, self._limit), *range(first)):
            if slot not in self._taken and lock(self._fd, slot):
                self._taken.add(slot)
                return slot
        return None

    def give_back(self, slot: int) -> None:
        self._taken.discard(slot)
        unlock(self._fd, slot)

    def close(self) -> None:
        os.close(self._fd)
