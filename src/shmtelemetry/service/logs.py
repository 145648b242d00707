"""The file of the service's log, which all workers write and read."""

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from ..files import open_file
from ..logs import LEVELS

FILE_BYTES: Final = 2**20  # after which a new file is begun; the one before is kept
TAIL_BYTES: Final = 256 * 1024  # of each of the two that a look reads at most

# What a look calls by names of its own.
_NAMES: Final = {"timestamp": "@timestamp", "level": "log.level", "logger": "log.logger", "message": "message"}


class SharedFile(logging.Handler):
    """Appends to a file that other processes append to as well; each line is one write. Begins a new one in time."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._fd = -1
        self._files = threading.Lock()
        self._open()

    def _open(self) -> None:
        fd, self._fd = self._fd, open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if fd >= 0:
            os.close(fd)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode() + b"\n"
            with self._files:
                if os.fstat(self._fd).st_size > FILE_BYTES:
                    self._begin_anew()
                os.write(self._fd, line)
        except OSError:
            pass  # a full disk: whoever reads stderr has the line all the same
        except Exception:
            self.handleError(record)

    def _begin_anew(self) -> None:
        """Unless another process has. Two that do at once lose a few old lines, and no new one."""
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == os.fstat(self._fd).st_ino:
                os.replace(self._path, _before(self._path))
        self._open()

    def close(self) -> None:
        with self._files:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        super().close()


def recent(path: Path, limit: int, level: str = "debug") -> list[dict[str, Any]]:
    """The newest lines of at least that level, the newest first."""
    wanted = LEVELS[LEVELS.index(level) :]
    found = []
    for line in (*reversed(_tail(path)), *reversed(_tail(_before(path)))):
        entry = _read(line)
        if entry is not None and entry["level"] in wanted:
            found.append(entry)
            if len(found) == limit:
                break
    return found


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        entry = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None  # cut off, by the end of what was read or of the disk
    try:
        named = {name: entry.pop(field) for name, field in _NAMES.items()}
    except KeyError:
        return None
    return named | entry


def _tail(path: Path) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES).splitlines()
    except FileNotFoundError:
        return []


def _before(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")
