"""What the records of a trading system are: one dtype each, with the roles that turn them into metrics.

A C struct with these fields has the same layout. A string is UTF-8, padded with zeros; codes of one byte come last, and
what names them is stored with the schema. Times are nanoseconds since the epoch, prices and profits are in USD,
quantities in units of what is traded; NaN is a price or a time that is not known.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..schema import Role, Schema, field

SIDES: Final = {0: "buy", 1: "sell"}
ORDER_TYPES: Final = {0: "limit", 1: "market", 2: "immediate"}
"""A limit order rests; an immediate one has a limit as well, and what does not trade at once expires."""
ORDER_STATUSES: Final = {
    0: "accepted", 1: "partially_filled", 2: "filled", 3: "cancelled", 4: "expired", 5: "rejected",
}  # fmt: skip
STRATEGY_STATUSES: Final = {0: "stopped", 1: "paused", 2: "running"}

_ID: Final = "S40"  # room for a UUID and for the digits of any 128-bit integer
_NAME: Final = "S32"  # of a bot or a strategy
_SYMBOL: Final = "S16"
_WORD: Final = "S16"

_TIME: Final = field("time", unit="ns")
_LABEL: Final = field("label")
_ATTRIBUTE: Final = field("attribute")
_SIDE: Final = field("label", values=SIDES)


def _schema(fields: Sequence[tuple[str, str, Role]], events: bool = False) -> Schema:
    dtype = np.dtype([(name, format) for name, format, _ in fields], align=True)
    return Schema(dtype, {name: role for name, _, role in fields}, events)


MARKET_TICK: Final = _schema(
    [
        ("ts", "<u8", _TIME),
        ("symbol", _SYMBOL, _LABEL),
        ("last_price", "<f8", field("gauge", name="market_data_last_price_usd", help="Price of the last trade.")),
        ("bid", "<f8", field("gauge", name="market_data_bid_price_usd", help="Highest price that somebody buys at.")),
        ("ask", "<f8", field("gauge", name="market_data_ask_price_usd", help="Lowest price that somebody sells at.")),
        ("bid_quantity", "<f8", field("gauge", name="market_data_bid_quantity", help="Quantity wanted at the bid.")),
        ("ask_quantity", "<f8", field("gauge", name="market_data_ask_quantity", help="Quantity offered at the ask.")),
        ("volume", "<f8", field("counter", name="market_data_traded_quantity_total", help="Quantity that traded.")),
        ("trades", "<u8", field("counter", name="market_data_tick_trades_total", help="Trades that ticks told of.")),
    ]
)
"""The top of a symbol's book after it changed, with what traded since the tick before: volume and trades add up."""

ORDER: Final = _schema(
    [
        ("ts", "<u8", _TIME),
        ("order_id", _ID, _ATTRIBUTE),
        ("bot_id", _NAME, _LABEL),
        ("strategy", _NAME, _ATTRIBUTE),
        ("symbol", _SYMBOL, _LABEL),
        ("price", "<f8", _ATTRIBUTE),
        ("quantity", "<f8", field("counter", name="trading_bot_order_quantity_total",
                                  help="Quantity of orders, at each status that they reach.")),
        ("filled_quantity", "<f8", _ATTRIBUTE),
        ("latency_ns", "<f8", field("attribute", unit="ns")),
        ("side", "u1", _SIDE),
        ("order_type", "u1", field("attribute", values=ORDER_TYPES)),
        ("status", "u1", field("label", values=ORDER_STATUSES)),
    ],
    events=True,
)  # fmt: skip
"""An order reached a status. filled_quantity: of all its trades so far. latency_ns: since the venue was handed it."""

TRADE: Final = _schema(
    [
        ("ts", "<u8", _TIME),
        ("trade_id", _ID, _ATTRIBUTE),
        ("order_id", _ID, _ATTRIBUTE),
        ("bot_id", _NAME, _LABEL),
        ("strategy", _NAME, _ATTRIBUTE),
        ("symbol", _SYMBOL, _LABEL),
        ("status", _WORD, _LABEL),
        ("price", "<f8", _ATTRIBUTE),
        ("quantity", "<f8", field("counter", name="trading_bot_traded_quantity_total", help="Quantity that traded.")),
        ("reference_price", "<f8", _ATTRIBUTE),
        ("latency_ns", "<f8", field("attribute", unit="ns")),
        ("side", "u1", _SIDE),
    ],
    events=True,
)
"""A fill of an order. reference_price: the middle of the market when it traded, from which slippage is measured.
latency_ns: since the venue was handed the order."""

STRATEGY: Final = _schema(
    [
        ("ts", "<u8", _TIME),
        ("bot_id", _NAME, _LABEL),
        ("strategy", _NAME, _LABEL),
        ("symbol", _SYMBOL, _LABEL),
        ("position", "<f8", field("gauge", name="trading_strategy_position_quantity",
                                  help="Quantity held; negative when short.")),
        ("average_price", "<f8", field("gauge", name="trading_strategy_average_price_usd",
                                       help="Price of what is held, on average; 0 without a position.")),
        ("mark_price", "<f8", field("gauge", name="trading_strategy_mark_price_usd",
                                    help="Price that the position is valued at.")),
        ("realized_pnl", "<f8", field("gauge", name="trading_strategy_realized_pnl_usd",
                                      help="Profit of what was bought and sold again.")),
        ("unrealized_pnl", "<f8", field("gauge", name="trading_strategy_unrealized_pnl_usd",
                                        help="Profit of the position at the mark price.")),
        ("status", "u1", field("gauge", name="trading_strategy_status", values=STRATEGY_STATUSES,
                               help="0 stopped, 1 paused, 2 running.")),
    ]
)  # fmt: skip
"""How a bot's strategy stands in one symbol."""

SYSTEM_SAMPLE: Final = _schema(
    [
        ("timestamp_ns", "<u8", _TIME),
        ("orders_produced", "<u8", field("total", name="orders_produced_total", help="Orders produced.")),
        ("orders_consumed", "<u8", field("total", name="orders_consumed_total", help="Orders consumed.")),
        ("orders_dropped", "<u8", field("total", name="orders_dropped_total", help="Orders given up.")),
        ("buffer_size", "<u8", field("gauge", name="buffer_used_orders", help="Orders in the buffer.")),
        ("buffer_capacity", "<u8", field("gauge", name="buffer_capacity_orders", help="Orders that fit into it.")),
        ("throughput_ops_per_sec", "<f8", field("gauge", name="throughput_orders_per_second",
                                                help="Orders a second at present.")),
        ("avg_latency_ns", "<f8", field("gauge", name="batch_latency_mean_seconds", unit="ns",
                                        help="Latency of a batch at present, on average.")),
        ("p95_latency_ns", "<f8", field("gauge", name="batch_latency_p95_seconds", unit="ns",
                                        help="Latency that 95 % of batches do not exceed at present.")),
        ("p99_latency_ns", "<f8", field("gauge", name="batch_latency_p99_seconds", unit="ns",
                                        help="Latency that 99 % of batches do not exceed at present.")),
        ("network_errors", "<u8", field("total", name="network_dropped_packets_total",
                                        help="Packets that the network lost.")),
        ("batch_count", "<u8", field("total", name="batches_sent_total", help="Batches sent.")),
    ]
)  # fmt: skip
"""A line of a telemetry log: totals since the start of its system, and how it stands. The field names are the log's
column names, in their order. Its metrics have no labels."""
