"""Reading the state, by whoever maps it: definitions, a consistent copy, and the snapshot made of that."""

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._mapping import Mapping
from ..errors import StateError
from ..layout import LABEL_LENGTH
from ..metric import Metric
from . import figures
from ._store import copy_slots, copy_state, look_at_marks, marks_stood
from .exemplars import exemplars_of
from .histogram import distributions as distributions_of
from .histogram import histogram_value
from .seconds import recent
from .series import (
    DEFINITION,
    HEADER,
    KINDS,
    METRICS,
    NAMES,
    SERIES,
    SERIES_TABLE,
    SLOTS,
    TWICE,
    Table,
    field_offset,
)
from .snapshot import Distributions, Family, HistogramValue, Labels, Snapshot
from .windows import Windows

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

PATIENCE = 5.0  # seconds that a copy waits for what is being changed; the loop may be descheduled in the middle of it


def encode_labels(values: tuple[str, ...]) -> bytes:
    """Their count, and each with its length before it."""
    encoded = [value.encode() for value in values]
    return b"".join([LABEL_LENGTH.pack(len(values)), *(LABEL_LENGTH.pack(len(value)) + value for value in encoded)])


def decode_labels(stored: bytes, count: int) -> tuple[str, ...]:
    """The first `count` label values. Raises ValueError for lengths that leave the bytes, and for what is no UTF-8."""
    values, at = [], 0
    for _ in range(count):
        if at + LABEL_LENGTH.size > len(stored):
            raise ValueError(f"{count} label values do not fit {len(stored)} bytes")
        (length,) = LABEL_LENGTH.unpack_from(stored, at)
        at += LABEL_LENGTH.size
        if length > len(stored) - at:
            raise ValueError(f"a label value of {length} bytes in {len(stored) - at}")
        values.append(stored[at : at + length].decode())
        at += length
    return tuple(values)


class GrownError(StateError):
    """The state has grown since it was mapped: map it anew."""


