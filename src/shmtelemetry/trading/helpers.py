"""What happens in a trading application, in its own words: one call each.

Label values are str. The first call with new ones defines their series; every further one finds its handle by a single
look-up.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final

from . import instruments as ready
from . import rings
from .ready import Resolved
from .schemas import ORDER_STATUSES, ORDER_TYPES, SIDES, STRATEGY_STATUSES

_Emit = Callable[[float], bool]

_SIDE_CODES: Final = {name: code for code, name in SIDES.items()}
_TYPE_CODES: Final = {name: code for code, name in ORDER_TYPES.items()}
_ORDER_CODES: Final = {name: code for code, name in ORDER_STATUSES.items()}
_STRATEGY_CODES: Final = {name: code for code, name in STRATEGY_STATUSES.items()}


def _code(what: str, codes: Mapping[str, int], name: str) -> int:
    if name not in codes:
        raise ValueError(f"{what} {name!r}: expected {', '.join(codes)}")
    return codes[name]


def _trade(bot_id: str, symbol: str, side: str, status: str) -> tuple[int, _Emit]:
    return _code("side", _SIDE_CODES, side), ready.BOT_TRADES.labels(bot_id, symbol, side, status).emit


def _order(bot_id: str, symbol: str, side: str, status: str) -> tuple[int, int, _Emit]:
    codes = _code("side", _SIDE_CODES, side), _code("status", _ORDER_CODES, status)
    return *codes, ready.BOT_ORDERS.labels(bot_id, symbol, side, status).emit


_updates: Final = Resolved(lambda *values: ready.MARKET_DATA_UPDATES.labels(*values).emit)
_positions: Final = Resolved(lambda symbol: ready.PORTFOLIO_POSITIONS.labels(symbol).emit)
_operations: Final = Resolved(lambda *values: ready.REDIS_OPERATIONS.labels(*values).emit)
_queries: Final = Resolved(lambda *values: ready.DATABASE_QUERIES.labels(*values).emit)
_trades: Final = Resolved(_trade)
_orders: Final = Resolved(_order)


def record_market_data_update(symbol: str, source: str, lag: float | None = None) -> None:
    """Market data came. lag: seconds from the time it is of until now; None is not known."""
    _updates[symbol, source](1.0)
    if lag is not None:
        ready.MARKET_DATA_LAG.emit(lag)


def update_portfolio_metrics(figures: Mapping[str, Any]) -> None:
    """How the portfolio stands. Any of these keys may be left out; ValueError for another one, and nothing is told.

    total_value: USD, committed capital and all profit. cash_balance: USD, committed capital. positions: symbol → open
    positions; symbols that were told before and are missing have none any more.
    """
    unknown = figures.keys() - _PORTFOLIO.keys()
    if unknown:
        raise ValueError(f"portfolio figure {min(unknown)!r}: expected {', '.join(_PORTFOLIO)}")
    for name, figure in figures.items():
        _PORTFOLIO[name](figure)


def _update_positions(positions: Mapping[str, float]) -> None:
    closed: Iterable[tuple[str, ...]] = _positions.keys() - {(symbol,) for symbol in positions}
    for key in closed:
        _positions[key](0.0)
    for symbol, count in positions.items():
        _positions[(symbol,)](count)


_PORTFOLIO: Final[Mapping[str, Callable[[Any], object]]] = {
    "total_value": lambda usd: ready.PORTFOLIO_VALUE.set(usd),
    "cash_balance": lambda usd: ready.PORTFOLIO_CASH.set(usd),
    "positions": _update_positions,
}


def record_trade(
    bot_id: str,
    symbol: str,
    side: str,
    status: str = "filled",
    *,
    quantity: float | None = None,
    price: float | None = None,
    trade_id: object = "",
    order_id: object = "",
    strategy: str = "",
    reference_price: float = math.nan,
    latency_ns: float = math.nan,
) -> None:
    """A trade. With quantity and price it is also kept as an event: a record of TRADE, which tells what the rest means.

    side: buy or sell. Raises ValueError for what cannot be.
    """
    if (quantity is None) != (price is None):
        raise ValueError("record_trade: give both quantity and price, or neither")
    side_code, count = _trades[bot_id, symbol, side, status]
    if quantity is not None:
        rings.TRADES.emit_fields(
            time.time_ns(), str(trade_id), str(order_id), bot_id, strategy, symbol, status,
            price, quantity, reference_price, latency_ns, side_code,
        )  # fmt: skip
    count(1.0)


def record_order(
    bot_id: str,
    symbol: str,
    side: str,
    status: str,
    *,
    order_id: object,
    quantity: float,
    price: float,
    filled: float = 0.0,
    order_type: str = "limit",
    strategy: str = "",
    latency_ns: float = math.nan,
) -> None:
    """An order reached a status, which is counted and kept as an event: a record of ORDER.

    side: buy or sell. status: accepted, partially_filled, filled, cancelled, expired or rejected. filled: what traded
    of the quantity so far. order_type: limit, market or immediate. Raises ValueError for what cannot be.
    """
    side_code, status_code, count = _orders[bot_id, symbol, side, status]
    rings.ORDERS.emit_fields(
        time.time_ns(), str(order_id), bot_id, strategy, symbol, price, quantity, filled, latency_ns,
        side_code, _code("order type", _TYPE_CODES, order_type), status_code,
    )  # fmt: skip
    count(1.0)


def update_strategy(
    bot_id: str,
    strategy: str,
    symbol: str,
    status: str,
    *,
    position: float = 0.0,
    average_price: float = 0.0,
    mark_price: float = math.nan,
    realized_pnl: float = 0.0,
    unrealized_pnl: float = 0.0,
) -> None:
    """How a bot's strategy stands in a symbol: a record of STRATEGY.

    status: running, paused or stopped. position: negative when short. Raises ValueError for what cannot be.
    """
    rings.STRATEGIES.emit_fields(
        time.time_ns(), bot_id, strategy, symbol, position, average_price, mark_price, realized_pnl, unrealized_pnl,
        _code("status", _STRATEGY_CODES, status),
    )  # fmt: skip


def record_market_tick(
    symbol: str,
    *,
    bid: float,
    ask: float,
    bid_quantity: float = math.nan,
    ask_quantity: float = math.nan,
    last_price: float = math.nan,
    volume: float = 0.0,
    trades: int = 0,
) -> None:
    """The top of a symbol's book after it changed: a record of MARKET_TICK. volume, trades: since the tick before."""
    rings.MARKET_TICKS.emit_fields(
        time.time_ns(), symbol, last_price, bid, ask, bid_quantity, ask_quantity, volume, trades
    )


def record_redis_operation(operation: str, status: str = "success") -> None:
    """An operation of Redis ended. REDIS_CONNECTION_ERRORS counts lost connections."""
    _operations[operation, status](1.0)


class time_database_query:
    """`with time_database_query("select", "orders"):` times a query, and counts it by whether it raised."""

    __slots__ = ("_key", "_start")

    def __init__(self, operation: str, table: str) -> None:
        self._key = operation, table

    def __enter__(self) -> None:
        self._start = ready.DATABASE_QUERY_DURATION.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ready.DATABASE_QUERY_DURATION.stop(self._start)
        _queries[(*self._key, "success" if kind is None else "error")](1.0)
