"""What requests are counted as, without a server between: bounds, failures, and what counting must not do."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.contrib import asgi, wsgi
from shmtelemetry.contrib.http import MAX_ENDPOINTS
from tests.processes import in_child, run_python
from tests.readers import reader

HELLO = (
    {"type": "http.response.start", "status": 200, "headers": []},
    {"type": "http.response.body", "body": b"hello"},
)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    for message in HELLO:
        await send(message)


async def ask(app: Any, path: str = "/", method: str = "GET", sent: list[Any] | None = None, **scope: Any) -> None:
    """One request, as a server makes it."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if sent is not None:
            sent.append(message)

    whole = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [], **scope}
    await app(whole, receive, send)


@contextmanager
def counting(namespace: str) -> Iterator[tuple[Telemetry, Callable[[], Snapshot]]]:
    with Telemetry("app", namespace=namespace) as telemetry, Reader(namespace, ephemeral=True) as reading:

        def look() -> Snapshot:
            reading.poll()
            return reading.snapshot()

        yield telemetry, look


def labels(snapshot: Snapshot) -> set[tuple[str, ...]]:
    return set(snapshot.families["http_requests_total"].labels)


def test_nothing_from_outside_becomes_a_label_value_without_bounds(namespace: str) -> None:
    async def many(app: Any) -> None:
        for number in range(MAX_ENDPOINTS + 50):
            await ask(app, f"/{number}")
            await ask(app, "/0", f"METHOD{number}")
        for path in ("/\udcff", "/" + "x" * 5000, ""):
            await ask(app, path)

    with counting(namespace) as (telemetry, look):
        asyncio.run(many(asgi.instrument(hello, telemetry=telemetry, endpoint=lambda scope: scope["path"])))
        snapshot = look()
    found = labels(snapshot)
    assert {method for method, _, _ in found} == {"GET", "unknown"}
    assert len({endpoint for _, endpoint, _ in found}) == MAX_ENDPOINTS + 1
    assert snapshot.value("http_requests_total", method="GET", endpoint="unmatched", status="200") == 53


