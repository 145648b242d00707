"""Answers about metrics, as the OpenAPI document tells them."""

from datetime import datetime
from typing import Any, Literal

from .base import Open, Shape


class Current(Open):
    """What each collector says, by its name: those of the package, and a user's own."""

    timestamp: datetime
    namespace: str
    telemetry: dict[str, Any]
    market_data: dict[str, Any]
    strategy: dict[str, Any]
    execution: dict[str, Any]
    system: dict[str, Any]


class Symbols(Shape):
    timestamp: datetime
    symbols: list[str]
    count: int


class Summary(Shape):
    """How things stand, in one look."""

    timestamp: datetime
    namespace: str
    symbols: int
    total_pnl: float | None
    daily_pnl: float | None
    open_positions: float | None
    fill_rate: float | None
    avg_latency_ms: float | None
    cpu_percent: float | None
    memory_percent: float | None
    health: str | None
    records_per_second: float | None
    coverage: float | None
    producers: int | None
    series: int | None


class HistoryAnswer(Shape):
    """points: seconds since the epoch, and the value."""

    metric: str
    labels: dict[str, str]
    figure: str
    start: float
    end: float
    step: float
    points: list[list[float | None]]


class Series(Shape):
    """value: a counter's total, a gauge's value, how many observations a histogram has. All else is of the last 10 s,
    in the metric's unit."""

    metric: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: dict[str, str]
    value: float | None
    rate: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None
    max: float | None
    coverage: float | None


class SeriesList(Shape):
    """count: of those that are told. total: of those that were asked for."""

    timestamp: datetime
    series: list[Series]
    count: int
    total: int


class DistributionSecond(Shape):
    """end: seconds since the epoch. seconds: how long it was, a little more than one. counts: bucket `first` + i of
    them holds what is above 2 ** ((first + i - 1) / 2 ** scale), and at most 2 ** ((first + i) / 2 ** scale). low:
    observations of 0 and less. high: infinite ones."""

    end: float
    seconds: float
    count: int
    low: int
    high: int
    first: int
    counts: list[int]


class DistributionAnswer(Shape):
    """series: how many have the labels. seconds: those that are complete, oldest first."""

    timestamp: datetime
    metric: str
    labels: dict[str, str]
    unit: str
    scale: int
    series: int
    seconds: list[DistributionSecond]
