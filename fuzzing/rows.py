"""Coverage-guided fuzzing of CSV: an input is a file, how it grows, and whether its ingester starts again meanwhile.

Wanted: each line is taken once, or refused once with a reason, or is blank or a header; it is taken if, and as what,
Python reads it below its header. A damaged gzip file is one clear error.
"""

import contextlib
import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import atheris
import numpy as np
from harness import NAMESPACE, File, fuzz

with atheris.instrument_imports(include=["shmtelemetry.sources"]):
    from shmtelemetry import Consumer, Producer, Telemetry
    from shmtelemetry.errors import ShmtelError
    from shmtelemetry.sources.csv import _rows, feed, files, place
    from shmtelemetry.sources.csv.columns import LABEL_BYTES, PLACE, Columns, read_columns, telemetry_log
    from shmtelemetry.sources.intake import Intake

MAP = b"""
columns.at = {role = "time", unit = "ms"}
columns.symbol = {role = "label"}
columns.fills = {role = "counter"}
columns.position = {role = "gauge"}
columns.note = {role = "ignore"}
"""
NUMBERS = {
    "unsigned": re.compile(r"[0-9]+"),
    "time": re.compile(r"[0-9]+(\.[0-9]+)?"),
    "real": re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.I),
}
NUMBERS["amount"] = NUMBERS["real"]
LONGEST = 200  # bytes of a line, instead of 64 KiB
GZIP = b"\x1f\x8b"

_rows.MAX_LINE = feed.MAX_LINE = LONGEST
feed.BATCH, feed.TOLD = 4, 1 << 20


def cells(line: bytes) -> list[str]:
    """Each byte as a character. Raises csv.Error."""
    text = line.decode("latin-1").replace("\r", "\v")  # which ends no line for the module csv
    return next(csv.reader([text], strict=True))


def value(cell: str, kind: str, decimals: int) -> bytes | float:
    """Raises ValueError."""
    if kind == "text":
        text = cell.encode("latin-1")
        text.decode()
        if len(text) > LABEL_BYTES:
            raise ValueError("a long text")
        return text
    cell = cell.strip(" \t")
    if not NUMBERS[kind].fullmatch(cell):
        raise ValueError("no number")
    if kind in ("unsigned", "time"):
        number = int(Fraction(cell) * 10**decimals)
        if number >= 2**64:
            raise ValueError("a large number")
        return number
    real = float(cell)
    if len(cell) > 64 or np.isinf(real) or (kind == "amount" and real < 0):
        raise ValueError("no such number")
    return real


class Log:
    """A file with some columns, and who follows it."""

    def __init__(self, name: str, columns: Columns) -> None:
        self.file, self.columns = File(), columns
        self.producer = Producer(name, columns.schema, NAMESPACE, capacity=8)
        self.consumer = Consumer(name, NAMESPACE)
        self.telemetry = Telemetry(f"{name}-intake", NAMESPACE, capacity=8)

    def take(self, pieces: list[bytes], restarts: bool) -> None:
        """Let the file grow by pieces, and follow it: in one run, or in one for each."""
        self.records: list[np.void] = []
        self.refused: Counter[int] = Counter()  # times, by the line's number
        self.file.write(b"")
        for at, piece in enumerate(pieces):
            self.file.append(piece)
            if at == 0 or restarts:
                run = self.run()
            run.send(None)

    def run(self) -> Iterator[None]:
        """One run, which goes on where the last record stands."""
        with files.File(self.file.path) as file:
            intake = Intake(self.telemetry, "csv")
            fed = feed.Feed(self.columns, self.producer, intake, 0, self.drain, self.say)
            if self.records:
                last = place.Place(*(int(self.records[-1][name]) for name, _ in PLACE))
                file.go_to(last.offset, last.line + 1, last.header)
            fed.begin(file)
            while True:
                while fed.take(file, file.read(file.at)):
                    self.drain()
                yield

    def drain(self, _: float = 0.0) -> bool:
        self.records.extend(self.consumer.read())
        return False

    def say(self, line: str) -> None:
        self.refused[int(line.removeprefix(f"{self.file.path}:").partition(":")[0])] += 1

    def check(self, text: bytes, restarts: bool) -> None:
        """Each line is where it belongs."""
        taken = {int(record["csv_line"]): record for record in self.records}
        assert len(taken) == len(self.records)
        assert restarts or set(self.refused.values()) <= {1}
        names, end = self.columns.names, 0
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            end += len(line) + 1
            line = line.removesuffix(b"\r")
            said = self.said(line, names)
            if number in taken:
                assert taken[number]["csv_offset"] == end
                assert said == {own: taken[number][own] for _, own, _ in self.columns.targets.values()}
            elif number in self.refused:
                assert said is None
            elif line:
                names = self.renamed(line, names)

    def said(self, line: bytes, names: tuple[str, ...]) -> dict[str, bytes | float] | None:
        """What Python reads in a line: field → value; None for a line that is to be refused."""
        try:
            found = cells(line)
            if len(found) != len(names) or len(line) > LONGEST or b"\0" in line:
                return None
            of = {name: cell for name, cell in zip(names, found, strict=True) if name in self.columns.targets}
            return {
                own: value(of[name], kind, decimals) for name, (kind, own, decimals) in self.columns.targets.items()
            }
        except (csv.Error, ValueError):
            return None

    def renamed(self, line: bytes, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of the columns below a header."""
        found = tuple(cell.strip().strip('"') for cell in line.decode("utf-8", "replace").lstrip("\ufeff").split(","))
        assert self.columns.targets.keys() <= set(found)
        return found if len(set(found)) == len(found) else names


LOGS = (
    Log("log", telemetry_log("engine", "desk", "multicast")),
    Log("own", read_columns(File().write(MAP))),
)


def take(stored: bytes) -> None:
    data = atheris.FuzzedDataProvider(stored)
    log, restarts = LOGS[data.ConsumeIntInRange(0, 1)], data.ConsumeBool()
    ends = sorted(data.ConsumeIntInRange(0, 1023) for _ in range(data.ConsumeIntInRange(0, 3)))
    text = data.ConsumeBytes(len(stored))
    pieces = [text[begin:end] for begin, end in itertools.pairwise([0, *ends, len(text)])]
    if text.startswith(GZIP):
        with contextlib.suppress(ShmtelError):
            log.take([text], restarts)
    else:
        log.take(pieces, restarts)
        log.check(text, restarts)


fuzz(take)
