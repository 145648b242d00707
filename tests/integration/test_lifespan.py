"""The end of an ASGI application's lifespan: servers that end by a signal run no exit handlers after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from shmtelemetry.contrib.asgi import Middleware
from shmtelemetry.reader import Reader


async def application(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def test_no_ring_is_left_after_it_and_another_one_counts_on(namespace: str) -> None:
    app = Middleware(application, namespace=namespace, expose="/metrics")

    def rings() -> list[Path]:
        return list(Path("/dev/shm").glob(f"shmtel.{namespace}.http.*"))

    async def live() -> None:
        async def ignore(_: Any = None) -> Any: ...

        await app({"type": "http", "method": "GET", "path": "/"}, ignore, ignore)
        assert rings()
        await app({"type": "lifespan"}, ignore, ignore)
        assert not rings()

    for _ in range(2):
        asyncio.run(live())
    with Reader(namespace, ephemeral=True) as reader:
        requests = reader.snapshot().families["http_requests_total"]
    assert requests.values.tolist() == [2.0]
