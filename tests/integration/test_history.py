"""History: figures as they were, kept by one process and read by all."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.service.history import History, HistoryWriter, Retention
from tests.processes import wait_until
from tests.reading import talker

BEGIN = 1_700_000_040  # a full minute
HOUR = 1_700_002_800  # the full hour after it


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite"


def rows(path: Path, resolution: int = 1) -> int:
    """How many bytes of rows there are."""
    with sqlite3.connect(path) as database:
        (found,) = database.execute(f"SELECT total(length(data)) FROM history_{resolution}").fetchone()
    database.close()
    return int(found)


def test_the_figures_of_each_kind_of_metric(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        counter, gauge = telemetry.counter("orders_total", labels=("symbol", "side")), telemetry.gauge("depth")
        histogram = telemetry.histogram("wait_seconds")
        writer.record(reader.snapshot(), BEGIN)
        for second in range(1, 4):
            counter.labels("AAPL", 'b"uy').inc(10 * second)
            gauge.set(second / 4)
            for wait in (0.001, 0.002, 0.004, 0.1):
                histogram.observe(wait * second)
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + second)

        def figures(metric: str, figure: str = "value", **labels: str) -> list[float]:
            found = history.range(metric, labels, BEGIN, BEGIN + 3, 1, figure)
            assert [time for time, _ in found] == [BEGIN + 1, BEGIN + 2, BEGIN + 3]
            return [value for _, value in found]

        assert figures("orders_total", symbol="AAPL", side='b"uy') == [10, 30, 60]
        assert figures("orders_total", "rate", symbol="AAPL", side='b"uy') == [10, 20, 30]
        assert figures("depth") == [0.25, 0.5, 0.75]
        assert figures("wait_seconds", "count") == figures("wait_seconds", "rate") == [4, 4, 4]
        assert figures("wait_seconds", "sum") == pytest.approx([0.107, 0.214, 0.321])
        for figure, wait in (("p50", 0.002), ("p90", 0.1), ("p99", 0.1), ("max", 0.1)):
            assert figures("wait_seconds", figure) == pytest.approx([wait, 2 * wait, 3 * wait], rel=0.023)
        assert history.range("shmtel_records_total", {"producer": "p"}, BEGIN + 3, BEGIN + 3, 1) == [(BEGIN + 3, 18)]
        assert history.series("orders_total") == [{"symbol": "AAPL", "side": 'b"uy'}]
        assert history.range("orders_total", {"symbol": "AAPL"}, BEGIN, BEGIN + 3, 1) == []
        assert history.range("nothing", {}, BEGIN, BEGIN + 3, 1) == []


def test_coverage_and_maximum_are_those_of_the_windows(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace, capacity=16) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        histogram = telemetry.histogram("wait_seconds")
        reader.poll()
        writer.record(reader.snapshot(), BEGIN)
        assert [histogram.observe(0.7) for _ in range(32)].count(True) == 16

        def is_complete() -> bool:
            reader.poll()
            return reader.snapshot().window(1).histogram("wait_seconds").count == 16

        wait_until(is_complete, "they are in a completed second")
        writer.record(reader.snapshot(), BEGIN + 1)
        for time in (59, 60):
            writer.record(reader.snapshot(), BEGIN + time)
        assert history.range("wait_seconds", {}, BEGIN + 1, BEGIN + 1, 1, "coverage") == [(BEGIN + 1, 0.5)]
        assert history.range("wait_seconds", {}, BEGIN + 1, BEGIN + 1, 1, "max") == [(BEGIN + 1, 0.7)]
        assert history.range("wait_seconds", {}, BEGIN + 60, BEGIN + 60, 60, "coverage") == [(BEGIN + 60, 0.5)]
        assert history.range("wait_seconds", {}, BEGIN + 60, BEGIN + 60, 60, "max") == [(BEGIN + 60, 0.7)]
        # A step of several rows has the coverage of all that was attempted in them.
        assert history.range("wait_seconds", {}, BEGIN + 20, BEGIN + 20, 20, "coverage") == [(BEGIN + 20, 0.5)]


def test_only_what_changed_is_written_and_everything_once_a_minute(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        depths = telemetry.gauge("depth", labels=("queue",))
        for queue in range(1000):
            depths.labels(queue).set(queue)
        reader.poll()
        writer.record(reader.snapshot(), BEGIN)
        everything = rows(path)
        assert everything > 1000 * 9
        for second in range(1, 60):
            depths.labels(7).set(second)
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + second)
        # Of the 1000 one, and of the reader's own figures some.
        assert rows(path) < everything + 59 * 200
        assert [value for _, value in history.range("depth", {"queue": "7"}, BEGIN, BEGIN + 59, 1)] == [
            7,
            *range(1, 60),
        ]
        assert [value for _, value in history.range("depth", {"queue": "999"}, BEGIN, BEGIN + 59, 1)] == [999] * 60
        before = rows(path)
        writer.record(reader.snapshot(), BEGIN + 60)
        assert rows(path) - before > 1000 * 9


def test_a_series_that_goes_is_not_carried_on_for_ever(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        depth = telemetry.gauge("depth", labels=("queue",))
        depth.labels("a").set(1.0)
        reader.poll()
        writer.record(reader.snapshot(), BEGIN)
        depth.remove("a")
        reader.poll()
        for second in range(1, 181):
            writer.record(reader.snapshot(), BEGIN + second)
        seen = [time for time, _ in history.range("depth", {"queue": "a"}, BEGIN, BEGIN + 180, 1)]
        assert seen == list(range(BEGIN, BEGIN + 66))


def test_totals_that_fall_begin_anew_and_the_next_writer_goes_on_with_the_same_series(
    namespace: str, path: Path
) -> None:
    labels = [str(number) for number in range(300)]
    for run in range(2):
        with (
            Reader(namespace, ephemeral=True) as reader,
            Telemetry("p", namespace) as telemetry,
            HistoryWriter(path, namespace) as writer,
        ):
            steps = telemetry.counter("steps_total", labels=("n",))
            waits = telemetry.histogram("wait_seconds", labels=("n",))
            writer.record(reader.snapshot(), BEGIN + run * 10)
            for turn in range(2):  # in another order in each run
                for label in labels[:: 1 - 2 * run]:
                    steps.labels(label).inc(int(label))
                    waits.labels(label).observe(1.0)
                reader.poll()
                writer.record(reader.snapshot(), BEGIN + run * 10 + turn + 1)
            steps.clear()
            waits.clear()
            reader.poll()
            for label in labels:
                steps.labels(label).inc(1)
                waits.labels(label).observe(2.0)
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + run * 10 + 3)
    with History(path) as history:
        assert len(history.series("steps_total")) == 300
        for label in ("0", "7", "299"):
            found = history.range("steps_total", {"n": label}, BEGIN, BEGIN + 13, 1, "rate")
            gains = [int(value) for time, value in found if value]
            assert gains == [step for step in [int(label), int(label), 1] * 2 if step]
            found = history.range("wait_seconds", {"n": label}, BEGIN, BEGIN + 13, 1, "sum")
            assert [value for _, value in found if value] == [1.0, 1.0, 2.0] * 2


def test_seconds_that_were_missed_lose_nothing_and_a_clock_that_is_set_back_is_waited_for(
    namespace: str, path: Path
) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        steps = telemetry.counter("steps_total")
        for time in (0, 1, 1, 5, 3, 4, 5, 6, 62, 63, 64, 200):
            steps.inc()
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + time + 0.7)

        def gains(resolution: int, end: int) -> dict[int, float]:
            found = history.range("steps_total", {}, BEGIN, BEGIN + end, resolution, "rate")
            return {int(time) - BEGIN: round(value * resolution, 6) for time, value in found if value}

        assert gains(1, 200) == {1: 1, 5: 2, 6: 4, 62: 1, 63: 1, 64: 1, 200: 1}
        assert gains(60, 200) == {60: 7, 120: 3}
        writer.record(reader.snapshot(), BEGIN + 50)  # two minutes and a half
        steps.inc(5)
        reader.poll()
        writer.record(reader.snapshot(), BEGIN + 51)
        assert gains(1, 60)[51] == 5


def test_what_is_old_is_kept_minutes_and_then_hours_apart(namespace: str, path: Path) -> None:
    retention = Retention(seconds=120, minutes=3600, hours=7 * 3600)
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace, retention) as writer,
        History(path) as history,
    ):
        steps = telemetry.counter("steps_total")
        end = HOUR + 10 * 3600
        for time in range(HOUR, end + 1, 30):
            steps.inc()
            reader.poll()
            writer.record(reader.snapshot(), time)

        def points(start: int, step: float) -> tuple[list[float], set[float]]:
            found = history.range("steps_total", {}, start, end, step, "rate")
            return np.diff([time for time, _ in found]).tolist(), {round(value, 9) for _, value in found}

        assert points(end - 60, 1) == ([1] * 60, {0.0, 1.0})
        assert points(end - 60, 30) == ([30] * 2, {round(1 / 30, 9)})
        assert points(end - 1800, 1) == ([60] * 30, {round(1 / 30, 9)})
        assert points(end - 1800, 150) == ([120] * 15, {round(1 / 30, 9)})
        assert points(end - 4 * 3600, 10) == ([3600] * 4, {round(1 / 30, 9)})
        assert points(HOUR, 10) == ([3600] * 7, {round(1 / 30, 9)})
        with sqlite3.connect(path) as database:
            for resolution, most in ((1, 6), (60, 62), (3600, 9)):
                (most_rows,) = database.execute(
                    f"SELECT max(n) FROM (SELECT count(*) n FROM history_{resolution} GROUP BY key >> 34)"
                ).fetchone()
                assert most_rows <= most
        database.close()


def test_seconds_go_earlier_where_the_database_would_be_too_large(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace, Retention(size=2_000_000)) as writer,
    ):
        depths = telemetry.gauge("depth", labels=("queue",))
        handles = [depths.labels(queue) for queue in range(300)]
        for time in range(0, 7200, 4):
            for handle in handles:
                handle.set(time)
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + time)
        kept = rows(path)
    assert 600_000 < kept < 2_500_000
    assert path.stat().st_size < 4_000_000


def test_what_a_locked_database_does_not_take_is_lost_counted_and_said_once(
    namespace: str, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shmtelemetry.service.database.PATIENCE", 0.01)
    with (
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        steps = telemetry.counter("steps_total", labels=("n",))
        writer.record(reader.snapshot(), BEGIN)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for second in range(1, 4):
            steps.labels(second).inc()
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + second)
        assert writer.lost >= 3
        other.execute("ROLLBACK")
        other.close()
        steps.labels(1).inc()
        reader.poll()
        for second in (4, 60, 61):
            writer.record(reader.snapshot(), BEGIN + second)
        assert history.series("steps_total") == [{"n": "1"}, {"n": "2"}, {"n": "3"}]
        assert history.range("steps_total", {"n": "1"}, BEGIN, BEGIN + 4, 1) == [(BEGIN + 4, 2)]
        assert history.range("steps_total", {"n": "2"}, BEGIN, BEGIN + 59, 1) == []
        assert history.range("steps_total", {"n": "2"}, BEGIN + 60, BEGIN + 60, 60, "rate") == [(BEGIN + 60, 1 / 60)]
    assert [line for line in caplog.messages if "history" in line] == [
        f"history of namespace {namespace} is lost, as long as that lasts: database is locked"
    ]


def test_a_disk_that_is_not_there_yet_costs_only_its_time(
    namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "disk"
    folder.symlink_to(tmp_path / "mounted")
    with (
        Reader(namespace, ephemeral=True) as reader,
        HistoryWriter(folder / "history.sqlite", namespace) as writer,
        History(folder / "history.sqlite") as history,
    ):
        for second in range(3):
            writer.record(reader.snapshot(), BEGIN + second)
        assert len(caplog.messages) == 1
        (tmp_path / "mounted").mkdir()
        writer.record(reader.snapshot(), BEGIN + 3)
        assert history.range("shmtel_series", {}, BEGIN, BEGIN + 9, 1)[0] == (BEGIN + 3, 1)


@pytest.mark.parametrize(
    ("start", "end", "step", "why"),
    [
        (math.nan, 1, 1, "start nan"),
        (0, math.inf, 1, "end inf"),
        (-1, 1, 1, "start -1"),
        (0, 2**40, 2**32, "end 1099511627776"),
        (2, 1, 1, "start before end"),
        (0, 1, 0, "step 0"),
        (0, 1, -5, "step -5"),
        (0, 1, 0.5, "step 0.5"),
        (0, 1, math.nan, "step nan"),
        (0, 1_000_000, 1, "1,000,000 points: expected at most 11,000"),
    ],
)
def test_a_range_that_nobody_can_mean_is_refused(path: Path, start: float, end: float, step: float, why: str) -> None:
    with History(path) as history, pytest.raises(ValueError, match=why):
        history.range("x", {}, start, end, step)


def test_a_figure_that_the_metric_has_not_is_refused(namespace: str, path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        HistoryWriter(path, namespace) as writer,
        History(path) as history,
    ):
        writer.record(reader.snapshot(), BEGIN)
        refused: list[tuple[str, dict[str, str], str]] = [
            ("shmtel_series", {}, "rate"),
            ("shmtel_series_overflow_total", {}, "p99"),
            ("shmtel_reader_lag_seconds", {}, "value"),
        ]
        for metric, labels, figure in refused:
            with pytest.raises(ValueError, match=f"figure '{figure}' of a .*: expected one of"):
                history.range(metric, labels, BEGIN, BEGIN, 1, figure)


def test_many_read_while_one_writes(namespace: str, path: Path) -> None:
    def read(asked: Callable[[], bool]) -> int:
        """Looks until it is asked to end, and has seen everything then; returns how often it looked."""
        seen: list[float] = []
        with History(path) as history:
            for looks in count(1):
                last = asked()
                found = [value for _, value in history.range("steps_total", {}, BEGIN, BEGIN + 300, 1)]
                assert found == list(range(1, len(found) + 1))
                assert found[: len(seen)] == seen
                seen = found
                if last:
                    assert len(seen) == 300
                    return looks
        return 0

    with (
        talker(read) as one,  # before this process has the database: SQLite's locks do not survive a fork
        talker(read) as other,
        Reader(namespace, ephemeral=True) as reader,
        Telemetry("p", namespace) as telemetry,
        HistoryWriter(path, namespace) as writer,
    ):
        steps = telemetry.counter("steps_total")
        for second in range(300):
            steps.inc()
            reader.poll()
            writer.record(reader.snapshot(), BEGIN + second)
        assert one.finish() > 0
        assert other.finish() > 0
