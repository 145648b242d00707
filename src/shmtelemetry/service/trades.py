"""Trades as the service tells them, and what follows from many of them."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from ..aggregate.snapshot import Snapshot
from .figures import added, chosen, finite, rate, total

TRADES: Final = "trading_bot_trades_total"
QUANTITY: Final = "trading_bot_traded_quantity_total"

Event = Mapping[str, Any]


def told(event: Event) -> dict[str, Any]:
    """One event of the schema TRADE. id: by which older ones are asked for."""
    return {
        "id": event["_id"],
        "trade_id": event["trade_id"],
        "order_id": event["order_id"],
        "timestamp": datetime.fromtimestamp(event["ts"] / 1e9, UTC),
        "bot_id": event["bot_id"],
        "strategy": event["strategy"],
        "symbol": event["symbol"],
        "side": event["side"],
        "status": event["status"],
        "quantity": finite(event["quantity"]),
        "price": finite(event["price"]),
        "reference_price": finite(event["reference_price"]),
        "slippage_bps": finite(slippage(event)),
        "latency_ms": finite(event["latency_ns"] / 1e6),
        "producer": event["_producer"],
    }


def slippage(event: Event) -> float:
    """How much worse than the middle of the market it traded, in hundredths of a percent of that; NaN if unknown."""
    price, reference = float(event["price"]), float(event["reference_price"])
    if not reference or math.isnan(reference):
        return math.nan
    return (1 if event["side"] == "buy" else -1) * (price - reference) / reference * 1e4


def statistics(snapshot: Snapshot, newest: Sequence[Event]) -> dict[str, Any]:
    """total: of all times, exactly. recent: of the newest events."""
    return {
        "total": {
            "trades": total(snapshot, TRADES) or 0.0,
            "trades_per_second": rate(snapshot, TRADES),
            "quantity": total(snapshot, QUANTITY) or 0.0,
            "by_symbol": _by(snapshot, "symbol"),
            "by_side": _by(snapshot, "side"),
            "by_status": _by(snapshot, "status"),
            "by_bot": _by(snapshot, "bot_id"),
        },
        "recent": {
            "trades": len(newest),
            "notional_usd": finite(added(event["price"] * event["quantity"] for event in newest)),
            "buys": sum(event["side"] == "buy" for event in newest),
            "symbols": _prices(newest),
        },
    }


def quality(snapshot: Snapshot, newest: Sequence[Event]) -> dict[str, Any]:
    """How well orders are executed; latency and slippage of the newest trades."""
    latencies = [event["latency_ns"] / 1e6 for event in newest if math.isfinite(event["latency_ns"])]
    slippages = [one for event in newest if math.isfinite(one := slippage(event))]
    orders = Counter[str]()
    for family, at in chosen(snapshot, "trading_bot_orders_total", {}):
        orders[family.labels[at][family.label_names.index("status")]] += int(family.values[at])
    ended = sum(orders[status] for status in ("filled", "cancelled", "expired", "rejected"))
    return {
        "trades": len(newest),
        "orders": dict(orders),
        "fill_rate": orders["filled"] / ended if ended else None,
        "rejection_rate": orders["rejected"] / ended if ended else None,
        "latency_ms": _spread(latencies),
        "slippage_bps": _spread(slippages),
        "slippage_bps_by_symbol": _means(newest),
    }


def _by(snapshot: Snapshot, label: str) -> dict[str, float]:
    counts: defaultdict[str, float] = defaultdict(float)
    for family, at in chosen(snapshot, TRADES, {}):
        counts[family.labels[at][family.label_names.index(label)]] += float(family.values[at])
    return dict(counts)


def _prices(events: Iterable[Event]) -> dict[str, dict[str, float | None]]:
    """By symbol: how many, how much, and at which price by quantity (VWAP)."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event["symbol"]].append(event)
    return {symbol: _priced(mine) for symbol, mine in sorted(found.items())}


def _priced(events: Sequence[Event]) -> dict[str, float | None]:
    quantity = added(event["quantity"] for event in events)
    notional = added(event["price"] * event["quantity"] for event in events)
    return {
        "trades": len(events),
        "quantity": finite(quantity),
        "vwap": finite(notional / quantity) if quantity else None,
        "last_price": finite(events[0]["price"]),
    }


def _means(events: Iterable[Event]) -> dict[str, float | None]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for event in events:
        if math.isfinite(one := slippage(event)):
            found[event["symbol"]].append(one)
    return {symbol: finite(added(some) / len(some)) for symbol, some in sorted(found.items())}


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    if not values:
        return dict.fromkeys(("mean", "p50", "p95", "p99", "max"))
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99), method="inverted_cdf").tolist()
    return {"mean": finite(added(values) / len(values)), "p50": p50, "p95": p95, "p99": p99, "max": max(values)}
