"""Files: reading at an offset, plain or gzip, and finding those that a log was rotated to."""

import contextlib
import gzip
import os
import re
import stat
import zlib
from typing import Final, Self

from ...errors import ShmtelError
from .place import HEAD, Place, digest

CHUNK: Final = 256 * 1024  # bytes of one read, more than the longest line


class File:
    """One file that is being read. `at` is where its next row begins, `line` that row's number, from 1, and `header_at`
    where the last header before it begins, or the first line.

    Raises FileNotFoundError, or ShmtelError for what is no regular file or may not be read.
    """

    def __init__(self, path: str) -> None:
        self.path, self.at, self.line, self.header_at = path, 0, 1, 0
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ShmtelError(f"{path} cannot be read: {error.strerror}") from error
        self._status = os.fstat(self._fd)
        if not stat.S_ISREG(self._status.st_mode):
            os.close(self._fd)
            raise ShmtelError(f"{path} is no regular file")
        self._packed = os.fdopen(os.dup(self._fd), "rb")
        is_packed = os.pread(self._fd, 2, 0) == b"\x1f\x8b"  # RFC 1952, section 2.3.1
        self.gzip = gzip.GzipFile(fileobj=self._packed) if is_packed else None
        self._window, self._window_at = b"", 0  # of a gzip file: what was unpacked last
        self._head = b""
        try:
            self._begin = b"" if self.gzip is None else self.read(0, HEAD)
        except ShmtelError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """In bytes; of a gzip file those that are packed."""
        return os.fstat(self._fd).st_size

    @property
    def modified_ns(self) -> int:
        return os.fstat(self._fd).st_mtime_ns

    def read(self, at: int, size: int = CHUNK) -> bytes:
        """Up to `size` bytes. Raises ShmtelError for a gzip file that is damaged or cut short."""
        if self.gzip is None:
            return os.pread(self._fd, size, at)
        try:
            if not self._window_at <= at <= self._window_at + len(self._window):
                self.gzip.seek(at)
                self._window, self._window_at = b"", at
            kept = self._window[at - self._window_at :]
            self._window, self._window_at = kept + self.gzip.read(max(0, size - len(kept))), at
            return self._window[:size]
        except (OSError, EOFError, zlib.error) as error:
            raise ShmtelError(f"{self.path}: the gzip file is damaged: {error}") from error

    # ---- identity ----

    def remember(self) -> tuple[int, int]:
        """(length, digest) of the beginning that stands for the file; of rows that are taken alone."""
        if len(self._head) < min(HEAD, self.at):
            self._head = self._first(min(HEAD, self.at))
        return len(self._head), digest(self._head)

    def _first(self, count: int) -> bytes:
        return self._begin[:count] if self.gzip is not None else self.read(0, count)

    def is_what_it_was(self) -> bool:
        """Whether nobody has cut the file short, or written something else into it."""
        if self.gzip is not None:
            return True
        return self.size >= self.at and self._first(len(self._head)) == self._head

    def begins(self, head: int, mark: int) -> bool:
        """Whether it is the file for whose beginning these stand."""
        first = self._first(min(head, HEAD))
        return len(first) == head and digest(first) == mark

    def is_at(self, place: Place) -> bool:
        """Whether a place is in this file."""
        return self.begins(place.head, place.mark) and (self.gzip is not None or self.size >= place.offset)

    def place(self) -> Place:
        """The end of the row before, of a file whatever its path."""
        return Place(0, *self.remember(), self.header_at, self.at, self.line - 1)

    def go_to(self, offset: int, line: int, header_at: int = 0) -> None:
        """Let the next row be the one at an offset."""
        self.at, self.line, self.header_at = offset, line, header_at
        self._head = self._first(min(HEAD, offset))

    def go_to_last_row(self) -> None:
        """Let the next row be the last one that is whole."""
        tail = max(0, self.size - CHUNK)
        data = self.read(tail)
        begin = data.rfind(b"\n", 0, max(0, data.rfind(b"\n"))) + 1
        if tail + begin:
            self.go_to(tail + begin, 1 + self._lines(tail + begin))

    def _lines(self, end: int) -> int:
        return sum(self.read(at, min(CHUNK, end - at)).count(b"\n") for at in range(0, end, CHUNK))

    def header(self) -> bytes:
        """The line at `header_at`, as far as it is bounded."""
        return self.read(self.header_at).partition(b"\n")[0]

    def is_under(self, path: str) -> bool:
        """Whether a path leads to this very file."""
        try:
            return os.path.samestat(os.stat(path), self._status)
        except OSError:
            return False

    def is_same(self, other: "File") -> bool:
        return os.path.samestat(self._status, other._status)

    def close(self) -> None:
        if self.gzip is not None:
            self.gzip.close()
        self._packed.close()
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def rotated(path: str) -> list[str]:
    """What a log may have been rotated to, such as log.1, log-20260131 and log.2.gz: the last written comes last."""
    folder, name = os.path.split(os.path.abspath(path))
    pattern = re.compile(re.escape(name) + r"[.-][0-9][0-9T:_.-]*(\.gz)?")
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if pattern.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):
                found.append((os.stat(os.path.join(folder, name)).st_mtime_ns, os.path.join(folder, name)))
    return [path for _, path in sorted(found)]
