"""Segments that no Producer would write."""

from __future__ import annotations

import secrets
import struct
from pathlib import Path

from shmtelemetry import layout
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import Segment
from shmtelemetry.telemetry import catalogue_record, series_payload

U64, U32 = struct.Struct("=Q"), struct.Struct("=I")

__all__ = ["Forgery", "catalogue_record", "segment_stats", "series_payload"]


class Forgery:
    """A copy of a segment with a uuid of its own, to be changed and put beside it."""

    def __init__(self, original: Segment) -> None:
        self.namespace, self.header = original.namespace, original.header
        self.bytes = bytearray(Path("/dev/shm", original.name).read_bytes())
        self.name = f"shmtel.{self.namespace}.forged.{secrets.token_hex(8)}"
        uuid = layout.HEADER_OFFSETS["uuid"]
        self.bytes[uuid : uuid + 16] = secrets.token_bytes(16)

    def set_header(self, name: str, value: int) -> None:
        kind = U64 if name in ("magic", "capacity") or name.endswith("_offset") else U32
        kind.pack_into(self.bytes, layout.HEADER_OFFSETS[name], value)

    def set_schema(self, stored: bytes) -> None:
        """Another schema of at most the original's length."""
        begin, room = layout.HEADER.size, self.header.producer_offset - layout.HEADER.size
        assert len(stored) <= room
        self.bytes[begin : begin + room] = stored.ljust(room, b"\0")
        self.set_header("schema_length", len(stored))

    def set_produced(self, offset: int, value: int) -> None:
        U64.pack_into(self.bytes, self.header.producer_offset + offset, value % 2**64)

    def set_read(self, offset: int, value: int) -> None:
        U64.pack_into(self.bytes, self.header.reader_offset + offset, value % 2**64)

    def set_catalogue(self, stored: bytes) -> None:
        begin = self.header.catalogue_offset
        self.bytes[begin : begin + len(stored)] = stored
        self.set_produced(layout.CATALOGUE_LENGTH, len(stored))

    def put(self) -> Path:
        path = Path("/dev/shm", self.name)
        path.write_bytes(self.bytes)
        return path
