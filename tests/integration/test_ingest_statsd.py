"""Datagrams of StatsD, of its clients and by hand, through the command line, into what a reader shows."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import statsd
from click.testing import CliRunner
from datadog.dogstatsd.base import DogStatsd

from shmtelemetry import Reader
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.cli import main
from tests.ingesters import Ingester, come, ingester, rejected, shown, total

FREE = "--udp", "127.0.0.1:0"


def port_of(sidecar: Ingester) -> int:
    port = urlsplit(sidecar.address).port
    assert port
    return port


@contextmanager
def sender(sidecar: Ingester) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", port_of(sidecar)))
        yield made


def test_an_application_with_the_client_statsd_arrives_without_a_change(namespace: str, tmp_path: Path) -> None:
    with Reader(namespace, ephemeral=True) as reader, ingester("statsd", namespace, *FREE, folder=tmp_path) as sidecar:
        client = statsd.StatsClient("127.0.0.1", port_of(sidecar), prefix="shop")
        client.incr("orders")
        client.incr("orders", 2)
        with client.pipeline() as pipe:  # several lines in one datagram
            pipe.gauge("queue.depth", 7)
            pipe.gauge("queue.depth", -3, delta=True)
            pipe.timing("checkout", 320)
            pipe.set("users", "alice")
        client.gauge("balance", -5)
        client.set("users", "bob")
        client.set("users", "alice")
        come(reader, 10)  # a negative gauge is two lines: 0, and a step down
        assert sidecar.end() == {"items": 10, "rejected": {}, "overflow": 0, "ignored_tags": 0, "lost_datagrams": 0}
        client.close()
        reader.poll()
        snapshot = reader.snapshot()
    assert snapshot.value("shop_orders_total") == 3
    assert snapshot.value("shop_queue_depth") == 4
    assert snapshot.value("shop_balance") == -5
    assert snapshot.value("shop_users") == 2
    assert snapshot.histogram("shop_checkout_ms").sum == 320


@pytest.mark.parametrize("over", ["udp", "unix"])
def test_an_application_with_the_client_of_datadog_arrives_without_a_change(
    namespace: str, tmp_path: Path, over: str
) -> None:
    options = FREE if over == "udp" else ("--unix", "statsd.sock")
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("statsd", namespace, *options, folder=tmp_path) as sidecar,
    ):
        where = {"socket_path": sidecar.address.removeprefix("unix://"), "host": None, "port": None}
        if over == "udp":
            where = {"host": "127.0.0.1", "port": port_of(sidecar)}
        client = DogStatsd(**where, constant_tags=["env:prod"], disable_telemetry=True, disable_buffering=True)
        client.increment("page.views", 2, tags=["page:home"])
        client.decrement("page.views", tags=["page:home"])
        client.gauge("load", 0.5, tags=["host:a"])
        client.histogram("payload", 1500)
        client.distribution("request_seconds", 0.25, tags=["route:/"])
        client.timing("query", 12, tags=["db:main"])
        client.timing("query_seconds", 12, tags=["db:main"])
        client.set("users", "alice")
        client.event("Deployed", "version 2")
        client.service_check("up", 0)
        snapshot = come(reader, 10)
        client.close_socket()
    assert snapshot.value("page_views_total", page="home", env="prod") == 2
    assert snapshot.value("load", host="a", env="prod") == 0.5
    assert snapshot.histogram("payload", env="prod").sum == 1500
    assert snapshot.histogram("request_seconds", route="/", env="prod").sum == 0.25
    assert snapshot.histogram("query_ms", db="main", env="prod").sum == 12
    assert snapshot.histogram("query_seconds", db="main", env="prod").sum == 0.012
    assert rejected(snapshot) == {"value": 1, "event": 2}  # a counter of Prometheus does not fall


def test_sample_rates_count_what_was_not_sent(namespace: str, tmp_path: Path) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("statsd", namespace, *FREE, folder=tmp_path) as sidecar,
        sender(sidecar) as client,
    ):
        client.send(b"hits:3|c|@0.1\nhits:1:2|c\ntime:5|ms|@0.25\ntime:1:2:3|ms\nx.y-z/1:1|c|#a.b:c,flag,le:1")
        snapshot = come(reader, 5)
    assert snapshot.value("hits_total") == 33
    observed = snapshot.histogram("time_ms")
    assert (observed.count, observed.sum) == (7, 26)
    assert snapshot.value("x_y_z_1_total", a_b="c", flag="true", le="1") == 1


def test_what_is_malformed_is_counted_by_its_reason_and_the_rest_is_taken(namespace: str, tmp_path: Path) -> None:
    wrong: dict[str, list[bytes]] = {
        "syntax": [b"a", b"a:1", b"a|c", b":1|c", b"a:|c", b"a:1|c|x"],
        "encoding": [b"\xff:1|c"],
        "type": [b"a:1|x", b"a:1|", b"g:1|s", b"g:1|h", b"g:1|c"],
        "value": [b"a:x|c", b"a:nan|g", b"a:1e999|g", b"a:-1|c", b"a:1:x|h", b"a:1e308|c|@0.0001"],
        "rate": [b"a:1|c|@0", b"a:1|c|@2", b"a:1|c|@x", b"a:1|ms|@0.001", b"a" + b":1" * 10_001 + b"|ms"],
        "tags": [b"h:1|h|#le:1", b"t:1|c|#__x:1", b"t:1|c|#" + b",".join(b"t%d:1" % n for n in range(33))],
        "labels": [b"l:1|c|#x:" + b"x" * 257],
        "name": [b"ingest.items:1|c", b"n" * 300 + b":1|c"],
        "set": [b"s:" + b"x" * 257 + b"|s"],
        "event": [b"_e{1,1}:a|b", b"_sc|a|0"],
    }
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("statsd", namespace, *FREE, folder=tmp_path) as sidecar,
        sender(sidecar) as client,
    ):
        client.send(b"g:1|g\nok:1|c\n\n")
        for lines in wrong.values():
            client.send(b"\n".join([*lines, b"ok:1|c"]))
        expected = {reason: len(lines) for reason, lines in wrong.items()}
        snapshot = come(reader, sum(expected.values()) + len(wrong) + 2)
        assert rejected(snapshot) == expected
        assert snapshot.value("ok_total") == len(wrong) + 1
        own = {name for name in snapshot.families if not name.startswith(("ingest_", "shmtel_"))}
        assert own == {"g", "ok_total"}  # what is refused makes no metric
        assert sidecar.end(signal.SIGINT)["rejected"] == expected


def test_tags_that_a_metric_lacks_are_ignored_and_counted_and_missing_ones_are_empty(
    namespace: str, tmp_path: Path
) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("statsd", namespace, *FREE, folder=tmp_path) as sidecar,
        sender(sidecar) as client,
    ):
        client.send(b"a:1|c|#x:1,y:2\na:1|c|#y:2,x:1\na:1|c\na:1|c|#x:1\na:1|c|#x:1,y:2,z:3\na:1|c|#x:1,y:2,z:3")
        snapshot = come(reader, 6)
        assert snapshot.value("a_total", x="1", y="2") == 4
        assert snapshot.value("a_total", x="", y="") == snapshot.value("a_total", x="1", y="") == 1
        assert snapshot.value("ingest_ignored_tags_total", source="statsd") == 2


def test_a_set_counts_distinct_values_of_an_interval(namespace: str, tmp_path: Path) -> None:
    options = *FREE, "--flush-interval", "0.1"
    with (
        Reader(namespace, ephemeral=True) as reader,
        ingester("statsd", namespace, *options, folder=tmp_path) as sidecar,
        sender(sidecar) as client,
    ):
        client.send(b"\n".join(b"users:u%d|s" % (number % 40) for number in range(400)))
        shown(reader, lambda snapshot: total(snapshot, "users") == 40, "the interval is shown")
        shown(reader, lambda snapshot: total(snapshot, "users") == 0, "an interval without values is shown")


def test_what_the_kernel_has_no_room_for_is_counted(namespace: str, tmp_path: Path) -> None:
    with Reader(namespace, ephemeral=True) as reader, ingester("statsd", namespace, *FREE, folder=tmp_path) as sidecar:
        sidecar.process.send_signal(signal.SIGSTOP)
        with sender(sidecar) as client:
            for _ in range(20_000):
                client.send(b"a:1|c\n" + b"#" * 1000)
        sidecar.process.send_signal(signal.SIGCONT)

        def lost(snapshot: Snapshot) -> bool:
            return total(snapshot, "ingest_lost_datagrams_total") + total(snapshot, "a_total") == 20_000

        assert total(shown(reader, lost, "each datagram is taken or counted"), "ingest_lost_datagrams_total") > 0


def test_a_socket_is_taken_only_from_the_dead(namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    path = tmp_path / "statsd.sock"
    with (
        Reader(namespace, ephemeral=True),
        ingester("statsd", namespace, "--unix", str(path), folder=tmp_path) as first,
    ):
        second = CliRunner().invoke(main, ["ingest", "statsd", "--namespace", namespace, "--unix", str(path)])
        assert (second.exit_code, "in use" in second.stderr) == (1, True)
        first.process.kill()
        first.process.wait()
        with ingester("statsd", namespace, "--unix", str(path), *FREE, folder=tmp_path) as again:
            again.end()
        assert not path.exists()
        refused = CliRunner().invoke(main, ["ingest", "statsd", "--namespace", namespace, "--unix", str(file)])
    assert refused.exit_code == 2
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    "options",
    [
        ("--udp", "0.0.0.0:0"),
        ("--udp", "8125"),
        ("--udp", "127.0.0.1:x"),
        ("--unix", "/nowhere/at/all"),
        ("--flush-interval", "0"),
        ("--namespace", "a/b"),
    ],
)
def test_wrong_use_is_one_line(options: tuple[str, ...], namespace: str) -> None:
    done = CliRunner().invoke(main, ["ingest", "statsd", "--namespace", namespace, *options])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("shmtel: ")


def test_an_address_that_is_taken_is_told(namespace: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = CliRunner().invoke(main, ["ingest", "statsd", "--namespace", namespace, "--udp", where])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert where in done.stderr
