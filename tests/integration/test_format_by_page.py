"""A producer that knows nothing but docs/format.md: the page is enough to write one."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from shmtelemetry import Reader
from tests.format_page import Item, items, offsets

FORMATS = {"u16": "H", "u32": "I", "u64": "Q", "f64": "d"}
SCHEMA = {
    "fields": [["time", "<u8", 0], ["series", "<u4", 8], ["flags", "<u4", 12], ["value", "<f8", 16]],
    "itemsize": 24, "roles": {}, "events": False,
}  # fmt: skip


def page_up(size: int) -> int:
    return -(-size // 4096) * 4096


class ByThePage:
    """A segment of instruments."""

    def __init__(self, namespace: str, capacity: int, catalogue: bytes) -> None:
        schema = json.dumps(SCHEMA).encode()
        self.capacity = capacity
        self.out = page_up(176 + len(schema))
        self.into = self.out + 4096
        self.ring = self.into + 4096
        self.catalogue = self.ring + page_up(24 * capacity)
        size = self.catalogue + 16384
        fd = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        os.posix_fallocate(fd, 0, size)
        self.map = mmap.mmap(fd, size)
        self.map[176 : 176 + len(schema)] = schema
        self.map[self.catalogue : self.catalogue + len(catalogue)] = catalogue
        self._set(self.out, "shmtel_producer_page", catalogue_length=len(catalogue))
        self._set(
            0, "header", layout_version=1, byte_order=0x01020304, word_size=8, record_size=24, capacity=capacity,
            producer_offset=self.out, reader_offset=self.into, ring_offset=self.ring, policy=0, clock=0,
            catalogue_offset=self.catalogue, uuid=secrets.token_bytes(16), pid=os.getpid(), uid=os.geteuid(), flags=1,
            schema_length=len(schema), magic=0x314C45544D4853,
        )  # fmt: skip
        name = f"shmtel.{namespace}.by-the-page.{secrets.token_hex(8)}"
        folder = os.open("/dev/shm", os.O_RDONLY)
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder, follow_symlinks=True)
        os.close(folder)
        os.close(fd)

    def _set(self, area: int, structure: str, **values: int | float | bytes) -> None:
        known: dict[str, Item] = {item.name: item for item in items(structure)}
        for name, value in values.items():
            item = known[name]
            stored = value if isinstance(value, bytes) else struct.pack(FORMATS[item.type], value)
            self.map[area + item.offset : area + item.offset + item.size] = stored

    def _get(self, area: int, structure: str, name: str) -> int:
        at = area + offsets(structure)[name]
        return int.from_bytes(self.map[at : at + 8], "little")

    def emit(self, series: int, value: float) -> bool:
        position = self._get(self.out, "shmtel_producer_page", "write_position")
        if position - self._get(self.into, "shmtel_reader_page", "read_position") >= self.capacity:
            return False
        self._set(self.out, "shmtel_producer_page", claimed_position=position + 1)
        place = self.ring + (position & (self.capacity - 1)) * 24
        self._set(place, "shmtel_sample", time=0, series=series, flags=0, value=value)
        self._set(self.out, "shmtel_producer_page", write_position=position + 1)
        return True

    def add_to_cell(self, payload: int, amount: float) -> None:
        """payload: of the series, its offset in the catalogue."""
        cell = self.catalogue + payload
        steps = self._get(cell, "shmtel_cell", "steps")
        slot = cell + 16 + 16 * (steps & 1)
        (had,) = struct.unpack("d", self.map[slot + 8 : slot + 16])
        new = {f"slot[{(steps + 1) & 1}].value": had + amount, f"slot[{(steps + 1) & 1}].time": 0}
        self._set(cell, "shmtel_cell", **new)
        self._set(cell, "shmtel_cell", steps=steps + 1)
        coalesced = self._get(self.out, "shmtel_producer_page", "coalesced")
        self._set(self.out, "shmtel_producer_page", coalesced=coalesced + 1)

    def close(self) -> None:
        self._set(self.out, "shmtel_producer_page", closed=1)
        self.map.close()


def catalogue_record(kind: int, payload: bytes) -> bytes:
    payload += bytes(-len(payload) % 8)
    return struct.pack("HHI", kind, 0, len(payload)) + payload


@contextmanager
def by_the_page(namespace: str, capacity: int, catalogue: bytes) -> Iterator[ByThePage]:
    segment = ByThePage(namespace, capacity, catalogue)
    yield segment
    segment.close()


def test_a_producer_written_by_the_page_is_read(namespace: str) -> None:
    metric = {"name": "orders_total", "kind": "counter", "labels": ["symbol"]}
    label = b"AAPL"
    series = bytes(48) + struct.pack("II", 0, 1) + struct.pack("I", len(label)) + label
    defined = catalogue_record(1, json.dumps(metric).encode()) + catalogue_record(77, b"of a later layout")
    cell = len(defined) + 8
    with Reader(namespace, ephemeral=True) as reader:
        with by_the_page(namespace, 16, defined + catalogue_record(2, series)) as producer:
            assert sum(producer.emit(0, 2.0) for _ in range(20)) == 16
            producer.add_to_cell(cell, 5.0)
            producer.add_to_cell(cell, 6.0)
            reader.poll()
            assert reader.snapshot().value("orders_total", symbol="AAPL") == 43
            assert producer.emit(0, 1.0)
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("orders_total", symbol="AAPL") == 44
        assert snapshot.producers["by-the-page"].coalesced == 2
        assert snapshot.producers["by-the-page"].holds
