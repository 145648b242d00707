"""Recorder: writes the file of seconds, see seconds.py. The keeper of the reader that has the role calls it."""

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .._mapping import link_unnamed
from ..layout import BYTE_ORDER
from ._seconds import Seconds
from ._store import Store
from .seconds import ENTRY, HEADER, KEPT, LENGTH_NS, LIMIT, MAGIC, PAGE, ROW, VERSION

logger = logging.getLogger("shmtelemetry")

SMALLEST = 16 * PAGE  # bytes that the file begins with

Losses = Iterable[tuple[int, int, int]]  # (metric, records taken, records lost)


class Recorder:
    """Writes the file. It begins empty with each reader, and ends with it.

    state: the uuid of the state that the series are of. limit: bytes of the file. A file that cannot be made or grow
    costs seconds, and nothing else.
    """

    def __init__(self, path: Path, store: Store, state: bytes, limit: int = LIMIT) -> None:
        self._path, self._limit, self._size = path, limit, SMALLEST
        self._header = np.zeros((), HEADER)
        self._header["magic"], self._header["version"], self._header["byte_order"] = MAGIC, VERSION, BYTE_ORDER
        self._header["state"] = np.void(state)
        self._seconds = Seconds(store)
        self._blocks: list[tuple[int, int]] = []  # (offset, length) of each second in the table, oldest first
        self._header["began_ns"] = time.monotonic_ns()
        self._inode = self._make()

    def _make(self) -> int:
        remove(self._path)  # a killed reader's
        try:
            fd = os.open(self._path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self._size)
                self._show(fd)
                link_unnamed(fd, str(self._path.parent), self._path.name)
                return os.fstat(fd).st_ino
            finally:
                os.close(fd)
        except OSError as error:
            logger.warning("there are no windows: %s cannot be made: %s", self._path, error.strerror)
            return -1

    @property
    def due(self) -> float:
        """Seconds until the running second ends; 0 if it has."""
        return max(0, int(self._header["began_ns"]) + LENGTH_NS - time.monotonic_ns()) / 1e9

    def take(self, losses: Losses) -> None:
        """End the running second. losses: since the last time."""
        began = int(self._header["began_ns"])
        self._header["began_ns"] = time.monotonic_ns()
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return  # somebody removed it; the next reader makes another
        try:
            if os.fstat(fd).st_ino == self._inode:
                self._take(fd, began, list(losses))
        finally:
            os.close(fd)

    def _take(self, fd: int, began: int, losses: list[tuple[int, int, int]]) -> None:
        self._header["mark"] += 1
        self._show(fd)
        try:
            self._seconds.take()
            self._header["began_ns"] = time.monotonic_ns()
            self._keep(fd, began, losses)
        finally:  # a second that was taken and could not be kept is a gap
            self._header["mark"] += 1
            self._show(fd)

    def _keep(self, fd: int, began: int, losses: list[tuple[int, int, int]]) -> None:
        """Write the second that has just ended, at the table's end; the oldest go where it needs their room."""
        parts = self._seconds.parts()
        if losses:
            parts[1:1] = [memoryview(np.array(losses, np.uint64).tobytes())]  # behind the rows
        length = sum(part.nbytes for part in parts)
        if len(self._blocks) == KEPT:
            self._blocks.pop(0)
        offset = self._place(fd, length)
        table = self._header["seconds"]
        table[:-1] = table[1:].copy()
        table[-1] = np.zeros((), ENTRY)
        table[: KEPT - 1 - len(self._blocks)] = np.zeros((), ENTRY)
        self._show(fd)
        if offset is None:
            return
        if parts:
            os.pwritev(fd, parts, offset)
        self._blocks.append((offset, length))
        rows = self._seconds.row_bytes // ROW.itemsize
        table[-1] = (began, self._header["began_ns"], offset, rows, len(losses), self._seconds.buckets)

    def _place(self, fd: int, length: int) -> int | None:
        """Where a block fits, after the oldest are forgotten if need be; None if it is larger than the file may be."""
        while True:
            at = PAGE
            for begin, used in sorted(self._blocks):
                if begin - at >= length:
                    return at
                at = max(at, (begin + used + 7) // 8 * 8)
            if at + length <= self._size or self._grow(fd, at + length):
                return at
            if not self._blocks:
                return None
            self._blocks.pop(0)

    def _grow(self, fd: int, least: int) -> bool:
        size = min(self._limit, max(least, 2 * self._size))
        if size < least:
            return False
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            return False
        self._size = size
        return True

    def _show(self, fd: int) -> None:
        os.pwrite(fd, self._header.tobytes(), 0)

    def close(self) -> None:
        if self._inode >= 0:
            remove(self._path, self._inode)


def remove(path: Path, inode: int | None = None) -> None:
    """Unlink the file, if it is that one."""
    with contextlib.suppress(OSError):
        if inode is None or os.stat(path, follow_symlinks=False).st_ino == inode:
            os.unlink(path)
