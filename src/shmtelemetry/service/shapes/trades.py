"""Answers about trades and bots, as the OpenAPI document tells them."""

from datetime import datetime
from typing import Literal

from .base import Shape


class Trade(Shape):
    """id: by which older ones are asked for. trade_id: the application's own."""

    id: int
    trade_id: str
    order_id: str
    timestamp: datetime
    bot_id: str
    strategy: str
    symbol: str
    side: str
    status: str
    quantity: float | None
    price: float | None
    reference_price: float | None
    slippage_bps: float | None
    latency_ms: float | None
    producer: str


class Trades(Shape):
    """next: what `before` has to be for the page that follows; null where there is none."""

    timestamp: datetime
    trades: list[Trade]
    count: int
    next: int | None


class Totals(Shape):
    trades: float
    trades_per_second: float | None
    quantity: float
    by_symbol: dict[str, float]
    by_side: dict[str, float]
    by_status: dict[str, float]
    by_bot: dict[str, float]


class SymbolTrades(Shape):
    """vwap: mean price, weighted by quantity."""

    trades: int
    quantity: float | None
    vwap: float | None
    last_price: float | None


class RecentTrades(Shape):
    trades: int
    notional_usd: float | None
    buys: int
    symbols: dict[str, SymbolTrades]


class TradeStatistics(Shape):
    """total: of all times. recent: of the newest thousand."""

    timestamp: datetime
    total: Totals
    recent: RecentTrades


class Spread(Shape):
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class TradeQuality(Shape):
    """orders: how many reached each status. Latency and slippage are of the newest trades; slippage is how much worse
    than the middle of the market, in basis points."""

    timestamp: datetime
    trades: int
    orders: dict[str, int]
    fill_rate: float | None
    rejection_rate: float | None
    latency_ms: Spread
    slippage_bps: Spread
    slippage_bps_by_symbol: dict[str, float | None]


class Position(Shape):
    symbol: str
    quantity: float | None
    average_price: float | None
    mark_price: float | None
    realized_pnl: float | None
    unrealized_pnl: float | None


class Bot(Shape):
    bot_id: str
    strategy: str | None
    status: Literal["running", "paused", "stopped"] | None
    pnl: float | None
    positions: list[Position]


class Bots(Shape):
    """counts: bots by status, whatever was asked for."""

    timestamp: datetime
    bots: list[Bot]
    counts: dict[str, int]
