"""The service under a server that others start: `uvicorn shmtelemetry.service.app:create_app --factory`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

from shmtelemetry import Telemetry
from tests.processes import wait_until
from tests.readers import reader
from tests.services import ask, await_value, hear, listener
from tests.web import Server, serving, what_is_left

FACTORY = ("uvicorn", "shmtelemetry.service.app:create_app", "--factory", "--port", "PORT")


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def holder(server: Server) -> int:
    """The process that reads, as soon as it does."""
    wait_until(lambda: ask(url(server), "/health/ready").status == 200, "somebody reads")
    pid: int = ask(url(server), "/health").json["reader"]
    return pid


def test_it_serves_with_settings_of_the_environment(namespace: str, tmp_path: Path) -> None:
    environment = {"SHMTEL_STATE_DIR": str(tmp_path / "state"), "METRIC_COLLECTION_INTERVAL": "0.05"}
    with serving(namespace, tmp_path / "log", *FACTORY, **environment) as server:
        assert holder(server) == server.process.pid
        with Telemetry("bot", namespace, capacity=1024) as telemetry:
            telemetry.counter("orders_total").inc(3)
            assert "orders_total 3.0" in ask(url(server), "/metrics").body.decode()
        with listener(url(server)) as websocket:
            assert hear(websocket, "connected")["interval"] == 0.05
            hear(websocket, "metrics_update")
    assert what_is_left(namespace).value("orders_total") == 3


def test_one_worker_reads_for_all_and_another_one_goes_on_when_it_is_killed(namespace: str, tmp_path: Path) -> None:
    environment = {"SHMTEL_STATE_DIR": str(tmp_path / "state")}
    with (
        serving(namespace, tmp_path / "log", *FACTORY, "--workers", "2", **environment) as server,
        Telemetry("bot", namespace) as telemetry,
    ):
        first = holder(server)
        assert first != server.process.pid
        counter = telemetry.counter("orders_total")
        for number in range(10_000):
            counter.inc()
            if number == 5_000:
                os.kill(first, signal.SIGKILL)
        wait_until(lambda: holder(server) not in (first, 0), "another one reads")
        wait_until(lambda: "orders_total 10000.0" in ask(url(server), "/metrics").body.decode(), "nothing is lost")
    assert what_is_left(namespace).value("orders_total") == 10_000


def test_it_goes_on_with_the_totals_when_a_changed_file_starts_it_anew(namespace: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "mine.py").write_text("first = 1\n")
    environment = {"SHMTEL_STATE_DIR": str(tmp_path / "state")}
    reload = "--reload", "--reload-dir", str(source)
    with (
        serving(namespace, tmp_path / "log", *FACTORY, *reload, **environment) as server,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        counter = telemetry.counter("orders_total")
        counter.inc(3)
        first = holder(server)
        assert first != server.process.pid
        # uvicorn looks at the files' times from its next look on: it may not have had one yet.
        changes = count(1)

        def begun_anew() -> bool:
            (source / "mine.py").write_text(f"changed = {next(changes)}\n")
            try:
                return holder(server) not in (first, 0)
            except OSError:  # nobody listens while it begins
                return False

        wait_until(begun_anew, "another process reads")
        counter.inc(4)
        wait_until(lambda: _shows(server, "orders_total 7.0"), "nothing is lost")
    assert what_is_left(namespace).value("orders_total") == 7


def _shows(server: Server, line: str) -> bool:
    try:
        return line in ask(url(server), "/metrics").body.decode()
    except OSError:
        return False


def test_it_shows_a_namespace_that_another_process_reads(namespace: str, tmp_path: Path) -> None:
    environment = {"SHMTEL_STATE_DIR": str(tmp_path / "state")}
    with (
        reader(namespace, "--ephemeral") as other,
        serving(namespace, tmp_path / "log", *FACTORY, **environment) as server,
    ):
        assert holder(server) == other.process.pid
        with Telemetry("bot", namespace, capacity=1024) as telemetry:
            telemetry.gauge("throughput_orders_per_second").set(5.0)
            await_value(url(server), "/latest", lambda told: told["throughput_ops_per_sec"] == 5.0)


def test_a_bad_setting_is_one_line(namespace: str, tmp_path: Path) -> None:
    environment = {**os.environ, "SHMTEL_NAMESPACE": namespace, "CORS_ORIGINS": "*", "SHMTEL_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "uvicorn", "shmtelemetry.service.app:create_app", "--factory", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("shmtel serve: CORS origin '*': expected")


@pytest.mark.parametrize("protection", [{}, {"SHMTEL_INSECURE": "1"}])
def test_an_address_that_others_reach_is_refused_unless_it_is_meant(
    namespace: str, tmp_path: Path, protection: dict[str, str]
) -> None:
    address = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()[:1]
    if not address:
        pytest.skip("this machine has no address but loopback")
    environment = {"SHMTEL_STATE_DIR": str(tmp_path / "state"), **protection}
    with serving(namespace, tmp_path / "log", *FACTORY, "--host", "0.0.0.0", **environment) as server:
        there = ask(f"http://{address[0]}:{server.port}", "/latest")
        assert there.status == (200 if protection else 403), there.body
        if not protection:
            assert "SHMTEL_TOKEN_FILE" in json.loads(there.body)["detail"]
        assert ask(url(server), "/health").status in (200, 503)
    what_is_left(namespace)
