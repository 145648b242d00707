"""Health probes, which need no token."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from ...exporters.http import Health
from ..shapes.telemetry import HealthAnswer
from .common import Of, group, said

UNAVAILABLE: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.SERVICE_UNAVAILABLE.value: {"model": HealthAnswer, "description": "Not so, and why."}
}

router = group("health")


@router.get("/health", response_model=HealthAnswer, responses=UNAVAILABLE)
async def health(of: Of) -> Response:
    """Whether the figures are up to date, and who reads them."""
    return _told(await asyncio.to_thread(of.drain.ready), details=True)


@router.get("/health/ready", response_model=HealthAnswer, responses=UNAVAILABLE)
async def ready(of: Of) -> Response:
    """Whether a reader holds its rings and turns: whether there is sense in asking here."""
    return _told(await asyncio.to_thread(of.drain.ready))


@router.get("/health/live", response_model=HealthAnswer, responses=UNAVAILABLE)
async def live(of: Of) -> Response:
    """False when the reader stands still: a start again is called for."""
    return _told(of.drain.live())


def _told(health: Health, details: bool = False) -> Response:
    status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
    told: dict[str, object] = {"status": "ok" if health.ready else "unavailable"}
    if health.reason:
        told["reason"] = health.reason
    return said({**told, **(health.details if details else {})}, status)
