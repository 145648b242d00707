"""ASGI applications on real servers: every request is counted once, under bounded names, whichever worker had it."""

from __future__ import annotations

import gzip
import os
import signal
from pathlib import Path

import pytest

from shmtelemetry import Reader
from shmtelemetry.errors import ReaderBusyError
from tests.processes import wait_until
from tests.readers import reader
from tests.web import Server, Tally, serving, what_is_left

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

UVICORN = ("uvicorn", "--port", "PORT", "--http", "h11", "--log-level", "warning")
FASTAPI = "tests.webapps.fastapi_app:app"
BARE = "tests.webapps.bare_asgi:app"


def make_requests(server: Server, rounds: int) -> Tally:
    """Requests of every kind."""
    tally = Tally()
    for number in range(rounds):
        assert server.ask("GET", f"/items/{number}")[2] == f"item {number}".encode()
        tally.add("GET", "/items/{number}", 200, 0, len(f"item {number}"))
        assert server.ask("HEAD", f"/items/{number}")[0] == 200
        tally.add("HEAD", "/items/{number}", 200)
        body = server.ask("GET", "/items/x")[2]
        tally.add("GET", "/items/{number}", 422, 0, len(body))
        body = server.ask("GET", f"/nothing/{number}")[2]
        tally.add("GET", "unmatched", 404, 0, len(body))
        body = server.ask(f"FOO{number}", f"/items/{number}")[2]
        tally.add("unknown", "/items/{number}", 405, 0, len(body))
        assert server.ask("POST", "/upload", b"y" * 1000)[2] == b"1000"
        assert server.ask("POST", "/upload", iter([b"y" * 700, b"y" * 300]))[2] == b"1000"
        for _ in range(2):
            tally.add("POST", "/upload", 200, 1000, 4)
        assert len(server.ask("GET", "/stream")[2]) == 55
        tally.add("GET", "/stream", 200, 0, 55)
        assert server.ask("GET", "/boom")[0] == 500
        tally.add("GET", "/boom", 500)
        assert server.ask("GET", f"/api/v1/orders/{number}")[0] == 200
        tally.add("GET", "/api/v1/orders/{order}", 200, 0, 10)
        assert server.ask("GET", f"/sub/things/{number:04}")[0] == 200
        tally.add("GET", "/sub/things/{name}", 200, 0, 4)
        assert server.ask("GET", f"/tenant-{number}/sub/things/{number:04}")[0] == 200
        tally.add("GET", "/{tenant}/sub/things/{name}", 200, 0, 4)
    return tally


def pids(server: Server, count: int) -> set[int]:
    """The processes that answer, as soon as there are so many."""
    found: set[int] = set()

    def all_of_them() -> bool:
        found.add(int(server.ask("GET", "/pid")[2]))
        return len(found) >= count

    wait_until(all_of_them, f"{count} workers answer")
    return found


@pytest.mark.slow
def test_every_worker_shows_the_requests_of_all(namespace: str, tmp_path: Path) -> None:
    with serving(namespace, tmp_path / "log", *UVICORN, "--workers", "2", FASTAPI) as server:
        pids(server, 2)
        tally = make_requests(server, 12)
        wait_until(lambda: server.scrape() == tally.expected(), "all are counted")  # a scrape waits 50 ms at most
        for _ in range(8):
            assert server.scrape() == tally.expected()
    log = (tmp_path / "log").read_text()
    assert "was destroyed" not in log
    assert "shmtelemetry" not in log.replace("/shmtelemetry/", "")
    assert what_is_left(namespace).value("http_requests_total", method="GET", endpoint="/boom", status="500") == 12


@pytest.mark.slow
def test_counts_go_on_when_the_worker_that_reads_is_killed(namespace: str, tmp_path: Path) -> None:
    with serving(namespace, tmp_path / "log", *UVICORN, "--workers", "2", FASTAPI) as server:
        workers = pids(server, 2)
        tally = make_requests(server, 2)
        with pytest.raises(ReaderBusyError) as busy:
            Reader(namespace)
        assert busy.value.pid in workers
        os.kill(busy.value.pid, signal.SIGKILL)
        wait_until(lambda: not pids(server, 1) & {busy.value.pid}, "the other one answers")
        wait_until(lambda: server.scrape() == tally.expected(), "the other one has read all")
    what_is_left(namespace)


