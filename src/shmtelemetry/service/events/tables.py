"""How records of a schema become rows of a table, and rows become dictionaries.

Names of fields come from outside, so columns are numbered. SQLite's integers are signed and of 64 bits: a larger u8 is
stored as the negative number of the same bits. Strings are stored as the bytes that they are in the record.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...schema import Role, Schema

MOST_FIELDS: Final = 1000  # SQLite has at most 2000 columns
MOST_INDEXES: Final = 8
WIDE: Final = f"utf-32-{sys.byteorder[0]}e"  # how numpy stores U

Rows = Iterator[tuple[Any, ...]]
Read = Callable[[Any], Any]


class EventTable:
    """The table of one schema. number: of the schema in the database. Raises ValueError for one without a table."""

    def __init__(self, number: int, schema: Schema) -> None:
        self.name = f"events_{number}"
        self.schema = schema
        self._fields = [(name, item) for name, item, _ in schema.fields()]
        if len(self._fields) > MOST_FIELDS:
            raise ValueError(f"records of {len(self._fields):,} fields: expected at most {MOST_FIELDS:,}")
        self._time = next((name for name, role in schema.roles.items() if role.role == "time"), None)
        self._columns = {name: f"f{at}" for at, (name, _) in enumerate(self._fields)}

    @property
    def creation(self) -> list[str]:
        """The statements that make it."""
        columns = "".join(f", {column}" for column in self._columns.values())
        indexed = [self._columns[name] for name, _ in self._indexed]
        return [
            f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY, ring INTEGER, stored INTEGER{columns})",
            *(f"CREATE INDEX {self.name}_{column} ON {self.name} ({column})" for column in indexed),
        ]

    @property
    def _indexed(self) -> list[tuple[str, np.dtype[Any]]]:
        return [(name, item) for name, item in self._fields if _is_looked_for(item, self.schema.roles.get(name))]

    @property
    def event_bytes(self) -> int:
        """How much of the file an event takes at most, or nearly so: its values as long as they may be, a byte for
        the type of each, its keys, and pages of indexes that are three quarters full."""
        row = self.schema.dtype.itemsize + len(self._fields) + 20
        return row + sum((item.itemsize + 12) * 4 // 3 for _, item in self._indexed)

    @property
    def insertion(self) -> str:
        return f"INSERT INTO {self.name} VALUES ({', '.join('?' * (3 + len(self._fields)))})"

    def rows(self, records: npt.NDArray[np.void], first: int, ring: int, now: int) -> Rows:
        """Parameters of the insertion: ids from `first` on."""
        columns = [_stored(records[name], item) for name, item in self._fields]
        count = len(records)
        return zip(range(first, first + count), [ring] * count, [now] * count, *columns, strict=True)

    def times(self, records: npt.NDArray[np.void]) -> list[int]:
        """Of records, as they are stored; none of a schema without times."""
        return [] if self._time is None else _stored(records[self._time], self.schema.dtype[self._time])

    def time_bounds(self, filters: Mapping[str, Any]) -> tuple[int, int] | None:
        """Between which times events have to be, as they are stored; filters: that were checked."""
        wanted = None if self._time is None else filters.get(self._time)
        if self._time is None or wanted is None:
            return None
        bounds = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        low, high = (None if bound is None else self._parameter(self._time, bound) for bound in bounds)
        return -(2**63) if low is None else low, 2**63 - 1 if high is None else high

    def conditions(self, filters: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
        """SQL and its parameters. Raises ValueError for a field that is not there, or a value that it cannot have."""
        found, parameters = list[str](), list[Any]()
        for name, wanted in filters.items():
            column = self._columns.get(name)
            if column is None:
                raise ValueError(f"no field {name!r}: expected one of {', '.join(self._columns)}")
            if isinstance(wanted, tuple):
                low, high = wanted
                bounds = [(sign, bound) for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
            else:
                bounds = [("=", wanted)]
            for sign, bound in bounds:
                found.append(f"{column} {sign} ?")
                parameters.append(self._parameter(name, bound))
        return found, parameters

    def _parameter(self, name: str, value: Any) -> Any:
        item, role = self.schema.dtype[name], self.schema.roles.get(name)
        if isinstance(value, str) and role is not None and role.values:
            value = next((number for number, text in role.values.items() if text == value), value)
        try:
            if item.kind in "SU":
                encoded = value if isinstance(value, bytes) else value.encode("utf-8" if item.kind == "S" else WIDE)
                return encoded.rstrip(b"\0")
            if item.kind == "f":
                return float(np.array(value, item))
            return _stored(np.array([int(value)], item), item)[0]
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise ValueError(f"{name} = {value!r}: expected a value of type {item}") from None

    def dictionaries(self, rows: Iterable[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """Of rows (id, producer, one value a field)."""
        reads = [(name, _reading(item, self.schema.roles.get(name))) for name, item in self._fields]
        return [
            {"_id": number, "_producer": producer}
            | {name: read(value) for (name, read), value in zip(reads, values, strict=True)}
            for number, producer, *values in rows
        ]

    @property
    def selection(self) -> str:
        columns = ", ".join(("producer", *self._columns.values()))
        return f"SELECT {self.name}.id, {columns} FROM {self.name} LEFT JOIN event_ring ON event_ring.id = ring"


def _is_looked_for(item: np.dtype[Any], role: Role | None) -> bool:
    """Whether few rows have the same value, and somebody may want them: an index costs a tenth of the store's speed."""
    return role is not None and role.role in ("label", "attribute") and not role.values and item.kind in "SUiu"


def _stored(values: npt.NDArray[Any], item: np.dtype[Any]) -> list[Any]:
    if item.kind in "Mm" or (item.kind == "u" and item.itemsize == 8):
        values = np.ascontiguousarray(values).view(np.int64)
    elif item.kind == "f":
        values = values.astype(np.float64)
    elif item.kind == "U":
        values = np.ascontiguousarray(values).view(f"S{item.itemsize}")
    found: list[Any] = values.tolist()
    return found


def _reading(item: np.dtype[Any], role: Role | None) -> Read:
    """What makes of a stored value the one that is shown."""
    names = role.values if role is not None else None
    if names:
        return lambda stored: names.get(_unsigned(stored) if item.kind == "u" else int(stored), str(stored))
    return _READINGS[item.kind]


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def _wide_text(stored: bytes) -> str:
    return (stored + bytes(-len(stored) % 4)).decode(WIDE, "replace")


def _unsigned(stored: int) -> int:
    return stored % 2**64


def _number(stored: float | None) -> float:
    return math.nan if stored is None else stored  # SQLite has no NaN


_READINGS: Final[dict[str, Read]] = {
    "b": bool, "u": _unsigned, "i": int, "f": _number, "S": _text, "U": _wide_text, "M": int, "m": int,
}  # fmt: skip
