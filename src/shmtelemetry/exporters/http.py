"""A small web server for `/metrics` and health probes, on the standard library."""

import contextlib
import gzip
import json
import logging
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self
from urllib.parse import parse_qs

from ..aggregate.snapshot import Snapshot
from ..errors import ShmtelError
from ..listen import Address, names_loopback, parse_listen
from .prometheus import Exposition, negotiate
from .protobuf import PROTOBUF, MetricFamilies, is_asked_for

IDLE_SECONDS: Final = 30.0  # until a connection that says nothing is closed
POLL_SECONDS: Final = 0.25  # between looks at whether the server shall stop
MAX_CONNECTIONS: Final = 64
END_SECONDS: Final = 5.0  # that a response under way gets to end when the server stops

_INDEX: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>shmtelemetry</title>
<h1>shmtelemetry</h1>
<ul>
<li><a href="/metrics">/metrics</a>: all figures, for Prometheus</li>
<li><a href="/health">/health</a>: whether they are up to date; for probes there are
<a href="/health/ready">/health/ready</a> and <a href="/health/live">/health/live</a></li>
</ul>
</html>
"""

logger = logging.getLogger("shmtelemetry")


@dataclass(frozen=True, slots=True)
class Health:
    """ready: whether `/metrics` is up to date; reason: why it is not. details: for people, shown as JSON."""

    ready: bool
    reason: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


class Answers:
    """What scrapers get, of whichever server. snapshot: asked each time, with whether distributions are needed.

    Threads may share it.
    """

    def __init__(self, snapshot: Callable[[bool], Snapshot]) -> None:
        self._snapshot = snapshot
        self._text, self._protobuf = Exposition(), MetricFamilies()

    def answer(self, query: str, accept: str, accept_encoding: str) -> tuple[dict[str, str], bytes]:
        """Content-Type and perhaps Content-Encoding, and the body.

        query: of the URL; `name[]=…` asks for single metrics. accept, accept_encoding: headers, "" without one.
        """
        content_type, body = self._exposed(accept, parse_qs(query).get("name[]"))
        if not _accepts_gzip(accept_encoding):
            return {"Content-Type": content_type}, body
        # The fastest level: a scrape of 16 MB takes a tenth of a second, and is a twentieth of that long.
        return {"Content-Type": content_type, "Content-Encoding": "gzip"}, gzip.compress(body, 1, mtime=0)

    def _exposed(self, accept: str, names: list[str] | None) -> tuple[str, bytes]:
        if is_asked_for(accept):
            return PROTOBUF, self._protobuf.expose(self._snapshot(True), names)
        openmetrics, content_type = negotiate(accept)
        return content_type, self._text.expose(self._snapshot(False), openmetrics, names)


class MetricsServer:
    """Serves `/metrics`, `/health`, `/health/ready`, `/health/live` and an index, each request in a thread.

    listen, insecure: as `parse_listen` takes them; the address is bound at once, and served from `start` on.
    snapshot: asked at each scrape, in its thread, whether distributions are needed as well: for native histograms they
    are. health: asked at each request, in its thread. Raises ValueError for an address that must not be,
    ShmtelError for one that cannot be bound.
    """

    def __init__(
        self,
        listen: str,
        snapshot: Callable[[bool], Snapshot],
        health: Callable[[], Health],
        *,
        insecure: bool = False,
    ) -> None:
        address = parse_listen(listen, insecure)
        try:
            self._server = _Server(address, snapshot, health)
        except OSError as error:
            raise ShmtelError(
                f"cannot listen on {address}: {error.strerror or error}; choose another address or port, "
                "or stop what listens there (port 0 takes a free one)"
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{self._server.bound}"

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="shmtel-http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Answer what has been asked, then close. Nothing is called any more when this returns."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_connections()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: Address, snapshot: Callable[[bool], Snapshot], health: Callable[[], Health]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.answers, self.health = Answers(snapshot), health
        self.only_loopback = address.loopback
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__((address.host, address.port), _Handler)
        self.bound = Address(address.host, self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="shmtel-http",
            daemon=True,
        )
        with self._lock:
            room = len(self._connections) < MAX_CONNECTIONS
            if room:
                self._connections[thread] = request
        if room:
            thread.start()
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def end_connections(self) -> None:
        # Idle ones end at once, because they read the end of their stream; busy ones after their response.
        deadline = time.monotonic() + END_SECONDS
        for how, until in ((socket.SHUT_RD, deadline), (socket.SHUT_RDWR, deadline + 1)):
            with self._lock:
                left = dict(self._connections)
            for connection in left.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(how)
            for thread in left:
                thread.join(max(0.0, until - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a client that went away is nothing to tell anybody
            logger.error("a web request failed: %r", error, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    wbufsize = -1  # head and body leave together, and at once
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # or its body would be read as the next request
        if self.server.only_loopback and not self._asks_for_loopback():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "this server answers only as localhost or 127.0.0.1")
            return
        path, _, query = self.path.partition("?")
        if path == "/metrics":
            self._metrics(query)
        elif path in ("/health", "/health/ready"):
            self._health(details=path == "/health")
        elif path == "/health/live":
            self._send_json(HTTPStatus.OK, {"status": "ok"})
        elif path == "/":
            self._send(HTTPStatus.OK, _INDEX, "text/html; charset=utf-8")
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "no such page; there are /metrics and /health")

    do_HEAD = do_GET

    def _asks_for_loopback(self) -> bool:
        host = self.headers.get("Host")
        return self.request_version == "HTTP/1.0" if host is None else names_loopback(host)

    def _metrics(self, query: str) -> None:
        try:
            headers, body = self.server.answers.answer(query, self._header("Accept"), self._header("Accept-Encoding"))
        except Exception as error:
            logger.exception("the metrics cannot be shown")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, f"the metrics cannot be shown: {error!r}")
            return
        self._send(HTTPStatus.OK, body, headers.pop("Content-Type"), headers)

    def _health(self, details: bool) -> None:
        try:
            health = self.server.health()
        except Exception as error:
            logger.exception("the health cannot be told")
            health = Health(False, f"the health cannot be told: {error!r}")
        said: dict[str, object] = {"status": "ok" if health.ready else "unavailable"}
        if health.reason:
            said["reason"] = health.reason
        if details:
            said.update(health.details)
        self._send_json(HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE, said)

    def _header(self, name: str) -> str:
        return ",".join(self.headers.get_all(name, []))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One line of text. A method that http.server finds no function for is not allowed here."""
        self.close_connection = True
        self.request_version = self.protocol_version  # or a line that is no HTTP is answered without a head
        headers = {}
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code, message = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered"
            headers["Allow"] = "GET, HEAD"
        line = " ".join((message or HTTPStatus(code).phrase).split())
        self._send(code, f"{line}\n".encode(errors="replace"), headers=headers)

    def _send_json(self, code: int, said: Mapping[str, object]) -> None:
        self._send(code, json.dumps(said).encode() + b"\n", "application/json")

    def _send(
        self,
        code: int,
        body: bytes,
        content_type: str = "text/plain; charset=utf-8",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        return "shmtelemetry"

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("%s " + format, self.address_string(), *args)


def _accepts_gzip(accept: str) -> bool:
    for item in accept.lower().split(","):
        name, _, parameters = item.partition(";")
        if name.strip() == "gzip":
            return not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameters)
    return False
