"""WSGI applications on real servers: every request is counted once, under bounded names, whichever worker had it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from shmtelemetry import Reader
from shmtelemetry.errors import ReaderBusyError
from tests.processes import PATIENCE, wait_until
from tests.web import Server, Tally, serving, what_is_left

GUNICORN = ("gunicorn", "-b", "127.0.0.1:PORT", "--log-level", "warning")
FLASK = "tests.webapps.flask_app:app"


def make_requests(server: Server, rounds: int) -> Tally:
    """Requests of every kind."""
    tally = Tally()
    for number in range(rounds):
        assert server.ask("GET", f"/items/{number}")[2] == f"item {number}".encode()
        tally.add("GET", "/items/<int:number>", 200, 0, len(f"item {number}"))
        assert server.ask("HEAD", f"/items/{number}")[0] == 200
        tally.add("HEAD", "/items/<int:number>", 200)
        body = server.ask("GET", f"/nothing/{number}")[2]
        tally.add("GET", "unmatched", 404, 0, len(body))
        body = server.ask(f"FOO{number}", f"/items/{number}")[2]
        tally.add("unknown", "unmatched", 405, 0, len(body))
        assert server.ask("POST", "/upload", b"y" * 1000)[2] == b"1000"
        assert server.ask("POST", "/upload", iter([b"y" * 700, b"y" * 300]))[2] == b"1000"
        for _ in range(2):
            tally.add("POST", "/upload", 200, 1000, 4)
        assert len(server.ask("GET", "/stream")[2]) == 55
        tally.add("GET", "/stream", 200, 0, 55)
        status, _, body = server.ask("GET", "/boom/a")
        assert status == 500
        tally.add("GET", "/boom/<word>", 500, 0, len(body))
    return tally


def test_prometheus_clients_face_is_shown_where_both_are_in_one_namespace(namespace: str, tmp_path: Path) -> None:
    with serving(namespace, tmp_path / "log", *GUNICORN, "--workers", "2", "tests.webapps.jobs_wsgi:app") as server:
        for _ in range(20):
            assert server.ask("GET", "/job")[2] == b"done"
        requests = "http_requests_total", (("endpoint", "/job"), ("method", "GET"), ("status", "200"))
        wait_until(lambda: server.scrape().get(requests) == 20, "all are counted")
        assert '\njobs_total{path="/job"} 20.0\n' in server.ask("GET", "/metrics")[2].decode()
    what_is_left(namespace)


@pytest.mark.slow
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_every_worker_shows_the_requests_of_all(namespace: str, tmp_path: Path, preload: tuple[str, ...]) -> None:
    need_flask()
    with serving(namespace, tmp_path / "log", *GUNICORN, "--workers", "3", *preload, FLASK) as server:
        tally = make_requests(server, 12)
        # A worker counts a request when it closes the response, which its client may have before.
        wait_until(lambda: server.scrape() == tally.expected(), "all are counted")
        with pytest.raises(ReaderBusyError) as busy:
            Reader(namespace)
        assert busy.value.pid != server.process.pid  # a worker, and not their parent
        os.kill(busy.value.pid, signal.SIGKILL)
        wait_until(lambda: server.scrape() == tally.expected(), "another worker has read all")
    assert "shmtelemetry" not in (tmp_path / "log").read_text().replace("/shmtelemetry/", "")
    what_is_left(namespace)


def test_threads_count_too(namespace: str, tmp_path: Path) -> None:
    need_flask()
    stream = (("endpoint", "/endless"), ("method", "GET"), ("status", "200"))
    with serving(
        namespace, tmp_path / "log", *GUNICORN, "--worker-class", "gthread", "--threads", "4", FLASK, PROPAGATE="1"
    ) as server:
        server.abandon(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", until=b"xxx")
        wait_until(lambda: server.scrape().get(("http_requests_total", stream)) == 1, "the stream is counted")
        assert server.ask("GET", "/boom/a")[0] == 500
        boom = (("endpoint", "/boom/<word>"), ("method", "GET"), ("status", "500"))
        wait_until(lambda: server.scrape().get(("http_requests_total", boom)) == 1, "what Flask let through is counted")
    what_is_left(namespace)


def need_flask() -> None:
    pytest.importorskip("flask")
    pytest.importorskip("gunicorn")


def test_an_application_of_no_framework_on_the_server_of_the_standard_library(namespace: str) -> None:
    tally = Tally()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.webapps.bare_wsgi"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "SHMTEL_NAMESPACE": namespace},
    ) as process:
        try:
            assert process.stdout is not None
            server = Server(process, int(process.stdout.readline()), Path())
            for _ in range(5):
                _, headers, body = server.ask("GET", "/hello")
                assert (headers["Content-Length"], body) == ("5", b"hello")  # a list of one has a length
                tally.add("GET", "/hello", 200, 0, 5)
                assert server.ask("GET", "/write")[2] == b"written, hello"
                tally.add("GET", "/write", 200, 0, 14)
                for path in ("/boom", "/late"):
                    assert server.ask("GET", path)[0] == 500
                    tally.add("GET", path, 500)
            wait_until(lambda: server.scrape() == tally.expected(), "all are counted")
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=PATIENCE) as response:
                assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        finally:
            process.terminate()
    what_is_left(namespace)
