"""Messages of bots over ZeroMQ, through the command line, into what a reader shows."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from click.testing import CliRunner

from shmtelemetry import Reader
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.cli import main
from tests.ingesters import come, ingester, rejected, shown, total
from tests.processes import child, is_running
from tests.readers import shmtel


@contextmanager
def bot(address: str) -> Iterator[zmq.Socket[bytes]]:
    """What a bot has: a PUSH socket of plain pyzmq."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 10_000)
        push.connect(address)
        yield push


def test_the_documented_messages_become_the_documented_metrics(namespace: str, tmp_path: Path) -> None:
    with Reader(namespace, ephemeral=True) as reader, ingester("zmq", namespace, folder=tmp_path) as sidecar:
        assert sidecar.address == f"ipc://{tmp_path}/trading_metrics"
        with bot(sidecar.address) as push:
            push.send_string("order_placed:AAPL:145.50", zmq.DONTWAIT)
            push.send_string("order_placed:AAPL:146", zmq.DONTWAIT)
            push.send_string("latency:AAPL:0.0125", zmq.DONTWAIT)
            snapshot = come(reader, 3)
        assert snapshot.value("orders_total", symbol="AAPL") == 2
        observed = snapshot.histogram("execution_time_ms", symbol="AAPL")
        assert (observed.count, observed.sum) == (1, 0.0125)
        assert sidecar.end() == {"items": 3, "rejected": {}, "overflow": 0, "forwarded": 0, "missing": 0}
    assert not list(tmp_path.iterdir())


def test_json_msgpack_lists_and_frames_are_taken_alike(namespace: str, tmp_path: Path) -> None:
    named = {"type": "order_placed", "labels": {"symbol": "A"}, "value": 1, "what": "else"}
    ordered = {"type": "order_placed", "labels": ["A"]}
    batch = ["order_placed:A:1", named, ordered]
    with Reader(namespace, ephemeral=True) as reader, ingester("zmq", namespace, folder=tmp_path) as sidecar:
        with bot(sidecar.address) as push:
            for one in batch:
                push.send_json(one)
                push.send(msgpack.packb(one))
            push.send_json(batch)
            push.send(msgpack.packb(batch))
            push.send_multipart([b"order_placed:A:1", json.dumps(named).encode(), msgpack.packb(batch)])
            snapshot = come(reader, 17)
        assert snapshot.value("orders_total", symbol="A") == 17
        assert not rejected(snapshot)


def test_what_is_malformed_is_counted_by_its_reason_and_the_rest_is_taken(namespace: str, tmp_path: Path) -> None:
    wrong: dict[str, list[bytes]] = {
        "syntax": [
            b"", b"nonsense", b":1", b"[1,", b'{"value": 1}', b"\x81\xa4", b'{"raw":{"raw":"a:b:1"}}', b"[" * 9999,
        ],
        "encoding": [b"latency:\xff:1"],
        "type": [b"unheard:A:1", b'{"type":"unheard"}'],
        "labels": [
            b"latency:1", b"latency:A:B:1", b'{"type":"latency","labels":{"a":"X"}}', b"latency:%s:1" % (b"x" * 999),
        ],
        "value": [b"latency:A:fast", b"latency:A:nan", b"latency:A:"],
        "bot_id": [json.dumps({"type": "latency", "bot_id": "b" * 300}).encode()],
        "size": [b"x" * (1 << 20) + b"x"],
    }  # fmt: skip
    partly = [
        b'["latency:B:1", 7, {"type": "latency", "labels": ["B"], "value": "x"}]',
        msgpack.packb(["latency:B:1", 7]),
    ]
    with Reader(namespace, ephemeral=True) as reader, ingester("zmq", namespace, folder=tmp_path) as sidecar:
        with bot(sidecar.address) as push:
            for frame in (frame for frames in wrong.values() for frame in frames):
                push.send(frame)
            for frame in partly:
                push.send(frame)
            expected = {reason: len(frames) for reason, frames in wrong.items()}
            expected["syntax"] += 3
            snapshot = come(reader, sum(expected.values()) + 2)
        assert rejected(snapshot) == expected
        assert snapshot.histogram("execution_time_ms", symbol="B").count == 2
        assert sidecar.end()["rejected"] == expected


def test_numbers_that_are_missing_are_counted_for_each_bot(namespace: str, tmp_path: Path) -> None:
    def numbered(name: str, sequence: int) -> dict[str, Any]:
        return {"type": "order_placed", "labels": ["A"], "bot_id": name, "sequence": sequence}

    with Reader(namespace, ephemeral=True) as reader, ingester("zmq", namespace, folder=tmp_path) as sidecar:
        with bot(sidecar.address) as push:
            for sequence in (5, 6, 9, 10, 12, 0, 1):  # at 0 the bot began again
                push.send_json(numbered("a", sequence))
            push.send_json([numbered("b", sequence) for sequence in (0, 1, 2)])
            snapshot = come(reader, 10)
        assert snapshot.value("ingest_missing_total", source="zmq", bot_id="a") == 3
        assert snapshot.value("ingest_gaps_total", source="zmq", bot_id="a") == 2
        assert total(snapshot, "ingest_missing_total") == 3
        assert sidecar.end()["missing"] == 3


