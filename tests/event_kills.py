"""kill -9 of services that store events, at random moments under load; afterwards each event is stored once."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random

from shmtelemetry import Producer, Reader
from shmtelemetry.segment import Segment, segment_names
from shmtelemetry.service.events import EventStore
from tests.processes import child, wait_until
from tests.reading import Talker, read_position, talker, the_segment
from tests.stepping import lines_until_end
from tests.trades import TRADE, dictionary, emit_trades, stored_trades, traded, trades

SHORT = 20  # trades of a producer that ends at once


def serve_until_killed(namespace: str, path: Path) -> None:
    """What a service's process does, as far as events go."""
    with Reader(namespace, events=EventStore(path)) as reader:
        reader.start()
        while True:
            signal.pause()


def emit_in_short_lives(namespace: str, asked: Callable[[], bool]) -> int:
    """One producer after the other, each with a few trades; returns how many trades."""
    count = 0
    while not asked():
        with Producer("short", TRADE, namespace, capacity=64) as ring:
            assert ring.emit_many(trades(count, SHORT)) == SHORT
            count += SHORT
        wait_until(lambda: len(list(segment_names(namespace, "short"))) < 20, "there is room for more")
    return count


def kill_services(namespace: str, path: Path, kills: int, chance: Random, start: int = 0) -> int:
    """Each service is killed after a random number of records, from none on; returns how many trades were stored."""
    with ExitStack() as producing:
        engine: Talker = producing.enter_context(talker(partial(emit_trades, namespace, start=start)))
        segment = the_segment(namespace)
        short: Talker = producing.enter_context(talker(partial(emit_in_short_lives, namespace)))
        for _ in range(kills):
            _kill_after(chance.choice((0, 1, 100, 2_000, 10_000)) * chance.random(), segment, namespace, path)
        with Reader(namespace, ephemeral=True, events=EventStore(path)) as last:
            last.start()
            counts = {"engine": engine.finish(), "short": short.finish()}
            assert last.settle(60.0)
            last.stop()
            assert_all_stored(last, path, counts)
        segment.close()
        return sum(counts.values())


def _kill_after(records: float, segment: Segment, namespace: str, path: Path) -> None:
    """Start a service, and kill it when so many more records of the segment are given back."""
    begin = read_position(segment)
    with child(partial(serve_until_killed, namespace, path)):
        wait_until(lambda: (read_position(segment) - begin) % 2**64 >= records, "the service has come that far")


def assert_all_stored(reader: Reader, path: Path, counts: dict[str, int]) -> None:
    snapshot = reader.snapshot()
    for name, count in counts.items():
        found = stored_trades(path, name)
        if name == "short":  # several of that name may wait at once
            found.sort(key=lambda trade: int(trade["trade_id"]))
        assert found == [dictionary(number) for number in range(count)]
        assert snapshot.producers[name].consumed == snapshot.producers[name].attempted == count
        assert snapshot.producers[name].holds
    figures = [snapshot.value(f"shmtel_events{what}") for what in ("_total", "_let_go_total", "_waiting")]
    assert figures == [sum(counts.values()), 0, 0]
    assert sum(snapshot.families["traded_total"].values) == sum(traded(0, count) for count in counts.values())


def kill_greedy_services(namespace: str, path: Path, kills: int, chance: Random) -> tuple[int, int]:
    """The same with a producer that waits for nobody; returns how many events were stored, and let go of."""

    def emit(asked: Callable[[], bool]) -> int:
        count = 0
        with Producer("engine", TRADE, namespace, capacity=4096, policy="block", timeout=None) as ring:
            while not asked():
                assert ring.emit_many(trades(count, 1000)) == 1000
                count += 1000
        return count

    with talker(emit) as engine:
        segment = the_segment(namespace)
        for _ in range(kills):
            _kill_after(chance.randrange(1, 50_000), segment, namespace, path)
        with Reader(namespace, ephemeral=True, events=EventStore(path)) as last:
            last.start()
            count = engine.finish()
            assert last.settle(60.0)
            last.stop()
            snapshot = last.snapshot()
            assert sum(snapshot.families["traded_total"].values) == traded(0, count)
            stored, let_go = snapshot.value("shmtel_events_total"), snapshot.value("shmtel_events_let_go_total")
        segment.close()
    assert stored + let_go == count
    found = [trade["trade_id"] for trade in stored_trades(path)]
    assert len(found) == stored
    assert found == sorted(set(found))
    return int(stored), int(let_go)


class EventWitness:
    """Producers of trades, and what has to be stored of them."""

    def __init__(self, namespace: str, path: Path) -> None:
        self.namespace, self.path = namespace, path
        self.ring = Producer("engine", TRADE, namespace, capacity=64)
        self.counts = Counter[str]()

    def emit(self) -> None:
        """Some trades, and one producer that has ended before its reader sees it."""
        assert self.ring.emit_many(trades(self.counts["engine"], 10)) == 10
        self.counts["engine"] += 10
        with Producer("short", TRADE, self.namespace, capacity=64) as ring:
            assert ring.emit_many(trades(self.counts["short"], SHORT)) == SHORT
        self.counts["short"] += SHORT

    def service(self) -> None:
        """One that comes and goes."""
        with Reader(self.namespace, events=EventStore(self.path)) as reader:
            reader.poll()

    def check(self) -> None:
        with Reader(self.namespace, events=EventStore(self.path)) as reader:
            reader.poll()
            assert_all_stored(reader, self.path, self.counts)
        assert self.ring.stats().in_ring == 0
        assert len(list(segment_names(self.namespace))) == 1

    def close(self) -> None:
        self.ring.close()
        Reader(self.namespace, ephemeral=True).close()


def kill_service_at_line(made: EventWitness, bound: int | None, module: str) -> int:
    """One round in which the service is killed at a line of its Python; returns how many it made."""
    made.emit()
    lines = lines_until_end(made.service, module, bound)
    made.check()
    return lines


def integrity(path: Path) -> str:
    """What SQLite says of a database."""
    with sqlite3.connect(path) as database:
        said: str = database.execute("PRAGMA integrity_check").fetchone()[0]
    database.close()
    return said
