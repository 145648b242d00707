"""The line that the demo prints once a second."""

from __future__ import annotations

from shmtelemetry.aggregate.snapshot import Snapshot

_TICK_TO_TRADE = "execution_engine_tick_to_trade_seconds"


class LiveLine:
    """Compares one snapshot with the one before."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._first = self._last = snapshot

    def after(self, snapshot: Snapshot) -> str:
        """What happened since the last line, and how things stand."""
        seconds = (snapshot.taken_ns - self._last.taken_ns) * 1e-9
        records = (_consumed(snapshot) - _consumed(self._last)) / seconds
        messages = (_total(snapshot, "market_data_messages_total") - self._messages()) / seconds
        running = (snapshot.taken_ns - self._first.taken_ns) * 1e-9
        self._last = snapshot
        return "  ".join(
            (
                f"{running:5.0f} s",
                f"{records:9,.0f} records/s",
                f"{messages:8,.0f} messages/s",
                f"{_total(snapshot, 'execution_engine_orders_submitted_total'):7,.0f} orders",
                f"tick to trade {_tick_to_trade(snapshot)}",
                f"profit {_profit(snapshot):+,.2f} USD",
                f"dropped {_dropped(snapshot):,}",
            )
        )

    def _messages(self) -> float:
        return _total(self._last, "market_data_messages_total")


def _total(snapshot: Snapshot, name: str) -> float:
    """The sum over all series of a metric; 0 for one that nobody has defined yet."""
    family = snapshot.families.get(name)
    return 0.0 if family is None else float(family.values.sum())


def _consumed(snapshot: Snapshot) -> int:
    return sum(totals.consumed for totals in snapshot.producers.values())


def _dropped(snapshot: Snapshot) -> int:
    return sum(sum(totals.dropped.values()) for totals in snapshot.producers.values())


def _profit(snapshot: Snapshot) -> float:
    return _total(snapshot, "trading_bot_pnl_usd")


def _tick_to_trade(snapshot: Snapshot) -> str:
    if _TICK_TO_TRADE not in snapshot.families:
        return "-"
    times = snapshot.histogram(_TICK_TO_TRADE)
    if times.count == 0:
        return "-"
    return f"p50 {times.quantile(0.5) * 1e3:.2f} ms, p99 {times.quantile(0.99) * 1e3:.2f} ms"
