"""WSGI middleware: counts the requests of Flask and any other WSGI application, and shows `/metrics`.

https://peps.python.org/pep-3333/
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Unpack

from .instrumented import Exchange, Instrumented, Request, Settings

Environ = Request
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


def instrument(app: Any, **settings: Unpack[Settings]) -> "Middleware":
    """Count an application's requests: `instrument(app).expose(app, endpoint="/metrics")`. Takes what Middleware takes.

    A Flask application is changed in place, at its `wsgi_app`; of any other one, what is returned is to be served.
    """
    middleware = Middleware(app, **settings)
    if hasattr(app, "wsgi_app"):
        app.wsgi_app = middleware.insert(app.wsgi_app)
    return middleware


class Middleware(Instrumented[Application]):
    """A WSGI application whose requests are counted; Instrumented tells what the arguments mean.

    A request has ended when the server closes the response. Its size is what Content-Length says; without one, what the
    application read.
    """

    def insert(self, inner: Application) -> Application:
        """What shall stand around `inner`, a part of the application."""
        self._app = inner
        return self

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._scrape is not None:
            self._scrape.start()
        path = environ.get("PATH_INFO", "")
        if path in self._ignored:
            return self._ignore(path, environ, start_response)
        exchange = _Exchange(self, environ, start_response)
        try:
            body = self._app(environ, exchange.start_response)
        except BaseException:
            exchange.end()
            raise
        return _SizedBody(body, exchange) if hasattr(body, "__len__") else _Body(body, exchange)

    def _ignore(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._scrape is None or path != self._path:
            return self._app(environ, start_response)
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        accept, encoding = environ.get("HTTP_ACCEPT", ""), environ.get("HTTP_ACCEPT_ENCODING", "")
        status, headers, body = self._scrape.answer(method, query, accept, encoding)
        headers["Content-Length"] = str(len(body))
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [b"" if method == "HEAD" else body]

    def _template(self, exchange: "_Exchange") -> str | None:
        rules = getattr(self._whole, "url_map", None)
        if exchange.started or rules is None:
            return exchange.template
        # Flask let an exception through, and has forgotten the request.
        rule, _ = rules.bind_to_environ(exchange.request).match(return_rule=True)
        return str(rule.rule)


class _Exchange(Exchange):
    """Stands between the server and the application. template: of the route that werkzeug's request took."""

    __slots__ = ("_start_response", "_write", "started", "template")

    def __init__(self, by: Middleware, environ: Environ, start_response: StartResponse) -> None:
        super().__init__(by, environ, environ["REQUEST_METHOD"])
        self._start_response, self.started = start_response, False
        self.template: str | None = None
        length = environ.get("CONTENT_LENGTH")
        if length:
            self.received = int(length) if length.isdecimal() else 0
        elif "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = _Input(environ["wsgi.input"], self)

    def start_response(self, status: str, *rest: Any) -> Write:
        self.started, code = True, status[:3]
        self.status = int(code) if code.isdecimal() else 0
        # Here and not later: Flask forgets the request before it returns.
        rule = getattr(self.request.get("werkzeug.request"), "url_rule", None)
        self.template = getattr(rule, "rule", None)
        self._write = self._start_response(status, *rest)
        return self.write

    def write(self, data: bytes) -> object:
        self.sent += len(data)
        return self._write(data)


class _Input:
    """The body of a request that does not say its length, counted as it is read."""

    def __init__(self, stream: Any, exchange: _Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    def read(self, *size: int) -> bytes:
        return self._count(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._count(self._stream.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._count(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._count, self._stream)

    def _count(self, data: bytes) -> bytes:
        self._exchange.received += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Body:
    """The body of a response, counted as the server takes it."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body, self._exchange = body, exchange

    def __iter__(self) -> Iterator[bytes]:
        exchange = self._exchange
        try:
            for chunk in self._body:
                exchange.sent += len(chunk)
                yield chunk
        except Exception:
            if not exchange.sent:
                exchange.status = 0  # the server has sent nothing yet, and makes an error of it
            raise

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._exchange.end()


class _SizedBody(_Body):
    """Servers send the length of a body that is a list of one."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
