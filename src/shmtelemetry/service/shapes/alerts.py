"""Answers about alerts, as the OpenAPI document tells them."""

from datetime import datetime
from typing import Literal

from .base import Shape


class Acknowledgement(Shape):
    by: str
    note: str
    at: datetime
    until: datetime | None


class AlertAnswer(Shape):
    """since: when it was so first. fired: since when it was so for long enough. resolved_by: who closed it by hand."""

    id: int
    source: str
    name: str
    labels: dict[str, str]
    severity: str
    state: Literal["pending", "firing", "resolved"]
    value: float | None
    summary: str
    runbook: str
    since: datetime
    fired: datetime | None
    resolved: datetime | None
    resolved_by: str | None
    acknowledged: Acknowledgement | None


class AlertList(Shape):
    timestamp: datetime
    alerts: list[AlertAnswer]
    count: int


class Received(Shape):
    """ids: of the alerts of the message, in its order."""

    timestamp: datetime
    ids: list[int]
