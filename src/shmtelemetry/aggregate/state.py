"""The state of a namespace: the reader's aggregates in shared memory, which outlive the reader."""

import contextlib
import errno
import logging
import os
import time
from pathlib import Path

import numpy as np

from .._mapping import Mapping, link_unnamed
from ..errors import StateError
from ..files import open_file, open_own
from ..layout import BYTE_ORDER
from ..metric import Metric, sample_names
from . import series as layout
from ._store import Store
from .by_producer import by_producer, settle
from .check import check_header, checked_view, unusable
from .figures import LAG, OWN
from .lives import Lives
from .overflow import Beyond, overflow_labels
from .parts import Parts, lasting
from .redundancy import (
    folds_at,
    folds_word,
    header_check,
    metric_check,
    name_checks,
    series_check,
    slot_check,
    whole_check,
)
from .series import FOLD, HEADER, METRICS, NAMES, RESERVE, SERIES, SERIES_TABLE, SLOTS, TWICE, Table, field_offset
from .view import View, encode_labels

logger = logging.getLogger("shmtelemetry")

GROWTH = 512 * 1024
MAX_SERIES = 100_000
GAUGE_TTL = 300.0


def state_path(directory: str, namespace: str, uid: int) -> Path:
    return Path(directory) / f"shmtel.{namespace}.@state.{uid}"


