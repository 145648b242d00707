"""Bots, by what their strategies tell of themselves."""

from typing import Literal

from starlette.responses import Response

from ..collectors import StrategyCollector
from ..shapes.trades import Bots
from .common import Of, group, said

router = group("bots")


@router.get("/api/v1/bots/", response_model=Bots)
async def bots(of: Of, status: Literal["running", "paused", "stopped"] | None = None) -> Response:
    """Every bot, its profit and what it holds; it is as active as the most active of its strategies."""
    tick = await of.feed.tick()
    collector = StrategyCollector(lambda: tick.snapshot)
    shown = [bot for bot in collector.get_bots() if status in (None, bot["status"])]
    return said({"timestamp": tick.timestamp, "bots": shown, "counts": collector.get_counts()})