def test_a_sidecar_that_is_killed_leaves_its_bot_unharmed(namespace: str, tmp_path: Path) -> None:
    """The five lines of docs/sources.md: the bot goes on, and its messages arrive once there is a sidecar again."""
    address = f"ipc://{tmp_path}/bot"
    sent, seen = os.pipe()

    def trade() -> None:
        with zmq.Context() as context, context.socket(zmq.PUSH) as metrics:
            metrics.setsockopt(zmq.SNDHWM, 100)
            metrics.setsockopt(zmq.LINGER, 0)
            metrics.connect(address)
            while True:
                with suppress(zmq.Again):
                    metrics.send_string("order_placed:AAPL:1", zmq.DONTWAIT)
                os.write(seen, b".")

    def goes_on(times: int) -> None:
        while times > 0:
            times -= len(os.read(sent, 65536))

    def orders_beyond(count: float) -> float:
        def are_there(snapshot: Snapshot) -> bool:
            goes_on(1)
            return total(snapshot, "orders_total") > count

        return total(shown(reader, are_there, "orders have come"), "orders_total")

    with Reader(namespace, ephemeral=True) as reader, child(trade) as pid:
        with ingester("zmq", namespace, "--bind", address, folder=tmp_path) as sidecar:
            before = orders_beyond(1000)
            sidecar.process.kill()
            sidecar.process.wait()
        goes_on(20_000)  # far more than any buffer holds
        assert is_running(pid)
        with ingester("zmq", namespace, "--bind", address, folder=tmp_path) as again:
            orders_beyond(before + 1000)
            again.end(signal.SIGINT)
    os.close(sent)
    os.close(seen)


def test_an_address_is_taken_only_from_the_dead(namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    with ingester("zmq", namespace, "--bind", "ipc://bots", folder=tmp_path) as first:
        second = shmtel("ingest", "zmq", "--bind", "ipc://bots", "--namespace", namespace, folder=tmp_path)
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "is in use" in second.stderr
        first.process.kill()
        first.process.wait()
        with ingester("zmq", namespace, "--bind", "ipc://bots", folder=tmp_path):
            pass
    refused = shmtel("ingest", "zmq", "--bind", f"ipc://{file}", "--namespace", namespace, folder=tmp_path)
    assert refused.returncode == 2
    assert file.read_text() == "precious"
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()


@pytest.mark.parametrize(
    "options",
    [
        ("--bind", "tcp://0.0.0.0:*"),
        ("--bind", "tcp://*:5560"),
        ("--bind", "inproc://x"),
        ("--bind", "ipc://" + "x" * 200),
        ("--bind", "tcp://127.0.0.1:port"),
        ("--forward", "nowhere"),
        ("--config", "absent.yaml"),
        ("--producer", "a/b"),
    ],
)
def test_wrong_use_is_one_line(options: tuple[str, ...], namespace: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["ingest", "zmq", "--bind", f"ipc://{tmp_path}/x", "--namespace", namespace, *options]
    )
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("shmtel: ")


def test_settings_are_in_the_usual_file_and_config_is_another_one(namespace: str, tmp_path: Path) -> None:
    settings, metrics = tmp_path / "shmtel.toml", tmp_path / "metrics.yaml"
    metrics.write_text("metrics: [{name: depth, type: gauge, labels: [bot_id]}]")
    settings.write_text('[ingest.zmq]\nbind = "ipc://here"\nbot-id = "a"\n')
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("zmq", namespace, "--config", "metrics.yaml", folder=tmp_path) as sidecar,
        bot(sidecar.address) as push,
    ):
        assert sidecar.address == f"ipc://{tmp_path}/here"
        push.send_string("depth:3")
        assert come(reader, 1).value("depth", bot_id="a") == 3
    settings.write_text("[ingest.zmq]\nbnid = 1\n")
    wrong = shmtel("ingest", "zmq", "--namespace", namespace, folder=tmp_path)
    assert (wrong.returncode, "bnid" in wrong.stderr) == (2, True)


def test_another_address_than_loopback_must_be_meant(namespace: str, tmp_path: Path) -> None:
    with ingester("zmq", namespace, "--bind", "tcp://0.0.0.0:*", "--insecure", folder=tmp_path) as sidecar:
        port = int(sidecar.address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)):
            pass
        sidecar.end()
