"""What the log says of requests: the ASGI middleware that stands around all others."""

import logging
import time

from starlette.datastructures import Headers

from ..logs import begin_trace
from .access import Application, Message, Receive, Scope, Send

logger = logging.getLogger("shmtelemetry")


class Told:
    """What is logged during a request belongs to its trace; at level `debug` each request is a line of its own.

    The trace is left as it is at the end: the server logs what it makes of a request in the request's own task.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        begin_trace(Headers(scope=scope).get("traceparent"))
        if scope["type"] != "http" or not logger.isEnabledFor(logging.DEBUG):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter_ns(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            _tell(scope, status, time.perf_counter_ns() - began)


def _tell(scope: Scope, status: int, nanoseconds: int) -> None:
    fields = {
        "http.request.method": scope["method"],
        "http.response.status_code": status,
        "url.path": scope["path"],
        "client.address": scope["client"][0] if scope.get("client") else None,
        "event.duration": nanoseconds,
    }
    logger.debug("%s %s %d", scope["method"], scope["path"], status, extra=fields)
