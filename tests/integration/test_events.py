"""Events: the records themselves, in the service's database."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, field
from shmtelemetry.events import Batch, Ring, Totals
from shmtelemetry.producer import Setup
from shmtelemetry.reader import keeper
from shmtelemetry.segment import segment_names
from shmtelemetry.service.database import APPLICATION, VERSION
from shmtelemetry.service.events import EventStore
from shmtelemetry.service.history import History
from tests.events import Stuck, figures
from tests.peers import with_small_disk
from tests.processes import wait_until
from tests.reading import SHM, read_position, the_segment, write_position
from tests.trades import DTYPE, TRADE, dictionary, stored_trades, traded, trades


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "events.sqlite"


def test_what_was_emitted_is_stored_with_all_its_fields_newest_first(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True, events=EventStore(path)) as reader,
        Producer("engine", TRADE, namespace) as ring,
    ):
        assert ring.emit_many(trades(0, 100)) == 100
        reader.poll()
        assert figures(reader) == (100, 0, 0)
        assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 100)
        assert ring.stats().in_ring == 0
        assert ring.stats().holds
    with History(path) as history:
        found = history.events(TRADE, limit=3)
        assert found == [{"_id": n + 1, "_producer": "engine"} | dictionary(n) for n in (99, 98, 97)]
        assert history.events(TRADE, before=3)[0]["trade_id"] == 1
    assert stored_trades(path) == [dictionary(n) for n in range(100)]


def test_filters_name_values_ranges_and_named_labels(namespace: str, path: Path) -> None:
    with Producer("engine", TRADE, namespace) as ring:
        ring.emit_many(trades(0, 300))
        Reader(namespace, ephemeral=True, events=EventStore(path)).close()

    def numbers(**filters: Any) -> list[int]:
        return [trade["trade_id"] for trade in history.events(TRADE, filters=filters, limit=5)]

    with History(path) as history:
        assert numbers(symbol="MSFT") == [298, 295, 292, 289, 286]
        assert numbers(symbol="MSFT", side="sell") == numbers(symbol="MSFT", side=1) == [295, 289, 283, 277, 271]
        assert numbers(trade_id=7) == [7]
        assert numbers(trade_id=(None, 2)) == [2, 1, 0]
        assert numbers(ts=(10**18 + 4, 10**18 + 5), price=(1.25, None)) == [5]
        assert numbers(symbol="MSFTMSFTMSFT") == numbers(trade_id=2**64 - 1) == []
        with pytest.raises(ValueError, match="no field 'sybmol': expected one of ts, trade_id"):
            numbers(sybmol="MSFT")
        for wrong in ({"side": "byu"}, {"trade_id": -1}, {"trade_id": None}, {"symbol": 3}, {"price": "cheap"}):
            with pytest.raises(ValueError, match="expected a value of type"):
                numbers(**wrong)
        for limit in (0, -1, 10_001):
            with pytest.raises(ValueError, match="expected 1 to 10,000"):
                history.events(TRADE, limit=limit)


def test_values_of_every_type_are_read_back(namespace: str, path: Path) -> None:
    dtype = np.dtype(
        [
            ('a "b"; DROP TABLE event_ring', "<u8"), ("small", "<i2"), ("wide", "U4"), ("bytes", "S4"), ("yes", "?"),
            ("single", "<f4"), ("half", "<f2"), ("long", np.longdouble), ("when", "M8[ns]"), ("lasts", "m8[us]"),
        ]
    )  # fmt: skip
    schema = Schema(dtype, {"small": field("counter", name="c")}, events=True)
    rows: list[tuple[Any, ...]] = [
        (2**64 - 1, -5, "aé\U0001f600", b"\xff\x00x", True, 0.1, 0.5, 1.25, 1_000, -3),
        (0, 7, "", b"", False, math.nan, -math.inf, 0.0, 0, 0),
    ]
    with Producer("p", schema, namespace) as ring:
        ring.emit_many(np.array(rows, dtype))
        Reader(namespace, ephemeral=True, events=EventStore(path)).close()
    with History(path) as history:
        second, first = ([event[name] for name in dtype.names or ()] for event in history.events(schema))
        assert first == [2**64 - 1, -5, "aé\U0001f600", "�\x00x", True, float(np.float32(0.1)), 0.5, 1.25, 1000, -3]
        assert math.isnan(second[5])
        assert second[:5] + second[6:] == [0, 7, "", "", False, -math.inf, 0.0, 0, 0]
        for name in dtype.names or ():
            wanted = rows[0][dtype.names.index(name)]  # type: ignore[union-attr]
            assert len(history.events(schema, filters={name: wanted})) == 1, name


def test_each_schema_has_events_of_its_own(namespace: str, path: Path) -> None:
    other = Schema(DTYPE, {"qty": field("counter", name="traded_total")}, events=True)
    silent = Schema(DTYPE, {})
    with (
        Producer("a", TRADE, namespace) as a,
        Producer("b", TRADE, namespace) as b,
        Producer("c", other, namespace) as c,
        Producer("d", silent, namespace) as d,
        Reader(namespace, ephemeral=True, events=EventStore(path)) as reader,
    ):
        for number, ring in enumerate((a, b, c, d)):
            ring.emit(trades(number, 1)[0])
        reader.poll()
        assert figures(reader) == (3, 0, 0)
        assert all(ring.stats().in_ring == 0 for ring in (a, b, c, d))
    with History(path) as history:
        assert {event["_producer"]: event["trade_id"] for event in history.events(TRADE)} == {"a": 0, "b": 1}
        assert [event["_producer"] for event in history.events(other)] == ["c"]
        assert history.events(silent) == []


@pytest.mark.parametrize("start", [0, 2**32 - 3, 2**64 - 3])
def test_a_store_that_lags_holds_back_half_a_ring_and_lets_go_of_the_rest(namespace: str, start: int) -> None:
    sink = Stuck()
    setup = Setup(namespace, "engine", TRADE, 64, start_position=start)
    with Producer("engine", TRADE, setup=setup) as ring, Reader(namespace, ephemeral=True, events=sink) as reader:
        reader.poll()
        segment = the_segment(namespace)
        for begin in range(0, 320, 32):
            assert ring.emit_many(trades(begin, 32)) == 32
            reader.poll()
            assert (write_position(segment) - read_position(segment)) % 2**64 == 32
        assert ring.stats().in_ring == 32
        assert ring.stats().holds
        assert ring.emit_many(trades(320, 32)) == 32
        assert ring.emit_many(trades(352, 1)) == 0  # what the loop has not come to yet is not thrown away
        reader.poll()
        assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 352)
        assert figures(reader) == (0, 256, 96)  # the first batch was taken, and the newest 64 are in the ring

        sink.works = True
        reader.poll()
        # The first batch was taken before the rest was written over.
        numbers = np.concatenate(sink.records)["trade_id"].tolist()
        assert numbers == [*range(32), *range(288, 352)]
        assert figures(reader) == (len(numbers), 352 - len(numbers), 0)
        assert ring.stats().in_ring == 0
        segment.close()


def test_a_locked_database_costs_events_and_no_metrics(
    namespace: str, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 0.01)
    with (
        Producer("engine", TRADE, namespace, capacity=256, policy="block", timeout=None) as ring,
        Reader(namespace, ephemeral=True, events=EventStore(path)) as reader,
    ):
        reader.start()
        ring.emit_many(trades(0, 100))
        wait_until(lambda: figures(reader)[0] == 100, "they are stored")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        for begin in range(100, 10_000, 100):
            assert ring.emit_many(trades(begin, 100)) == 100
        assert reader.catch_up(60.0)
        assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 10_000)
        # Before the store comes it is known how many it will not find: all but the newest 256, and what it has taken.
        wait_until(lambda: sum(figures(reader)[1:]) == 9_900, "it is shown how many wait, and are let go of")
        shown = figures(reader)[1]
        assert shown >= 9_900 - 256 - 256
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: figures(reader)[2] == 0, "it has caught up")
        stored, let_go, _ = figures(reader)
        assert stored + let_go == 10_000
        assert let_go == shown
    warned = [line for line in caplog.messages if "events wait in their rings" in line]
    assert warned == ["events wait in their rings, and are let go of where those are half full: database is locked"]
    numbers = [trade["trade_id"] for trade in stored_trades(path)]
    assert len(numbers) == stored
    assert numbers == sorted(set(numbers))
    assert numbers[-128:] == list(range(10_000 - 128, 10_000))


def test_a_full_disk_costs_events_and_no_metrics_and_they_are_stored_again_when_it_is_not(
    namespace: str, tmp_path: Path
) -> None:
    done = with_small_disk(tmp_path, "2m", FILLING, namespace)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("events wait in their rings") == 1
    assert "database or disk is full" in done.stderr
    found = json.loads(done.stdout)
    assert found["quantity"] == traded(0, found["emitted"])
    assert found["let go"] > 0
    assert found["stored"] + found["let go"] == found["emitted"]
    assert len(set(found["numbers"])) == found["stored"]
    assert found["numbers"][:128] == list(range(found["emitted"] - 1, found["emitted"] - 129, -1))


FILLING = """
import json, logging, sys
from pathlib import Path
from shmtelemetry import Producer, Reader
from shmtelemetry.service.database import APPLICATION, VERSION
from shmtelemetry.service.events import EventStore
from shmtelemetry.service.history import History
from tests.events import Stuck, figures
from tests.peers import with_small_disk
from tests.processes import wait_until
from tests.trades import TRADE, trades

