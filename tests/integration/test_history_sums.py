"""History of many series together, and of many who ask at once."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.service import database
from shmtelemetry.service.database import Readers
from shmtelemetry.service.history import History, HistoryWriter
from tests.processes import PATIENCE, wait_until

BEGIN = 1_700_000_040  # a full minute
SERIES = 300  # in two shards


@pytest.fixture
def history(namespace: str, tmp_path: Path) -> Iterator[History]:
    """Three seconds of many series."""
    path = tmp_path / "history.sqlite"
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as opened,
    ):
        steps = telemetry.counter("steps_total", labels=("n", "side"))
        handles = [steps.labels(n, side) for n in range(SERIES // 2) for side in ("buy", "sell")]
        depth, waits = telemetry.gauge("depth", labels=("n",)), telemetry.histogram("wait_seconds", labels=("n",))
        reader.poll()
        writer.record(reader.snapshot(), BEGIN)
        for second in range(1, 4):
            for number, handle in enumerate(handles):
                handle.inc(number * second)
            for n, value in ((0, math.inf), (1, -math.inf if second == 2 else 1.0)):
                depth.labels(n).set(value)
                waits.labels(n).observe(float(n + 1))
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + second)
        yield opened


def test_series_are_added_up_however_many_they_are(history: History) -> None:
    def values(figure: str, **labels: str) -> list[float]:
        found = history.sum("steps_total", labels, BEGIN, BEGIN + 3, 1, figure)
        return [value for time, value in found if time > BEGIN]

    everything = sum(range(SERIES))
    assert values("rate") == [everything * second for second in (1, 2, 3)]
    assert values("value") == [everything * total for total in (1, 3, 6)]
    sold = sum(range(1, SERIES, 2))
    assert values("value", side="sell") == [sold * total for total in (1, 3, 6)]
    assert values("value", n="7", side="sell") == [15 * total for total in (1, 3, 6)]
    assert values("value", side="short") == values("value", colour="red") == []
    assert [value for _, value in history.sum("wait_seconds", {}, BEGIN + 1, BEGIN + 3, 1, "sum")] == [3.0] * 3


def test_what_is_infinite_adds_up_as_it_does(history: History) -> None:
    found = history.sum("depth", {}, BEGIN, BEGIN + 3, 1)
    assert found == [(BEGIN + 1, math.inf), (BEGIN + 3, math.inf)]  # and in between it is no number


def test_figures_that_do_not_add_up_are_of_one_series(history: History) -> None:
    assert history.sum("wait_seconds", {"n": "0"}, BEGIN + 1, BEGIN + 1, 1, "max") == [(BEGIN + 1, 1.0)]
    with pytest.raises(ValueError, match="figure p99: expected one of value, rate, count, sum of 2 series, or more"):
        history.sum("wait_seconds", {}, BEGIN, BEGIN + 3, 1, "p99")


def test_each_shard_is_read_once(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    connect = database._connect

    def traced(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(database, "_connect", traced)
    history.sum("steps_total", {}, BEGIN, BEGIN + 3, 1)
    assert len([query for query in statements if query.startswith("SELECT key, data FROM history_1 ")]) == 2


def test_nobody_who_reads_waits_for_another(history: History) -> None:
    with history._database.reading():
        found: list[object] = []
        asking = threading.Thread(target=lambda: found.append(history.series("depth")), daemon=True)
        asking.start()
        asking.join(PATIENCE)
        assert found == [[{"n": "0"}, {"n": "1"}]]


def test_a_query_that_nobody_wants_any_more_ends(history: History, tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        history.sum("steps_total", {}, BEGIN, BEGIN + 3, 1, stopped=lambda: True)
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    readers = Readers(tmp_path / "history.sqlite")
    with pytest.raises(sqlite3.OperationalError, match="interrupted"), readers.reading(lambda: True) as opened:
        opened.execute(endless)
    with readers.reading() as opened:  # the same connection is as good as before
        assert opened.execute("SELECT count(*) FROM metric").fetchone()[0] > 3
    readers.close()


def test_long_questions_hold_up_nothing_else_and_end_with_who_asks(history: History) -> None:
    running = threading.Semaphore(0)

    def long(stopped: Callable[[], bool]) -> None:
        running.release()
        wait_until(stopped, "nobody wants it any more")

    async def main() -> None:
        asked = [asyncio.create_task(history.apart(long)) for _ in range(40)]  # more than asyncio has threads
        await asyncio.to_thread(running.acquire)
        assert await asyncio.to_thread(lambda: "the others go on") == "the others go on"
        for task in asked:
            task.cancel()
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in done)
        assert await history.apart(lambda stopped: "at once") == "at once"

    asyncio.run(main())
