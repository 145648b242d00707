"""The command line, as processes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from shmtelemetry import Telemetry, read_state
from shmtelemetry.cli import ingest, main
from tests.processes import run_python, wait_until
from tests.readers import reader, shmtel

COMMANDS = ["reader", "serve", "ls", "tail", "dump", "doctor", "gc", "probe", "ingest", "generate", "demo", "bench"]


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.rstrip()


def values(text: str) -> dict[str, str]:
    """Sample name with its labels → value, as written."""
    samples = (line for line in text.splitlines() if not line.startswith("#"))
    return dict(line.rsplit(" ", 1) for line in samples)  # type: ignore[misc]


# ---- help and errors ----


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = shmtel(command, "--help")
    assert done.returncode == 0
    assert f"Example:\n    shmtel {command}" in done.stdout


@pytest.mark.parametrize("source", sorted(ingest.command.commands))
def test_every_source_has_help_with_an_example(source: str) -> None:
    done = CliRunner().invoke(main, ["ingest", source, "--help"])
    assert done.exit_code == 0
    assert f"Example:\n    shmtel ingest {source}" in done.stdout


def test_every_command_is_listed() -> None:
    assert sorted(COMMANDS) == sorted(main.commands)
    assert all(f"  {command} " in shmtel("--help").stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unheard-of"],
        ["--unheard-of"],
        ["ls", "--namespace", "a.b"],
        ["reader", "--namespace", "a.b"],
        ["reader", "--listen", "8000"],
        ["reader", "--listen", "0.0.0.0:0"],
        ["reader", "--interval", "7"],
        ["reader", "--interval", "soon"],
        ["demo", "--rate", "0"],
        ["demo", "--seconds", "-1"],
        ["demo", "--listen", "192.0.2.1:8000"],
        ["probe", "ftp://localhost"],
        ["probe", "http://localhost:port"],
        ["bench", "unheard-of"],
        ["tail"],
        ["tail", "a/b"],
        ["tail", "p", "--filter", "no-value"],
        ["tail", "p", "--last", "-1"],
        ["dump", "p", "--format", "xml"],
        ["dump", "p", "--namespace", "a.b"],
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: list[str], namespace: str) -> None:
    done = shmtel(*arguments, SHMTEL_NAMESPACE=namespace)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr).startswith("shmtel: ")
    assert one_line(done.stderr).endswith(" --help")


def test_an_address_that_others_reach_is_refused_with_the_way_out() -> None:
    assert "--insecure" in shmtel("reader", "--listen", "0.0.0.0:0").stderr


# ---- reader ----


def test_the_reader_shows_all_that_was_published_before_the_scrape(namespace: str) -> None:
    with (
        Telemetry("bot", namespace=namespace) as telemetry,
        reader(namespace, "--ephemeral") as running,
    ):
        orders = telemetry.counter("orders_total", "Orders.")
        for count in range(1, 21):
            orders.inc()
            assert values(running.get("/metrics"))["orders_total"] == f"{count}.0"


def test_both_formats_are_read_by_prometheus_clients_parsers(namespace: str) -> None:
    with (
        Telemetry("bot", namespace=namespace) as telemetry,
        reader(namespace, "--ephemeral") as running,
    ):
        latency = telemetry.histogram("latency_seconds", 'A "quoted"\nhelp.', labels=("venue",), buckets=(0.5, 1.0))
        for value in (0.25, 0.75, 2.0):
            latency.labels('a\\b"c\n').observe(value)
        telemetry.gauge("trading_bots_active_total", "Bots.").set(3.0)
        text = {item.name: item for item in parse_text(running.get("/metrics"))}
        openmetrics = {
            item.name: item
            for item in parse_openmetrics(running.get("/metrics", Accept="application/openmetrics-text"))
        }
    for read in (text, openmetrics):
        buckets = [item for item in read["latency_seconds"].samples if item.name.endswith("_bucket")]
        assert [(item.labels["le"], item.value) for item in buckets] == [
            ("0.5", 1.0),
            ("1.0", 2.0),
            ("+Inf", 3.0),
        ]
        assert {item.labels["venue"] for item in buckets} == {'a\\b"c\n'}
        assert [item.value for item in read["trading_bots_active_total"].samples] == [3.0]
        assert "shmtel_records" in read


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_commits_and_exits_0(namespace: str, ending: int) -> None:
    with Telemetry("bot", namespace=namespace) as telemetry:
        orders = telemetry.counter("orders_total", "Orders.")
        with reader(namespace) as running:
            for _ in range(10_000):
                orders.inc()
            assert running.end(ending) == 0
        assert read_state(namespace).value("orders_total") == 10_000
        assert telemetry.stats().in_ring == 0
    last = shmtel("reader", "--namespace", namespace, "--once", "--ephemeral")
    assert values(last.stdout)["orders_total"] == "10000.0"


def test_once_drains_prints_and_ends(namespace: str) -> None:
    with Telemetry("bot", namespace=namespace) as telemetry:
        for _ in range(1000):
            telemetry.counter("orders_total", "Orders.").inc()
        done = shmtel("reader", "--namespace", namespace, "--once", "--ephemeral")
        assert (done.returncode, done.stderr) == (0, "")
        assert values(done.stdout)["orders_total"] == "1000.0"
        assert telemetry.stats().in_ring == 0


def test_a_second_reader_names_the_first(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running:
        done = shmtel("reader", "--namespace", namespace)
        assert done.returncode == 1
        assert f"process {running.process.pid};" in one_line(done.stderr)


def test_a_port_in_use_is_one_line(namespace: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shmtel("reader", "--namespace", namespace, "--listen", f"127.0.0.1:{port}", "--ephemeral")
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in one_line(done.stderr)


def test_options_come_from_the_environment(namespace: str) -> None:
    with Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.counter("orders_total", "Orders.").inc()
        done = shmtel("reader", "--once", SHMTEL_NAMESPACE=namespace, SHMTEL_EPHEMERAL="1")
    assert values(done.stdout)["orders_total"] == "1.0"


# ---- probe ----


def test_probe_finds_a_reader_healthy(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running:
        wait_until(lambda: shmtel("probe", running.url).returncode == 0, "the reader is ready")
        for target in (running.url, running.url.removeprefix("http://"), running.url + "/health/live"):
            done = shmtel("probe", target)
            assert done.returncode == 0
            assert "200" in one_line(done.stdout)
        assert shmtel("probe", running.url + "/nothing").returncode == 1


def test_probe_finds_a_reader_that_stands_still_unhealthy(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running:
        running.process.send_signal(signal.SIGSTOP)
        try:
            done = shmtel("probe", running.url)
        finally:
            running.process.send_signal(signal.SIGCONT)
        assert running.end(signal.SIGTERM) == 0
    assert done.returncode == 1
    assert "timed out" in one_line(done.stderr)


def test_probe_finds_nobody_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = shmtel("probe", f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "Connection refused" in one_line(done.stderr)


def test_probe_asks_no_proxy(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running:
        wait_until(lambda: shmtel("probe", running.url).returncode == 0, "the reader is ready")
        assert shmtel("probe", running.url, http_proxy="http://192.0.2.1:9").returncode == 0


# ---- ls ----


def test_ls_tells_what_is_in_shared_memory(namespace: str) -> None:
    with Telemetry("bot", namespace=namespace, capacity=1024) as telemetry:
        gauge = telemetry.gauge("depth", "Depth.")
        for _ in range(10):
            gauge.set(1.0)
        (row,) = json.loads(shmtel("ls", "--namespace", namespace, "--json").stdout)
        told = {key: row[key] for key in ("namespace", "producer", "pid", "uid", "alive", "in_ring", "capacity")}
        assert told == {
            "namespace": namespace, "producer": "bot", "pid": os.getpid(), "uid": os.getuid(), "alive": True,
            "in_ring": 10, "capacity": 1024,
        }  # fmt: skip
        assert (row["policy"], row["reader"], row["error"]) == ("drop_newest", None, None)
        assert row["bytes"] >= 1024 * 24
        assert row["age_seconds"] >= 0
        with reader(namespace, "--ephemeral") as running:
            wait_until(lambda: telemetry.stats().in_ring == 0, "the ring is drained")
            (row,) = json.loads(shmtel("ls", "--namespace", namespace, "--json").stdout)
            assert (row["in_ring"], row["reader"]) == (0, running.process.pid)
        head, line = shmtel("ls", "--namespace", namespace).stdout.splitlines()
        assert head.split() == [
            "namespace", "producer", "pid", "alive", "records", "bytes", "uid", "policy", "age", "reader",
        ]  # fmt: skip
        assert line.split()[:5] == [namespace, "bot", str(os.getpid()), "yes", "0/1,024"]


def test_ls_lists_broken_segments_with_their_error(namespace: str) -> None:
    broken = Path("/dev/shm", f"shmtel.{namespace}.bot.00")
    broken.write_bytes(b"nothing that anybody wrote" * 100)
    try:
        done = shmtel("ls", "--namespace", namespace, "--json")
        table = shmtel("ls", "--namespace", namespace)
    finally:
        broken.unlink()
    (row,) = json.loads(done.stdout)
    assert (done.returncode, row["producer"], row["alive"]) == (0, "bot", None)
    assert "no magic" in row["error"]
    assert (table.returncode, "no magic" in table.stdout) == (0, True)


def test_ls_without_segments_says_so(namespace: str) -> None:
    assert shmtel("ls", "--namespace", namespace).stdout == "no segments\n"
    assert json.loads(shmtel("ls", "--namespace", namespace, "--json").stdout) == []


def test_the_keys_of_ls_are_documented(namespace: str) -> None:
    with Telemetry("bot", namespace=namespace):
        (row,) = json.loads(shmtel("ls", "--namespace", namespace, "--json").stdout)
        shmtel("reader", "--namespace", namespace, "--once", "--ephemeral")
    documented = shmtel("ls", "--help").stdout
    assert [key for key in row if key not in documented] == []


def test_help_comes_without_the_web_server() -> None:
    code = "import sys; from shmtelemetry.cli import main; print('http.server' in sys.modules)"
    assert run_python(code).stdout == "False\n"