logging.basicConfig(level="WARNING")
folder, namespace = Path(sys.argv[1]), sys.argv[2]
spare = folder / "spare"
spare.write_bytes(bytes(2**20))
emitted = 0

def value(name):
    return reader.snapshot().value(name)

with (
    Producer("engine", TRADE, namespace, capacity=256, policy="block", timeout=None) as ring,
    Reader(namespace, ephemeral=True, events=EventStore(folder / "events.sqlite")) as reader,
):
    reader.start()

    def emit():
        global emitted
        emitted += ring.emit_many(trades(emitted, 100))
        return True

    def is_full():
        return emit() and value("shmtel_events_let_go_total") > 100_000
    wait_until(is_full, "the disk is full, and events wait that are no longer in the ring")
    spare.unlink()
    wait_until(lambda: not value("shmtel_events_waiting"), "they are stored, or let go of")
    emit()
    assert reader.catch_up(60)
    def is_all():
        return value("shmtel_events_total") + value("shmtel_events_let_go_total") == emitted
    wait_until(is_all, "they are stored")
    quantity = sum(reader.snapshot().families["traded_total"].values)
    stored, let_go = value("shmtel_events_total"), value("shmtel_events_let_go_total")
with History(folder / "events.sqlite") as history:
    numbers, before = [], None
    while page := history.events(TRADE, before=before, limit=10_000):
        numbers += [trade["trade_id"] for trade in page]
        before = page[-1]["_id"]
