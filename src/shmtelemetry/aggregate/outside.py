"""The state as those see it who do not write it: read-only, in a process of their own, whatever the reader does."""

import contextlib
import os
from pathlib import Path

from .._mapping import Mapping
from ..errors import StateError
from ..files import open_own
from ._store import Store
from .check import check_header, check_tables, unusable
from .seconds import windows_path
from .series import HEADER, LOG_OFFSET, LOG_SIZE, RESERVE, field_offset
from .snapshot import Snapshot
from .view import GrownError, UnrestError, View

PATIENCE = 0.1  # seconds until a series that is being changed makes the reader look stopped
ATTEMPTS = 20


class Published:
    """A state that somebody else writes, or has written. What was learned of it is kept from one look to the next."""

    def __init__(self, namespace: str, path: Path) -> None:
        self._namespace, self._path, self._seconds = namespace, path, windows_path(path)
        self._inode = -1
        self._view: View | None = None

    def snapshot(self, distributions: bool = True) -> Snapshot:
        """Raises StateError where there is no state, or one that is damaged."""
        try:
            fd = open_own(self._path, os.O_RDONLY)
        except FileNotFoundError:
            name = self._namespace
            raise StateError(f"namespace {name} has no state: start shmtel reader --namespace {name}") from None
        try:
            for _ in range(ATTEMPTS):
                with contextlib.suppress(GrownError, UnrestError):
                    return self._look(fd, distributions)
                with contextlib.suppress(GrownError, UnrestError):
                    return _recovered(self._namespace, fd, self._seconds)
        finally:
            os.close(fd)
        raise StateError(f"the state of namespace {self._namespace} never rests long enough for a copy; try again")

    def _look(self, fd: int, distributions: bool) -> Snapshot:
        view = self._current(fd)
        try:
            return view.snapshot(distributions)
        finally:
            if view.mapping.cut:  # only where a guard is installed; elsewhere this process is no more
                self.close()
                raise unusable(self._namespace, "was cut short while it was read")

    def _current(self, fd: int) -> View:
        """The state behind this descriptor, as large as it is now."""
        size, inode = check_header(fd, self._namespace), os.fstat(fd).st_ino
        if self._view is None or inode != self._inode:
            self.close()
            self._view = View(self._namespace, Mapping(fd, size, RESERVE, False), PATIENCE, self._seconds)
            self._view.mapping.guard()
            self._inode = inode
        else:
            self._view.mapping.grow(size)
        return self._view

    def close(self) -> None:
        if self._view is not None:
            self._view.mapping.close()
            self._view = None


def last_turn(path: Path) -> tuple[int, int]:
    """The pid of the last reader, and when it made its last turn, in nanoseconds since the epoch; 0 for none."""
    try:
        fd = open_own(path, os.O_RDONLY)
    except (FileNotFoundError, StateError):
        return 0, 0
    try:
        pid, turn_ns = (os.pread(fd, 8, field_offset(HEADER, field)) for field in ("reader_pid", "turn_ns"))
        return int.from_bytes(pid, "little"), int.from_bytes(turn_ns, "little")
    finally:
        os.close(fd)


def _recovered(namespace: str, fd: int, seconds: Path) -> Snapshot:
    """Where a reader was stopped or killed in the middle of a step: a snapshot of a copy in which that step is done.

    Raises UnrestError if the reader went on meanwhile.
    """
    copy = os.memfd_create("shmtel-state", os.MFD_CLOEXEC)
    try:
        log = os.pread(fd, LOG_SIZE, LOG_OFFSET)
        size = check_header(fd, namespace)
        done = 0
        while done < size:
            done += os.sendfile(copy, fd, done, size - done) or size
        # The size of the copy: where it is larger by now, tables may name what was not copied.
        if log != os.pread(fd, LOG_SIZE, LOG_OFFSET) or _size_of(copy) != size:
            raise UnrestError(namespace)
        mapping = Mapping(copy, size)
    finally:
        os.close(copy)
    try:
        view = View(namespace, mapping, PATIENCE, seconds)
        check_tables(view)
        Store(mapping).end_step()
        return view.snapshot()
    except ValueError as error:
        raise StateError(f"the state of namespace {namespace} is damaged: {error}") from error
    finally:
        mapping.close()


def _size_of(copy: int) -> int:
    """What the header of a copy says."""
    return int.from_bytes(os.pread(copy, 8, field_offset(HEADER, "size")), "little")
