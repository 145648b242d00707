"""The file of seconds: what each series gained in each second of the last minute, for whoever asks.

    0       header, with the table of the seconds that are there
    4096    blocks: the rows of a second, its losses, counts and keys; anywhere, and none over another

It is written and read by system calls, never mapped, so that a file that is cut short harms nobody. The header tells of
whole blocks alone: a second is taken out of the table before its place is used again, and put in when it is written. Who
reads the same header before and after the blocks has read blocks of that header.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from .._mapping import link_unnamed
from ..layout import BYTE_ORDER
from ._seconds import Seconds
from ._store import Store

logger = logging.getLogger("shmtelemetry")

MAGIC: Final = int.from_bytes(b"SHMSECS1", "little")
VERSION: Final = 1
PAGE: Final = 4096
LENGTH_NS: Final = 1_000_000_000  # of a second, at least: the keeper may come late
KEPT: Final = 60
LIMIT: Final = 64 * 2**20  # bytes of the file at most; where a minute does not fit, the oldest seconds go
SMALLEST: Final = 16 * PAGE

ENTRY: Final = np.dtype(
    [("began_ns", "u8"), ("ended_ns", "u8"), ("offset", "u8"), ("rows", "u4"), ("losses", "u4"), ("buckets", "u8")]
)  # ended_ns 0: there is none. Times are of CLOCK_MONOTONIC
HEADER: Final = np.dtype(
    [
        ("magic", "u8"), ("version", "u4"), ("byte_order", "u4"), ("state", "V16"),
        ("mark", "u8"),  # odd while a second is being taken
        ("began_ns", "u8"),  # when the second that runs now began
        ("seconds", ENTRY, KEPT),
    ]
)  # fmt: skip
ROW: Final = np.dtype([("series", "u4"), ("end", "u4"), ("amount", "f8"), ("maximum", "f8")])
LOSS: Final = np.dtype([("metric", "u8"), ("taken", "u8"), ("lost", "u8")])  # records, of a metric made of fields
KEYS: Final = 2048 * 32  # of exponential buckets: octave * 32 + bucket, as _kernels.pyx has them
ZEROS, NEGATIVES, INFINITIES, DROPPED = range(KEYS - 32, KEYS - 28)  # keys that no plain value has

PATIENCE: Final = 0.5  # seconds that a look waits for a second that is being taken
NAP: Final = 0.0005
LATE_NS: Final = 2 * LENGTH_NS  # after which a reader that took no second does not go on

Losses = Iterable[tuple[int, int, int]]  # (metric, records taken, records lost)


def windows_path(state: Path) -> Path:
    """The file beside a state."""
    return state.with_name(state.name.replace(".@state", ".@windows"))


def _size(entry: np.void) -> int:
    rows, losses, buckets = int(entry["rows"]), int(entry["losses"]), int(entry["buckets"])
    return rows * ROW.itemsize + losses * LOSS.itemsize + buckets * 6


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
        """Write the second that has just ended. It takes the table's last place; the oldest, and all without room, go."""
        parts = self._seconds.parts()
        if losses:
            parts[1 if parts else 0 : 1 if parts else 0] = [memoryview(np.array(losses, np.uint64)).cast("B")]
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


