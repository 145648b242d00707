"""Answers about the system, as the OpenAPI document tells them."""

from datetime import datetime
from typing import Any, Literal

from .base import Open, Shape

HealthWord = Literal["healthy", "degraded", "unhealthy"]


ComponentWord = Literal["ok", "degraded", "unavailable"]


class System(Open):
    """What the system's collector says, and whether all is well."""

    timestamp: datetime
    namespace: str
    status: HealthWord


class SystemHealth(Shape):
    timestamp: datetime
    status: HealthWord
    components: dict[str, ComponentWord]
    open_alerts: int


class ComponentAnswer(Shape):
    name: str
    status: ComponentWord
    reason: str
    age_seconds: float | None


class Components(Shape):
    timestamp: datetime
    components: list[ComponentAnswer]


class Lag(Shape):
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Endpoint(Shape):
    method: str
    endpoint: str
    status: str
    requests_per_second: float | None
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


class Http(Shape):
    requests_per_second: float | None
    endpoints: list[Endpoint]


class WebSockets(Shape):
    connections: float
    messages_per_second: float | None
    dropped_per_second: float | None


class Performance(Shape):
    """reader_lag: from emit to the reader. event_loop_lag: what every request waits for in addition."""

    timestamp: datetime
    reader_lag: Lag
    event_loop_lag: Lag
    http: Http
    websocket: WebSockets


class LogLine(Open):
    timestamp: str
    level: str
    logger: str
    message: str


class Logs(Shape):
    timestamp: datetime
    logs: list[LogLine]
    count: int


class Producer(Shape):
    """In records, as the accounting of the library has them. used: share of the rings that waits to be read."""

    name: str
    live: int
    attempted: int
    consumed: int
    in_ring: int
    coalesced: int
    dropped: dict[str, int]
    overwritten: int
    rejected: int
    aborted: int
    invalid: int
    capacity: int
    used: float | None


class Stats(Shape):
    timestamp: datetime
    version: str
    namespace: str
    uptime_seconds: float
    telemetry: dict[str, Any]
    producers: list[Producer]
    http_requests: float
    websocket_connections: float
    websocket_messages_sent: float
    websocket_messages_dropped: float
    events: dict[str, float]
