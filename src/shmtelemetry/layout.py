"""Layout v1 of a segment: the one place in Python that knows bytes.

    0                    header: written once, magic last; the schema follows it as JSON
    producer_offset      producer page: only the producer writes
        +0               claimed_position, write_position, closed (128 bytes of their own)
        +128             counters, catalogue_length
    reader_offset        reader page: only the consumer writes
        +0               read_position, overwritten, reader_pid, reader_role, reader_seen
    ring_offset          capacity x record_size bytes
    catalogue_offset     8-byte aligned records {u16 kind, u16 flags, u32 length, payload}; the end of the file, grows
                         metrics and series are numbered as they come; a series' payload begins with its cell; an
                         exemplar's is its place: {u64 steps, u32 series, u32 room} and two slots {u64 time,
                         f64 value, u64 length, room bytes of labels}

Every area begins on a page. Integers are in the byte order of the machine, which the header names. The same structures
stand in include/shmtelemetry.h; a test compares the two.
"""

import re
import struct
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

MAGIC: Final = int.from_bytes(b"SHMTEL1\0", "little")
LAYOUT_VERSION: Final = 1
BYTE_ORDER: Final = 0x01020304
PAGE: Final = 4096
LINE: Final = 128

POLICIES: Final = {"drop_newest": 0, "block": 1, "overwrite_oldest": 2}
CLOCKS: Final = {"monotonic": 0, "tsc": 1}
FLAG_INSTRUMENTS: Final = 1  # the records are SAMPLEs and the catalogue names their series
FLAG_HEIR: Final = 2  # its cumulative columns go on where those of the segment before it, of the same producer, ended

MIN_CAPACITY: Final = 2
MAX_CAPACITY: Final = 2**32
MAX_RECORD_SIZE: Final = 64 * 1024
MAX_SCHEMA_LENGTH: Final = 1024 * 1024
CATALOGUE_STEP: Final = 16 * 1024
MAX_CATALOGUE: Final = 16 * 1024 * 1024

HEADER: Final = struct.Struct("=QIIIIQQQQQII16s16s16sQQQIIQQII")
HEADER_FIELDS: Final = (
    "magic", "layout_version", "byte_order", "word_size", "record_size", "capacity", "producer_offset",
    "reader_offset", "ring_offset", "catalogue_offset", "policy", "clock", "uuid", "catalogue_of", "boot_id",
    "pid_namespace", "pid", "pid_start", "uid", "flags", "created_ns", "start_position", "schema_length", "reserved",
)  # fmt: skip

HEADER_OFFSETS: Final = {
    name: struct.calcsize("=" + code)
    for name, code in zip(
        HEADER_FIELDS,
        accumulate((part for part in re.findall(r"\d*[a-zA-Z]", HEADER.format)), initial=""),
        strict=False,
    )
}

# producer page
CLAIMED_POSITION: Final = 0
WRITE_POSITION: Final = 8
CLOSED: Final = 16
COALESCED: Final = 128
DROPPED_FULL: Final = 136
DROPPED_TIMEOUT: Final = 144
DROPPED_NO_RING: Final = 152
REJECTED: Final = 160
CATALOGUE_LENGTH: Final = 168
REOPENED: Final = 176
EXEMPLARS: Final = 184  # how often one was replaced

# reader page
READ_POSITION: Final = 0
OVERWRITTEN: Final = 8
READER_PID: Final = 16
READER_ROLE: Final = 24  # who consumes: one of the ROLE_ numbers
READER_SEEN: Final = 32  # whether a reader has ever taken cells into its state
ROLE_NOBODY: Final = 0
ROLE_CONSUMER: Final = 1
ROLE_READER: Final = 2
ROLE_RETIRED: Final = 3  # nobody: a reader has taken all of it, and was not permitted to remove it

# bytes of the file that locks stand for: the producer's life, and who consumes
LOCK_PRODUCER: Final = 0
LOCK_CONSUMER: Final = 1
LOCK_READER: Final = 0  # of the file reader_file() and of the state

# catalogue
CATALOGUE_RECORD: Final = struct.Struct("=HHI")
KIND_METRIC: Final = 1
KIND_SERIES: Final = 2
KIND_RETIRE: Final = 3
KIND_EXEMPLAR: Final = 4  # the place of one bucket's newest exemplar
FLAG_RETIRED: Final = 1  # of a series record: it was retired before this segment was opened
CELL_SIZE: Final = 48
SERIES_METRIC: Final = struct.Struct("=II")  # after the cell: number of the metric, count of label values
LABEL_LENGTH: Final = struct.Struct("=I")
RETIRE: Final = struct.Struct("=I4x")  # number of the series
EXEMPLAR: Final = struct.Struct("=QII")  # steps, number of the series, room; two slots follow
EXEMPLAR_SLOT: Final = struct.Struct("=QdQ")  # time, value, length of the labels, which follow
EXEMPLAR_ROOMS: Final = (72, 160, 576)  # bytes for labels: ids of a trace and a span; most of ASCII; all there are
EXEMPLAR_LABEL: Final = struct.Struct("=HH")  # lengths of a label's name and value, which follow


def page_up(size: int) -> int:
    return -(-size // PAGE) * PAGE


@dataclass(frozen=True, slots=True)
class Areas:
    """Where each area of a segment begins, in bytes, and the file's size at its creation."""

    producer: int
    reader: int
    ring: int
    catalogue: int
    size: int


def areas(schema_length: int, record_size: int, capacity: int, catalogue_size: int) -> Areas:
    """The areas that follow from the header's figures: a header that says otherwise is not ours."""
    producer = page_up(HEADER.size + schema_length)
    reader = producer + PAGE
    ring = reader + PAGE
    catalogue = ring + page_up(record_size * capacity)
    return Areas(producer, reader, ring, catalogue, catalogue + page_up(catalogue_size))
