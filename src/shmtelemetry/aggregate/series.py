"""Layout of the state: a file of flat arrays that the reader writes and anybody may map.

    0              header
    LOG_OFFSET     redo log: two slots, see _kernels.pyx
    tables         offsets of the chunks of metrics, slots, names and series, and in the first page of label sets beyond
                   the bound
    HEADER_SIZE    blocks, handed out one after the other, 64-byte aligned

The dtypes are the structures of _kernels.pxd; a test compares their sizes.
"""

import hashlib
import struct
from typing import Any, Final

import numpy as np

MAGIC: Final = int.from_bytes(b"SHMSTAT1", "little")
VERSION: Final = 3
LOG_OFFSET: Final = 4096
LOG_SIZE: Final = 4096
HEADER_SIZE: Final = 6 * 4096
BLOCK: Final = 64
RESERVE: Final = 8 * 2**30  # bytes of address space: the file grows into it, so that no pointer ever moves
DIRECTORY_STEP: Final = 16  # octaves by which a histogram's directory grows
PAGE_BUCKETS: Final = 32  # counts of an exponential page: one octave at scale 5


def field_offset(dtype: np.dtype[np.void], name: str) -> int:
    """Where a field of a structure begins, in bytes."""
    assert dtype.fields is not None
    return int(dtype.fields[name][1])


def _dtype(*fields: tuple[str, str] | tuple[str, str, int]) -> np.dtype[np.void]:
    return np.dtype(list(fields))


HEADER: Final = _dtype(
    ("magic", "u8"), ("version", "u4"), ("byte_order", "u4"), ("uuid", "V16"), ("created_ns", "u8"), ("size", "u8"),
    ("allocated", "u8"), ("metrics", "u8"), ("series", "u8"), ("slots", "u8"), ("names", "u8"), ("retired", "u8"),
    ("overflowed", "u8"), ("foreign", "u8"), ("quarantined", "u8"), ("turn_ns", "u8"), ("reader_pid", "u8"),
    ("invalid_metrics", "u8"), ("undeletable", "u8"), ("label_producer", "u8"), ("beyond", "u8"), ("check", "u8"),
    ("sealed", "u8"), ("events", "u8"), ("events_let_go", "u8"), ("events_waiting", "u8"),
)  # fmt: skip
SERIES: Final = _dtype(
    ("mark", "u8"), ("value", "f8"), ("minimum", "f8"), ("maximum", "f8"), ("directory", "u8"), ("classic", "u8"),
    ("metric", "u4"), ("kind", "u4"), ("time_ns", "u8"), ("first_directory", "u4", 16), ("zeros", "u8"),
    ("negatives", "u8"), ("infinities", "u8"), ("dropped", "u8"), ("retired", "u8"), ("definition", "u8"),
    ("created_ns", "u8"), ("exemplars", "u8"),
)  # fmt: skip
EXEMPLAR: Final = _dtype(("time_ns", "u8"), ("value", "f8"), ("length", "u4"), ("room", "u4"))  # the labels follow
SLOT: Final = _dtype(
    ("uuid", "V16"), ("status", "u8"), ("name", "u8"), ("start_position", "u8"), ("position", "u8"),
    ("write_position", "u8"), ("claimed_position", "u8"), ("coalesced", "u8"), ("dropped_full", "u8"),
    ("dropped_timeout", "u8"), ("dropped_no_ring", "u8"), ("rejected", "u8"), ("overwritten", "u8"), ("invalid", "u8"),
    ("capacity", "u8"), ("pid", "u8"), ("folds", "u8"), ("settled", "u8"), ("mark", "u8"), ("kept_position", "u8"),
    ("check", "u8"), ("reserved", "u8", 10),
)  # fmt: skip
NAME: Final = _dtype(
    ("length", "u8"), ("name", "V64"), ("attempted", "u8"), ("consumed", "u8"), ("coalesced", "u8"),
    ("dropped_full", "u8"), ("dropped_timeout", "u8"), ("dropped_no_ring", "u8"), ("rejected", "u8"),
    ("overwritten", "u8"), ("aborted", "u8"), ("invalid", "u8"), ("mark", "u8"), ("check", "u8"),
    ("reserved", "u8", 11),
)  # fmt: skip
FOLD: Final = _dtype(("key", "u8"), ("steps", "u8"), ("amount", "f8"), ("dropped", "u8"))
DEFINITION: Final = struct.Struct("<2I")  # before its bytes: their count, and a check
OFFSET: Final = np.dtype("u8")  # of a metric's definition
DIGEST: Final = np.dtype("u8")

SLOT_FREE: Final = 0
SLOT_LIVE: Final = int.from_bytes(b"LIVE", "little")  # all of these are far from each other in bits
SLOT_ENDED: Final = int.from_bytes(b"ENDE", "little")
SLOT_ASIDE: Final = int.from_bytes(b"ASID", "little")  # its figures count, and it is no living producer's
RETIRED: Final = int.from_bytes(b"RETIRED", "little")

EMPTY_COUNTER: Final = 2**64 - 1  # minimum of a counter that is zero: the bits of its value, inverted
TWICE: Final = 2**32 + 1  # a count times this is what is stored
SEALED: Final = 1 << 32  # and the CRC-32 of a state after a clean end

KINDS: Final = {"counter": 0, "gauge": 1, "histogram": 2, "total": 3}


def first_time(kind: int) -> int:
    """time_ns of a new series: no value of a gauge is older; of a histogram -infinity, no maximum yet."""
    return int(np.float64(-np.inf).view(np.uint64)) if kind == KINDS["histogram"] else 0


class Table:
    """An array that grows by chunks: the header's table holds each chunk's offset, so nothing ever moves."""

    def __init__(
        self, count_field: str, table_offset: int, chunks: int, chunk_length: int, dtype: np.dtype[Any]
    ) -> None:
        self.count_offset = field_offset(HEADER, count_field)
        self.table_offset, self.chunks, self.chunk_length, self.dtype = table_offset, chunks, chunk_length, dtype

    @property
    def limit(self) -> int:
        return self.chunks * self.chunk_length


def digest(number: int, data: bytes) -> int:
    """64 bits that stand for the bytes and a number with them; never 0.

    Of a million, two are the same with a probability of 3e-8.
    """
    hashed = hashlib.blake2b(number.to_bytes(8, "little") + data, digest_size=8, usedforsecurity=False).digest()
    return int.from_bytes(hashed, "little") or 1


METRICS: Final = Table("metrics", 2 * 4096, 256, 256, OFFSET)
SLOTS: Final = Table("slots", 2 * 4096 + 256 * 8, 256, 256, SLOT)
NAMES: Final = Table("names", 3 * 4096, 512, 256, NAME)
SERIES_TABLE: Final = Table("series", 4 * 4096, 1024, 1024, SERIES)
BEYOND: Final = Table("beyond", 2048, 256, 4096, DIGEST)
