"""Metrics: what there is now."""

from typing import Any

from starlette.responses import Response

from ..messages import MARKET_DATA
from ..shapes.metrics import Current, Summary, Symbols
from ..summary import summary
from ..ticks import Tick
from .common import Of, answer, group, said

router = group("metrics")


@router.get("/api/metrics", response_model=Current)
@router.get("/api/metrics/current", response_model=Current)
async def current(of: Of) -> Response:
    """What each collector says of this moment."""
    tick = await of.feed.tick()
    return answer(tick.encoded("current", _current))


@router.get("/api/metrics/symbols", response_model=Symbols)
async def symbols(of: Of) -> Response:
    """Every symbol that there is market data of."""
    tick = await of.feed.tick()
    names = sorted(tick.sections.get(MARKET_DATA, {}))
    return said({"timestamp": tick.timestamp, "symbols": names, "count": len(names)})


@router.get("/api/metrics/summary", response_model=Summary)
async def summed(of: Of) -> Response:
    """How things stand, in one look."""
    tick = await of.feed.tick()
    return answer(tick.encoded("summary", summary))


def _current(tick: Tick) -> dict[str, Any]:
    return {"timestamp": tick.timestamp, "namespace": tick.snapshot.namespace, **tick.sections}
