"""Whether a file can be used as a state: everything that others follow without looking again is looked at here."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from .._mapping import Mapping
from ..errors import StateError
from ..layout import BYTE_ORDER
from ._check import find_damaged
from ._kernels import bucket_keys
from ._store import Store
from .parts import lasting
from .redundancy import (
    are_folds,
    folds_at,
    header_check,
    metric_check,
    name_checks,
    series_check,
    slot_check,
    whole_check,
)
from .series import (
    BEYOND,
    BLOCK,
    DIRECTORY_STEP,
    EXEMPLAR,
    FOLD,
    HEADER,
    HEADER_SIZE,
    KINDS,
    MAGIC,
    METRICS,
    NAMES,
    PAGE_BUCKETS,
    RETIRED,
    SERIES,
    SERIES_TABLE,
    SLOT_ASIDE,
    SLOT_ENDED,
    SLOT_FREE,
    SLOT_LIVE,
    SLOTS,
    TWICE,
    VERSION,
    field_offset,
)  # fmt: skip
from .view import View

OCTAVES = 2048 + 16  # that doubles have, and a directory's last step


def unusable(namespace: str, why: object) -> StateError:
    return StateError(
        f"the state of namespace {namespace} {why}; shmtel reader --namespace {namespace} --reset-state keeps it aside "
        "and starts from zero"
    )


def check_header(fd: int, namespace: str) -> int:
    """How many bytes of the file are the state: a kill while it grows can leave more, of any number.

    Raises StateError for a file that is no state of this version, or is cut short.
    """
    if (owner := os.fstat(fd).st_uid) != os.geteuid():
        raise unusable(namespace, f"belongs to user {owner}")
    stored = os.pread(fd, HEADER.itemsize, 0)
    if len(stored) < HEADER.itemsize:
        raise unusable(namespace, f"is too short: {len(stored)} bytes")
    header = np.frombuffer(stored, HEADER)[0]
    if header["magic"] != MAGIC or header["byte_order"] != BYTE_ORDER:
        raise unusable(namespace, "is not a state of this machine")
    if header["version"] != VERSION:
        raise unusable(namespace, f"has version {header['version']}, expected {VERSION}: another release wrote it")
    if header["check"] != header_check(header):
        raise unusable(namespace, "is damaged: its header is not what was written")
    size = os.fstat(fd).st_size
    if not HEADER_SIZE <= header["allocated"] <= header["size"] <= size:
        raise unusable(namespace, f"is cut short: {size:,} bytes, its header says {header['size']:,}")
    if header["size"] % BLOCK or header["allocated"] % BLOCK:
        raise unusable(namespace, f"is damaged: {header['size']:,} bytes are no multiple of {BLOCK}")
    return int(header["size"])


def checked_view(namespace: str, fd: int, size: int) -> View:
    """What a state says as its next reader will find it, which is tried without changing the file.

    Raises StateError for a state that is damaged.
    """
    view = View(namespace, Mapping(fd, size, private=True))
    view.mapping.guard()
    try:
        _check_seal(view)
        check_tables(view)
        Store(view.mapping).recover()
        view.learn()
        check_entries(view)
        if view.mapping.cut:
            raise ValueError("it was cut short while it was read")
    except (ValueError, TypeError, LookupError, ArithmeticError, StateError) as error:
        raise unusable(namespace, f"is damaged: {error}") from error
    return view


def _check_seal(view: View) -> None:
    sealed = view.get("sealed")
    if sealed and sealed != whole_check(memoryview(view.mapping)[: view.get("allocated")]):
        raise ValueError("it is not what its last reader left when it ended")


class Blocks:
    """Blocks of the state that something points to: handed out, and each for one thing alone."""

    def __init__(self, view: View) -> None:
        self._limit = np.uint64(view.get("allocated"))
        self._begins: list[npt.NDArray[np.uint64]] = []
        self._ends: list[npt.NDArray[np.uint64]] = []

    def check(self, offsets: Any, lengths: Any, what: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Offsets and lengths as arrays. Raises ValueError unless these bytes have been handed out."""
        begin = np.atleast_1d(np.asarray(offsets, np.uint64))
        inside = (begin % BLOCK == 0) & (begin >= HEADER_SIZE) & (begin <= self._limit)
        length = np.broadcast_to(np.asarray(lengths, np.uint64), begin.shape)
        if not np.all(inside) or np.any(length > self._limit - begin):
            raise ValueError(f"{what} at a place that was never handed out")
        return begin, length

    def add(self, offsets: Any, lengths: Any, what: str) -> None:
        """Note what these bytes are for. Raises ValueError unless they have been handed out."""
        begin, length = self.check(offsets, lengths, what)
        self._begins.append(begin)
        self._ends.append(begin + (length + np.uint64(BLOCK - 1)) // np.uint64(BLOCK) * np.uint64(BLOCK))

    def check_apart(self) -> None:
        """Raises ValueError if two of them share bytes."""
        begins, ends = np.concatenate(self._begins), np.concatenate(self._ends)
        order = np.argsort(begins)
        if np.any(ends[order][:-1] > begins[order][1:]):
            raise ValueError("two things at the same place")


def check_tables(view: View) -> Blocks:
    """Raises ValueError for tables that are not where they can be; gives their blocks."""
    blocks = Blocks(view)
    for table in (METRICS, SLOTS, NAMES, SERIES_TABLE, BEYOND):
        chunks = [view.place(table, number) for number in range(0, view.length(table), table.chunk_length)]
        blocks.add(chunks, table.chunk_length * table.dtype.itemsize, "a table")
    return blocks


def check_entries(view: View) -> None:
    """Raises ValueError for entries of the tables that are not what was written. The definitions are known."""
    blocks = check_tables(view)
    if view.get("label_producer") not in (0, TWICE):
        raise ValueError("whether series carry their producer's name is not what was noted")
    _check_names(view)
    _check_slots(view, blocks)
    entries = view.entries(SERIES_TABLE)
    _check_definitions(view, entries, blocks)
    if not np.all(np.isin(entries["retired"], (0, RETIRED))):
        raise ValueError("a series that is neither exposed nor retired")
    living = entries["retired"] == 0  # one that is retired may have been about to begin anew
    counters = entries[living & (entries["kind"] == KINDS["counter"])]
    totals = counters["value"]
    if not np.all((totals >= 0) & (totals < np.inf)) or np.any(totals.view("u8") != ~counters["minimum"].view("u8")):
        raise ValueError("a counter's total is not what was counted")
    histograms = entries["kind"] == KINDS["histogram"]
    _check_pages(view, entries[histograms], view.places(SERIES_TABLE)[histograms], blocks)
    blocks.check_apart()
    _check_counts(view, entries[histograms & living], view.places(SERIES_TABLE)[histograms & living])


def _check_names(view: View) -> None:
    names = view.entries(NAMES)
    if np.any(names["length"] > 64) or np.any(names["check"] != name_checks(names)):
        raise ValueError("the totals of a producer are not what was counted")


def _check_slots(view: View, blocks: Blocks) -> None:
    for slot in view.entries(SLOTS):
        if slot["status"] not in (SLOT_FREE, SLOT_LIVE, SLOT_ENDED, SLOT_ASIDE):
            raise ValueError(f"a segment in a condition that there is not: {slot['status']}")
        offset, length = folds_at(int(slot["folds"]))
        if length:
            blocks.add(offset, length * FOLD.itemsize, "a segment's cells")
        if slot["status"] == SLOT_FREE:  # the rest of it, and its cells, may have been about to be written
            continue
        if slot["check"] != slot_check(slot) or slot["name"] >= view.length(NAMES):
            raise ValueError("a segment is not the one that was read")
        if slot["position"] != ~slot["kept_position"]:
            raise ValueError("a segment's position is not how far it was read")
        if slot["settled"] != slot["settled"] % 2**32 * TWICE:
            raise ValueError("how many of a segment's series were removed is not what was noted")
        folds = np.frombuffer(view.block(offset, length * FOLD.itemsize), FOLD)
        if not are_folds(folds):
            raise ValueError("what was taken from a segment's cells is not what was noted")


def _check_definitions(view: View, entries: np.ndarray, blocks: Blocks) -> None:
    offsets = view.entries(METRICS)
    for number, offset in enumerate(offsets.tolist()):
        stored, check = view.checked_definition(offset)
        if check != metric_check(number, stored):
            raise ValueError(f"the definition of metric {number} is not what was written")
        blocks.add(offset, 8 + len(stored), "a definition")
    lengths = []
    fields = entries[["metric", "kind", "classic", "definition"]].tolist()
    for number, (metric, kind, classic, offset) in enumerate(fields):
        stored, check = view.checked_definition(offset)
        if check != series_check(number, metric, kind, classic, lasting(view.metrics[metric], stored)):
            raise ValueError(f"the definition of series {number} is not what was written")
        lengths.append(8 + len(stored))
    blocks.add(entries["definition"], lengths, "a definition")
    counts = np.array([8 * view.classic_length(number) for number in range(len(view.metrics))], np.uint64)
    lengths = counts[entries["metric"]]
    blocks.add(entries["classic"][lengths > 0], lengths[lengths > 0], "a histogram")
    _check_exemplars(view, entries["exemplars"], np.maximum(lengths, 8), blocks)


def _check_exemplars(
    view: View, tables: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint64], blocks: Blocks
) -> None:
    """The exemplars of each series: its table, and the blocks that it names."""
    have = tables > 0
    blocks.add(tables[have], lengths[have], "a series' exemplars")
    offsets = np.array(
        [
            offset
            for table, length in zip(tables[have].tolist(), lengths[have].tolist(), strict=True)
            for offset in np.frombuffer(view.block(table, length), np.uint64).tolist()
            if offset
        ],
        np.uint64,
    )
    if not len(offsets):
        return
    blocks.check(offsets, EXEMPLAR.itemsize, "an exemplar")
    heads = np.array([view.block(int(offset), EXEMPLAR.itemsize) for offset in offsets], f"V{EXEMPLAR.itemsize}")
    kept = heads.view(EXEMPLAR)
    if np.any(kept["length"] > kept["room"]):
        raise ValueError("an exemplar longer than its block")
    blocks.add(offsets, EXEMPLAR.itemsize + kept["room"].astype(np.uint64), "an exemplar")


