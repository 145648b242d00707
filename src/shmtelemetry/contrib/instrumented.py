"""What ASGI and WSGI middleware have in common: settings, and what becomes of a request that ended."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, MutableMapping, Sequence
from time import perf_counter
from typing import Any, Final, Generic, Self, TypedDict, TypeVar

from ..telemetry import Telemetry
from .http import DURATION_BUCKETS, HttpMetrics
from .scrape import Scrape

Request = MutableMapping[str, Any]
"""The scope of ASGI, the environment of WSGI."""

FAILED: Final = 500
CLIENT_CLOSED: Final = 499  # nginx's word for a client that went away before there was a response

logger = logging.getLogger("shmtelemetry")

_Application = TypeVar("_Application")


class Settings(TypedDict, total=False):
    """What `instrument` takes; Instrumented tells what it means."""

    telemetry: Telemetry | None
    namespace: str | None
    buckets: Sequence[float]
    ignore: Collection[str]
    endpoint: Callable[[Request], str | None] | None


class MiddlewareSettings(Settings, total=False):
    expose: str | None


class Instrumented(ABC, Generic[_Application]):
    """An application whose requests are counted.

    telemetry: where they are counted; by default one of its own, in `namespace`, by default SHMTEL_NAMESPACE, else
    `default`. buckets: of durations, in seconds. ignore: paths that are not counted. endpoint: names the endpoint of a
    request when its response ends, None for none; by default it is the template of the route that was taken. At most
    1,000 endpoints are told apart. expose: a path that shows the metrics. Raises ValueError for what cannot be.
    """

    def __init__(
        self,
        app: _Application,
        *,
        telemetry: Telemetry | None = None,
        namespace: str | None = None,
        buckets: Sequence[float] = DURATION_BUCKETS,
        ignore: Collection[str] = (),
        endpoint: Callable[[Request], str | None] | None = None,
        expose: str | None = None,
    ) -> None:
        self._whole = self._app = app
        self._metrics = HttpMetrics(telemetry, namespace, buckets)
        self._ignored = frozenset(ignore)
        self._name = self._template if endpoint is None else _named_by(endpoint)
        self._puzzled = False
        self._scrape: Scrape | None = None
        self._path = ""
        if expose is not None:
            self.expose(endpoint=expose)

    def expose(self, app: object = None, endpoint: str = "/metrics", *, windows: bool = True) -> Self:
        """Show the metrics of the whole namespace, all workers included, at a path whose requests are not counted.

        app: the application that was instrumented; ValueError for another one. windows: as Reader has them.
        """
        if app is not None and app is not self._whole and app is not self:
            raise ValueError(f"expose({app!r}): expected the application that was instrumented, {self._whole!r}")
        if not endpoint.startswith("/"):
            raise ValueError(f"endpoint {endpoint!r}: expected a path, which begins with /")
        self._path, self._scrape = endpoint, Scrape(self._metrics.namespace, windows)
        self._ignored |= {endpoint}
        return self

    def ended(self, exchange: "Exchange") -> None:
        """Count it."""
        try:
            endpoint = self._name(exchange)
        except Exception:
            endpoint = None
            if not self._puzzled:
                self._puzzled = True
                logger.exception("an endpoint cannot be told: such requests count as unmatched")
        self._metrics.record(
            exchange.method,
            endpoint,
            exchange.status,
            perf_counter() - exchange.began,
            exchange.received,
            exchange.sent,
        )

    @abstractmethod
    def _template(self, exchange: Any) -> str | None:
        """The template of the route that an exchange took; None where it took none."""


def _named_by(endpoint: Callable[[Request], str | None]) -> Callable[["Exchange"], str | None]:
    def name(exchange: Exchange) -> str | None:
        said = endpoint(exchange.request)
        return said if isinstance(said, str) else None

    return name


class Exchange:
    """A request under way. status: 0 until there is a response. received, sent: bytes of the bodies."""

    __slots__ = ("_by", "_ended", "began", "method", "received", "request", "sent", "status")

    def __init__(self, by: Instrumented[Any], request: Request, method: str) -> None:
        self._by, self.request, self.method = by, request, method
        self.status = self.received = self.sent = 0
        self._ended = False
        self.began = perf_counter()

    def end(self, without_response: int = FAILED) -> None:
        """It has ended, unless it had before. without_response: its status if there was no response."""
        if not self._ended:
            self._ended = True
            self.status = self.status or without_response
            if self.method == "HEAD":
                self.sent = 0  # whatever the application gave, the server left it out
            self._by.ended(self)