def test_clients_that_go_away_and_what_blocks_the_event_loop_are_seen(namespace: str, tmp_path: Path) -> None:
    upload = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nten bytes."
    labels = (("endpoint", "/upload"), ("method", "POST"), ("status", "499"))
    streamed = (("endpoint", "/endless"), ("method", "GET"), ("status", "200"))
    with serving(namespace, tmp_path / "log", *UVICORN, FASTAPI) as server:
        server.abandon(upload)
        server.abandon(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n", until=b"xxx")
        wait_until(lambda: server.scrape().get(("http_requests_total", labels)) == 1, "the upload is counted")
        assert server.scrape()["http_request_size_bytes_sum", labels] == 10
        wait_until(lambda: server.scrape().get(("http_requests_total", streamed)) == 1, "the stream is counted")
        assert server.scrape()["http_response_size_bytes_sum", streamed] >= 10_000
        server.ask("GET", "/block")
    lag = what_is_left(namespace).histogram("event_loop_lag_seconds")
    assert lag.max > 0.3  # of the 0.7 s: a sample is due every 0.25 s


def test_a_separate_reader_shows_the_same(namespace: str, tmp_path: Path) -> None:
    with reader(namespace, "--ephemeral") as separate:
        with serving(namespace, tmp_path / "log", *UVICORN, FASTAPI) as server:
            tally = make_requests(server, 3)
            wait_until(lambda: server.scrape() == tally.expected(), "all are counted")
            text = separate.get("/metrics")
        assert 'http_requests_total{endpoint="/stream",method="GET",status="200"} 3.0' in text


def test_scrapers_get_the_format_that_they_ask_for(namespace: str, tmp_path: Path) -> None:
    with serving(namespace, tmp_path / "log", *UVICORN, BARE) as server:
        server.ask("GET", "/hello")
        wanted = {"Accept": "application/openmetrics-text", "Accept_Encoding": "gzip"}
        _, headers, body = server.ask("GET", "/internal/metrics", **wanted)
        assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert gzip.decompress(body).endswith(b"# EOF\n")
        protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        assert server.ask("GET", "/internal/metrics", Accept=protobuf)[1]["Content-Type"].startswith(
            protobuf.split(";")[0]
        )
        status, headers, body = server.ask("HEAD", "/internal/metrics")
        assert (status, body) == (200, b"")
        assert int(headers["Content-Length"]) > 1000
        assert server.ask("POST", "/internal/metrics")[0] == 405
        only = server.ask("GET", "/internal/metrics?name[]=http_requests_total")[2]
        assert b"\nhttp_requests_total{" in only
        assert b"_seconds" not in only
    what_is_left(namespace)


def test_an_application_of_no_framework_names_its_endpoints(namespace: str, tmp_path: Path) -> None:
    tally = Tally()
    with serving(namespace, tmp_path / "log", *UVICORN, BARE) as server:
        for number in range(20):
            server.ask("GET", f"/hello/{number}")
            tally.add("GET", "/hello", 200, 0, 5)
            server.ask("POST", f"/{number}", b"12345")
            tally.add("POST", "unmatched", 200, 5, 5)
            server.ask("GET", "/boom")
            tally.add("GET", "unmatched", 500)
        assert server.scrape("/internal/metrics") == tally.expected()
    what_is_left(namespace)


def test_where_telemetry_is_disabled_the_application_works(namespace: str, tmp_path: Path) -> None:
    with serving(namespace, tmp_path / "log", *UVICORN, BARE, SHMTEL_DISABLED="1") as server:
        assert server.ask("GET", "/hello")[2] == b"hello"
        assert server.scrape("/internal/metrics") == {}