# ---- reading ----


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the file: when it was, and what series gained. offset: of its rows in the bytes that were read."""

    began_ns: int
    ended_ns: int
    offset: int
    rows: npt.NDArray[np.void]
    losses: npt.NDArray[np.void]
    counts: npt.NDArray[np.uint32]
    keys: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, entry: np.void, stored: npt.NDArray[np.uint8], offset: int) -> Self:
        """Raises ValueError for a second that cannot be."""
        at, pieces = offset, []
        for dtype, length in ((ROW, "rows"), (LOSS, "losses"), (np.dtype("u4"), "buckets"), (np.dtype("u2"), "buckets")):
            end = at + dtype.itemsize * int(entry[length])
            pieces.append(stored[at:end].view(dtype))
            at = end
        rows, losses, counts, keys = pieces
        ends = rows["end"]
        if int(entry["ended_ns"]) <= int(entry["began_ns"]) or (int(ends[-1]) if len(rows) else 0) != len(counts):
            raise ValueError("a second without a length, or with buckets of no series")
        if np.any(rows["series"][1:] <= rows["series"][:-1]) or np.any(ends[1:] < ends[:-1]):
            raise ValueError("rows that are not in order")
        return cls(int(entry["began_ns"]), int(entry["ended_ns"]), offset, rows, losses, counts, keys)


@dataclass(frozen=True, slots=True)
class Recent:
    """The seconds that were there at one moment, newest first, each ended when the next began.

    stored: the bytes that they lie in. taken_ns: the moment, of CLOCK_MONOTONIC. running: whether a second runs since
    not long ago.
    """

    stored: npt.NDArray[np.uint8]
    seconds: tuple[Second, ...]
    taken_ns: int
    running: bool


def recent(path: Path | None, state: bytes) -> Recent:
    """What the file beside a state has now; nothing where there is none, or none that can be used."""
    nothing = Recent(np.empty(0, np.uint8), (), time.monotonic_ns(), False)
    if path is None:
        return nothing
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return nothing
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            return nothing
        return _read(fd, state)
    except (OSError, ValueError):
        return nothing
    finally:
        os.close(fd)


def _read(fd: int, state: bytes) -> Recent:
    """Raises ValueError for a file that is none of this state, or is damaged, or never the same for long enough."""
    deadline = time.monotonic() + PATIENCE
    while True:
        page = os.pread(fd, HEADER.itemsize, 0)
        header = _checked(page, state)
        patient = time.monotonic() < deadline
        # Maxima that were taken and are not in the table yet would be missing.
        if not header["mark"] & 1 or not patient:
            stored, offsets = _blocks(fd, header)
            if os.pread(fd, HEADER.itemsize, 0) == page:
                break
            if not patient:
                raise ValueError("it changes all the time")
        time.sleep(NAP)
    now = time.monotonic_ns()
    entries = sorted(zip(_entries(header), offsets, strict=True), key=lambda pair: -int(pair[0]["ended_ns"]))
    seconds: list[Second] = []
    for entry, offset in entries:
        if not seconds or int(entry["ended_ns"]) == seconds[-1].began_ns:
            seconds.append(Second.of(entry, stored, offset))
    began = int(header["began_ns"])
    if seconds and (seconds[0].ended_ns > began or began > now):
        raise ValueError("seconds of the future")
    return Recent(stored, tuple(seconds), now, now - began <= LENGTH_NS + LATE_NS)


def _checked(page: bytes, state: bytes) -> np.void:
    if len(page) < HEADER.itemsize:
        raise ValueError("too short")
    header: np.void = np.frombuffer(page, HEADER)[0]
    if (header["magic"], header["version"], header["byte_order"]) != (MAGIC, VERSION, BYTE_ORDER):
        raise ValueError("not a file of seconds of this machine")
    if bytes(header["state"]) != state:
        raise ValueError("of another state")
    return header


def _entries(header: np.void) -> np.ndarray:
    table: np.ndarray = header["seconds"]
    return table[table["ended_ns"] > 0]


def _blocks(fd: int, header: np.void) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """The blocks of all seconds, one behind the other, and where each begins."""
    entries, size = _entries(header), os.fstat(fd).st_size
    lengths = [_size(entry) for entry in entries]
    if sum(lengths) > LIMIT or any(
        int(entry["offset"]) > size - length for entry, length in zip(entries, lengths, strict=True)
    ):
        raise ValueError("seconds beyond the end of the file")
    offsets = [0, *np.cumsum([(length + 7) // 8 * 8 for length in lengths], dtype=int).tolist()]
    stored = np.empty(offsets[-1], np.uint8)
    for entry, offset, length in zip(entries, offsets, lengths, strict=False):
        if length and os.preadv(fd, [memoryview(stored)[offset : offset + length]], int(entry["offset"])) != length:
            raise ValueError("cut short")
    return stored, offsets[:-1]
