"""A WSGI application of no framework, on the server of the standard library; prints its port."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from shmtelemetry.contrib.wsgi import Middleware


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/boom":
        raise RuntimeError("boom")
    if environ["PATH_INFO"] == "/late":
        return late(start_response)
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/write":
        write(b"written, ")
    return [b"hello"]


def late(start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    raise RuntimeError("before the first byte")
    yield b""


if __name__ == "__main__":
    application = Middleware(hello, expose="/metrics", endpoint=lambda environ: environ["PATH_INFO"])
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        # Not by an exception, which wsgiref takes for the request's while it answers one.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(server.server_port, flush=True)
        server.serve_forever()