@pytest.mark.parametrize("status", [0, 99, 600, 10**9])
def test_a_status_that_is_none_is_unknown(namespace: str, status: int) -> None:
    async def odd(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    with counting(namespace) as (telemetry, look):
        asyncio.run(ask(asgi.instrument(odd, telemetry=telemetry)))
        assert labels(look()) == {("GET", "unmatched", "unknown" if status else "500")}


def test_a_request_is_counted_before_its_last_byte_is_sent(namespace: str) -> None:
    async def with_background_work(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        raise RuntimeError("after the response")

    with counting(namespace) as (telemetry, look):
        app = asgi.instrument(with_background_work, telemetry=telemetry)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                assert look().value("http_requests_total", method="GET", endpoint="unmatched", status="200") == 1

        with pytest.raises(RuntimeError, match="after the response"):
            asyncio.run(app({"type": "http", "method": "GET", "path": "/"}, None, send))  # type: ignore[arg-type]
        assert labels(look()) == {("GET", "unmatched", "200")}


def test_a_request_that_is_cancelled_counts_as_abandoned(namespace: str) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def cancel(app: Any) -> None:
        task = asyncio.create_task(ask(app))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with counting(namespace) as (telemetry, look):
        asyncio.run(cancel(asgi.instrument(waits, telemetry=telemetry)))
        assert labels(look()) == {("GET", "unmatched", "499")}


def test_a_file_that_the_server_sends_by_its_name_has_its_size(namespace: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(12345))

    async def sends_file(scope: Any, receive: Any, send: Any) -> None:
        await send(HELLO[0])
        await send({"type": "http.response.pathsend", "path": str(path)})

    with counting(namespace) as (telemetry, look):
        asyncio.run(ask(asgi.instrument(sends_file, telemetry=telemetry)))
        size = look().histogram("http_response_size_bytes", method="GET", endpoint="unmatched", status="200")
        assert (size.count, size.sum) == (1, 12345)


def test_an_endpoint_that_cannot_be_told_costs_no_request(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with counting(namespace) as (telemetry, look):
        app = asgi.instrument(hello, telemetry=telemetry, endpoint=lambda scope: scope["no such key"])
        sent: list[Any] = []
        asyncio.run(ask(app, sent=sent))
        asyncio.run(ask(app))
        assert sent == list(HELLO)
        assert look().value("http_requests_total", method="GET", endpoint="unmatched", status="200") == 2
    assert [record.message for record in caplog.records] == [
        "an endpoint cannot be told: such requests count as unmatched"
    ]


def test_telemetry_that_has_no_room_costs_no_request(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    def ask_without_room() -> tuple[list[Any], list[str]]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        sent: list[Any] = []
        app = asgi.instrument(hello, namespace=namespace)
        for _ in range(3):
            asyncio.run(ask(app, sent=sent))
        return sent, [record.message for record in caplog.records]

    sent, said = in_child(ask_without_room)
    assert sent == [*HELLO, *HELLO, *HELLO]
    assert said.count("requests of a new kind are not counted for the next 10 s") == 1


def test_a_scrape_that_waits_for_a_reader_does_not_hold_up_the_event_loop(namespace: str) -> None:
    turns = 0

    async def scrape() -> list[Any]:
        nonlocal turns
        app = asgi.Middleware(hello, telemetry=telemetry, expose="/metrics")
        sent: list[Any] = []
        await ask(app)
        scraping = asyncio.create_task(ask(app, "/metrics", sent=sent))
        while not scraping.done():
            turns += 1
            await asyncio.sleep(0)
        await lifespan(app)
        return sent

    with reader(namespace, "--ephemeral") as separate, Telemetry("app", namespace=namespace) as telemetry:
        os.kill(separate.process.pid, signal.SIGSTOP)
        try:
            sent = asyncio.run(scrape())
        finally:
            os.kill(separate.process.pid, signal.SIGCONT)
    assert sent[0]["status"] == 200
    assert turns > 10


async def lifespan(app: Any) -> None:
    """A whole one."""

    async def serves(scope: Any, receive: Any, send: Any) -> None:
        for word in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{word}.complete"})

    said = iter(("lifespan.startup", "lifespan.shutdown"))

    async def receive() -> Any:
        return {"type": next(said)}

    async def send(message: Any) -> None:
        pass

    app._app = serves
    await app({"type": "lifespan"}, receive, send)


def test_a_forked_worker_counts_on_its_own(namespace: str) -> None:
    def serve() -> None:
        body = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)
        assert list(body) == [b"hello"]
        body.close()  # type: ignore[attr-defined]

    def hello_wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"hello"]

    with counting(namespace) as (telemetry, look):
        app = wsgi.instrument(hello_wsgi, telemetry=telemetry)
        serve()
        for _ in range(3):
            in_child(serve)
        assert look().value("http_requests_total", method="GET", endpoint="unmatched", status="200") == 4


def test_what_cannot_be_is_said_when_it_is_set_up(namespace: str) -> None:
    with pytest.raises(ValueError, match="buckets"):
        asgi.instrument(hello, buckets=(2, 1))
    with pytest.raises(ValueError, match="namespace"):
        asgi.instrument(hello, namespace="no good")
    with pytest.raises(ValueError, match="begins with /"):
        asgi.instrument(hello).expose(hello, endpoint="metrics")
    with pytest.raises(ValueError, match="the application that was instrumented"):
        asgi.instrument(hello).expose(ask)
    with (
        Telemetry("app", namespace=namespace) as telemetry,
        pytest.raises(ValueError, match="the telemetry given is of namespace"),
    ):
        asgi.instrument(hello, telemetry=telemetry, namespace="other")


def test_no_framework_is_imported() -> None:
    run_python(
        "import sys, shmtelemetry.contrib.asgi, shmtelemetry.contrib.wsgi\n"
        "assert not {'starlette', 'fastapi', 'flask', 'werkzeug'} & set(sys.modules)"
    )


def test_a_loop_that_ends_ends_the_measuring_of_its_lag(namespace: str, capfd: pytest.CaptureFixture[str]) -> None:
    with counting(namespace) as (telemetry, look):
        app = asgi.instrument(hello, telemetry=telemetry)
        for _ in range(3):
            with asyncio.Runner(debug=True) as runner:
                runner.run(ask(app))
        assert look().families["http_requests_total"].values.sum() == 3
    assert capfd.readouterr().err == ""
