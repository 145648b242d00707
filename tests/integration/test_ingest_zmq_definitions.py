"""Definitions, routes and processors of `shmtel ingest zmq`, which change while it runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from shmtelemetry import Reader
from tests.ingesters import come, ingester, rejected, shown, total
from tests.processes import PATIENCE, wait_until

PROCESSOR = """
def make(telemetry, intake):
    fills = telemetry.counter("fills_total", "Fills.", ("venue", "bot"))

    def process(message):
        intake.series(fills, (str(message.labels[0]), message.bot_id)).emit(message.value)

    return process
"""


def write(file: Path, text: str) -> None:
    """As an editor does that keeps the file whole at any moment."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(file)


@contextmanager
def socket_of(kind: int, address: str | None = None) -> Iterator[zmq.Socket[bytes]]:
    """A socket of plain pyzmq, connected, or bound to a free port of loopback."""
    with zmq.Context() as context, context.socket(kind) as made:
        made.setsockopt(zmq.LINGER, 10_000)
        made.setsockopt(zmq.RCVTIMEO, int(PATIENCE * 1000))
        if address is None:
            made.bind("tcp://127.0.0.1:*")
        else:
            made.connect(address)
        yield made


def test_a_file_that_changes_is_taken_over_and_a_bad_one_is_not(namespace: str, tmp_path: Path) -> None:
    file, said = tmp_path / "metrics.yaml", tmp_path / "said"
    one = "metrics: [{name: a_total, type: counter, labels: [x]}]"
    file.write_text(one)
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, "--config", "metrics.yaml", folder=tmp_path, said=said) as sidecar,
        socket_of(zmq.PUSH, sidecar.address) as bot,
    ):
        bot.send_string("a_total:X:1")
        bot.send_string("b:X:7")
        assert rejected(come(reader, 2)) == {"type": 1}
        write(file, "metrics: [{name: a_total, type: counter, labels: [x]}, {name: b, type: gauge, labels: [x]}]")
        wait_until(lambda: "definitions are read again" in said.read_text(), "the file is read")
        bot.send_string("b:X:7")
        assert come(reader, 3).value("b", x="X") == 7
        for number, bad in enumerate(("metrics: [{name: b, type: histogram}]", "metrics: {", "routes: 1"), 1):
            write(file, bad)
            wait_until(lambda n=number: said.read_text().count("as they were") == n, "the bad file is told")
        file.unlink()
        wait_until(lambda: said.read_text().count("as they were") == 4, "the missing file is told")
        bot.send_string("b:X:8")
        assert come(reader, 4).value("b", x="X") == 8
        write(file, one)
        sidecar.process.send_signal(signal.SIGHUP)
        wait_until(lambda: said.read_text().count("read again") >= 2, "the file is read")
        bot.send_string("b:X:9")
        snapshot = come(reader, 5)
        assert rejected(snapshot) == {"type": 2}
        assert snapshot.value("a_total", x="X") == 1
        assert sidecar.end()["items"] == 3
    assert "b is otherwise now" in said.read_text()


