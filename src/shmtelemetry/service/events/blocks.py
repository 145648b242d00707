"""Blocks of events: between which times those with neighbouring ids are, so that a search by time skips all others.

Events are in the order in which they were stored, which is nearly that of their times. An index of times would give
them in their own order, and the newest ids among very many would have to be sorted out.
"""

from collections.abc import Iterator, Sequence
from sqlite3 import Connection
from typing import Final

BLOCK_BITS: Final = 12


def note_times(database: Connection, schema: int, first: int, times: Sequence[int]) -> None:
    """That the events from an id on have these times."""
    size, at = 1 << BLOCK_BITS, 0
    while at < len(times):
        block = (first + at) >> BLOCK_BITS
        part = times[at : ((block + 1) * size) - first]
        database.execute(
            "INSERT INTO event_block VALUES (?, ?, ?, ?) ON CONFLICT (schema, block) DO UPDATE SET"
            " earliest = min(earliest, excluded.earliest), latest = max(latest, excluded.latest)",
            (schema, block, min(part), max(part)),
        )
        at += len(part)


def forget_before(database: Connection, schema: int, oldest: int) -> None:
    """Blocks in which no id is any more; oldest: the smallest that there is."""
    database.execute("DELETE FROM event_block WHERE schema = ? AND block < ?", (schema, oldest >> BLOCK_BITS))


def runs_between(database: Connection, schema: int, low: int, high: int) -> Iterator[tuple[int, int]]:
    """(first, last) ids between which events with times from `low` to `high` may be, the newest first."""
    blocks = database.execute(
        "SELECT block FROM event_block WHERE schema = ? AND latest >= ? AND earliest <= ? ORDER BY block DESC",
        (schema, low, high),
    )
    first = last = -1
    for (block,) in blocks:
        if block != first - 1:
            if last >= 0:
                yield first << BLOCK_BITS, (last + 1 << BLOCK_BITS) - 1
            last = block
        first = block
    if last >= 0:
        yield first << BLOCK_BITS, (last + 1 << BLOCK_BITS) - 1
