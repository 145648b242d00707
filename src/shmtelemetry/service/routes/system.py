"""How the system is, and how the service is itself."""

import asyncio
import time
from typing import Annotated, Final, Literal

from fastapi import Query, Request
from starlette.responses import Response

from ...version import VERSION
from .. import logs
from ..figures import total
from ..pace import producers
from ..performance import performance
from ..shapes.system import Components, Logs, Performance, Stats, System, SystemHealth
from ..ticks import now
from ..watched import READER, Component
from .common import Of, group, said

MOST: Final = 1000  # lines of the log

router = group("system")


@router.get("/api/system", response_model=System)
async def system(of: Of) -> Response:
    """The machine as the system's collector sees it, and whether all is well."""
    tick, components = await of.feed.tick(), await of.components()
    head = {"timestamp": tick.timestamp, "namespace": of.namespace, "status": _judged(components)}
    return said({**tick.sections.get("system", {}), **head})


@router.get("/api/system/health", response_model=SystemHealth)
async def health(of: Of) -> Response:
    """healthy; degraded where a part does not do its work; unhealthy where the figures are not up to date."""
    components = await of.components()
    told = {one.name: one.status for one in components}
    alerts = len(await of.open_alerts())
    return said({"timestamp": now(), "status": _judged(components), "components": told, "open_alerts": alerts})


@router.get("/api/system/performance", response_model=Performance)
async def how_fast(of: Of) -> Response:
    """Lags, rates and latencies of the last ten seconds, of all workers together."""
    tick = await of.feed.tick()
    return said({"timestamp": tick.timestamp, **performance(tick.snapshot)})


@router.get("/api/system/components", response_model=Components)
async def parts(of: Of) -> Response:
    """The reader, the history and each collector: what is wrong with it, and the age of what it says."""
    told = [
        {"name": one.name, "status": one.status, "reason": one.reason, "age_seconds": one.age}
        for one in await of.components()
    ]
    return said({"timestamp": now(), "components": told})


@router.get("/api/system/logs/recent", response_model=Logs)
async def recent_logs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Query(description="And what is graver.")
    ] = "debug",
) -> Response:
    """What all workers of the service have logged, the newest first."""
    path = request.app.state.service.settings.file(".log")
    lines = await asyncio.to_thread(logs.recent, path, limit, level)
    return said({"timestamp": now(), "logs": lines, "count": len(lines)})


@router.get("/api/system/stats", response_model=Stats)
async def stats(request: Request, of: Of) -> Response:
    """Totals of the namespace and of the service."""
    tick, settings = await of.feed.tick(), request.app.state.service.settings
    snapshot = tick.snapshot
    return said(
        {
            "timestamp": tick.timestamp,
            "version": VERSION,
            "namespace": of.namespace,
            "uptime_seconds": time.time() - settings.began,
            "telemetry": tick.sections["telemetry"],
            "producers": producers(snapshot),
            "http_requests": total(snapshot, "http_requests_total") or 0.0,
            "websocket_connections": total(snapshot, "websocket_connections_active") or 0.0,
            "websocket_messages_sent": total(snapshot, "websocket_messages_sent_total") or 0.0,
            "websocket_messages_dropped": total(snapshot, "websocket_messages_dropped_total") or 0.0,
            "events": {
                name: total(snapshot, f"shmtel_events_{metric}") or 0.0
                for name, metric in (("stored", "total"), ("let_go", "let_go_total"), ("waiting", "waiting"))
            },
        }
    )


def _judged(components: list[Component]) -> Literal["healthy", "degraded", "unhealthy"]:
    bad = {one.name for one in components if one.status != "ok"}
    return "unhealthy" if READER in bad else "degraded" if bad else "healthy"
