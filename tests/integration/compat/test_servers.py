"""Real servers with several workers and no sidecar: whatever worker answers shows all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.compat.trees import left_of, nothing_is_left_by
from tests.processes import PATIENCE, wait_until

WORKERS = 4
REQUESTS = 200


@dataclass(frozen=True)
class Server:
    """A server that listens at `url`."""

    process: subprocess.Popen[bytes]
    url: str

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
            text: str = response.read().decode()
            return text

    def answers(self) -> bool:
        try:
            return bool(self.get("/metrics"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def metrics(self) -> dict[str, float]:
        """The values of the application's own samples."""
        families = text_string_to_metric_families(self.get("/metrics"))
        names = ("requests_total", "seconds_count", "seconds_sum", "alive")
        return {sample.name: sample.value for family in families for sample in family.samples if sample.name in names}

    def load(self, requests: int = REQUESTS) -> Counter[int]:
        """That many requests from several threads at once; returns how many each worker answered."""
        answered: Counter[int] = Counter()

        def ask() -> None:
            for _ in range(requests // 4):
                answered[int(self.get("/"))] += 1

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answered


@contextmanager
def served(*command: str) -> Iterator[Server]:
    """A server of a Python module, which is given its listening socket; ended by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        fd = listening.fileno()
        arguments = [word.replace("FD", str(fd)) for word in command]
        process = subprocess.Popen([sys.executable, "-m", *arguments], pass_fds=[fd])
        server = Server(process, f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            wait_until(server.answers, "the server answers")
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(PATIENCE) in (0, -signal.SIGTERM)
            finally:
                process.kill()
                process.wait()


def gunicorn(*options: str) -> tuple[str, ...]:
    return (
        "gunicorn", f"--workers={WORKERS}", "--bind=fd://FD", "--log-level=warning", *options,
        "tests.applications.web:wsgi",
    )  # fmt: skip


UVICORN = (
    "uvicorn", f"--workers={WORKERS}", "--fd=FD", "--log-level=warning", "tests.applications.web:asgi",
)  # fmt: skip


def counted(requests: float) -> dict[str, float]:
    return {"requests_total": requests, "seconds_count": requests, "seconds_sum": 1.5 * requests}


def totals(server: Server) -> dict[str, float]:
    shown = server.metrics()
    shown.pop("alive", None)
    return shown


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(gunicorn(), id="gunicorn"),
        pytest.param(gunicorn("--preload"), id="gunicorn-preload"),
        pytest.param(
            gunicorn("--worker-class=gthread", "--threads=4"), id="gunicorn-threads", marks=pytest.mark.stress
        ),
        pytest.param(gunicorn("--worker-class=gevent"), id="gunicorn-gevent", marks=pytest.mark.slow),
        pytest.param(UVICORN, id="uvicorn", marks=pytest.mark.slow),
    ],
)
def test_any_workers_metrics_cover_all_workers(command: tuple[str, ...]) -> None:
    with served(*command) as server:
        answered = server.load()
        assert sum(answered.values()) == REQUESTS
        for _ in range(3 * WORKERS):
            assert server.metrics() == counted(REQUESTS) | {"alive": len(answered)}
        root = server.process.pid
    # Where the master has not imported the application, no worker knows that it was the last one.
    assert not left_of(root) or "--preload" not in command
    nothing_is_left_by(root)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_totals_survive_workers_that_are_killed_and_their_live_gauges_go(options: tuple[str, ...]) -> None:
    with served(*gunicorn(*options)) as server:
        for turn in range(1, 3):
            workers = server.load()
            assert totals(server) == counted(turn * REQUESTS)
            for pid in list(workers)[:-1] if turn % 2 else workers:
                os.kill(pid, signal.SIGKILL)
                wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), "a worker is dead")
            wait_until(server.answers, "there are workers")
            assert totals(server) == counted(turn * REQUESTS)
            living = turn % 2
            wait_until(lambda living=living: server.metrics().get("alive", 0) <= living, "gauges are gone")
        root = server.process.pid
    nothing_is_left_by(root)


@pytest.mark.slow
def test_totals_survive_workers_that_are_replaced() -> None:
    with served(*gunicorn("--max-requests=20")) as server:
        shown = 0.0
        for turn in range(1, 4):
            answered = server.load(80)
            assert len(answered) > 1
            now = totals(server)
            assert now == counted(turn * 80)
            assert now["requests_total"] >= shown
            shown = now["requests_total"]
        root = server.process.pid
    nothing_is_left_by(root)


@pytest.mark.stress
def test_two_servers_have_nothing_in_common() -> None:
    with served(*gunicorn()) as one, served(*gunicorn("--preload")) as other:
        one.load()
        other.load(40)
        assert (totals(one), totals(other)) == (counted(REQUESTS), counted(40))
        roots = one.process.pid, other.process.pid
    nothing_is_left_by(*roots)
