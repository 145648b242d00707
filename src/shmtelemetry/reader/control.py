"""The lock that makes one reader of a namespace and user."""

import contextlib
import os
from pathlib import Path

from .._mapping import Mapping
from ..aggregate.series import HEADER, field_offset
from ..errors import ReaderBusyError
from ..liveness import fork_lock, lock
from ..segment import DIRECTORY

SHOWN = 20  # bytes of the pid in decimal, padded with blanks


class Control:
    """Holds the lock until it is closed; its file shows the reader's pid.

    The lock belongs to a mapping, which no forked child inherits: it is free when this process has ended, whoever it
    has started. Raises ReaderBusyError naming the process that has it.
    """

    def __init__(self, namespace: str) -> None:
        self.path = os.path.join(DIRECTORY, f"shmtel.{namespace}.@reader.{os.geteuid()}")
        mapping = None
        while mapping is None:
            mapping = self._locked(namespace)
        self._mapping = mapping
        self._held: Mapping | None = None

    def hold(self, state: Path, namespace: str) -> None:
        """Lock the state as well: somebody may remove the namespace's own file, whose lock would keep nobody out then.

        Raises ReaderBusyError naming the process that has it.
        """
        with fork_lock():
            fd = os.open(state, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not lock(fd, 0):
                    pid = os.pread(fd, 8, field_offset(HEADER, "reader_pid"))
                    raise ReaderBusyError(f"the state of namespace {namespace}", int.from_bytes(pid, "little"))
                self._held = Mapping(fd, 1)
            finally:
                os.close(fd)

    def _locked(self, namespace: str) -> Mapping | None:
        """The file, locked and mapped; None if the reader before us removed it meanwhile."""
        with fork_lock():
            return self._lock_now(namespace)

    def _lock_now(self, namespace: str) -> Mapping | None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not lock(fd, 0):
                raise ReaderBusyError(f"namespace {namespace}", _shown_pid(fd))
            self._inode = os.fstat(fd).st_ino
            if not self._is_current():
                return None
            os.pwrite(fd, str(os.getpid()).encode().ljust(SHOWN), 0)
            return Mapping(fd, SHOWN)
        finally:
            os.close(fd)

    def _is_current(self) -> bool:
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == self._inode
        except FileNotFoundError:
            return False

    def close(self) -> None:
        if self._is_current():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self._mapping.close()
        if self._held is not None:
            self._held.close()


def _shown_pid(fd: int) -> int:
    """0 where none can be read."""
    try:
        return int(os.pread(fd, SHOWN, 0))
    except ValueError:
        return 0
