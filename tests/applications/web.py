"""A web application that counts its requests, as WSGI and as ASGI: gunicorn tests.applications.web:wsgi."""

from __future__ import annotations

import os
from typing import Any

from shmtelemetry.compat.prometheus_client import Counter, Gauge, Histogram, make_asgi_app, make_wsgi_app

requests = Counter("requests", "Requests.", ["path"])
seconds = Histogram("seconds", "Time.", buckets=[1, 2])
alive = Gauge("alive", "Workers.", multiprocess_mode="livesum")

_wsgi_metrics, _asgi_metrics = make_wsgi_app(), make_asgi_app()


def handle(path: str) -> bytes:
    """Count one request; returns the pid of whoever did."""
    requests.labels(path).inc()
    seconds.observe(1.5)
    alive.set(1)
    return str(os.getpid()).encode()


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/metrics":
        return _wsgi_metrics(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [handle(environ["PATH_INFO"])]


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/metrics":
        await _asgi_metrics(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": handle(scope["path"])})
