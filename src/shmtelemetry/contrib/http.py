"""What a web application's requests are counted as, whichever interface they came by."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from .. import config
from .._instruments import Counter, Histogram
from ..liveness import fork_lock
from ..metric import metric
from ..segment import check_name
from ..telemetry import Family, Telemetry

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
"""RFC 9110, section 9, and RFC 5789. Any other method comes from outside: all of them share one label value."""
UNKNOWN: Final = "unknown"  # the method, or the status, that is none of the known ones
UNMATCHED: Final = "unmatched"  # the endpoint of every request without a route
MAX_ENDPOINTS: Final = 1000  # however careless the function that names them is
MAX_ENDPOINT_LENGTH: Final = 1024

DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZE_BUCKETS: Final = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
LABELS: Final = ("method", "endpoint", "status")
PRODUCER: Final = "http"
RETRY_SECONDS: Final = 10.0  # after a series could not be made

logger = logging.getLogger("shmtelemetry")

Emit = Callable[[float], bool]
Emits = tuple[Emit, Emit, Emit, Emit]
_Families = tuple[Family[Counter], Family[Histogram], Family[Histogram], Family[Histogram]]


def _nothing(_: float) -> bool:
    return False


_NOTHING: Final = (_nothing, _nothing, _nothing, _nothing)


class HttpMetrics:
    """Counts requests by method, endpoint and status.

    telemetry: where they are counted; by default one of its own, opened at the first request, so that a process that
    only forks others opens none. namespace: of that one, by default SHMTEL_NAMESPACE, else `default`. buckets: of
    durations, in seconds. Raises ValueError for what cannot be; once requests come, failures are logged and no more.
    """

    def __init__(self, telemetry: Telemetry | None, namespace: str | None, buckets: Sequence[float]) -> None:
        if telemetry is not None and namespace not in (None, telemetry.namespace):
            raise ValueError(f"namespace {namespace!r}: the telemetry given is of namespace {telemetry.namespace!r}")
        self._buckets = metric("histogram", "http_request_duration_seconds", buckets=buckets).buckets
        self._emits: dict[tuple[str, str, int], Emits] = {}
        self._endpoints: set[str] = set()
        self._lock = fork_lock()  # a child finds everything whole, or nothing
        self._retry_at = 0.0
        self._families: _Families | None = None
        self._telemetry, self._is_own = telemetry, False
        if telemetry is not None:
            self.namespace = telemetry.namespace
            self._define(telemetry)
        else:
            self.namespace = check_name("namespace", namespace or config.namespace() or "default")

    def record(self, method: str, endpoint: str | None, status: int, seconds: float, received: int, sent: int) -> None:
        """A request has ended. endpoint: the template of its route, None without one. received, sent: body bytes."""
        key = method if method in METHODS else UNKNOWN, endpoint or UNMATCHED, status
        count, duration, request_size, response_size = self._emits.get(key) or self._resolve(*key)
        count(1.0)
        duration(seconds)
        request_size(received)
        response_size(sent)

    def lag(self) -> Emit:
        """Observes how many seconds late an event loop was."""
        try:
            with self._lock:
                telemetry = self._opened()
                name, help = "event_loop_lag_seconds", "How much later than asked for the event loop called back."
                return telemetry.histogram(name, help, buckets=self._buckets).emit
        except Exception:
            logger.exception("the event loop's lag is not measured")
            return _nothing

    def _resolve(self, method: str, endpoint: str, status: int) -> Emits:
        if time.monotonic() < self._retry_at:
            return _NOTHING
        try:
            with self._lock:
                key = method, self._bounded(endpoint), status if 100 <= status <= 599 else 0
                return self._emits.get(key) or self._emits.setdefault(key, self._make(*key))
        except Exception:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            logger.exception("requests of a new kind are not counted for the next %.0f s", RETRY_SECONDS)
            return _NOTHING

    def _bounded(self, endpoint: str) -> str:
        if endpoint in self._endpoints or endpoint == UNMATCHED:
            return endpoint
        if len(self._endpoints) >= MAX_ENDPOINTS or len(endpoint) > MAX_ENDPOINT_LENGTH or not endpoint.isprintable():
            return UNMATCHED
        self._endpoints.add(endpoint)
        if len(self._endpoints) == MAX_ENDPOINTS:
            logger.warning("%d endpoints have been named: all further ones count as %r", MAX_ENDPOINTS, UNMATCHED)
        return endpoint

    def _make(self, method: str, endpoint: str, status: int) -> Emits:
        requests, duration, request_size, response_size = self._families or self._define(self._opened())
        labels = method, endpoint, str(int(status)) if status else UNKNOWN
        return (
            requests.labels(*labels).emit,
            duration.labels(*labels).emit,
            request_size.labels(*labels).emit,
            response_size.labels(*labels).emit,
        )

    def _opened(self) -> Telemetry:
        if self._telemetry is None:
            self._telemetry = Telemetry(PRODUCER, namespace=self.namespace)
            self._is_own = True
        return self._telemetry

    def close(self) -> None:
        """End the telemetry that was opened here, which leaves nothing of it once it is read; a request opens another.

        For servers that end by a signal, when no exit handlers run.
        """
        with self._lock:
            if self._is_own and self._telemetry is not None:
                self._telemetry.close()
                self._telemetry, self._families, self._is_own = None, None, False
                self._emits.clear()

    def _define(self, telemetry: Telemetry) -> _Families:
        self._families = (
            telemetry.counter("http_requests_total", "Requests that ended.", LABELS),
            telemetry.histogram(
                "http_request_duration_seconds", "Until the last byte of the response.", LABELS, buckets=self._buckets
            ),
            telemetry.histogram(
                "http_request_size_bytes", "Body of the request, without headers.", LABELS, buckets=SIZE_BUCKETS
            ),
            telemetry.histogram(
                "http_response_size_bytes", "Body of the response, without headers.", LABELS, buckets=SIZE_BUCKETS
            ),
        )
        return self._families