class UnrestError(StateError):
    """What is being changed does not come to rest."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"the state of namespace {namespace} is never at rest: was its reader killed or stopped?")


class View:
    """What a mapped state says. It only reads, and remembers the definitions, which never change.

    seconds: the file beside it, see seconds.py.
    """

    def __init__(
        self, namespace: str, mapping: Mapping, patience: float = PATIENCE, seconds: Path | None = None
    ) -> None:
        self.namespace, self.mapping, self._patience, self._seconds = namespace, mapping, patience, seconds
        self.metrics: list[Metric] = []
        self.series: list[tuple[int, tuple[str, ...]]] = []  # number → (number of the metric, label values)
        self._offsets = np.empty(0, np.uint64)  # of each series' structure
        self._classic_begin = np.zeros(1, np.uint64)  # of each series' classic counts among those of all; and their end
        self._scratch = np.empty(0, np.uint8)
        self._grouped: tuple[int, int, int] | None = None  # counts that the two below were made for
        self._numbers: list[npt.NDArray[np.int64]] = []  # of the exposed series of each metric
        self._labels: list[Labels] = []

    def get(self, field: str) -> int:
        return self.mapping.load(field_offset(HEADER, field))

    def block(self, offset: int, length: int) -> bytes:
        if self.mapping.size < offset + length <= self.get("size"):
            raise GrownError
        if not 0 <= offset <= offset + length <= self.mapping.size:
            raise StateError(
                f"the state of namespace {self.namespace} points to byte {offset + length:,}, beyond its end"
            )
        return bytes(memoryview(self.mapping)[offset : offset + length])

    def definition(self, offset: int) -> bytes:
        return self.checked_definition(offset)[0]

    def checked_definition(self, offset: int) -> tuple[bytes, int]:
        """What was stored, and the check that was stored with it."""
        length, check = DEFINITION.unpack(self.block(offset, DEFINITION.size))
        if offset + 8 + length > self.get("allocated"):
            raise StateError(f"the state of namespace {self.namespace} is damaged: a definition of {length:,} bytes")
        return self.block(offset + DEFINITION.size, length), check

    def place(self, table: Table, number: int) -> int:
        """The offset of one entry of a table."""
        chunk = self.mapping.load(table.table_offset + 8 * (number // table.chunk_length))
        return chunk + number % table.chunk_length * table.dtype.itemsize

    def places(self, table: Table) -> npt.NDArray[np.uint64]:
        """The offsets of all entries of a table."""
        return np.array([self.place(table, number) for number in range(self.length(table))], np.uint64)

    def _places_within(self, table: Table) -> npt.NDArray[np.uint64]:
        """The same, of entries that are mapped."""
        places = self.places(table)
        if len(places) and int(places.max()) + table.dtype.itemsize > self.mapping.size:
            raise GrownError
        return places

    def entry(self, table: Table, number: int) -> np.void:
        """A copy of one entry of a table."""
        stored: np.void = np.frombuffer(self.block(self.place(table, number), table.dtype.itemsize), table.dtype)[0]
        return stored

    def length(self, table: Table) -> int:
        """How many entries a table has."""
        stored = self.mapping.load(table.count_offset)
        count = stored % 2**32
        if count > table.limit or stored != count * TWICE:
            raise StateError(f"the state of namespace {self.namespace} counts {count:,} entries of {table.limit:,}")
        return count

    def entries(self, table: Table) -> np.ndarray:
        """A copy of a whole table."""
        count = self.length(table)
        chunks = [
            self.block(self.place(table, begin), min(table.chunk_length, count - begin) * table.dtype.itemsize)
            for begin in range(0, count, table.chunk_length)
        ]
        return np.frombuffer(b"".join(chunks), table.dtype)

    def learn(self) -> None:
        """Read the definitions that are new since the last time."""
        series = self.length(SERIES_TABLE)  # before the count of metrics: those of all these series are known then
        for number in range(len(self.metrics), self.length(METRICS)):
            offset = int.from_bytes(self.block(self.place(METRICS, number), 8), "little")
            self.metrics.append(Metric.from_json(self.definition(offset)))
        for number in range(len(self.series), series):
            place = self.place(SERIES_TABLE, number)
            entry = np.frombuffer(self.block(place, SERIES.itemsize), SERIES)[0]
            stored = self.definition(int(entry["definition"]))
            if entry["metric"] >= len(self.metrics):
                raise ValueError(f"a series of metric {entry['metric']}, of {len(self.metrics)}")
            self.series.append((int(entry["metric"]), decode_labels(stored[4:], int.from_bytes(stored[:4], "little"))))

    def _locate(self) -> None:
        """The place of each series' structure, and of its classic counts in a copy, for all that are known."""
        begin, count = len(self._offsets), len(self.series)
        if begin == count:
            return
        places = [self.place(SERIES_TABLE, number) for number in range(begin, count)]
        lengths = [self.classic_length(metric) for metric, _ in self.series[begin:]]
        self._offsets = np.append(self._offsets, np.array(places, np.uint64))
        ends = self._classic_begin[-1] + np.cumsum(np.array(lengths, np.uint64))
        self._classic_begin = np.append(self._classic_begin, ends)

    def classic_length(self, metric: int) -> int:
        definition = self.metrics[metric]
        return len(definition.buckets) + 1 if definition.kind == "histogram" else 0

    def snapshot(self, distributions: bool = True) -> Snapshot:
        """A consistent copy of all series. Raises StateError if the state is damaged.

        distributions: with the exponential counts that Snapshot.histogram reads, which are most of the state.
        """
        retired = self.get("retired")  # before the copy: what retires meanwhile is seen the next time
        try:
            self.learn()
            self._locate()
        except ValueError as error:
            raise StateError(f"the state of namespace {self.namespace} cannot be read: {error}") from error
        entries, classics = np.empty(len(self._offsets), SERIES), np.empty(int(self._classic_begin[-1]), np.uint64)
        copied = self._room(distributions)
        unstable = copy_state(
            memoryview(self.mapping),
            entries.view(np.uint8),
            classics,
            copied,
            self._offsets,
            self._classic_begin,
            distributions,
            self._patience,
        )
        if unstable < 0:
            if self.get("size") > self.mapping.size:
                raise GrownError
            if len(copied) < self.mapping.size:  # the state has grown since there was room for it
                return self.snapshot(distributions)
            raise StateError(f"the state of namespace {self.namespace} points beyond its end")
        if unstable:
            raise UnrestError(self.namespace)
        return self._made_of(entries, classics, copied, retired, distributions)

    def _room(self, distributions: bool) -> Bytes:
        """Room for a copy of what is not in every series. Pages of fresh memory cost more than copying, so it is used
        again where nothing stays."""
        size = self.mapping.size
        if distributions:
            return np.empty(size, np.uint8)
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        return self._scratch

    def _accounts(self) -> tuple[np.ndarray, np.ndarray]:
        """Slots and names of one moment: when a segment ends, its figures move from the one to the other."""
        deadline = time.monotonic() + self._patience
        while True:
            marks = self._places_within(NAMES) + np.uint64(field_offset(NAMES.dtype, "mark"))
            seen = np.empty(len(marks), np.uint64)
            look_at_marks(memoryview(self.mapping), marks, seen)
            names, slots = self.entries(NAMES), self._slots()
            if len(names) == len(marks) and marks_stood(memoryview(self.mapping), marks, seen):
                return slots, names
            if time.monotonic() >= deadline:
                raise UnrestError(self.namespace)
            time.sleep(0.0002)

    def _slots(self) -> np.ndarray:
        """Copies of all slots, each with its producer's figures of one moment."""
        places = self._places_within(SLOTS)
        copied = np.empty(len(places) * SLOTS.dtype.itemsize, np.uint8)
        if not copy_slots(memoryview(self.mapping), copied, places, self._patience):
            raise UnrestError(self.namespace)
        return copied.view(SLOTS.dtype)

    def _made_of(
        self, entries: np.ndarray, classics: Words, copied: Bytes, retired: int, distributions: bool
    ) -> Snapshot:
        header = np.frombuffer(self.block(0, HEADER.itemsize), HEADER)[0]
        self._group(entries, retired)
        producers = figures.producers(*self._accounts())
        numbers = self._numbers
        families = dict(figures.families(header, producers))
        for number, metric in enumerate(self.metrics):
            families[metric.name] = self._family(number, entries, classics, copied)

        def number_of(name: str) -> int:
            return next(number for number, metric in enumerate(self.metrics) if metric.name == name)

        def histogram(name: str, at: int) -> HistogramValue:
            if not distributions:
                raise ValueError("this snapshot was taken without distributions")
            number, counts = number_of(name), families[name].counts
            assert counts is not None  # it is a histogram
            return histogram_value(entries[numbers[number][at]], self.metrics[number], counts[at], copied)

        # After the copy: a maximum that was taken from the copied series before is in the file.
        gained = recent(self._seconds, bytes(header["uuid"]))
        maxima = np.where(entries["kind"] == KINDS["histogram"], entries["time_ns"].view(np.float64), -np.inf)
        windows = Windows(gained, maxima, numbers, {metric.name: at for at, metric in enumerate(self.metrics)})

        def all_of(name: str) -> Distributions:
            return distributions_of(entries[numbers[number_of(name)]], copied)

        taken_ns = time.time_ns()
        some = all_of if distributions else None
        return Snapshot(self.namespace, taken_ns, families, producers, histogram, some, windows)

    def _group(self, entries: np.ndarray, retired: int) -> None:
        """Find the exposed series of each metric, unless they are those of the last time."""
        seen = len(self.metrics), len(self.series), retired
        if self._grouped == seen:
            return
        exposed: list[list[int]] = [[] for _ in self.metrics]
        for number, gone in enumerate(entries["retired"].tolist()):
            if not gone:
                exposed[self.series[number][0]].append(number)
        self._numbers = [np.array(numbers, np.int64) for numbers in exposed]
        self._labels = [tuple(self.series[number][1] for number in numbers) for numbers in exposed]
        self._grouped = seen

    def _family(self, number: int, entries: np.ndarray, classics: Words, copied: Bytes) -> Family:
        metric, labels, mine = self.metrics[number], self._labels[number], _picked(entries, self._numbers[number])
        created = mine["created_ns"] / 1e9
        if metric.kind == "gauge" and metric.merge != "last":
            return figures.merged_gauge(metric, labels, mine, created)
        counts = None
        if metric.kind == "histogram":
            begin = self._classic_begin[self._numbers[number]]
            counts = classics[begin[:, None] + np.arange(self.classic_length(number), dtype=np.uint64)]
        exemplars = exemplars_of(mine["exemplars"], max(1, self.classic_length(number)), copied)
        times = mine["time_ns"].copy() if metric.kind == "gauge" else None
        return Family(metric, metric.labels, labels, mine["value"].copy(), created, counts, exemplars, times)


def _picked(entries: np.ndarray, numbers: npt.NDArray[np.int64]) -> np.ndarray:
    """Those entries; without a copy where they stand side by side, as the series of most metrics do."""
    begin, end = (int(numbers[0]), int(numbers[-1]) + 1) if len(numbers) else (0, 0)
    return entries[begin:end] if end - begin == len(numbers) else entries[numbers]
