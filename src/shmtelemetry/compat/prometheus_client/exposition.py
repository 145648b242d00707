"""A registry's exposition: shared metrics go straight from the state's arrays to bytes, others as prometheus_client
writes them."""

import gzip
from asyncio import get_running_loop, to_thread
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from inspect import signature
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlparse

from prometheus_client import exposition as original
from prometheus_client.exposition import (
    CONTENT_TYPE_LATEST,
    CONTENT_TYPE_PLAIN_0_0_4,
    CONTENT_TYPE_PLAIN_1_0_0,
    ThreadingWSGIServer,
    basic_auth_handler,
    default_handler,
    delete_from_gateway,
    gzip_accepted,
    instance_ip_grouping_key,
    passthrough_redirect_handler,
    tls_auth_handler,
    write_to_textfile,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import REGISTRY as THEIRS
from prometheus_client.registry import Collector

from ...aggregate.snapshot import Family
from .registry import REGISTRY, CollectorRegistry
from .store import store

__all__ = [
    "CONTENT_TYPE_LATEST",
    "CONTENT_TYPE_PLAIN_0_0_4",
    "CONTENT_TYPE_PLAIN_1_0_0",
    "MetricsHandler",
    "ThreadingWSGIServer",
    "basic_auth_handler",
    "default_handler",
    "delete_from_gateway",
    "generate_latest",
    "generate_openmetrics",
    "instance_ip_grouping_key",
    "make_asgi_app",
    "make_wsgi_app",
    "passthrough_redirect_handler",
    "push_to_gateway",
    "pushadd_to_gateway",
    "start_http_server",
    "start_wsgi_server",
    "tls_auth_handler",
    "write_to_textfile",
]

PLAIN_NAMES = (openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8)  # escapings that leave ordinary names as they are
App = Callable[..., Any]
Encoder = Callable[[Any], bytes]
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def generate_latest(registry: Any = REGISTRY, escaping: str = openmetrics.UNDERSCORES) -> bytes:
    """The registry in the text format."""
    return _written(registry, False, escaping, partial(original.generate_latest, escaping=escaping))


def generate_openmetrics(registry: Any, escaping: str = openmetrics.UNDERSCORES, version: str = "1.0.0") -> bytes:
    """The registry in OpenMetrics."""
    encoder = partial(openmetrics.generate_latest, escaping=escaping, version=version)
    return _written(registry, True, escaping, encoder)


class _Families:
    """What encoders take for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _written(registry: Any, is_openmetrics: bool, escaping: str, encoder: Encoder) -> bytes:
    if not isinstance(registry, CollectorRegistry) or escaping not in PLAIN_NAMES:
        return encoder(registry)
    parts: list[Family | bytes] = []
    for plain, families in groupby(registry.families(), lambda family: isinstance(family, Family)):
        if plain:
            parts.extend(families)  # type: ignore[arg-type]  # which groupby's key tells
        else:
            parts.append(encoder(_Families(list(families))).removesuffix(b"# EOF\n"))  # type: ignore[arg-type]
    if any(isinstance(part, Family) for part in parts) and (lost := store().lost) is not None and lost.labels:
        parts.append(lost)  # else nobody would know that histograms are incomplete
    return registry.exposition.write(parts, is_openmetrics)


def _encoder(accept: str | None) -> tuple[Encoder, str]:
    """What prometheus_client chooses for an Accept header, by this module's functions."""
    chosen, content_type = original.choose_encoder(accept or "")
    function, arguments = (chosen.func, chosen.keywords) if isinstance(chosen, partial) else (chosen, {})
    ours = generate_latest if function is original.generate_latest else generate_openmetrics
    return partial(ours, **arguments), content_type


def _response(
    registry: Any, accept: str | None, accept_encoding: str | None, query: str, disable_compression: bool = False
) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and the body that a scraper gets."""
    encoder, content_type = _encoder(accept)
    names = parse_qs(query).get("name[]")
    body = encoder(registry if names is None else registry.restricted_registry(names))
    headers = [("Content-Type", content_type)]
    if not disable_compression and gzip_accepted(accept_encoding or ""):
        body = gzip.compress(body, 1)  # the fastest level: a twentieth of the size for a tenth of the time of level 9
        headers.append(("Content-Encoding", "gzip"))
    return headers, body


def make_wsgi_app(registry: Any = REGISTRY, disable_compression: bool = False) -> App:
    """A WSGI application that serves the registry."""
    otherwise = original.make_wsgi_app(registry, disable_compression)

    def metrics_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET" or environ["PATH_INFO"] == "/favicon.ico":
            answer: Iterable[bytes] = otherwise(environ, start_response)
            return answer
        accept, encoding = environ.get("HTTP_ACCEPT"), environ.get("HTTP_ACCEPT_ENCODING")
        headers, body = _response(registry, accept, encoding, environ.get("QUERY_STRING", ""), disable_compression)
        start_response("200 OK", headers)
        return [body]

    return metrics_app


def make_asgi_app(registry: Any = REGISTRY, disable_compression: bool = False) -> App:
    """An ASGI application that serves the registry."""

    async def metrics_app(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        assert scope.get("type") == "http"

        def header(wanted: bytes) -> str:
            return b",".join(value for name, value in scope["headers"] if name.lower() == wanted).decode("latin-1")

        query = scope.get("query_string", b"").decode("latin-1")
        headers, body = await _aside(
            _response, registry, header(b"accept"), header(b"accept-encoding"), query, disable_compression
        )
        if (await receive()).get("type") == "http.request":
            encoded = [(name.encode(), value.encode()) for name, value in headers]
            await send({"type": "http.response.start", "status": 200, "headers": encoded})
            await send({"type": "http.response.body", "body": body})

    return metrics_app


async def _aside(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function that may wait for another process: in a thread, so that asyncio's loop goes on."""
    try:
        get_running_loop()
    except RuntimeError:  # another kind of loop, which knows no such threads
        return function(*arguments)
    return await to_thread(function, *arguments)


class MetricsHandler(original.MetricsHandler):
    """Answers GET with the registry; `factory` gives one for another registry."""

    registry: Any = REGISTRY

    def do_GET(self) -> None:
        accept, encoding = self.headers.get("Accept"), self.headers.get("Accept-Encoding")
        headers, body = _response(self.registry, accept, encoding, urlparse(self.path).query)
        self.send_response(200)
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body)


