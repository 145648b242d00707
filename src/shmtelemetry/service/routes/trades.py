"""Trades: the events of every producer whose ring has the schema TRADE."""

import asyncio
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from starlette.responses import Response

from ...trading.schemas import TRADE
from ..problems import ProblemError
from ..shapes.trades import Trade, TradeQuality, Trades, TradeStatistics
from ..ticks import now
from ..trades import quality, statistics, told
from .common import Of, group, said, seconds

MOST: Final = 1000  # trades of one answer
RECENT: Final = 1000  # trades that statistics look at
TEXT: Final = "^[^\0]*$"  # where a record ends a text, a question must not
Name = Annotated[str | None, Query(max_length=64, pattern=TEXT)]

router = group("trades")


@router.get("/api/trades", response_model=Trades)
async def trades(
    of: Of,
    symbol: Name = None,
    side: Literal["buy", "sell"] | None = None,
    status: Name = None,
    bot_id: Name = None,
    strategy: Name = None,
    order_id: Name = None,
    since: Annotated[datetime | None, Query(description="Not earlier.")] = None,
    until: Annotated[datetime | None, Query(description="Not later.")] = None,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Older than the trade of this id: `next`.")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> Response:
    """Trades, the newest first; `next` of one answer is `before` of the question for the next page."""
    filters: dict[str, Any] = {
        "symbol": symbol,
        "side": side,
        "status": status,
        "bot_id": bot_id,
        "strategy": strategy,
        "order_id": order_id,
    }
    filters = {name: wanted for name, wanted in filters.items() if wanted is not None}
    if since is not None and until is not None and seconds(since) > seconds(until):
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"since {since} is after until {until}")
    if since is not None or until is not None:
        filters["ts"] = _ns(since), _ns(until)
    events = await _events(of, filters, before, limit)
    page = [told(event) for event in events]
    return said(
        {
            "timestamp": now(),
            "trades": page,
            "count": len(page),
            "next": page[-1]["id"] if len(page) == limit else None,
        }
    )


@router.get("/api/trades/stats/summary", response_model=TradeStatistics)
async def summary(of: Of) -> Response:
    """Totals of all times, and the newest thousand trades."""
    tick = await of.feed.tick()
    return said({"timestamp": tick.timestamp, **statistics(tick.snapshot, await _events(of, {}, None, RECENT))})


@router.get("/api/trades/execution/quality", response_model=TradeQuality)
async def execution_quality(of: Of, symbol: Name = None) -> Response:
    """Fill rate of all orders; latency and slippage of the newest thousand trades."""
    tick = await of.feed.tick()
    events = await _events(of, {} if symbol is None else {"symbol": symbol}, None, RECENT)
    return said({"timestamp": tick.timestamp, **quality(tick.snapshot, events)})


@router.get("/api/trades/{trade_id:path}", response_model=Trade)
async def trade(of: Of, trade_id: Annotated[str, Path(min_length=1, max_length=64, pattern=TEXT)]) -> Response:
    """One trade, by the id that its application gave it."""
    events = await _events(of, {"trade_id": trade_id}, None, 1)
    if not events:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"no trade {trade_id!r} is kept")
    return said(told(events[0]))


async def _events(of: Of, filters: dict[str, Any], before: int | None, limit: int) -> list[dict[str, Any]]:
    try:
        return await asyncio.to_thread(of.history.events, TRADE, filters=filters, before=before, limit=limit)
    except ValueError as error:  # a filter that no trade could have
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


def _ns(moment: datetime | None) -> int | None:
    """Nanoseconds since the epoch, where a trade can have them."""
    return None if moment is None else min(max(0, round(seconds(moment) * 1e6) * 1000), 2**63 - 1)