def _check_pages(view: View, entries: np.ndarray, places: npt.NDArray[np.uint64], blocks: Blocks) -> None:
    """The exponential counts: each histogram's directory, and the pages that it names."""
    used = entries["directory"] > 0
    packed, own = entries["directory"][used], places[used] + np.uint64(field_offset(SERIES, "first_directory"))
    directories, lengths = (packed & 0xFFFFFFFF) * BLOCK, packed >> 48
    if np.any((packed >> 32 & 0xFFFF) + lengths > OCTAVES) or np.any(lengths % DIRECTORY_STEP) or not np.all(lengths):
        raise ValueError("a histogram of octaves that doubles do not have")
    if np.any(lengths[directories == own] != DIRECTORY_STEP):
        raise ValueError("a histogram of more octaves than there is place")
    blocks.add(directories[directories != own], lengths[directories != own] * 4, "a histogram")
    words = np.frombuffer(memoryview(view.mapping), np.uint32)
    for length in np.unique(lengths).tolist():
        pages = words[(directories[lengths == length] // 4)[:, None] + np.arange(length, dtype=np.uint64)]
        blocks.add(pages[pages > 0].astype(np.uint64) * BLOCK, 8 * PAGE_BUCKETS, "a histogram")


def _check_counts(view: View, entries: np.ndarray, places: npt.NDArray[np.uint64]) -> None:
    bounds = [np.array(metric.buckets, np.float64) for metric in view.metrics]
    lengths = np.array([len(some) for some in bounds], np.uint64)
    begins = np.cumsum(lengths) - lengths
    keys = _keys(np.concatenate([*bounds, np.empty(0)]))
    metrics = entries["metric"]
    extremes = [_keys(np.ascontiguousarray(entries[field])) for field in ("minimum", "maximum")]
    at, why = find_damaged(memoryview(view.mapping), places, keys, begins[metrics], lengths[metrics], *extremes)
    if why:
        raise ValueError(f"a histogram of {view.metrics[int(metrics[at])].name}: {why}")


def _keys(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint32]:
    keys = np.empty(len(values), np.uint32)
    bucket_keys(values, keys)
    return keys
