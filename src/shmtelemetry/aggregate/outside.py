"""The state as those see it who do not write it: read-only, in a process of their own, whatever the reader does."""

import contextlib
import os
from pathlib import Path

from .._mapping import Mapping
from ..errors import StateError
from ._store import Store
from .check import check_header, check_tables
from .series import HEADER, LOG_OFFSET, LOG_SIZE, field_offset
from .snapshot import Snapshot
from .view import GrownError, UnrestError, View

PATIENCE = 0.1  # seconds until a series that is being changed makes the reader look stopped
ATTEMPTS = 20


def read_view(namespace: str, path: Path) -> Snapshot:
    """A snapshot of a state that somebody else writes, or has written.

    Raises StateError where there is none, or one that is damaged.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StateError(f"namespace {namespace} has no state: start shmtel reader --namespace {namespace}") from None
    except OSError as error:
        raise StateError(f"the state of namespace {namespace} cannot be opened: {error.strerror}") from error
    try:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(GrownError, UnrestError):
                return _snapshot(namespace, fd)
            with contextlib.suppress(GrownError, UnrestError):
                return _recovered(namespace, fd)
    finally:
        os.close(fd)
    raise StateError(f"the state of namespace {namespace} never rests long enough for a copy; try again")


def _snapshot(namespace: str, fd: int) -> Snapshot:
    mapping = Mapping(fd, check_header(fd, namespace), 0, False)
    try:
        return View(namespace, mapping, PATIENCE).snapshot()
    finally:
        mapping.close()


def _recovered(namespace: str, fd: int) -> Snapshot:
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
        view = View(namespace, mapping, PATIENCE)
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
