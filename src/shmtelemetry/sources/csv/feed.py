"""Feed: what is read of a file goes into the ring, row by row, and what is refused is counted and told."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np

from ... import layout
from ..._ring import Producer
from ...accounting import has_reader
from ...errors import ShmtelError
from ..intake import Intake
from ._rows import MAX_LINE, Rows
from .columns import MAX_COLUMNS, Columns
from .files import CHUNK, File

BATCH: Final = 4096  # rows
TOLD: Final = 5  # refused lines that are told one by one
WAIT: Final = 0.001  # seconds between two looks at a full ring
PATIENCE: Final = 1.0  # seconds that a ring may be full before it is looked at why

Stop = Callable[[float], bool]
Say = Callable[[str], object]


class Stopped(Exception):  # it is no error
    """Somebody asks to end."""


class Feed:
    """Rows of files → records of a producer's ring, whose namespace it is.

    path: digest of the followed file's path, which each record carries. stop: waits for so many seconds at most;
    whether to end. say: takes a line for people.
    """

    def __init__(self, columns: Columns, producer: Producer, intake: Intake, path: int, stop: Stop, say: Say) -> None:
        self._columns, self._producer, self._intake, self._stop, self._say = columns, producer, intake, stop, say
        self._namespace = producer.setup.namespace
        dtype = columns.schema.dtype
        self._records = np.zeros(BATCH, dtype)
        self._bytes = self._records.view(np.uint8).reshape(BATCH, dtype.itemsize)
        for name, value in columns.constants.items():
            self._records[name] = value.encode()
        self._records["csv_path"] = path
        self._plain = self._rows = self._planned(columns.names)
        self._skipping = False  # the rest of a line that is too long
        self.rows = self.bytes = 0
        self.rejected: Counter[str] = Counter()

    def _planned(self, names: tuple[str, ...]) -> Rows:
        fields = self._columns.schema.dtype.fields
        assert fields is not None
        targets = []
        for name in names:
            kind, own, decimals = self._columns.targets.get(name, ("ignore", "csv_line", 0))
            targets.append((kind, int(fields[own][1]), fields[own][0].itemsize, decimals))
        return Rows(targets, int(fields["csv_line"][1]), int(fields["csv_offset"][1]))

    def begin(self, file: File) -> None:
        """The next rows are another file's, from where it stands."""
        self._rows, self._skipping = self._plain, False
        if file.at:
            self._is_header(file.header())

    def take(self, file: File, data: bytes) -> bool:
        """Take the whole lines of what was read where the file stands; whether there was any. Raises Stopped."""
        base = end = file.at
        begin = self._skipped(file, data) if self._skipping else 0
        more = True
        while more:
            filled, at, line, reason = self._rows.parse(data, begin, self._bytes, 0, base, file.line)
            more, begin = at > begin, at
            file.at, file.line = base + at, line
            if filled:
                self._emit(file, filled)
            if reason:
                began = data.rfind(b"\n", 0, at - 1) + 1
                if self._is_header(data[began : at - 1]):
                    file.header_at = base + began
                else:
                    self.reject(reason, f"{file.path}:{line - 1}")
        if len(data) - begin > MAX_LINE + 1 and not self._skipping:
            self.reject("long", f"{file.path}:{file.line}")
            self._skipping, file.at = True, base + len(data)
        self.bytes += file.at - end
        return file.at > end

    def _skipped(self, file: File, data: bytes) -> int:
        """Pass over the rest of a line that is too long; where the next one begins in the data."""
        end = data.find(b"\n") + 1
        if end:
            self._skipping, file.line = False, file.line + 1
        file.at += end or len(data)
        return end or len(data)

    def _is_header(self, line: bytes) -> bool:
        """Whether a line names the columns; then they come in its order from here on."""
        cells = line.decode("utf-8", "replace").removeprefix("\ufeff").split(",")
        names = tuple(cell.strip().strip('"') for cell in cells)
        if len(line) > MAX_LINE or len(names) > MAX_COLUMNS or not set(self._columns.targets) <= set(names):
            return False
        if len(set(names)) == len(names):
            self._rows = self._planned(names)
        return True

    def reject(self, reason: str, where: str) -> None:
        """Count what is refused, and tell of the first few."""
        self._intake.reject(reason)
        self.rejected[reason] += 1
        told = self.rejected.total()
        if told <= TOLD:
            self._say(f"{where}: refused: {MEANINGS[reason].format(columns=len(self._columns.names))}")
        if told == TOLD:
            self._say("further refusals are counted, and not told one by one")

    def _emit(self, file: File, count: int) -> None:
        records = self._records[:count]
        self._columns.complete(records)
        records["csv_head"], records["csv_mark"] = file.remember()
        records["csv_header"] = file.header_at
        done, waited = 0, 0.0
        while done < count:
            if room := self._room():
                accepted = self._producer.emit_many(records[done : done + room])
                self._intake.take(accepted)
                done, waited = done + accepted, 0.0
                self.rows += accepted
                continue
            if self._stop(WAIT):
                raise Stopped
            waited = self._look(waited, time.monotonic())

    def _room(self) -> int:
        """Records that fit into the ring now: a wait is ours, so that it can be ended."""
        segment = self._producer.segment
        if segment is None:
            raise ShmtelError("there is no ring: SHMTEL_DISABLED is set, or /dev/shm has no room")
        load, header = segment.mapping.load, segment.header
        read = load(header.reader_offset + layout.READ_POSITION)
        return int(header.capacity - (load(header.producer_offset + layout.WRITE_POSITION) - read) % 2**64)

    def _look(self, since: float, now: float) -> float:
        """Why is the ring full? since: when that began, 0 for just now."""
        if not since or now - since < PATIENCE:
            return since or now
        if not has_reader(self._namespace):
            self._say(f"the ring is full: waiting for a reader, such as shmtel reader --namespace {self._namespace}")
        return float("inf")


MEANINGS: Final = {
    "columns": "not {columns} columns",
    "number": "a column that is no number",
    "negative": "a negative number where there can be none",
    "range": "a number that is too large",
    "length": "a text that is too long",
    "utf8": "a text that is no UTF-8",
    "nul": "a NUL byte",
    "quote": "a quote that does not end, or text behind it",
    "long": f"a line of more than {MAX_LINE:,} bytes",
    "unfinished": "the file ends in the middle of a line",
    "gzip": "the rest of a damaged gzip file",
}
assert CHUNK > MAX_LINE
