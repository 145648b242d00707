"""Looking for events."""

from collections.abc import Mapping
from sqlite3 import Connection
from typing import Any, Final

from ...schema import Schema
from .blocks import runs_between
from .tables import EventTable

MOST: Final = 10_000  # events at once
MOST_IDS: Final = 2**63 - 1


def newest_events(
    database: Connection, schema: Schema, filters: Mapping[str, Any], before: int | None, limit: int
) -> list[dict[str, Any]]:
    """As History.events."""
    if not 0 < limit <= MOST:
        raise ValueError(f"limit {limit!r}: expected 1 to {MOST:,}")
    found = database.execute("SELECT id FROM event_schema WHERE json = ?", (schema.to_json(),)).fetchone()
    table = EventTable(found[0] if found is not None else 0, schema)
    conditions, parameters = table.conditions(filters)
    if found is None:
        return []
    below = MOST_IDS if before is None else before
    conditions += [f"{table.name}.id >= ?", f"{table.name}.id <= ?"]
    query = f"{table.selection} WHERE {' AND '.join(conditions)} ORDER BY {table.name}.id DESC LIMIT ?"
    times = table.time_bounds(filters)
    rows: list[tuple[Any, ...]] = []
    for first, last in [(0, MOST_IDS)] if times is None else runs_between(database, found[0], *times):
        if first < below and len(rows) < limit:
            rows += database.execute(query, (*parameters, first, min(last, below - 1), limit - len(rows)))
    return table.dictionaries(rows)