def test_each_bot_has_its_own_definitions_and_its_label(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").write_text("""
        metrics: [{name: depth, type: gauge, labels: [bot_id, venue]}]
        bots:
          bot-b: {metrics: [{name: queue_length, message: depth, type: gauge}]}
    """)
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, "--config", "metrics.yaml", "--bot-id", "bot-a", folder=tmp_path) as sidecar,
        socket_of(zmq.PUSH, sidecar.address) as bot,
    ):
        bot.send_string("depth:XNAS:3")
        bot.send_json({"type": "depth", "labels": {"venue": "XNAS"}, "value": 4, "bot_id": "bot-c"})
        bot.send_json({"type": "depth", "value": 5, "bot_id": "bot-b"})
        bot.send_json({"type": "depth", "labels": ["XNAS"], "bot_id": "bot-b"})
        snapshot = come(reader, 4)
    assert snapshot.value("depth", bot_id="bot-a", venue="XNAS") == 3
    assert snapshot.value("depth", bot_id="bot-c", venue="XNAS") == 4
    assert snapshot.value("queue_length") == 5
    assert rejected(snapshot) == {"labels": 1}


def test_a_broker_numbers_what_it_hands_on_and_its_routes_change(namespace: str, tmp_path: Path) -> None:
    file, said = tmp_path / "metrics.yaml", tmp_path / "said"
    file.write_text('routes: [{message: "debug_*", to: []}]')
    options = "--config", "metrics.yaml", "--bot-id", "bot-a"
    with Reader(namespace, ephemeral=True) as reader, socket_of(zmq.PULL) as far:
        forward = far.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        with (
            ingester("zmq", namespace, *options, "--forward", forward, folder=tmp_path, said=said) as broker,
            socket_of(zmq.PUSH, broker.address) as bot,
        ):
            bot.send_string("order_placed:AAPL:145.50")
            bot.send_string("debug_x:1")
            bot.send_json([{"type": "own", "more": {"deep": [1]}}, "latency:AAPL:1"])
            got = [far.recv_json() for _ in range(3)]
            assert [each["raw"] for each in got] == [
                "order_placed:AAPL:145.50", {"type": "own", "more": {"deep": [1]}}, "latency:AAPL:1",
            ]  # fmt: skip
            assert [(each["bot_id"], each["sequence"]) for each in got] == [("bot-a", 0), ("bot-a", 1), ("bot-a", 2)]
            assert all(set(each) == {"raw", "broker_timestamp", "bot_id", "sequence"} for each in got)
            snapshot = come(reader, 4)
            assert (rejected(snapshot), total(snapshot, "orders_total")) == ({"route": 1}, 0)
            write(file, 'routes: [{message: "order_*", to: [ring, forward]}, {to: [ring]}]')
            wait_until(lambda: "read again" in said.read_text(), "the routes are read")
            bot.send_string("latency:AAPL:1")
            bot.send_string("order_placed:AAPL:1")
            assert far.recv_json()["raw"] == "order_placed:AAPL:1"
            snapshot = come(reader, 6)
            assert snapshot.value("orders_total", symbol="AAPL") == 1
            assert snapshot.histogram("execution_time_ms", symbol="AAPL").count == 1
            assert broker.end()["forwarded"] == 4


def test_a_broker_and_a_sidecar_together_are_as_one(namespace: str, tmp_path: Path) -> None:
    broker_namespace = namespace + "-broker"
    with (
        Reader(namespace, ephemeral=True) as reader,
        Reader(broker_namespace, ephemeral=True),
        ingester("zmq", namespace, "--bind", "tcp://127.0.0.1:*", folder=tmp_path) as sidecar,
        ingester("zmq", broker_namespace, "--forward", sidecar.address, "--bot-id", "a", folder=tmp_path) as broker,
        socket_of(zmq.PUSH, broker.address) as bot,
    ):
        for _ in range(1000):
            bot.send_json(["order_placed:AAPL:1", {"type": "order_placed", "labels": ["AAPL"]}])
        snapshot = come(reader, 2000)
        assert snapshot.value("orders_total", symbol="AAPL") == 2000
        assert broker.end()["forwarded"] == 2000
        assert sidecar.end() == {"items": 2000, "rejected": {}, "overflow": 0, "forwarded": 0, "missing": 0}


def test_a_broker_whose_sidecar_is_missing_counts_what_it_cannot_keep(namespace: str, tmp_path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, "--forward", f"ipc://{tmp_path}/nobody", folder=tmp_path) as broker,
        socket_of(zmq.PUSH, broker.address) as bot,
    ):
        for _ in range(12):
            bot.send_json(["order_placed:AAPL:1"] * 1000)
        assert rejected(come(reader, 12_000)) == {"forward_full": 2000}
        assert broker.end()["forwarded"] == 10_000  # and it ends, though nobody takes them


def test_an_installed_processor_takes_messages(namespace: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    described = site / "fills-1.dist-info"
    described.mkdir(parents=True)
    (site / "fills.py").write_text(PROCESSOR)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: fills\nVersion: 1\n")
    (described / "entry_points.txt").write_text("[shmtelemetry.processors]\nmy_fills = fills:make\n")
    (tmp_path / "metrics.yaml").write_text("processors: {fill: my_fills}")
    options = "--config", "metrics.yaml", "--bot-id", "a"
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, *options, folder=tmp_path, PYTHONPATH=str(site)) as sidecar,
        socket_of(zmq.PUSH, sidecar.address) as bot,
    ):
        bot.send_string("fill:XNAS:100")
        bot.send_json({"type": "fill", "labels": ["XNAS"], "value": 50, "bot_id": "b"})
        bot.send(json.dumps({"type": "fill"}).encode())
        bot.send_string("fill:XNAS:-1")
        snapshot = come(reader, 4)
    assert snapshot.value("fills_total", venue="XNAS", bot="a") == 100
    assert snapshot.value("fills_total", venue="XNAS", bot="b") == 50
    assert rejected(snapshot) == {"processor": 2}


def test_labels_without_end_make_no_more_series_than_the_bound(namespace: str, tmp_path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, folder=tmp_path) as sidecar,
        socket_of(zmq.PUSH, sidecar.address) as bot,
    ):
        for begin in range(0, 12_000, 1000):
            bot.send_json([f"order_placed:S{number}:1" for number in range(begin, begin + 1000)])
        snapshot = shown(reader, lambda snapshot: total(snapshot, "orders_total") == 12_000, "all orders are there")
        assert len(snapshot.families["orders_total"].labels) == 10_001
        assert snapshot.value("orders_total", symbol="overflow") == 2000
        assert sidecar.end()["overflow"] == 2000
