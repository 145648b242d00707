"""Alerts: what rules have found, and what an Alertmanager has sent."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from ..alerts.alertmanager import LAST
from ..problems import ProblemError, may_answer
from ..shapes.alerts import AlertAnswer, AlertList, Received
from ..ticks import now
from ..watched import alert_told
from .common import BODY, Of, group, said, seconds

CHANGED: Final = BODY | may_answer(HTTPStatus.CONFLICT)
WEBHOOK: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}

Number = Annotated[int, Path(ge=1, lt=2**63)]
Who = Annotated[str, Field(min_length=1, max_length=1000, description="Who does it.")]

router = group("alerts")


class Acknowledge(BaseModel):
    """until: for how long; by default for as long as it lasts."""

    model_config = ConfigDict(extra="forbid")

    who: Who = "unknown"
    note: Annotated[str, Field(max_length=1000)] = ""
    until: datetime | None = None


class Resolve(BaseModel):
    model_config = ConfigDict(extra="forbid")

    who: Who = "unknown"


@router.get("/api/system/alerts", response_model=AlertList)
async def alerts(
    of: Of,
    state: Literal["pending", "firing", "resolved"] | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Alerts, the newest first."""
    found = [alert_told(alert) for alert in await asyncio.to_thread(of.alerts.list, state, limit)]
    return said({"timestamp": now(), "alerts": found, "count": len(found)})


@router.post("/api/system/alerts/acknowledge/{alert_id}", response_model=AlertAnswer, responses=CHANGED)
async def acknowledge(of: Of, alert_id: Number, body: Acknowledge | None = None) -> Response:
    """Note that somebody knows of an alert, until a moment or for as long as it lasts."""
    asked = body or Acknowledge()
    until = None if asked.until is None else seconds(asked.until)
    if until is not None and not now().timestamp() < until <= LAST:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"until {asked.until}: expected a moment in the future")
    return await _changed(lambda: of.alerts.acknowledge(alert_id, asked.who, asked.note, until))


@router.post("/api/system/alerts/resolve/{alert_id}", response_model=AlertAnswer, responses=CHANGED)
async def resolve(of: Of, alert_id: Number, body: Resolve | None = None) -> Response:
    """Close an alert by hand: it stays so until it has ended and is found anew."""
    asked = body or Resolve()
    return await _changed(lambda: of.alerts.resolve(alert_id, asked.who))


@router.post("/api/system/alerts/webhook", response_model=Received, responses=BODY, openapi_extra=WEBHOOK)
async def webhook(request: Request, of: Of) -> Response:
    """Takes what an Alertmanager's webhook sends, version 4."""
    body = await request.body()
    try:
        ids = await asyncio.to_thread(of.alerts.from_alertmanager, body)
    except ValueError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    return said({"timestamp": now(), "ids": ids})


async def _changed(change: Callable[[], dict[str, Any]]) -> Response:
    try:
        return said(alert_told(await asyncio.to_thread(change)))
    except KeyError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error.args[0])) from error
    except ValueError as error:  # it is resolved
        raise ProblemError(HTTPStatus.CONFLICT, str(error)) from error
