"""What a service counts of itself, as metrics like any others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..telemetry import Telemetry


class Counted:
    """The instruments of one worker."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._active = telemetry.gauge(
            "websocket_connections_active", "WebSocket connections.", ("endpoint",), merge="sum"
        )
        self.sent = telemetry.counter("websocket_messages_sent_total", "WebSocket messages sent.")
        self.dropped = telemetry.counter(
            "websocket_messages_dropped_total", "Messages that gave way to newer ones, since their client was slow."
        )
        self._collected = telemetry.counter(
            "collector_metrics_collected_total", "Figures that a collector gave, whenever they were asked for.",
            ("collector",),
        )  # fmt: skip
        self._open: Counter[str] = Counter()

    @contextmanager
    def connection(self, endpoint: str) -> Iterator[None]:
        """A WebSocket, for as long as it is open."""
        self._change(endpoint, 1)
        try:
            yield
        finally:
            self._change(endpoint, -1)

    def _change(self, endpoint: str, by: int) -> None:
        self._open[endpoint] += by
        self._active.labels(endpoint).set(self._open[endpoint])

    def collected(self, collector: str, figures: int) -> None:
        self._collected.labels(collector).inc(figures)
