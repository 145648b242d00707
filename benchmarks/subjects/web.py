"""What counting its requests costs a web application: from the server's call to its end, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shmtelemetry.cli.bench import Timing, namespace

REQUESTS = 100
"""Of one statement."""

CALLS = 20
"""Statements of one round: 2,000 requests make 8,000 records, which a ring of the default capacity holds."""


def _application() -> Any:
    """Starlette with one route, so that what is found of it is found at once, and an endpoint that does the least."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    class Endpoint:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"hello"})

    return Starlette(routes=[Route("/items/{number}", Endpoint())])


def _scope() -> dict[str, object]:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "GET",
        "path": "/items/7", "raw_path": b"/items/7", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"bench"), (b"accept", b"*/*")],
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50000), "state": {},
    }  # fmt: skip


@contextmanager
def _serving(app: Any, before_round: Callable[[], object] = lambda: None) -> Iterator[Timing]:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"a request failed: {message}")

    async def serve() -> None:
        for _ in range(REQUESTS):
            await app(_scope(), receive, send)

    with asyncio.Runner() as runner:
        yield Timing("run(serve())", {"run": runner.run, "serve": serve}, CALLS, REQUESTS, before_round)


@contextmanager
def alone() -> Iterator[Timing]:
    """Starlette, a request that nothing counts"""
    with _serving(_application()) as timing:
        yield timing


@contextmanager
def counted() -> Iterator[Timing]:
    """Starlette, a request, shmtelemetry.contrib.asgi"""
    from shmtelemetry import Consumer, Telemetry
    from shmtelemetry.contrib.asgi import instrument

    app = _application()
    with (
        Telemetry("bench", namespace=namespace()) as telemetry,
        Consumer("bench", namespace=namespace()) as consumer,
    ):
        instrument(app, telemetry=telemetry)
        with _serving(app, before_round=consumer.read) as timing:
            yield timing
        consumer.read()
        stats = telemetry.stats()
        if stats.coalesced or sum(stats.dropped.values()):
            raise RuntimeError(f"records met a full ring, another path than the one to time: {stats}")


@contextmanager
def instrumentator() -> Iterator[Timing]:
    """Starlette, a request, prometheus-fastapi-instrumentator"""
    from prometheus_fastapi_instrumentator import Instrumentator

    app = _application()
    Instrumentator().instrument(app)
    with _serving(app) as timing:
        yield timing
