"""Who is alive: locks on open file descriptions, and what identifies a process on this machine.

A lock is taken on a descriptor whose file is then mapped. It belongs to the open file description, which the mapping
keeps after the descriptor is closed, so it lives exactly as long as the mapping: the kernel releases it when the
process ends, however it ends, and a daemon that closes all its descriptors keeps it.
"""

import fcntl
import os
import struct
import threading
from dataclasses import dataclass
from functools import cache

_FLOCK = struct.Struct("hhqqi4x")  # struct flock: type, whence, start, length, pid


@cache
def fork_lock() -> threading.RLock:
    """Whoever holds it lets no other thread fork meanwhile.

    For definitions, which a child must find whole; and for as long as a descriptor is open whose lock counts, since a
    child that inherited it would keep the lock when this process has ended.
    """
    held = threading.RLock()
    os.register_at_fork(before=held.acquire, after_in_parent=held.release, after_in_child=held.release)
    return held


def lock(fd: int, byte: int) -> bool:
    """Lock one byte of the file for as long as it stays open or mapped; False if somebody else has it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def unlock(fd: int, byte: int) -> None:
    """Give up the lock of one byte."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, byte, 1, 0))


def share(fd: int, byte: int) -> bool:
    """Lock one byte together with others who share it; False if somebody has it alone."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def is_locked(fd: int, byte: int, count: int = 1) -> bool:
    """Whether anybody else holds that byte, or one of `count` from there on; 0 means up to the end."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, count, 0))
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


@dataclass(frozen=True, slots=True)
class Process:
    """What tells a process from every other one, also from a later one with the same pid."""

    boot_id: bytes
    pid_namespace: int
    pid: int
    pid_start: int

    @classmethod
    def current(cls) -> "Process":
        pid = os.getpid()
        return cls(_boot_id(), _pid_namespace(), pid, _start_time(pid))

    def visible(self) -> bool:
        """Whether its pid means something here."""
        return self.boot_id == _boot_id() and self.pid_namespace == _pid_namespace()

    def exists(self) -> bool:
        """Whether it is certainly alive. False also where it cannot be seen: another boot or pid namespace."""
        if not self.visible():
            return False
        try:
            return _start_time(self.pid) == self.pid_start
        except (OSError, ValueError):
            return False


@cache
def _boot_id() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return bytes.fromhex(file.read().strip().replace(b"-", b"").decode())
    except OSError:
        return bytes(16)


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _start_time(pid: int) -> int:
    """In clock ticks since boot: field 22 of /proc/PID/stat (proc(5)). A zombie has ended."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        after_name = file.read().rpartition(b")")[2].split()
    if after_name[0] in (b"Z", b"X"):
        raise ProcessLookupError(pid)
    return int(after_name[19])
