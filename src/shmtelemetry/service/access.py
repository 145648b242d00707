"""Who may ask, and for how much: the ASGI middleware that every request passes before any route sees it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response

from ..exporters.connections import ANSWER_SECONDS, HEAD_SECONDS
from ..exporters.http import HEAD_BYTES
from ..listen import is_loopback
from .problems import ProblemError, problem
from .sessions import holds
from .settings import ServiceSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 2**20  # bytes
TOO_LONG: Final = f"a body of at most {MAX_BODY:,} bytes is taken"
TOO_LATE: Final = f"a body has to come within {HEAD_SECONDS:.0f} s"
PROBES: Final = frozenset(("/health", "/health/ready", "/health/live"))
LOGIN: Final = "/login"
STATIC: Final = "/static/"
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))  # RFC 9110, section 9.2.1

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer, forms of our own pages come with Origin: null
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CACHED: Final = b"cache-control"

logger = logging.getLogger("shmtelemetry")


class Access:
    """Stands around the application. It decides as `shmtel reader` does: Protection and Access of listen.py.

    Whoever asks at an address beyond loopback is refused unless that is meant: this also holds where another server
    than ours has bound it. Raises ValueError for files that cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._protection = settings.protection
        self._origins = frozenset(map(str.lower, settings.cors_origins))
        self.access = settings.protection.read()

    def read_files(self) -> None:
        """Take token and certificates anew. Raises ValueError, and goes on with those that it has, if they are bad."""
        self.access = self._protection.read_again(self.access)

    def around(self, app: Application) -> Application:
        """What shall stand around the application, as Starlette's add_middleware takes it."""
        self._app = app
        return self._pass

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
            return
        refusal = self._refusal(scope) if scope["type"] == "websocket" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # uvicorn leaves the body out

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = [*message.get("headers", ()), *HEADERS]
                if all(name != CACHED for name, _ in headers):
                    headers.append((CACHED, b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = self._refusal(scope) or self._app
                await answer(asked, self._bounded(scope, receive), dressed)
        except Exception as error:
            failure = _failure(scope, error)
            if begun:
                raise  # which ends the connection: half an answer must not look like a whole one
            await failure(scope, receive, dressed)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """The request's body, of so many bytes and in so many seconds at most."""
        if scope["method"] in SAFE:
            return receive
        deadline, taken = asyncio.get_running_loop().time() + HEAD_SECONDS, 0
        ended = False

        async def bounded() -> Message:
            nonlocal taken, ended
            if ended:  # what comes now is the client's going
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise ProblemError(
                    HTTPStatus.REQUEST_TIMEOUT, f"the body took more than {HEAD_SECONDS:.0f} s"
                ) from error
            taken += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if taken > MAX_BODY:
                raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LONG)
            return message

        return bounded

    # ---- refusals ----

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered instead; None for who may ask."""
        headers = Headers(scope=scope)
        server = scope.get("server")
        loopback = server is None or server[1] is None or is_loopback(server[0])  # a socket in the file system is ours
        if not loopback and not self._protection.is_meant:
            detail = "others could read everything here: set SHMTEL_TOKEN_FILE, or SHMTEL_INSECURE=1 if that is meant"
            return problem(HTTPStatus.FORBIDDEN, detail)
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""  # of two, others may have looked at the other one
        if not self._protection.allows_host(host, loopback):
            detail = "not a name of this server's; --allowed-host adds names"
            return problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        if not self._from_here(scope, headers, host):
            detail = "a page of another origin asks; --cors-origin adds origins"
            return problem(HTTPStatus.FORBIDDEN, detail)
        if _head_bytes(scope) > HEAD_BYTES:  # in one piece it is whole before its protocol has measured it
            detail = f"a head of at most {HEAD_BYTES:,} bytes is taken"
            return problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        if int(_digits(headers.get("content-length", "0"))) > MAX_BODY:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LONG)
        return None if self._admits(scope, headers) else _unauthorized(scope, headers)

    def _from_here(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Whether no page of another origin makes this request: of WebSockets, and of what changes anything.

        What such a page asks otherwise, its browser does not let it read.
        """
        origin = headers.get("origin")
        if origin is None or (scope["type"] == "http" and scope["method"] in SAFE):
            return True
        try:
            return origin.lower() in self._origins or urlsplit(origin).netloc.lower() == host.lower() != ""
        except ValueError:
            return False

    def _admits(self, scope: Scope, headers: Headers) -> bool:
        token, path = self.access.token, scope["path"].removeprefix(scope.get("root_path", ""))
        if token is None or path in PROBES or path == LOGIN or path.startswith(STATIC):
            return True
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return True  # a browser sends no credentials with its question whether it may
        return self.access.admits(headers.get("authorization", "")) or holds(
            token, headers.get("cookie", ""), time.time()
        )


def _head_bytes(scope: Scope) -> int:
    return len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])


def _unauthorized(scope: Scope, headers: Headers) -> Response:
    if scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        wanted = scope["path"] + ("?" + scope["query_string"].decode("ascii", "replace")).rstrip("?")
        return RedirectResponse(f"{LOGIN}?next={quote(wanted, safe='/')}", HTTPStatus.SEE_OTHER)
    detail = f"the token is missing or wrong: Authorization: Bearer TOKEN, or log in at {LOGIN}"
    return problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


def _failure(scope: Scope, error: Exception) -> Response:
    if isinstance(error, TimeoutError):
        logger.warning("%s %s took too long", scope["method"], scope["path"])
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "that took too long; ask for less, or again later")
    logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the log says what went wrong")


def _digits(length: str) -> str:
    return length if length.isascii() and length.isdigit() and len(length) < 16 else "0"
