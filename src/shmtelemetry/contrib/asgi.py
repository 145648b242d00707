"""ASGI middleware: counts the requests of FastAPI, Starlette and any other ASGI application, and shows `/metrics`.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import os
from asyncio import AbstractEventLoop, CancelledError, get_running_loop, to_thread
from collections.abc import Awaitable, Callable
from typing import Any, Final, Unpack
from weakref import WeakSet

from .instrumented import CLIENT_CLOSED, FAILED, Exchange, Instrumented, MiddlewareSettings, Request, Settings
from .lag import Lag
from .templates import Templates

Scope = Request
Message = Request
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LIFESPAN_ENDS: Final = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


def instrument(app: Application, **settings: Unpack[Settings]) -> "Middleware":
    """Count an application's requests: `instrument(app).expose(app, endpoint="/metrics")`. Takes what Middleware takes.

    FastAPI and Starlette applications are changed in place, as by `app.add_middleware`; of any other one, what is
    returned is to be served.
    """
    middleware = Middleware(app, **settings)
    if hasattr(app, "build_middleware_stack"):  # Starlette's; some others' add_middleware takes something else
        middleware.insert_into(app)
    return middleware


class Middleware(Instrumented[Application]):
    """An ASGI application whose requests are counted; Instrumented tells what the arguments mean.

    A request has ended when the last byte of its response is handed over: before a client can have all of it.
    WebSockets are passed on and not counted. Needs asyncio.
    """

    def __init__(self, app: Application, **settings: Unpack[MiddlewareSettings]) -> None:
        super().__init__(app, **settings)
        self._templates = Templates()
        self._routed: object = app
        self._inserted = False
        self._loop: AbstractEventLoop | None = None
        self._measured: WeakSet[AbstractEventLoop] = WeakSet()

    def insert_into(self, app: Any) -> None:
        """Count inside of a Starlette application."""
        app.add_middleware(self._around)
        self._inserted = True

    def _around(self, inner: Application) -> Application:
        """What shall stand around `inner`: Starlette asks when it builds its middleware, from the inside out."""
        self._app = inner
        return self._count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._whole if self._inserted else self._count)(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        if get_running_loop() is not self._loop:
            self._begin(scope)
        if scope["type"] != "http":
            await self._pass(scope, receive, send)
            return
        root, path = scope.get("root_path", ""), scope["path"]
        if path.removeprefix(root) in self._ignored:
            await self._ignore(scope, receive, send)
            return
        exchange = _Exchange(self, scope, root, path, receive, send)
        without_response = FAILED
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except CancelledError:
            without_response = CLIENT_CLOSED
            raise
        finally:
            exchange.end(CLIENT_CLOSED if exchange.gone else without_response)

    def _begin(self, scope: Scope) -> None:
        """The first request, or the start, in a loop."""
        self._loop = get_running_loop()
        self._routed = self._whole if hasattr(self._whole, "routes") else scope.get("app")
        if self._loop not in self._measured:
            self._measured.add(self._loop)
            Lag(self._loop, self._metrics.lag())
        if self._scrape is not None:
            self._scrape.start()

    def _template(self, exchange: "_Exchange") -> str | None:
        return self._templates.find(exchange.request, self._routed, exchange.root, exchange.path)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note_end(message: Message) -> None:
            if message["type"] in LIFESPAN_ENDS:
                self._metrics.close()
                if self._scrape is not None:  # after that, so that it takes what there was
                    self._scrape.close()
                self._loop = None
                self._measured.clear()
            await send(message)

        await self._app(scope, receive, note_end if scope["type"] == "lifespan" else send)

    async def _ignore(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._scrape is None or scope["path"].removeprefix(scope.get("root_path", "")) != self._path:
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        accept, encoding = (_header(scope, name) for name in (b"accept", b"accept-encoding"))
        # In a thread, since it waits for the reader: the loop goes on.
        status, headers, body = await to_thread(self._scrape.answer, scope["method"], query, accept, encoding)
        headers["Content-Length"] = str(len(body))
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": int(status), "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


class _Exchange(Exchange):
    """Stands between the server and the application. gone: whether the application was told that the client is."""

    __slots__ = ("_receive", "_send", "gone", "path", "root")

    def __init__(self, by: Middleware, scope: Scope, root: str, path: str, receive: Receive, send: Send) -> None:
        super().__init__(by, scope, scope["method"])
        self.root, self.path, self._receive, self._send = root, path, receive, send
        self.gone = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        else:
            self.gone = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Not a coroutine function, which would cost a coroutine: what it returns is to be awaited all the same."""
        kind = message["type"]
        if kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.end()  # before it is sent: who has the response finds it counted
        elif kind == "http.response.start":
            self.status = message["status"]
        elif kind == "http.response.pathsend":  # a whole file, by its name
            self.sent += os.stat(message["path"]).st_size
            self.end()
        return self._send(message)


def _header(scope: Scope, name: bytes) -> str:
    return b",".join(value for header, value in scope["headers"] if header == name).decode("latin-1")
