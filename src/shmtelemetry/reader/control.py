"""The lock that makes one reader of a namespace and user, and the file by which others call that reader.

0       the reader's pid in decimal, padded with blanks
ASKED   when somebody last asked for everything that is published, in nanoseconds of CLOCK_MONOTONIC
SERVED  the latest such moment from which on everything is in the state
BELL    u32, counted up to wake the reader's loop
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from .._mapping import Mapping
from ..aggregate import recorder
from ..aggregate.seconds import windows_path
from ..aggregate.series import HEADER, field_offset
from ..errors import ReaderBusyError
from ..files import open_own
from ..layout import LOCK_READER
from ..liveness import fork_lock, is_locked, lock, share
from ..segment import DIRECTORY, reader_file

SHOWN: Final = 20  # bytes of the pid
ASKED: Final = 64
SERVED: Final = 128
BELL: Final = 192
SIZE: Final = 256

LOCK_MEMBERS: Final = 1  # byte of the state

NAP: Final = 0.0001  # seconds between two looks whether the reader has served us


def control_path(namespace: str) -> str:
    return os.path.join(DIRECTORY, reader_file(namespace))


class Control:
    """Holds the lock until it is closed.

    The lock belongs to a mapping, which no forked child inherits: it is free when this process has ended, whoever it
    has started. Raises ReaderBusyError naming the process that has it.
    """

    def __init__(self, namespace: str) -> None:
        self.path = control_path(namespace)
        mapping = None
        while mapping is None:
            mapping = self._locked(namespace)
        self.mapping = mapping
        mapping.guard()  # cut short, nobody's asking is heard any more, and that is all
        self._held: Mapping | None = None

    def hold(self, state: Path, namespace: str) -> None:
        """Lock the state as well: somebody may remove the namespace's own file, whose lock would keep nobody out then.

        Raises ReaderBusyError naming the process that has it.
        """
        with fork_lock():
            fd = open_own(state, os.O_RDWR)
            try:
                if not lock(fd, LOCK_READER):
                    pid = os.pread(fd, 8, field_offset(HEADER, "reader_pid"))
                    raise ReaderBusyError(f"the state of namespace {namespace}", int.from_bytes(pid, "little"))
                if self._held is not None:
                    self._held.close()
                self._held = Mapping(fd, 1)
            finally:
                os.close(fd)

    def _locked(self, namespace: str) -> Mapping | None:
        """The file, locked and mapped; None if the reader before us removed it meanwhile."""
        with fork_lock():
            return self._lock_now(namespace)

    def _lock_now(self, namespace: str) -> Mapping | None:
        fd = open_own(self.path, os.O_RDWR | os.O_CREAT)
        try:
            if not lock(fd, LOCK_READER):
                raise ReaderBusyError(f"namespace {namespace}", _shown_pid(fd))
            self._inode = os.fstat(fd).st_ino
            if not self._is_current():
                return None
            os.posix_fallocate(fd, 0, SIZE)
            os.pwrite(fd, str(os.getpid()).encode().ljust(SHOWN), 0)
            return Mapping(fd, SIZE)
        finally:
            os.close(fd)

    def _is_current(self) -> bool:
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == self._inode
        except FileNotFoundError:
            return False

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for what is published."""
        return self.mapping.load(ASKED) > self.mapping.load(SERVED)

    def serve(self, moment_ns: int) -> None:
        """Everything that was published before that moment is in the state."""
        self.mapping.store(SERVED, moment_ns)

    def close(self) -> None:
        if self._is_current():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self.mapping.close()
        if self._held is not None:
            self._held.close()


def ask(namespace: str, timeout: float) -> bool | None:
    """Have the namespace's reader take everything that is published before this call.

    True when it has, False if it did not within `timeout` seconds, None if there is no reader.
    """
    try:
        fd = open_own(control_path(namespace), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if not is_locked(fd, LOCK_READER) or os.fstat(fd).st_size < SIZE:
            return None
        mapping = Mapping(fd, SIZE)
        mapping.guard()
    finally:
        os.close(fd)
    now = time.monotonic_ns()
    # Of two that ask at once one may overwrite the other; the reader's own moment is later than both.
    mapping.store(ASKED, now)
    mapping.ring(BELL)
    while mapping.load(SERVED) < now:
        if time.monotonic_ns() - now > timeout * 1e9:
            return False
        time.sleep(NAP)
    return True


class Membership:
    """This process is one of those that share a namespace whose state goes with the last of them.

    Raises FileNotFoundError where there is no state yet.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._mapping = None
        while self._mapping is None:
            self._mapping = self._join()

    def _join(self) -> Mapping | None:
        """The state's first byte, locked and mapped; None if the last one is just removing it."""
        with fork_lock():
            fd = open_own(self._state, os.O_RDWR)
            try:
                return Mapping(fd, 1) if share(fd, LOCK_MEMBERS) else None
            finally:
                os.close(fd)

    def leave(self, remove: bool = True) -> bool:
        """Returns whether the state was removed, as the last one does unless it must stay."""
        assert self._mapping is not None
        self._mapping.close()
        if not remove:
            return False
        with fork_lock():
            try:
                fd = open_own(self._state, os.O_RDWR)
            except FileNotFoundError:
                return False
            try:
                last = lock(fd, LOCK_MEMBERS) and lock(fd, LOCK_READER)
                if last:
                    recorder.remove(windows_path(self._state))
                    os.unlink(self._state)
                return last
            finally:
                os.close(fd)


def _shown_pid(fd: int) -> int:
    """0 where none can be read."""
    try:
        return int(os.pread(fd, SHOWN, 0))
    except ValueError:
        return 0
