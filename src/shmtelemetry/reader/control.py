"""The lock that makes one reader of a namespace and user."""

import contextlib
import os

from .._mapping import Mapping
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

    def _locked(self, namespace: str) -> Mapping | None:
        """The file, locked and mapped; None if the reader before us removed it meanwhile."""
        with fork_lock():
            return self._lock_now(namespace)

    def _lock_now(self, namespace: str) -> Mapping | None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not lock(fd, 0):
                raise ReaderBusyError(f"namespace {namespace}", _shown_pid(fd))
            if not self._is_current(fd):
                return None
            os.pwrite(fd, str(os.getpid()).encode().ljust(SHOWN), 0)
            return Mapping(fd, SHOWN)
        finally:
            os.close(fd)

    def _is_current(self, fd: int) -> bool:
        try:
            return os.stat(self.path, follow_symlinks=False).st_ino == os.fstat(fd).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self._mapping.close()


def _shown_pid(fd: int) -> int:
    """0 where none can be read."""
    try:
        return int(os.pread(fd, SHOWN, 0))
    except ValueError:
        return 0
