"""Every place of a state that means something, and what comes of a bit that changes there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shmtelemetry._mapping import Mapping
from shmtelemetry.aggregate import series as layout
from shmtelemetry.aggregate.check import check_header, checked_view
from shmtelemetry.aggregate.redundancy import folds_at
from shmtelemetry.aggregate.view import View
from shmtelemetry.errors import StateError

KIND_NAMES = {number: kind for kind, number in layout.KINDS.items()}

# What of a killed reader's state any value is legal for, or as good. docs/decisions/0014 says why for each.
LEGAL = {
    *(f"header.{field}" for field in (
        "size", "allocated", "retired", "overflowed", "foreign", "quarantined", "undeletable", "turn_ns", "reader_pid",
        "invalid_metrics", "events", "events_let_go", "events_waiting",
    )),
    *(f"slot.{field}" for field in (
        "write_position", "claimed_position", "coalesced", "dropped_full", "dropped_timeout", "dropped_no_ring",
        "rejected", "overwritten", "invalid", "mark", "reserved",
    )),
    "name.mark", "name.reserved",
    *(f"{kind}.{field}" for kind in ("counter", "gauge", "histogram") for field in (
        "mark", "time_ns", "dropped", "created_ns", "exemplars",
    )),
    *(f"{kind}.{field}" for kind in ("counter", "gauge") for field in (
        "maximum", "directory", "first_directory", "zeros", "negatives", "infinities",
    )),
    "free slot", "empty fold's key", "beyond", "gauge.value", "gauge.minimum", "part's uuid", "log.older count",
    "histogram.minimum low", "histogram.maximum low", "histogram.value low",
}  # fmt: skip
FREE = "free slot"
LOW = {"minimum": 52, "maximum": 52, "value": 54}  # bits of a histogram's figures that its buckets do not tell


class Flips:
    """A state, of which one bit at a time is changed in a copy."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self._fd = os.memfd_create("flips")
        os.write(self._fd, self.content)
        self.view = View("flips", Mapping(self._fd, check_header(self._fd, "flips"), writable=False))
        self._recovered = bytes(checked_view("flips", self._fd, self.view.mapping.size).mapping)
        self.view.learn()

    def is_found(self, bit: int) -> bool:
        """Whether the state is refused when this bit, counted from the file's beginning, is another, or the log's last
        step or its next reader puts it right."""
        at = bit // 8
        os.pwrite(self._fd, bytes([self.content[at] ^ 1 << bit % 8]), at)
        try:
            recovered = checked_view("flips", self._fd, check_header(self._fd, "flips"))
            return memoryview(recovered.mapping)[at] == self._recovered[at]
        except StateError:
            return True
        finally:
            os.pwrite(self._fd, self.content[at : at + 1], at)

    def places(self) -> Iterator[tuple[str, int, int]]:
        """(what, first bit, how many) of everything that is in use."""
        yield from self._fields("header", 0, layout.HEADER)
        yield from self._log()
        for table, what in (
            (layout.METRICS, "metric"),
            (layout.NAMES, "name"),
            (layout.SLOTS, "slot"),
            (layout.BEYOND, "beyond"),
        ):
            if self.view.length(table):
                yield f"{what} table", 8 * table.table_offset, 64
            for place, entry in zip(self.view.places(table).tolist(), self.view.entries(table), strict=True):
                is_free = what == "slot" and entry["status"] == layout.SLOT_FREE
                for field, bit, bits in self._fields(what, place, table.dtype):
                    yield (FREE if is_free and field not in ("slot.status", "slot.folds") else field), bit, bits
        for offset in self.view.entries(layout.METRICS).tolist():
            yield "definition", 8 * offset, 64 + 8 * len(self.view.definition(offset))
        for slot in self.view.entries(layout.SLOTS):
            offset, length = folds_at(int(slot["folds"]))
            if slot["status"] != layout.SLOT_FREE:
                for at in range(length):
                    yield from self._fold(offset + at * layout.FOLD.itemsize)
        yield "series table", 8 * layout.SERIES_TABLE.table_offset, 64
        entries = self.view.entries(layout.SERIES_TABLE)
        for place, entry in zip(self.view.places(layout.SERIES_TABLE).tolist(), entries, strict=True):
            yield from self._series(place, entry)

    def _fields(self, what: str, place: int, dtype: np.dtype[np.void]) -> Iterator[tuple[str, int, int]]:
        if dtype.fields is None:
            yield what, 8 * place, 8 * dtype.itemsize
            return
        for field, (kind, offset) in ((name, dtype.fields[name][:2]) for name in dtype.names or ()):
            yield f"{what}.{field}", 8 * (place + offset), 8 * kind.itemsize

    def _fold(self, place: int) -> Iterator[tuple[str, int, int]]:
        (fold,) = np.frombuffer(self.content, layout.FOLD, 1, place)
        yield "fold" if fold["amount"] or fold["steps"] else "empty fold's key", 8 * place, 64
        yield "fold", 8 * place + 64, 3 * 64

    def _log(self) -> Iterator[tuple[str, int, int]]:
        words = [int.from_bytes(self.content[at : at + 8], "little") for at in (4096, 4096 + 1984)]
        newest = words.index(max(words))
        begin = 8 * (4096 + 1984 * newest)
        yield "log", begin, 8 * (16 + 16 * (words[newest] & 0xFF))
        older = 8 * (4096 + 1984 * (1 - newest))
        yield "log.older count", older, 8
        yield "log", older + 8, 56
        run = 8 * (4096 + 2 * 1984)
        active = self.content[run // 8 : run // 8 + 8] != b"\xff" * 8
        yield "run", run, 4 * 64 if active else 64

    def _series(self, place: int, entry: np.void) -> Iterator[tuple[str, int, int]]:
        kind, metric = KIND_NAMES[int(entry["kind"])], self.view.metrics[int(entry["metric"])]
        for what, bit, bits in self._fields(kind, place, layout.SERIES):
            field = what.partition(".")[2]
            if kind == "histogram" and field in LOW:
                first = LOW[field] if entry[field] else 64  # there are two zeros
                yield f"{what} low", bit, first
                yield what, bit + first, bits - first
            elif what != "histogram.first_directory":
                yield what, bit, bits
        offset = int(entry["definition"])
        bits = 64 + 8 * len(self.view.definition(offset))
        uuid = 256 if metric.kind == "gauge" and metric.merge in ("sum", "min", "max", "all") else 0
        yield "definition", 8 * offset, bits - uuid
        yield "part's uuid", 8 * offset + bits - uuid, uuid
        if kind == "histogram":
            yield "classic count", 8 * int(entry["classic"]), 64 * (len(metric.buckets) + 1)
            yield from self._pages(entry)

    def _pages(self, entry: np.void) -> Iterator[tuple[str, int, int]]:
        packed = int(entry["directory"])
        directory, length = packed % 2**32 * 64, packed >> 48
        yield "directory", 8 * directory, 32 * length
        for page in np.frombuffer(self.content, np.uint32, length, directory).tolist():
            if page:
                yield "exponential count", 8 * 64 * page, 64 * layout.PAGE_BUCKETS
