"""How many events are kept, and how those of some time are found among them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Reader, Schema, field
from shmtelemetry.events import Batch, Ring
from shmtelemetry.service.events import EventStore
from shmtelemetry.service.events.blocks import BLOCK_BITS
from shmtelemetry.service.events.reading import newest_events
from shmtelemetry.service.events.tables import EventTable
from shmtelemetry.service.history import History, HistoryWriter, Retention
from tests.trades import TRADE, stored_trades, trades

BLOCK = 1 << BLOCK_BITS
RING = Ring(b"u" * 16, "engine", TRADE, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.sqlite"


class Clock:
    """The time of day, as a test says it is."""

    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.time", made)
    return made


def used(path: Path) -> int:
    """Bytes of the database that are not free."""
    with sqlite3.connect(path) as database:
        size, pages, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
    database.close()
    return int((pages - free) * size)


def store_many(store: EventStore, begin: int, end: int, batch: int = 1000) -> None:
    for first in range(begin, end, batch):
        store.store([Batch(RING, first, 0, trades(first, batch))])


def test_old_events_go_and_their_ids_do_not_come_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shmtelemetry.service.events.store.PRUNE_PERIOD", -1.0)
    monkeypatch.setattr("shmtelemetry.service.events.store.PRUNED", 0)
    now = 1e9
    monkeypatch.setattr("time.time", lambda: now)
    store = EventStore(path, keep=100.0)
    ended, ring = Ring(b"e" * 16, "ended", TRADE, 0), Ring(b"u" * 16, "engine", TRADE, 0)
    store.store([Batch(ended, 0, 0, trades(0, 10))])
    store.position(ring)
    for begin in range(0, 40, 10):
        now += 50.0
        store.store([Batch(ring, begin, 0, trades(begin, 10))])
    for _ in range(10):
        store.store([])
    store.close()
    assert [trade["trade_id"] for trade in stored_trades(path)] == list(range(10, 40))
    assert not stored_trades(path, "ended")
    with History(path) as history:
        assert [event["_id"] for event in history.events(TRADE)] == list(range(50, 20, -1))


def test_old_events_go_as_fast_as_new_ones_come(path: Path, clock: Clock) -> None:
    store = EventStore(path, keep=100.0)
    store_many(store, 0, 60_000)
    clock.now += 101.0
    for begin in range(60_000, 100_000, 1000):  # many more than could go in one transaction, within one second
        store_many(store, begin, begin + 1000)
    store.close()
    assert [trade["trade_id"] for trade in stored_trades(path)] == list(range(60_000, 100_000))


def test_events_have_a_bound_of_size_and_the_oldest_go_first(path: Path, clock: Clock) -> None:
    store = EventStore(path, size=1_000_000)
    for begin in range(0, 60_000, 1000):
        clock.now += 1.0
        store_many(store, begin, begin + 1000)
    store.close()
    numbers = [trade["trade_id"] for trade in stored_trades(path)]
    assert numbers == list(range(60_000 - len(numbers), 60_000))
    assert 300_000 < used(path) < 1_100_000
    with History(path) as history:
        assert history.events(TRADE, limit=1)[0]["_id"] == 60_000


def test_the_schema_with_the_oldest_events_gives_way(path: Path, clock: Clock) -> None:
    other = Schema([("n", "<u8"), ("text", "S64")], {"n": field("counter", name="n_total")}, events=True)
    store, quiet = EventStore(path, size=400_000), Ring(b"q" * 16, "quiet", other, 0)
    store.store([Batch(quiet, 0, 0, np.zeros(2000, other.dtype))])
    for begin in range(0, 20_000, 1000):
        clock.now += 1.0
        store_many(store, begin, begin + 1000)
    store.close()
    with History(path) as history:
        assert history.events(other) == []
        assert len(history.events(TRADE, limit=10_000)) > 1000


def test_what_an_event_takes_is_not_taken_for_less(path: Path) -> None:
    store = EventStore(path)
    store.store([])
    empty = used(path)
    store_many(store, 0, 50_000)
    store.close()
    guess = EventTable(0, TRADE).event_bytes * 50_000
    assert used(path) - empty <= guess <= 2.5 * (used(path) - empty)


def test_many_events_cost_history_no_second(namespace: str, path: Path) -> None:
    begin = 1_700_000_040
    store = EventStore(path)
    store_many(store, 0, 50_000)
    store.close()
    assert used(path) > 3_000_000
    with (
        Reader(namespace, ephemeral=True) as reader,
        HistoryWriter(path, namespace, Retention(size=2_000_000)) as writer,
        History(path) as history,
    ):
        for second in range(0, 3600, 20):
            reader.poll()
            writer.record(reader.snapshot(), begin + second)
        assert history.range("shmtel_series", {}, begin, begin, 1) == [(begin, 1.0)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Ten blocks of events, nearly in the order of their times; in the last block there is one very old."""
    path = tmp_path_factory.mktemp("mixed") / "events.sqlite"
    store = EventStore(path)
    for begin in range(0, 10 * BLOCK, 1000):
        records = trades(begin, 1000)
        records["ts"] = (np.arange(begin, begin + 1000) ^ 0x3F) + 10_000
        if begin == 40_000:
            records["ts"][7] = 5
        store.store([Batch(RING, begin, 0, records)])
    store.close()
    with History(path) as opened:
        yield opened


def test_events_of_some_time_are_found_wherever_they_are(mixed: History) -> None:
    def numbers(low: int | None, high: int | None, before: int | None = None, limit: int = 10_000) -> list[int]:
        found = mixed.events(TRADE, filters={"ts": (low, high)}, before=before, limit=limit)
        return [event["trade_id"] for event in found]

    assert numbers(None, 10_009) == [40_007, *sorted((n ^ 0x3F for n in range(10)), reverse=True)]
    assert numbers(12_000, 12_999) == sorted((n ^ 0x3F for n in range(2000, 3000)), reverse=True)
    assert numbers(12_000, 12_999, limit=7) == numbers(12_000, 12_999)[:7]
    assert numbers(12_000, 12_999, before=2500) == [n for n in numbers(12_000, 12_999) if n + 1 < 2500]
    assert numbers(6, 9_999) == numbers(2**62, None) == numbers(None, 4) == []
    assert numbers(None, None, limit=3) == numbers(0, None, limit=3) == [40_999, 40_998, 40_997]


def test_a_search_by_time_does_not_look_at_all_events(mixed: History) -> None:
    def steps(name: str, wanted: object) -> int:
        """Of SQLite's machine, in hundreds."""
        looked: list[int] = []
        with mixed._database.reading() as database:
            database.set_progress_handler(lambda: looked.append(1), 100)
            newest_events(database, TRADE, {name: wanted}, None, 5)
        return len(looked)

    everything = steps("price", -1.0)
    for times in ((None, 10_005), (50_000, None), (6, 9_999)):
        assert steps("ts", times) < everything / 3
