"""EventStore: keeps the records of rings, and how far they go, in one transaction:
a kill repeats none, and loses none."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from ...events import Batch, Ring, Totals
from ...schema import Schema
from ..database import Database
from .blocks import note_times
from .kept import Kept
from .tables import EventTable

KEEP: Final = 30 * 86400.0  # seconds
SIZE: Final = 4 * 2**30  # bytes
PRUNE_PERIOD: Final = 10.0  # seconds between two looks for rings of which nothing is left
PRUNED: Final = 64 * 2**10  # bytes that go at least in one transaction, where there are any to go
FASTER: Final = 2  # times as much goes as comes


class EventStore:
    """An EventSink in the service's database.

    keep: seconds, after which an event goes. size: bytes of all events with their indexes, beyond which the oldest go
    earlier. Raises ValueError for a file that cannot be used; trouble with the disk is raised by what meets it, as a
    sqlite3.Error or an OSError, and `failing` says whether the last ones were not stored.
    """

    def __init__(self, path: Path, keep: float = KEEP, size: int = SIZE) -> None:
        self._database, self._keep, self._size = Database(path), keep, size
        self._seen: set[bytes] = set()  # rings of this run: they are asked for again as long as they are there
        self._pruned = 0.0
        self.failing = False

    def position(self, ring: Ring) -> int:
        EventTable(0, ring.schema)
        self._seen.add(ring.uuid)
        with contextlib.suppress(FileNotFoundError), self._database.reading() as database:
            found = database.execute("SELECT position FROM event_ring WHERE uuid = ?", (ring.uuid,)).fetchone()
            return found[0] % 2**64 if found is not None else ring.start
        return ring.start

    def store(self, batches: Sequence[Batch]) -> None:
        try:
            self._store(batches, time.time())
        except BaseException:
            self.failing = True
            raise
        self.failing = False

    def _store(self, batches: Sequence[Batch], now: float) -> None:
        with self._database.transaction() as database:
            stored = sum(_store(database, batch, now) for batch in batches)
            left = self._prune(database, now - self._keep, max(PRUNED, FASTER * stored))
            if not left and now - self._pruned > PRUNE_PERIOD:
                self._prune_rings(database, now - self._keep)
                self._pruned = now

    def totals(self) -> Totals:
        with contextlib.suppress(FileNotFoundError), self._database.reading() as database:
            found = database.execute("SELECT total(stored), total(let_go) FROM event_schema").fetchone()
            return Totals(*map(int, found))
        return Totals(0, 0)

    def _prune(self, database: Connection, until: float, room: int) -> int:
        """Let go of events that were stored before a moment, or that are too many; returns how many went for their age.

        room: bytes of each schema's events that may go at once, so that nobody waits for long.
        """
        kept = Kept.all(database)
        too_many = sum(one.bytes for one in kept) - self._size
        gone = sum(one.let_go(database, room // one.event_bytes + 1, until) for one in kept)
        if too_many > 0:
            oldest = min(kept, key=lambda one: one.stored)
            oldest.let_go(database, min(room, too_many) // oldest.event_bytes + 1)
        return gone

    def _prune_rings(self, database: Connection, until: float) -> None:
        """Forget rings that are gone, and of which no event is left."""
        old = database.execute("SELECT id, uuid FROM event_ring WHERE changed < ?", (until,)).fetchall()
        gone = [(ring,) for ring, uuid in old if uuid not in self._seen]
        database.executemany("DELETE FROM event_ring WHERE id = ?", gone)

    def close(self) -> None:
        self._database.close()


def _store(database: Connection, batch: Batch, now: float) -> int:
    """Returns how many bytes there are more, nearly."""
    ring, count = batch.ring, len(batch.records)
    number, stored = _schema(database, ring.schema)
    database.execute(
        "INSERT INTO event_ring (uuid, producer, schema, position, let_go) VALUES (?, ?, ?, ?, 0)"
        " ON CONFLICT DO NOTHING",
        (ring.uuid, ring.producer, number, _signed(ring.start)),
    )
    moved = database.execute(
        "UPDATE event_ring SET position = ?, let_go = let_go + ?, changed = ? WHERE uuid = ? AND position = ?"
        " RETURNING id",
        (_signed(batch.end), batch.let_go, now, ring.uuid, _signed(batch.begin)),
    ).fetchone()
    if moved is None:
        raise RuntimeError(f"the database has other events of {ring.producer} already: does another reader write it?")
    database.execute(
        "UPDATE event_schema SET stored = stored + ?, let_go = let_go + ? WHERE id = ?", (count, batch.let_go, number)
    )
    table = EventTable(number, ring.schema)
    database.executemany(table.insertion, table.rows(batch.records, stored + 1, moved[0], int(now)))
    note_times(database, number, stored + 1, table.times(batch.records))
    return count * table.event_bytes


def _schema(database: Connection, schema: Schema) -> tuple[int, int]:
    """Its number, and how many events of it were ever stored: the ids that they have."""
    stored = schema.to_json()
    found = database.execute("SELECT id, stored FROM event_schema WHERE json = ?", (stored,)).fetchone()
    if found is not None:
        return int(found[0]), int(found[1])
    made = database.execute(
        "INSERT INTO event_schema (json, stored, let_go, event_bytes) VALUES (?, 0, 0, ?) RETURNING id",
        (stored, EventTable(0, schema).event_bytes),
    )
    number = int(made.fetchone()[0])
    for statement in EventTable(number, schema).creation:
        database.execute(statement)
    return number, 0


def _signed(position: int) -> int:
    """As SQLite has integers."""
    return position - 2**64 if position >= 2**63 else position
