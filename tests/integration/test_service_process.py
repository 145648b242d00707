"""`shmtel serve` as a process, and as several: how it begins, how it ends, who reads, and who answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shmtelemetry import Telemetry
from tests.processes import PATIENCE, kill, wait_until
from tests.readers import SHMTEL, Running, reader, shmtel
from tests.services import ask, await_value, hear, listener, service

BAD = [
    (["--listen", "0.0.0.0:0"], {}, "--token-file"),
    ([], {"API_HOST": "0.0.0.0"}, "--token-file"),
    ([], {"API_PORT": "many"}, "expected HOST:PORT"),
    ([], {"API_WORKERS": "0"}, "0 is not in the range"),
    ([], {"WS_MAX_CONNECTIONS": "0"}, "0 is not in the range"),
    ([], {"WS_MESSAGE_QUEUE_SIZE": "x"}, "not a valid integer"),
    ([], {"WS_HEARTBEAT_INTERVAL": "-1"}, "is not in the range"),
    ([], {"METRIC_COLLECTION_INTERVAL": "0"}, "is not in the range"),
    ([], {"CORS_ORIGINS": "*"}, "expected scheme://host"),
    ([], {"LOG_LEVEL": "loud"}, "is not one of"),
    (["--token-file", "nowhere"], {}, "token file nowhere cannot be read"),
    (["--tls-cert", "nowhere"], {}, "--tls-cert and --tls-key"),
    (["--include", "no metric!"], {}, "no metric name matches"),
    (["--attach", "no name!"], {}, "namespace"),
]


# ---- settings ----


@pytest.mark.parametrize(("options", "environment", "complaint"), BAD)
def test_a_bad_setting_is_one_line_and_changes_nothing(
    namespace: str, tmp_path: Path, options: list[str], environment: dict[str, str], complaint: str
) -> None:
    state = str(tmp_path / "state")
    done = shmtel("serve", "--namespace", namespace, "--state-dir", state, *options, folder=tmp_path, **environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("shmtel: ")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def test_settings_come_from_the_documented_variables_after_ours_and_before_the_file(
    namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "shmtel.toml").write_text(
        "[serve]\nws-heartbeat-interval = 7.0\ncollection-interval = 0.5\n[reader]\nmax-series = 5\n"
    )
    environment = {
        "WS_HEARTBEAT_INTERVAL": "8",
        "METRIC_COLLECTION_INTERVAL": "0.25",
        "SHMTEL_COLLECTION_INTERVAL": "0.2",
    }
    with service(namespace, tmp_path, **environment) as running, listener(running.url) as websocket:
        connected = hear(websocket, "connected")
        assert (connected["heartbeat_interval"], connected["interval"]) == (8.0, 0.2)


def test_the_documented_variables_name_host_and_port(namespace: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {**os.environ, "API_HOST": "127.0.0.1", "API_PORT": str(port)}
    command = ["--namespace", namespace, "--state-dir", str(tmp_path), "--ephemeral"]
    with subprocess.Popen([*SHMTEL, "serve", *command], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on http://127.0.0.1:{port}\n"
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_without_the_extra_packages_it_says_which_to_install(namespace: str, tmp_path: Path) -> None:
    script = "import sys; sys.modules['uvicorn'] = None; from shmtelemetry.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", script, "serve", "--namespace", namespace, "--state-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr == "shmtel: there is no uvicorn: pip install 'shmtelemetry[service]'\n"


# ---- beginning and ending ----


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_all_that_was_published_taken(
    namespace: str, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    with service(namespace, tmp_path, "--workers", str(workers)) as running:
        with Telemetry("bot", namespace, capacity=1024) as telemetry:
            counter = telemetry.counter("orders_total")
            for _ in range(1000):
                counter.inc()
        with listener(running.url) as websocket:
            hear(websocket, "connected")
            assert running.end(number) == 0
    assert not list(Path("/dev/shm").glob(f"shmtel.{namespace}*"))


def test_a_namespace_that_somebody_reads_is_refused_naming_him(namespace: str, tmp_path: Path) -> None:
    with reader(namespace, "--ephemeral") as first:
        done = shmtel("serve", "--namespace", namespace, "--state-dir", str(tmp_path), "--listen", "127.0.0.1:0")
        assert done.returncode == 1
        assert f"already read by process {first.process.pid}" in done.stderr


def test_an_address_that_is_taken_is_one_line(namespace: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = shmtel("serve", "--namespace", namespace, "--state-dir", str(tmp_path), "--listen", listen)
    assert done.returncode == 1
    assert done.stderr.startswith(f"shmtel: cannot listen on {listen}")


def test_another_namespace_is_shown_whose_reader_runs_elsewhere(namespace: str, tmp_path: Path) -> None:
    other = f"{namespace}-other"
    with (
        reader(other, "--ephemeral"),
        Telemetry("bot", other, capacity=1024) as telemetry,
        service(namespace, tmp_path, "--attach", other) as running,
    ):
        telemetry.gauge("throughput_orders_per_second").set(42.0)
        path = f"/latest?namespace={other}"
        assert await_value(running.url, path, lambda told: told["throughput_ops_per_sec"] == 42.0)["namespace"] == other
        assert ask(running.url, "/").json["namespaces"] == [namespace, other]
        assert ask(running.url, "/latest").json["throughput_ops_per_sec"] is None
        assert ask(running.url, "/health/ready?namespace=" + other).status == 200
        with listener(running.url, f"/ws/metrics?namespace={other}") as websocket:
            assert hear(websocket, "connected")["namespace"] == other
        refused = ask(running.url, "/latest?namespace=none")
        assert (refused.status, other in refused.json["detail"]) == (404, True)


def test_a_namespace_without_a_reader_is_unavailable_and_not_ready(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path, "--attach", f"{namespace}-none") as running:
        reply = ask(running.url, f"/latest?namespace={namespace}-none")
        assert (reply.status, reply.headers["Content-Type"]) == (503, "application/problem+json")
        assert "start shmtel reader" in reply.json["detail"]
        ready = ask(running.url, f"/health/ready?namespace={namespace}-none")
        assert (ready.status, ready.json["reason"]) == (503, "there is no reader")
        with listener(running.url, f"/ws?namespace={namespace}-none") as websocket:
            assert "start shmtel reader" in hear(websocket, "error")["message"]


# ---- several workers ----


def workers_of(running: Running) -> list[int]:
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if b"spawn_main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it ended just now
        return b""


def test_all_workers_answer_alike_and_their_requests_are_counted_together(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path, "--workers", "2") as running:
        assert len(workers_of(running)) == 2
        with Telemetry("bot", namespace, capacity=1024) as telemetry:
            telemetry.gauge("throughput_orders_per_second").set(7.0)
            await_value(running.url, "/latest", lambda told: told["throughput_ops_per_sec"] == 7.0)
            asked = 0
            # A worker opens the ring that counts its requests at the first one.
            while len(list(Path("/dev/shm").glob(f"shmtel.{namespace}.http.*"))) < 2:
                assert ask(running.url, "/latest").json["throughput_ops_per_sec"] == 7.0
                asked += 1
                assert asked < 10_000
        text = ask(running.url, "/metrics").body.decode()
        counted = sum(float(line.split()[-1]) for line in text.splitlines() if is_count(line))
        assert counted >= asked + 1


def is_count(line: str) -> bool:
    return line.startswith("http_requests_total{") and 'endpoint="/latest"' in line


def test_a_worker_that_is_killed_is_replaced_and_no_count_is_lost(namespace: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with service(namespace, tmp_path, "--workers", "2", said=said) as running:
        victim = workers_of(running)[0]
        with Telemetry("bot", namespace, capacity=65536) as telemetry:
            counter = telemetry.counter("orders_total")
            for number in range(10_000):
                counter.inc()
                if number == 5_000:
                    os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len(set(workers_of(running)) - {victim}) == 2, "another worker took its place")
            assert "orders_total 10000.0" in ask(running.url, "/metrics").body.decode()
        assert f"worker {victim} ended with exit code -9" in said.read_text()


def test_workers_end_when_what_started_them_is_killed(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path, "--workers", "2") as running:
        workers = workers_of(running)
        kill(running.process.pid)
        running.process.wait(PATIENCE)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers have ended")
    shmtel("reader", "--namespace", namespace, "--once", "--ephemeral")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_reader_that_stands_still_is_neither_ready_nor_alive(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path, "--workers", "2") as running:
        assert ask(running.url, "/health/ready").status == 200
        assert ask(running.url, "/health/live").status == 200
        with stopped(running.process.pid):
            wait_until(lambda: ask(running.url, "/health/ready").status == 503, "it is not ready")
            wait_until(lambda: "stands still" in ask(running.url, "/health").json.get("reason", ""), "it says why")
            wait_until(lambda: ask(running.url, "/health/live").status == 503, "it is not alive")
            assert ask(running.url, "/latest").status == 200  # what there is can still be seen
        wait_until(lambda: ask(running.url, "/health/live").status == 200, "it is alive again")
        wait_until(lambda: ask(running.url, "/health/ready").status == 200, "it is ready again")


# ---- SIGHUP ----


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reads_token_and_settings_again_and_bad_ones_change_nothing(
    namespace: str, tmp_path: Path, workers: int
) -> None:
    token, config, said = tmp_path / "token", tmp_path / "shmtel.toml", tmp_path / "said"
    token.write_text("first\n")
    config.write_text("[serve]\n")
    options = "--token-file", str(token), "--workers", str(workers)

    def status(given: str) -> int:
        return ask(running.url, "/metrics", Authorization=f"Bearer {given}").status

    def metrics() -> str:
        return ask(running.url, "/metrics", Authorization="Bearer second").body.decode()

    with service(namespace, tmp_path, *options, said=said) as running:
        assert (status("first"), status("second")) == (200, 401)
        token.write_text("second\n")
        config.write_text('[serve]\nexclude = ["shmtel_*"]\n')
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(status("first") == 401 for _ in range(8)), "no worker takes the old token")
        assert status("second") == 200
        wait_until(lambda: all("shmtel_records_total" not in metrics() for _ in range(8)), "no worker shows more")
        token.write_text("not a token!\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "settings stay as they were" in said.read_text(), "the log says so")
        assert status("second") == 200


def test_what_sighup_cannot_change_is_said(namespace: str, tmp_path: Path) -> None:
    config, said = tmp_path / "shmtel.toml", tmp_path / "said"
    config.write_text("[serve]\n")
    with service(namespace, tmp_path, said=said) as running:
        (tmp_path / "token").write_text("other\n")
        config.write_text(f'[serve]\ntoken-file = "{tmp_path / "token"}"\ncors-origin = ["http://localhost:3000"]\n')
        running.process.send_signal(signal.SIGHUP)
        for what in (
            "cors-origin",
            "what guards (insecure, token-file, allowed-host, tls-cert, tls-key, tls-client-ca)",
        ):
            line = f"{what} changes with the next start only"
            wait_until(lambda line=line: line in said.read_text(), f"the log says: {line}")  # type: ignore[misc]
        assert ask(running.url, "/latest").status == 200
