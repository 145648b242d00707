"""shmtel tail and shmtel dump, as processes beside producers that live, have ended or were killed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Producer, Schema, Telemetry, field
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import segment_names
from tests.processes import child, wait_until
from tests.readers import shmtel
from tests.reading import the_segment, write_position
from tests.whole import DTYPE, numbers_of, records

ORDERS = Schema(
    np.dtype([("ts", "<u8"), ("symbol", "S8"), ("side", "<u1"), ("price", "<f8")]),
    {"ts": field("time", unit="ns"), "symbol": field("label"), "side": field("label", values={0: "buy", 1: "sell"})},
)
NASTY = b'a,"\n\x1b\xff'


@pytest.fixture(autouse=True)
def segments_are_removed(namespace: str) -> Iterator[None]:
    yield
    for name in segment_names(namespace):
        os.unlink(f"/dev/shm/{name}")


@contextmanager
def tail(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running tail; it must end well, and at once, when it is interrupted."""
    command = [sys.executable, "-m", "shmtelemetry.cli", "tail", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=30)
            assert process.returncode == 0
            assert rest == ""
            assert "Traceback" not in said
        finally:
            process.kill()


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def fill(ring: Producer) -> None:
    ring.emit_fields(1, b"AAPL", 0, 1.5)
    ring.emit_fields(2, b"MSFT", 1, float("nan"))
    ring.emit_fields(3, NASTY, 7, float("-inf"))


ROWS = [
    {"ts": 1, "symbol": "AAPL", "side": "buy", "price": 1.5},
    {"ts": 2, "symbol": "MSFT", "side": "sell", "price": "nan"},
    {"ts": 3, "symbol": 'a,"\n\x1b\\xff', "side": 7, "price": "-inf"},
]


def test_tail_shows_records_of_ones_own_as_they_come(namespace: str) -> None:
    with Producer("orders", ORDERS, namespace, capacity=64) as ring:
        fill(ring)
        with tail("orders", "--namespace", namespace, "--last", "2", "--json") as shown:
            assert shown.stdout
            assert [json.loads(shown.stdout.readline()) for _ in range(2)] == ROWS[1:]
            fill(ring)
            assert [json.loads(shown.stdout.readline()) for _ in range(3)] == ROWS
        with tail("orders", "--namespace", namespace) as shown:
            lines = [shown.stdout.readline().rstrip("\n") for _ in range(6)]
        assert lines[3:] == [
            "ts=1 symbol=AAPL side=buy price=1.5",
            "ts=2 symbol=MSFT side=sell price=nan",
            r'ts=3 symbol=a,"\n\x1b\xff side=7 price=-inf',
        ]
        assert ring.stats().consumed == 0


def test_tail_names_the_series_of_instruments_and_follows_a_restart(namespace: str) -> None:
    arguments = ("bot", "--namespace", namespace, "--json")
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        telemetry.counter("first").inc()
        with tail(*arguments) as shown:
            before = time.time_ns()
            assert json.loads(shown.stdout.readline())["metric"] == "first_total"
            telemetry.histogram("latency", labels=("venue",), unit="seconds").labels("a\nb").observe(0.5)
            row = json.loads(shown.stdout.readline())
            assert (row["metric"], row["labels"], row["value"]) == ("latency", {"venue": "a\nb"}, 0.5)
            assert abs(row["time_ns"] - before) < 60e9
            telemetry.close()
            with Telemetry("bot", namespace, capacity=64) as again:
                again.gauge("depth").set(3)
                row = json.loads(shown.stdout.readline())
                assert (row["metric"], row["labels"], row["value"]) == ("depth", {}, 3.0)
                again.histogram("latency", labels=("venue",)).labels("a\nb").observe(0.5)
                with tail("bot", "--namespace", namespace, "--filter", "venue=a\nb", "--last", "1") as filtered:
                    moment, series, value = filtered.stdout.readline().split()
                    assert (series, value) == (r'latency{venue="a\nb"}', "0.5")
                    assert moment.endswith("Z")
                shown.stdout.readline()


def test_tail_filters_by_fields_in_any_of_their_forms(namespace: str) -> None:
    with Producer("orders", ORDERS, namespace, capacity=64) as ring:
        fill(ring)
        for filters, ts in ((["side=sell"], 2), (["price=1.50"], 1), (["side=7", "ts=3"], 3)):
            given = [word for one in filters for word in ("--filter", one)]
            with tail("orders", "--namespace", namespace, "--json", *given) as shown:
                assert json.loads(shown.stdout.readline())["ts"] == ts
        done = shmtel("tail", "orders", "--namespace", namespace, "--filter", "sid=sell")
        assert (done.returncode, done.stdout) == (2, "")
        assert "no field 'sid', expected one of ts, symbol, side, price" in done.stderr


def test_tail_says_what_it_missed(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=64, policy="overwrite_oldest") as ring:
        ring.emit_many(records(0, 1))
        with tail("orders", "--namespace", namespace, "--json") as shown:
            shown.stdout.readline()
            shown.send_signal(signal.SIGSTOP)
            ring.emit_many(records(1, 1000))
            shown.send_signal(signal.SIGCONT)
            first = json.loads(shown.stdout.readline())["word_0"]
            assert first == 937
            for _ in range(63):
                shown.stdout.readline()
            assert shown.stderr.readline() == "shmtel: missed 936 records\n"


