"""Whether a file can be used as a state: everything that others follow without looking again is looked at here."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StateError
from ..layout import BYTE_ORDER
from .series import (
    BEYOND,
    BLOCK,
    EXEMPLAR,
    FOLD,
    HEADER,
    HEADER_SIZE,
    KINDS,
    MAGIC,
    METRICS,
    NAMES,
    PAGE_BUCKETS,
    SERIES_TABLE,
    SLOT_ASIDE,
    SLOTS,
    VERSION,
)  # fmt: skip
from .view import View

OCTAVES = 2048 + 16  # that doubles have, and a directory's last step


def check_header(fd: int, namespace: str) -> int:
    """How many bytes of the file are the state: a kill while it grows can leave more, of any number.

    Raises StateError for a file that is no state of this version, or is cut short.
    """
    stored = os.pread(fd, HEADER.itemsize, 0)
    if len(stored) < HEADER.itemsize:
        raise StateError(f"the state of namespace {namespace} is too short: {len(stored)} bytes")
    header = np.frombuffer(stored, HEADER)[0]
    if header["magic"] != MAGIC or header["byte_order"] != BYTE_ORDER:
        raise StateError(f"the state of namespace {namespace} is not a state of this machine")
    if header["version"] != VERSION:
        raise StateError(f"the state of namespace {namespace} has version {header['version']}, expected {VERSION}")
    if header["allocated"] % BLOCK:
        raise StateError(f"the state of namespace {namespace} is damaged: blocks would not be aligned")
    size = os.fstat(fd).st_size
    if not HEADER_SIZE <= header["allocated"] <= header["size"] <= size:
        raise StateError(
            f"the state of namespace {namespace} is cut short: {size:,} bytes, its header says {header['size']:,}"
        )
    if header["size"] % BLOCK:
        raise StateError(
            f"the state of namespace {namespace} has {header['size']:,} bytes: expected a multiple of {BLOCK}"
        )
    return int(header["size"])


def check_tables(view: View) -> None:
    """Raises ValueError for tables that are not where they can be."""
    for table in (METRICS, SLOTS, NAMES, SERIES_TABLE, BEYOND):
        count = view.mapping.load(table.count_offset)
        if count > table.limit:
            raise ValueError(f"{count:,} entries in a table of {table.limit:,}")
        chunks = [view.place(table, number) for number in range(0, count, table.chunk_length)]
        _check_blocks(view, chunks, table.chunk_length * table.dtype.itemsize, "a table")


def check_entries(view: View) -> None:
    """Raises ValueError for entries of the tables that point to where nothing can be. The definitions are known."""
    slots, names, series = view.entries(SLOTS), view.entries(NAMES), view.entries(SERIES_TABLE)
    if np.any(names["length"] > 64):
        raise ValueError("a producer's name of more than 64 bytes")
    if np.any(slots["status"] > SLOT_ASIDE) or np.any(slots["name"] >= max(1, len(names))):
        raise ValueError("a segment in a condition, or of a producer, that there is none of")
    kept = slots[slots["folds_capacity"] > 0]
    if np.any(kept["folds_capacity"] > view.mapping.size):
        raise ValueError("a segment with more series than there is memory")
    _check_blocks(view, kept["folds"], kept["folds_capacity"] * FOLD.itemsize, "a segment")
    kinds = np.array([KINDS[metric.kind] for metric in view.metrics])
    if np.any(series["metric"] >= len(kinds)) or np.any(series["kind"] != kinds[series["metric"]]):
        raise ValueError("a series of another kind than its metric, or of none")
    lengths = np.array([8 * view.classic_length(number) for number in range(len(kinds))])[series["metric"]]
    _check_blocks(view, series["classic"][lengths > 0], lengths[lengths > 0], "a histogram")
    _check_exemplars(view, series["exemplars"], np.maximum(lengths, 8))
    _check_pages(view, series["directory"][series["directory"] >> 48 > 0])


def _check_exemplars(view: View, tables: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint64]) -> None:
    """The exemplars of each series: its table, and the blocks that it names."""
    have = tables > 0
    _check_blocks(view, tables[have], lengths[have], "a series")
    offsets = np.array(
        [
            offset
            for table, length in zip(tables[have].tolist(), lengths[have].tolist(), strict=True)
            for offset in np.frombuffer(view.block(table, length), np.uint64).tolist()
            if offset
        ],
        np.uint64,
    )
    _check_blocks(view, offsets, EXEMPLAR.itemsize, "an exemplar")
    heads = np.array([view.block(int(offset), EXEMPLAR.itemsize) for offset in offsets], f"V{EXEMPLAR.itemsize}")
    kept = heads.view(EXEMPLAR)
    if np.any(kept["length"] > kept["room"]):
        raise ValueError("an exemplar longer than its block")
    _check_blocks(view, offsets, EXEMPLAR.itemsize + kept["room"].astype(np.uint64), "an exemplar")


def _check_pages(view: View, packed: npt.NDArray[np.uint64]) -> None:
    """The exponential counts: each histogram's directory, and the pages that it names."""
    directories, lengths = (packed & 0xFFFFFFFF) * BLOCK, packed >> 48
    if np.any((packed >> 32 & 0xFFFF) + lengths > OCTAVES):
        raise ValueError("a histogram of octaves that doubles do not have")
    _check_blocks(view, directories, lengths * 4, "a histogram")
    for length in np.unique(lengths).tolist():
        words = np.frombuffer(memoryview(view.mapping), np.uint32)
        pages = words[(directories[lengths == length] // 4)[:, None] + np.arange(length, dtype=np.uint64)]
        del words  # or the mapping could not be closed
        _check_blocks(view, pages[pages > 0].astype(np.uint64) * BLOCK, np.uint64(8 * PAGE_BUCKETS), "a histogram")


def _check_blocks(view: View, offsets: Any, lengths: Any, what: str) -> None:
    """Raises ValueError unless these bytes have been handed out."""
    begin, limit = np.asarray(offsets, np.uint64), np.uint64(view.get("allocated"))
    inside = (begin % BLOCK == 0) & (begin >= HEADER_SIZE) & (begin <= limit)
    if not np.all(inside) or np.any(np.asarray(lengths, np.uint64) > limit - begin):
        raise ValueError(f"{what} at a place that was never handed out")