print(json.dumps({"emitted": emitted, "quantity": quantity, "stored": stored, "let go": let_go, "numbers": numbers}))
"""


def test_without_a_store_the_whole_ring_is_given_back(namespace: str) -> None:
    with Producer("engine", TRADE, namespace, capacity=64) as ring, Reader(namespace, ephemeral=True) as reader:
        for begin in range(0, 640, 64):
            assert ring.emit_many(trades(begin, 64)) == 64
            reader.poll()
            assert ring.stats().in_ring == 0
        assert figures(reader) == (0, 0, 0)


def test_a_store_that_comes_later_has_what_is_still_in_the_ring_and_counts_the_rest(namespace: str, path: Path) -> None:
    with Producer("engine", TRADE, namespace, capacity=64) as ring:
        with Reader(namespace) as plain:
            for begin in range(0, 96, 32):
                ring.emit_many(trades(begin, 32))
                plain.poll()
        with Reader(namespace, ephemeral=True, events=EventStore(path)) as reader:
            reader.poll()
            assert figures(reader) == (64, 32, 0)
            assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 96)
    assert [trade["trade_id"] for trade in stored_trades(path)] == list(range(32, 96))


def test_the_segment_of_an_ended_producer_stays_until_its_events_are_stored(namespace: str) -> None:
    sink = Stuck()
    with Reader(namespace, events=sink) as reader:
        with Producer("engine", TRADE, namespace) as ring:
            ring.emit_many(trades(0, 50))
        for _ in range(3):
            reader.poll()
        assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 50)
        assert reader.snapshot().producers["engine"].live == 0
        assert len(list(segment_names(namespace))) == 1
        assert figures(reader) == (0, 0, 50)
        assert not reader.settle(0.0)
    sink = Stuck()  # of another process, which knows nothing
    sink.works = True
    with Reader(namespace, ephemeral=True, events=sink) as reader:
        assert reader.settle(60.0)
        assert figures(reader) == (50, 0, 0)
        assert sum(reader.snapshot().families["traded_total"].values) == traded(0, 50)
        assert reader.snapshot().producers["engine"].holds
    assert np.concatenate(sink.records)["trade_id"].tolist() == list(range(50))
    assert not list(segment_names(namespace))


def test_a_store_that_never_takes_them_does_not_fill_shm_with_ended_rings(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PATIENCE", 0.0)
    sink = Stuck()
    with Reader(namespace, ephemeral=True, events=sink) as reader:
        for begin in range(0, 50, 10):
            with Producer("engine", TRADE, namespace) as ring:
                ring.emit_many(trades(begin, 10))
            reader.poll()
            reader.poll()
            assert not list(segment_names(namespace))
        sink.works = True
        reader.poll()
        stored, let_go, waiting = figures(reader)
        assert (stored + let_go, waiting) == (50, 0)


def test_rings_that_overwrite_give_what_was_not_written_over(namespace: str, path: Path) -> None:
    with (
        Producer("engine", TRADE, namespace, capacity=64, policy="overwrite_oldest") as ring,
        Reader(namespace, ephemeral=True, events=EventStore(path)) as reader,
    ):
        for begin in range(0, 1000, 100):
            assert ring.emit_many(trades(begin, 100)) == 100
            reader.poll()
        assert figures(reader) == (640, 360, 0)
        assert ring.stats().overwritten == 360
    for name in segment_names(namespace):  # a recording stays
        (SHM / name).unlink()
    expected = [number for number in range(1000) if number % 100 >= 36]
    assert [trade["trade_id"] for trade in stored_trades(path)] == expected


def test_what_cannot_be_a_table_is_left_aside_and_costs_no_others(
    namespace: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = Schema([(f"f{at}", "u1") for at in range(3000)], {"f0": field("counter", name="wide")}, events=True)
    with (
        Producer("wide", wide, namespace, capacity=64) as strange,
        Producer("engine", TRADE, namespace) as ring,
        Reader(namespace, ephemeral=True, events=EventStore(path)) as reader,
    ):
        for begin in range(0, 100, 10):
            assert strange.emit_many(np.ones(64, wide.dtype)) == 64
            ring.emit_many(trades(begin, 10))
            reader.poll()
            reader.poll()
        assert reader.snapshot().value("wide_total") == 640
        assert figures(reader) == (100, 0, 0)
    assert len([line for line in caplog.messages if "expected at most 1,000" in line]) == 1


def test_two_readers_that_write_one_database_are_noticed(namespace: str, path: Path) -> None:
    ring = Ring(b"u" * 16, "engine", TRADE, 0)
    one, other = EventStore(path), EventStore(path)
    assert one.position(ring) == other.position(ring) == 0
    one.store([Batch(ring, 0, 0, trades(0, 10))])
    assert one.totals() == Totals(10, 0)
    with pytest.raises(RuntimeError, match="does another reader write it"):
        other.store([Batch(ring, 0, 0, trades(0, 10))])
    assert other.position(ring) == 10
    other.store([Batch(ring, 10, 5, trades(15, 5))])
    assert one.totals() == other.totals() == Totals(15, 5)
    one.close()
    other.close()
    assert [trade["trade_id"] for trade in stored_trades(path)] == [*range(10), *range(15, 20)]


def test_a_file_that_is_no_database_of_ours_is_one_clear_error_and_stays(tmp_path: Path) -> None:
    text, foreign, newer = tmp_path / "text", tmp_path / "foreign", tmp_path / "newer"
    text.write_text("not a database, but as long as the header of one would be: " * 3)
    for path, pragma in ((foreign, "application_id = 7"), (newer, f"application_id = {APPLICATION}")):
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA {pragma}")
            database.execute("PRAGMA user_version = 9")
            database.execute("CREATE TABLE t (x)")
        database.close()
    for path, why in ((text, "no SQLite"), (foreign, "of another program"), (newer, f"version 9, expected {VERSION}")):
        before = path.read_bytes()
        with pytest.raises(ValueError, match=why):
            EventStore(path)
        assert path.read_bytes() == before
    assert History(tmp_path / "none").events(TRADE) == []
    assert not (tmp_path / "none").exists()
