"""The file of seconds: what each series gained in each second of the last minute, for whoever asks.

    0       header, with the table of the seconds that are there
    4096    blocks: the rows of a second, its losses, counts and keys; anywhere, and none over another

It is written and read by system calls, never mapped, so that a file that is cut short harms nobody. The header tells of
whole blocks alone: a second is taken out of the table before its place is used again, and put in when it is written.
Who reads the same header before and after the blocks has read blocks of that header.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from ..layout import BYTE_ORDER

MAGIC: Final = int.from_bytes(b"SHMSECS1", "little")
VERSION: Final = 1
PAGE: Final = 4096
LENGTH_NS: Final = 1_000_000_000  # of a second, at least: the keeper may come late
KEPT: Final = 60
LIMIT: Final = 64 * 2**20  # bytes of the file at most; where a minute does not fit, the oldest seconds go

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
PIECES: Final = (ROW, "rows"), (LOSS, "losses"), (np.dtype("u4"), "buckets"), (np.dtype("u2"), "buckets")
"""Of a block, in order, and how many of each the table tells: rows, losses, counts and keys of buckets."""

KEYS: Final = 2048 * 32  # of exponential buckets: octave * 32 + bucket, as _kernels.pyx has them
ZEROS, NEGATIVES, INFINITIES, DROPPED = range(KEYS - 32, KEYS - 28)  # keys that no plain value has

PATIENCE: Final = 0.5  # seconds that a look waits for a second that is being taken
NAP: Final = 0.0005
LATE_NS: Final = 2 * LENGTH_NS  # after which a reader that took no second does not go on


def windows_path(state: Path) -> Path:
    """The file beside a state."""
    return state.with_name(state.name.replace(".@state", ".@windows"))


def _size(entry: np.void) -> int:
    return sum(dtype.itemsize * int(entry[field]) for dtype, field in PIECES)


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
        at, pieces = offset, list[Any]()
        for dtype, field in PIECES:
            end = at + dtype.itemsize * int(entry[field])
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
        if length and os.preadv(fd, [stored[offset : offset + length].data], int(entry["offset"])) != length:
            raise ValueError("cut short")
    return stored, offsets[:-1]
