"""Records as rows, for people and for programs: field → value, and of instruments what their series number means."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click
import numpy as np

from .. import layout
from .._clock import epoch_anchor, tick_length
from ..aggregate.view import decode_labels
from ..errors import SegmentError
from ..following import Records
from ..metric import Metric
from ..schema import SAMPLE
from ..segment import Segment

Row = dict[str, Any]

SAMPLE_FIELDS: Final = ("time_ns", "metric", "labels", "value")


class Rows:
    """Makes rows of the records of segments.

    filters: (field, value) that a row must have, all of them. A field of an instrument's row is also a label's name.
    """

    def __init__(self, filters: Sequence[tuple[str, str]] = ()) -> None:
        self._filters = filters
        self._catalogues: dict[bytes, _Catalogue] = {}

    def of(self, segment: Segment, records: Records) -> Iterator[Row]:
        """Raises click.UsageError for a filter by a field that is not there, SegmentError for a catalogue that lies."""
        if has_instruments(segment):
            uuid = segment.header.uuid
            if uuid not in self._catalogues:
                self._catalogues[uuid] = _Catalogue(segment)
            return filter(self._passes, self._catalogues[uuid].rows(records))
        names = segment.schema.dtype.names or ()
        for field, _ in self._filters:
            if field not in names:
                raise click.UsageError(f"--filter: no field {field!r}, expected one of {', '.join(names)}")
        return filter(self._passes, _field_rows(segment, records))

    def _passes(self, row: Row) -> bool:
        return all(_equals(row.get(field, row.get("labels", {}).get(field)), said) for field, said in self._filters)


def has_instruments(segment: Segment) -> bool:
    return bool(segment.header.flags & layout.FLAG_INSTRUMENTS)


def columns(segment: Segment) -> tuple[str, ...]:
    """The fields of a segment's rows."""
    return SAMPLE_FIELDS if has_instruments(segment) else tuple(segment.schema.dtype.names or ())


def _equals(value: object, said: str) -> bool:
    if isinstance(value, int | float):
        try:
            return value == float(said)
        except ValueError:
            return False
    return value == said


def _field_rows(segment: Segment, records: Records) -> Iterator[Row]:
    names = segment.schema.dtype.names or ()
    shown = [_values(records[name], _meaning(segment, name)) for name in names]
    return (dict(zip(names, values, strict=True)) for values in zip(*shown, strict=True))


def _meaning(segment: Segment, name: str) -> Mapping[int, str]:
    role = segment.schema.roles.get(name)
    return (role.values if role else None) or {}


def _values(column: np.ndarray, meaning: Mapping[int, str]) -> list[Any]:
    """Python's own types, as JSON has them."""
    kind = column.dtype.kind
    if kind == "S":
        return [value.decode("utf-8", "backslashreplace") for value in column.tolist()]
    if kind in "mM":
        return list(column.astype(str).tolist())
    values = column.astype("f8").tolist() if kind == "f" else column.tolist()
    return [meaning.get(value, value) for value in values] if meaning else list(values)


class _Catalogue:
    """What the series numbers of one segment of instruments mean."""

    def __init__(self, segment: Segment) -> None:
        if segment.schema.dtype != SAMPLE:
            raise SegmentError(f"{segment.name}: instruments with records of {segment.schema.dtype}")
        self._segment = segment
        self._learned = 0  # bytes
        self._metrics: list[Metric] = []
        self._series: list[tuple[str, dict[str, str]]] = []

    def rows(self, records: Records) -> Iterator[Row]:
        self._learn()
        to_ns = _to_ns(self._segment.header.clock)
        for ticks, number, _, value in records.tolist():
            metric, labels = self._series[number] if number < len(self._series) else (f"series {number}", {})
            yield {"time_ns": to_ns(ticks), "metric": metric, "labels": labels, "value": value}

    def _learn(self) -> None:
        stored = self._segment.catalogue(self._learned)
        at, head = 0, layout.CATALOGUE_RECORD.size
        try:
            while at < len(stored):
                kind, _, length = layout.CATALOGUE_RECORD.unpack_from(stored, at)
                self._take(kind, stored[at + head : at + head + length])
                at += head + length
        except Exception as error:  # whatever a catalogue that lies leads to
            raise SegmentError(f"{self._segment.name}: a catalogue that cannot be: {error}") from error
        self._learned += at

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == layout.KIND_METRIC:
            self._metrics.append(Metric.from_json(payload.rstrip(b"\0")))
        elif kind == layout.KIND_SERIES:
            number, count = layout.SERIES_METRIC.unpack_from(payload, layout.CELL_SIZE)
            values = decode_labels(payload[layout.CELL_SIZE + layout.SERIES_METRIC.size :], count)
            metric = self._metrics[number]
            self._series.append((metric.name, dict(zip(metric.labels, values, strict=True))))


def _to_ns(clock: int) -> Callable[[int], int]:
    """Ticks of a clock → nanoseconds since the epoch."""
    tick_ns = tick_length(clock) * 1e9
    ticks, ns = epoch_anchor(clock)
    return lambda then: ns + round((then - ticks) * tick_ns)


def to_json(row: Row) -> str:
    """One line of JSON; numbers that it has none of are texts."""
    return json.dumps({name: _finite(value) for name, value in row.items()}, allow_nan=False)


def _finite(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def to_line(row: Row) -> str:
    """One line for people, whatever the values contain."""
    if "labels" not in row or "time_ns" not in row:
        return " ".join(f"{name}={printable(str(value))}" for name, value in row.items())
    labels = ",".join(f'{name}="{printable(value)}"' for name, value in row["labels"].items())
    series = f"{printable(row['metric'])}{{{labels}}}" if labels else printable(row["metric"])
    return f"{_moment(row['time_ns'])} {series} {row['value']!r}"


def _moment(time_ns: int) -> str:
    """ISO 8601 with nanoseconds, UTC; what no calendar has stays a number."""
    seconds, rest = divmod(time_ns, 10**9)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
    except (ValueError, OverflowError, OSError):
        return f"{time_ns}ns"


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or begin a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
