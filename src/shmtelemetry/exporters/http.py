"""A small web server for `/metrics` and health probes, on the standard library."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self

from ..aggregate.snapshot import Snapshot
from ..errors import ShmtelError
from ..listen import UNPROTECTED, Address, Protection, parse_listen
from ..logs import begin_trace
from .answers import Answers
from .connections import HEAD_SECONDS, IDLE_SECONDS, Connection, ConnectionServer

POLL_SECONDS: Final = 0.25  # between looks at whether the server shall stop, and whose time is over
HEAD_BYTES: Final = 16 * 1024  # of a request's line and headers together

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


class MetricsServer:
    """Serves `/metrics`, `/health`, `/health/ready`, `/health/live` and an index, each request in a thread.

    listen: as `parse_listen` takes it; the address is bound at once, and served from `start` on.
    protection: who may ask. snapshot: asked at each scrape, in its thread, whether distributions are needed as
    well: for native histograms they are. health: asked at each request, in its thread. Raises ValueError for an
    address that must not be, ShmtelError for one that cannot be bound.
    """

    def __init__(
        self,
        listen: str,
        snapshot: Callable[[bool], Snapshot],
        health: Callable[[], Health],
        *,
        protection: Protection = UNPROTECTED,
    ) -> None:
        address = parse_listen(listen, protection.is_meant)
        try:
            self._server = _Server(address, protection, snapshot, health)
        except OSError as error:
            raise ShmtelError(
                f"cannot listen on {address}: {error.strerror or error}; choose another address or port, "
                "or stop what listens there (port 0 takes a free one)"
            ) from error
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._server.access.tls else 'http'}://{self._server.bound}"

    def start(self) -> None:
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="shmtel-http", daemon=True
        )
        self._thread.start()

    def read_files(self) -> None:
        """Take the token and the certificates of further connections anew; ValueError for what cannot be used."""
        self._server.access = self._server.protection.read()

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


class _Server(ConnectionServer):
    def __init__(
        self,
        address: Address,
        protection: Protection,
        snapshot: Callable[[bool], Snapshot],
        health: Callable[[], Health],
    ) -> None:
        self.answers, self.health = Answers(snapshot), health
        self.protection, self.loopback = protection, address.loopback
        super().__init__(address, protection.read(), _Handler)


class _Head:
    """The client's bytes, of which a request's head may take so many."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, HEAD_BYTES

    def begins(self) -> bool:
        """Wait for the first byte of the next request; False if there is none."""
        self._left = HEAD_BYTES
        return bool(self._file.peek(1))

    def readline(self, limit: int) -> bytes:
        line: bytes = self._file.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("the head of the request")
        return line

    def close(self) -> None:
        self._file.close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    request: Any
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together, and at once
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self._client: Connection = self.request
        self.request = self._client.client
        super().setup()
        self._head = self.rfile = _Head(self.rfile)  # type: ignore[assignment]

    def handle_one_request(self) -> None:
        if not self._head.begins():
            self.close_connection = True
            return
        self._client.wait(HEAD_SECONDS)
        try:
            super().handle_one_request()
        except LineTooLong:
            self.requestline = self.command = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        self._client.wait(IDLE_SECONDS)

    def do_GET(self) -> None:
        self._client.answer()
        begin_trace(self.headers.get("traceparent"))
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self.close_connection = True  # or its body would be read as the next request
        if not self._asks_for_us():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "not a name of this server's; --allowed-host adds names")
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

    def _asks_for_us(self) -> bool:
        host = self.headers.get("Host")
        if host is None and self.request_version == "HTTP/1.0":
            return True
        return self.server.protection.allows_host(host or "", self.server.loopback)

    def _metrics(self, query: str) -> None:
        if not self.server.access.admits(self.headers.get("Authorization", "")):
            self.send_error(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong: Authorization: Bearer TOKEN")
            return
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
        elif code == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
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