def test_tail_ends_with_whom_it_writes_to(namespace: str) -> None:
    with Producer("orders", ORDERS, namespace, capacity=64) as ring:
        fill(ring)
        command = f"{sys.executable} -m shmtelemetry.cli tail orders --namespace {namespace} | head -n 1"
        with subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as piped:
            assert piped.stdout
            piped.stdout.readline()
            deadline = time.monotonic() + 30
            while piped.poll() is None and time.monotonic() < deadline:
                fill(ring)
                time.sleep(0.01)
            assert (piped.wait(1), piped.stderr.read()) == (0, b"")


@pytest.mark.parametrize("command", ["tail", "dump"])
def test_a_producer_that_there_is_none_of_is_exit_code_1(namespace: str, command: str) -> None:
    done = shmtel(command, "nobody", "--namespace", namespace)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"shmtel: no segment of nobody in namespace {namespace}: see shmtel ls\n"


def test_dump_writes_the_last_records_in_three_formats(namespace: str, tmp_path: Path) -> None:
    with Producer("orders", ORDERS, namespace, capacity=64) as ring:
        fill(ring)
        dump = ("dump", "orders", "--namespace", namespace)
        assert json_lines(shmtel(*dump).stdout) == ROWS
        assert json_lines(shmtel(*dump, "--last", "1").stdout) == ROWS[2:]
        assert shmtel(*dump, "--last", "0").stdout == ""
        file = tmp_path / "orders"
        assert shmtel(*dump, "--format", "csv", "--output", str(file)).stdout == ""
        header, *rows = csv.reader(io.StringIO(file.read_bytes().decode(), newline=""))
        assert header == ["ts", "symbol", "side", "price"]
        assert rows == [[str(row[name]) for name in header] for row in ROWS]
        assert shmtel(*dump, "--format", "npy", "--output", str(file)).stdout == ""
        assert np.load(file).tobytes() == ring.last(3).tobytes()
        assert ring.stats().consumed == 0
        done = shmtel(*dump, "--output", "/no/such/folder")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_dump_names_the_series_of_instruments(namespace: str, tmp_path: Path) -> None:
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        telemetry.counter("orders", labels=("symbol",)).labels('A"\r\n').inc(2)
        telemetry.gauge("depth").set(float("inf"))
        dump = ("dump", "bot", "--namespace", namespace)
        rows = json_lines(shmtel(*dump).stdout)
        expected = [("orders_total", {"symbol": 'A"\r\n'}, 2.0), ("depth", {}, "inf")]
        assert [(row["metric"], row["labels"], row["value"]) for row in rows] == expected
        file = tmp_path / "bot"
        shmtel(*dump, "--format", "csv", "--output", str(file))
        header, *cells = csv.reader(io.StringIO(file.read_bytes().decode(), newline=""))
        assert header == ["time_ns", "metric", "labels", "value"]
        assert [(metric, json.loads(labels), value) for _, metric, labels, value in cells] == [
            ("orders_total", {"symbol": 'A"\r\n'}, "2.0"),
            ("depth", {}, "inf"),
        ]
        shmtel(*dump, "--format", "npy", "--output", str(file))
        array = np.load(file)
        assert array["metric"].tolist() == ["orders_total", "depth"]
        assert json.loads(array["labels"][0]) == {"symbol": 'A"\r\n'}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["drop_newest", "overwrite_oldest"])
def test_dump_of_a_producer_that_was_killed_while_it_wrote(namespace: str, tmp_path: Path, policy: str) -> None:
    def produce() -> None:
        ring, begin = Producer("flight", DTYPE, namespace, capacity=1024, policy=policy), 0
        while True:
            ring.emit_many(records(begin, 300))
            begin += 300

    with child(produce) as pid:
        segment = the_segment(namespace)
        wait_until(lambda: write_position(segment) >= 1000, "it has written")
        os.kill(pid, signal.SIGKILL)
    before = segment_stats(segment)
    file = tmp_path / "flight.npy"
    for last in (50, 5000):
        done = shmtel(
            "dump", "flight", "--namespace", namespace, "--last", str(last), "--format", "npy", "--output", str(file)
        )
        assert (done.returncode, done.stderr) == (0, "")
        numbers = numbers_of(np.load(file)).tolist()
        written = write_position(segment)
        assert numbers == list(range(written - min(last, before.in_ring), written))
    assert segment_stats(segment) == before
    segment.close()


@pytest.mark.slow
def test_dump_of_a_recorder_at_full_speed_has_whole_records_in_order(namespace: str, tmp_path: Path) -> None:
    def produce() -> None:
        ring, begin = Producer("flight", DTYPE, namespace, capacity=8192, policy="overwrite_oldest"), 0
        while True:
            ring.emit_many(records(begin, 300))
            begin += 300

    file = tmp_path / "flight.npy"
    with child(produce):
        segment = the_segment(namespace)
        wait_until(lambda: write_position(segment) >= 10_000, "it is full")

        def dumped() -> int:
            done = shmtel("dump", "flight", "--namespace", namespace, "--format", "npy", "--output", str(file))
            assert done.returncode == 0
            numbers = numbers_of(np.load(file)).astype(np.int64)
            assert np.all(np.diff(numbers) > 0)
            said = done.stderr.replace(",", "").split()
            assert (int(said[1]) if said else 0) >= np.sum(np.diff(numbers) - 1)
            return len(numbers)

        # A dump that has to wait for a core is overtaken by the producer, and has fewer.
        wait_until(lambda: dumped() > 1000, "a dump has most of what the ring holds")
        segment.close()