class State(View):
    """The state, opened by the one process that writes it. Goes on where the last reader ended.

    max_series: from how many on new ones are counted in their metric's overflow series. gauge_ttl: seconds until a
    gauge expires that no living producer has. Both may be changed at any time. label_producer: whether series carry
    their producer's name; None as the state has it.

    Raises StateError for a file that is no state of this version, or is damaged, or has label_producer otherwise; it
    stays as it is then.
    """

    def __init__(
        self,
        namespace: str,
        path: Path,
        max_series: int = MAX_SERIES,
        gauge_ttl: float = GAUGE_TTL,
        label_producer: bool | None = None,
    ) -> None:
        self.path, self.max_series, self.gauge_ttl = path, max_series, gauge_ttl
        fd = open_own(path, os.O_RDWR)
        try:
            size = check_header(fd, namespace)
            checked = checked_view(namespace, fd, size)
            super().__init__(namespace, Mapping(fd, size, RESERVE))
            self.mapping.guard()
            self._inode = os.fstat(fd).st_ino
        finally:
            os.close(fd)
        self.put("sealed", 0)
        self.store = Store(self.mapping)
        self.store.recover()
        self.metrics, self.series = checked.metrics, checked.series
        self.numbers: dict[str, int] = {}  # metric name → number
        self._samples: dict[str, str] = {}  # name of a sample or family → the metric that it is of
        self.known: dict[tuple[int, tuple[str, ...]], int] = {}  # (metric, labels) → number of the series
        self.names: dict[str, int] = {}
        self.segments: dict[bytes, int] = {}  # uuid → slot, of all that are not free
        self._free: list[int] = []
        self.parts = Parts(self)
        self.lives = Lives(self)
        self._index()
        self._beyond = Beyond(self)
        self._warned: set[str] = set()
        self.label_producer = settle(self, label_producer)
        self.put("reader_pid", os.getpid())
        self.lag = self.series_number(self.define(LAG), ())

    def _index(self) -> None:
        self.numbers = {metric.name: number for number, metric in enumerate(self.metrics)}
        self._samples = {name: metric.name for metric in self.metrics for name in sample_names(metric)}
        retired = self.entries(SERIES_TABLE)["retired"].tolist()
        self.known = {key: number for number, key in enumerate(self.series) if not retired[number]}
        names = self.entries(NAMES)
        self.names = {bytes(name["name"])[: int(name["length"])].decode(): at for at, name in enumerate(names)}
        slots = self.entries(SLOTS)
        self.segments = {bytes(slot["uuid"]): at for at, slot in enumerate(slots) if slot["status"] != layout.SLOT_FREE}
        self._free = [at for at, slot in enumerate(slots) if slot["status"] == layout.SLOT_FREE]
        for number, gone in enumerate(retired):
            self.lives.note(number, bool(gone))

    def put(self, field: str, value: int) -> None:
        self.mapping.store(field_offset(HEADER, field), value)

    @property
    def uuid(self) -> bytes:
        return self.block(field_offset(HEADER, "uuid"), 16)

    def count(self, field: str) -> None:
        self.put(field, self.get(field) + 1)

    def check_whole(self) -> None:
        """Raises StateError if somebody cut the file short under us. Only where a guard is installed."""
        if self.mapping.cut:
            raise unusable(self.namespace, "was cut short under its reader")

    # ---- memory ----

    def grow(self) -> None:
        """Make room for more. Raises StateError where /dev/shm has none."""
        self.check_whole()
        size = self.get("size") + max(GROWTH, self.get("size") // 8 // 4096 * 4096)
        try:
            fd = open_file(self.path, os.O_RDWR)
            try:
                if os.fstat(fd).st_ino != self._inode:
                    raise FileNotFoundError(errno.ENOENT, "it was replaced by another file")
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)
        except OSError as error:
            raise StateError(
                f"the state of namespace {self.namespace} cannot grow to {size:,} bytes: {error.strerror}"
            ) from error
        self.mapping.grow(size)
        self.put("size", size)

    def allocate(self, size: int) -> int:
        """The offset of `size` zeroed bytes."""
        while not (offset := self.store.allocate(size)):
            self.grow()
        return int(offset)

    def write(self, offset: int, data: bytes) -> None:
        memoryview(self.mapping)[offset : offset + len(data)] = data

    def _stored(self, data: bytes, check: int) -> int:
        offset = self.allocate(8 + len(data))
        self.write(offset, layout.DEFINITION.pack(len(data), check) + data)
        return offset

    def append(self, table: Table, entry: bytes) -> int:
        """A new entry of a table; it exists from the moment that the count says so."""
        number = self.length(table)
        if number >= table.limit:
            raise StateError(f"the state of namespace {self.namespace} is full: {number:,} entries")
        chunk = table.table_offset + 8 * (number // table.chunk_length)
        if not self.mapping.load(chunk):
            self.mapping.store(chunk, self.allocate(table.chunk_length * table.dtype.itemsize))
        self.write(self.place(table, number), entry)
        self.mapping.store(table.count_offset, (number + 1) * TWICE)
        return number

    # ---- definitions ----

    def define(self, metric: Metric) -> int | None:
        """The number of a metric, defined now if it is new; None if it disagrees with the one of that name.

        Classic buckets may differ: records carry values, so they are counted exactly in the buckets of the first.
        """
        if self._adds_producer(metric):
            metric = by_producer(metric)
        number = self.numbers.get(metric.name)
        if number is None and (taken := self._taken(metric)):
            self.count("invalid_metrics")
            self.warn_once(
                f"metric {metric.name}",
                f"{metric.name} is not counted: its samples would be {taken}",
                metric=metric.name,
            )
            return None
        if number is None:
            stored = metric.to_json()
            offset = self._stored(stored, metric_check(len(self.metrics), stored))
            number = self.append(METRICS, offset.to_bytes(8, "little"))
            self.metrics.append(metric)
            self.numbers[metric.name] = number
            self._samples.update(dict.fromkeys(sample_names(metric), metric.name))
            return number
        first = self.metrics[number]
        if first.agrees(metric):
            return number
        self.count("invalid_metrics")
        self.warn_once(
            f"metric {metric.name}",
            f"{metric} disagrees with {first}: the first one stays, the other is not counted",
            metric=metric.name,
        )
        return None

    def _taken(self, metric: Metric) -> str:
        """What else the samples of a new metric would be taken for; empty if nothing."""
        if metric.name.startswith(OWN) and metric != LAG:
            return "the reader's own figures"
        return ", ".join({f"those of {self._samples[name]}" for name in sample_names(metric) if name in self._samples})

    def series_number(self, metric: int | None, labels: tuple[str, ...]) -> int:
        """The number of a series, made now if it is new; beyond max_series that of the metric's overflow series.

        -1 for no metric, and where there is no memory for an overflow series either.
        """
        if metric is None:
            return -1
        number = self.known.get((metric, labels))
        if number is None:
            number = self.lives.revive(metric, labels)
        if number is not None:
            return number
        overflow = overflow_labels(labels)
        if len(self.known) >= self.max_series and labels != overflow:
            self._beyond.add(metric, labels, f"more than {self.max_series:,} series in the namespace")
            return self.series_number(metric, overflow)
        try:
            return self._new_series(metric, labels)
        except StateError as error:
            self._beyond.add(metric, labels, str(error))
            return self.known.get((metric, overflow), -1)

    def _new_series(self, metric: int, labels: tuple[str, ...]) -> int:
        kind = layout.KINDS[self.metrics[metric].kind]
        classic = self.allocate(8 * length) if (length := self.classic_length(metric)) else 0
        stored = encode_labels(labels)
        check = series_check(len(self.series), metric, kind, classic, lasting(self.metrics[metric], stored))
        entry = np.zeros((), SERIES)
        entry["minimum"], entry["maximum"] = np.inf, -np.inf
        if kind == layout.KINDS["counter"]:
            entry["minimum"] = np.uint64(layout.EMPTY_COUNTER).view(np.float64)
        entry["metric"], entry["kind"], entry["classic"] = metric, kind, classic
        entry["time_ns"], entry["created_ns"] = layout.first_time(kind), time.time_ns()
        entry["definition"] = self._stored(stored, check)
        number = self.append(SERIES_TABLE, entry.tobytes())
        key = metric, labels
        self.series.append(key)
        self.known[key] = number
        self.lives.note(number)
        return number

    def part_of(self, metric: int | None, labels: tuple[str, ...], producer: str, uuid: bytes) -> tuple[str, ...]:
        """The labels under which a producer's value is kept: its own where the gauge merges several."""
        if metric is None:
            return labels
        kept = (*labels, producer) if self.adds_producer(metric) else labels
        return (*kept, producer, uuid.hex()) if self.parts.are_of(metric) else kept

    def adds_producer(self, metric: int) -> bool:
        """Whether a metric has a label more than its producers gave it."""
        return self._adds_producer(self.metrics[metric])

    def _adds_producer(self, metric: Metric) -> bool:
        """Gauges of merge="all" are by producer in any case."""
        return self.label_producer and metric.merge != "all" and not metric.name.startswith(OWN)

    # ---- producers ----

    def name_number(self, producer: str) -> int:
        number = self.names.get(producer)
        if number is None:
            entry = np.zeros((), layout.NAME)
            encoded = producer.encode()
            entry["length"], entry["name"] = len(encoded), np.void(encoded.ljust(64, b"\0"))
            entry["check"] = name_checks(entry.reshape(1))[0]
            number = self.names[producer] = self.append(NAMES, entry.tobytes())
        return number

    def open_slot(self, uuid: bytes, producer: str, start_position: int, capacity: int, pid: int) -> int:
        """A slot for a new segment, still free as others see it; its number."""
        entry = np.zeros((), layout.SLOT)
        entry["uuid"], entry["name"] = np.void(uuid), self.name_number(producer)
        for field in ("start_position", "position", "write_position", "claimed_position"):
            entry[field] = start_position
        entry["capacity"], entry["pid"], entry["kept_position"] = capacity, pid, ~start_position % 2**64
        entry["check"] = slot_check(entry)
        number = self._free.pop() if self._free else self.append(SLOTS, entry.tobytes())
        place = self.place(SLOTS, number)
        kept = self.entry(SLOTS, number)  # the fold array of the segment before is taken over, emptied
        entry["folds"], entry["mark"] = kept["folds"], kept["mark"] + np.uint64(1)
        offset, length = folds_at(int(kept["folds"]))
        self.write(offset, bytes(length * FOLD.itemsize))
        self.mapping.store(place + field_offset(layout.SLOT, "mark"), int(entry["mark"]))
        self.write(place, entry.tobytes())
        # SYNC POINT: slot. Pairs with copy_slots.
        self.mapping.store(place + field_offset(layout.SLOT, "mark"), int(entry["mark"]) + 1)
        self.segments[uuid] = number
        return number

    def set_slot_status(self, number: int, status: int) -> None:
        self.mapping.store(self.place(SLOTS, number) + field_offset(layout.SLOT, "status"), status)

    def slot_status(self, number: int) -> int:
        return int(self.entry(SLOTS, number)["status"])

    def free_slot(self, uuid: bytes) -> None:
        number = self.segments.pop(uuid)
        self._free.append(number)
        self.set_slot_status(number, layout.SLOT_FREE)

    def ensure_folds(self, slot: int, count: int) -> None:
        """Give a slot's fold array room for `count` entries."""
        offset, have = self.folds(slot)
        if have >= count:
            return
        capacity = max(16, 1 << (count - 1).bit_length())
        moved = self.allocate(capacity * FOLD.itemsize)
        self.write(moved, self.block(offset, have * FOLD.itemsize))
        self.mapping.store(self.place(SLOTS, slot) + field_offset(layout.SLOT, "folds"), folds_word(moved, capacity))

    def copy_folds(self, elder: int, slot: int) -> None:
        """Let the cumulative columns of a slot that is new go on where those of another one ended."""
        offset, length = self.folds(elder)
        self.ensure_folds(slot, length)
        self.write(self.folds(slot)[0], self.block(offset, length * FOLD.itemsize))

    def folds(self, slot: int) -> tuple[int, int]:
        """(offset, length) of a slot's fold array."""
        return folds_at(int(self.entry(SLOTS, slot)["folds"]))

    def set_figures(self, foreign: int, quarantined: int, undeletable: int) -> None:
        """How many segments are left aside, by reason."""
        self.put("foreign", foreign)
        self.put("quarantined", quarantined)
        self.put("undeletable", undeletable)

    # ---- the end ----

    def warn_once(self, topic: str, message: str, **context: str) -> None:
        """A line in the log the first time. context: labels of it."""
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning(message, extra=context)

    def close(self) -> None:
        """Leave it to the next reader, who can tell then whether any bit has changed."""
        if not self.mapping.cut:
            with memoryview(self.mapping) as whole, whole[: self.get("allocated")] as used:
                check = whole_check(used)
            self.put("sealed", check)
        self.mapping.close()

    def unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


def make_state(path: Path) -> None:
    """An empty state, if there is none; it appears under its name complete. Raises StateError without room for it."""
    if os.path.lexists(path):
        return
    header = np.zeros((), HEADER)
    header["magic"], header["version"], header["byte_order"] = layout.MAGIC, layout.VERSION, BYTE_ORDER
    header["uuid"], header["created_ns"] = np.void(os.urandom(16)), time.time_ns()
    header["size"], header["allocated"] = GROWTH, layout.HEADER_SIZE
    header["check"] = header_check(header)
    fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, GROWTH)
        os.pwrite(fd, header.tobytes(), 0)
        link_unnamed(fd, str(path.parent), path.name)
    except OSError as error:
        raise StateError(f"no room for a state of {GROWTH:,} bytes in {path.parent}: {error.strerror}") from error
    finally:
        os.close(fd)
