"""The header of a segment: written once when it is created, checked against itself and its file by whoever attaches."""

import contextlib
import os
from dataclasses import dataclass, fields
from typing import Any

from . import layout
from .errors import SegmentError
from .files import open_file
from .liveness import Process
from .schema import Schema


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a segment, as layout.HEADER_FIELDS names it."""

    magic: int
    layout_version: int
    byte_order: int
    word_size: int
    record_size: int
    capacity: int
    producer_offset: int
    reader_offset: int
    ring_offset: int
    catalogue_offset: int
    policy: int
    clock: int
    uuid: bytes
    catalogue_of: bytes
    boot_id: bytes
    pid_namespace: int
    pid: int
    pid_start: int
    uid: int
    flags: int
    created_ns: int
    start_position: int
    schema_length: int
    reserved: int

    def pack(self) -> bytes:
        return layout.HEADER.pack(*(getattr(self, item.name) for item in fields(self)))

    @property
    def process(self) -> Process:
        return Process(self.boot_id, self.pid_namespace, self.pid, self.pid_start)


def check_capacity(capacity: Any) -> int:
    if (
        not isinstance(capacity, int)
        or isinstance(capacity, bool)
        or capacity & (capacity - 1)
        or not (layout.MIN_CAPACITY <= capacity <= layout.MAX_CAPACITY)
    ):
        raise ValueError(f"capacity {capacity!r}: expected a power of two from {layout.MIN_CAPACITY} to 2**32 records")
    return capacity


def read_header(fd: int, name: str, status: os.stat_result) -> tuple[Header, Schema]:
    """A private copy of the header, checked against itself and against the file."""
    stored = os.pread(fd, layout.HEADER.size, 0)
    if len(stored) < layout.HEADER.size:
        raise SegmentError(f"{name}: {len(stored)} bytes are too short for a header")
    header = Header(*layout.HEADER.unpack(stored))
    if header.magic != layout.MAGIC:
        raise SegmentError(f"{name}: not a segment (no magic)")
    if header.layout_version != layout.LAYOUT_VERSION:
        raise SegmentError(f"{name}: layout version {header.layout_version}, expected {layout.LAYOUT_VERSION}")
    if header.byte_order != layout.BYTE_ORDER or header.word_size != 8:
        raise SegmentError(f"{name}: written by a machine of another byte order or word size")
    if header.schema_length > layout.MAX_SCHEMA_LENGTH or header.policy not in layout.POLICIES.values():
        raise SegmentError(f"{name}: schema of {header.schema_length} bytes or policy {header.policy} cannot be")
    if header.clock not in layout.CLOCKS.values():
        raise SegmentError(f"{name}: unknown clock {header.clock}")
    try:
        check_capacity(header.capacity)
        schema = Schema.from_json(os.pread(fd, header.schema_length, layout.HEADER.size))
    except Exception as error:  # whatever a stored schema of other types leads to
        raise SegmentError(f"{name}: {error}") from error
    where = layout.areas(header.schema_length, schema.dtype.itemsize, header.capacity, 0)
    said = (
        header.record_size,
        header.producer_offset,
        header.reader_offset,
        header.ring_offset,
        header.catalogue_offset,
    )
    if said != (schema.dtype.itemsize, where.producer, where.reader, where.ring, where.catalogue):
        raise SegmentError(f"{name}: the header's offsets do not follow from its record size and capacity")
    if status.st_size < where.size:
        raise SegmentError(f"{name}: the file has {status.st_size:,} bytes, its header says {where.size:,}")
    if status.st_blocks * 512 < status.st_size:  # reading a hole takes memory, and where there is none, a SIGBUS
        raise SegmentError(f"{name}: a sparse file, in which space is not reserved")
    return header, schema


def header_uuids(path: str) -> tuple[bytes, bytes]:
    """(uuid, catalogue_of) as the header of a segment's file says; empty if it cannot be read."""
    at = layout.HEADER_OFFSETS["uuid"]
    with contextlib.suppress(OSError):
        fd = open_file(path, os.O_RDONLY)
        try:
            stored = os.pread(fd, 32, at)
            return stored[:16], stored[16:]
        finally:
            os.close(fd)
    return b"", b""
