"""Answers of the telemetry service and of health probes, as the OpenAPI document tells them."""

from datetime import datetime
from typing import Literal

from .base import Shape


class HealthAnswer(Shape):
    """reason: why the figures are not up to date. reader: pid of the process that reads. age_seconds: since its last
    turn."""

    status: Literal["ok", "unavailable"]
    reason: str | None = None
    namespace: str | None = None
    reader: int | None = None
    age_seconds: float | None = None


class SampleAnswer(Shape):
    """The twelve columns of a telemetry log, rates of the last 10 s, and how old the columns are."""

    timestamp: datetime
    namespace: str
    timestamp_ns: int | None
    orders_produced: float | None
    orders_consumed: float | None
    orders_dropped: float | None
    buffer_size: float | None
    buffer_capacity: float | None
    throughput_ops_per_sec: float | None
    avg_latency_ns: float | None
    p95_latency_ns: float | None
    p99_latency_ns: float | None
    network_errors: float | None
    batch_count: float | None
    orders_produced_per_second: float | None
    orders_consumed_per_second: float | None
    orders_dropped_per_second: float | None
    network_errors_per_second: float | None
    batch_count_per_second: float | None
    buffer_utilization_percent: float | None
    drop_percent: float | None
    age_seconds: float | None


class Info(Shape):
    """What this is, and where things are. login: whether a token is wanted."""

    service: str
    version: str
    login: bool
    namespaces: list[str]
    endpoints: dict[str, str]


class Sample(Shape):
    """timestamp: seconds since the epoch."""

    timestamp: float
    orders_produced: float | None
    orders_consumed: float | None
    orders_dropped: float | None
    buffer_size: float | None
    buffer_capacity: float | None
    throughput_ops_per_sec: float | None
    avg_latency_ns: float | None
    p95_latency_ns: float | None
    p99_latency_ns: float | None
    network_errors: float | None
    batch_count: float | None


class SampleHistory(Shape):
    timestamp: datetime
    step: float
    samples: list[Sample]
    count: int
