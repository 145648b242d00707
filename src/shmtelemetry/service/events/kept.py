"""Kept: which events of a schema there still are, and how the oldest go."""

from dataclasses import dataclass
from sqlite3 import Connection
from typing import Self

from .blocks import forget_before


@dataclass(frozen=True, slots=True)
class Kept:
    """Events of one schema, which have all ids from `first` to `last`.

    event_bytes: how much of the file one takes, nearly. stored: when the oldest was, in seconds since the epoch.
    """

    schema: int
    event_bytes: int
    first: int
    last: int
    stored: int

    @classmethod
    def all(cls, database: Connection) -> list[Self]:
        """Those that there are events of."""
        found = []
        for schema, event_bytes in database.execute("SELECT id, event_bytes FROM event_schema").fetchall():
            ends = [
                database.execute(f"SELECT id, stored FROM events_{schema} ORDER BY id {order} LIMIT 1").fetchone()
                for order in ("ASC", "DESC")
            ]
            if None not in ends:
                found.append(cls(schema, event_bytes, ends[0][0], ends[1][0], ends[0][1]))
        return found

    @property
    def bytes(self) -> int:
        return self.event_bytes * (self.last + 1 - self.first)

    def let_go(self, database: Connection, count: int, until: float | None = None) -> int:
        """Of the oldest, of those that were stored before a moment; returns how many went."""
        if until is not None and self.stored >= until:
            return 0
        before = "" if until is None else " AND stored < ?"
        gone = database.execute(
            f"DELETE FROM events_{self.schema} WHERE id < ?{before}",
            (self.first + count, *(() if until is None else (until,))),
        ).rowcount
        forget_before(database, self.schema, self.first + gone)
        return gone
