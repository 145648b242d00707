"""An ASGI application of no framework, which does not know the lifespan."""

from __future__ import annotations

from typing import Any

from shmtelemetry.contrib.asgi import instrument


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/boom":
        raise RuntimeError("boom")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


app = instrument(hello, endpoint=lambda scope: "/hello" if scope["path"].startswith("/hello") else None)
app.expose(hello, endpoint="/internal/metrics")