def _signed_as(function: Callable[..., Any]) -> Callable[[F], F]:
    """Show prometheus_client's signature, which differs by version, with this package's registry."""
    shown = signature(function)
    registry = shown.parameters["registry"]
    if registry.default is THEIRS:
        registry = registry.replace(default=REGISTRY)
    shown = shown.replace(parameters=list({**shown.parameters, "registry": registry}.values()))

    def sign(ours: F) -> F:
        ours.__signature__ = shown  # type: ignore[attr-defined]
        return ours

    return sign


@_signed_as(original.start_wsgi_server)
def start_wsgi_server(
    port: int, addr: str = "0.0.0.0", registry: Any = REGISTRY, *tls: Any, **named_tls: Any
) -> tuple[Any, Any]:
    """Serve the registry in a daemon thread; returns the server and the thread. tls: as prometheus_client takes it."""
    server, thread = original.start_wsgi_server(port, addr, registry, *tls, **named_tls)
    server.set_app(make_wsgi_app(registry))
    return server, thread


start_http_server = start_wsgi_server


@_signed_as(original.push_to_gateway)
def push_to_gateway(gateway: str, job: str, registry: Collector | None, *args: Any, **kwargs: Any) -> None:
    """Replace all metrics of a group in a Pushgateway; further arguments as prometheus_client takes them."""
    original.push_to_gateway(gateway, job, REGISTRY if registry is None else registry, *args, **kwargs)


@_signed_as(original.pushadd_to_gateway)
def pushadd_to_gateway(gateway: str, job: str, registry: Collector | None, *args: Any, **kwargs: Any) -> None:
    """Replace the metrics of these names in a group of a Pushgateway; further arguments as prometheus_client's."""
    original.pushadd_to_gateway(gateway, job, REGISTRY if registry is None else registry, *args, **kwargs)
