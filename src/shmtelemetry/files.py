"""Files in /dev/shm, where everybody can put anything under any name."""

import errno
import os
import stat
from pathlib import Path

from .errors import StateError


def open_file(path: str | Path, flags: int) -> int:
    """A descriptor; no link is followed and no pipe waited for. Raises OSError."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)


def open_own(path: str | Path, flags: int) -> int:
    """A descriptor of a regular file of this user's, which has no other name.

    Raises FileNotFoundError for nothing, and StateError for anything else: whoever owns a file can cut it short under
    us, and what has another name is somebody else's file as well.
    """
    try:
        fd = open_file(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}"
        raise StateError(f"{path} {why}: have it removed") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        why = "is no regular file"
    elif status.st_uid != os.geteuid():
        why = f"belongs to user {status.st_uid}, not to {os.geteuid()}"
    elif status.st_nlink > 1:
        why = f"has {status.st_nlink} names (hard links)"
    else:
        return fd
    os.close(fd)
    raise StateError(f"{path} {why}: have it removed")
