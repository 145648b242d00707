"""The line that the demo prints once a second, of all its namespaces together."""

from __future__ import annotations

from collections.abc import Sequence

from shmtelemetry.aggregate.snapshot import Snapshot

_Snapshots = Sequence[Snapshot]  # one a namespace, of the same moment

_TICK_TO_TRADE = "execution_engine_tick_to_trade_seconds"


class LiveLine:
    """Compares snapshots with those before."""

    def __init__(self, snapshots: _Snapshots) -> None:
        self._first = self._last = snapshots

    def after(self, snapshots: _Snapshots) -> str:
        """What happened since the last line, and how things stand."""
        seconds = _seconds_between(self._last, snapshots)
        records = (_consumed(snapshots) - _consumed(self._last)) / seconds
        messages = (_total(snapshots, "market_data_messages_total") - self._messages()) / seconds
        running = _seconds_between(self._first, snapshots)
        self._last = snapshots
        return "  ".join(
            (
                f"{running:5.0f} s",
                f"{records:9,.0f} records/s",
                f"{messages:8,.0f} messages/s",
                f"{_total(snapshots, 'execution_engine_orders_submitted_total'):7,.0f} orders",
                f"tick to trade {_tick_to_trade(snapshots)}",
                f"profit {_profit(snapshots):+,.2f} USD",
                f"dropped {_dropped(snapshots):,}",
            )
        )

    def _messages(self) -> float:
        return _total(self._last, "market_data_messages_total")


def _seconds_between(before: _Snapshots, after: _Snapshots) -> float:
    return (after[0].taken_ns - before[0].taken_ns) * 1e-9


def _total(snapshots: _Snapshots, name: str) -> float:
    """The sum over all series of a metric; 0 for one that nobody has defined yet."""
    return sum(float(one.families[name].values.sum()) for one in snapshots if name in one.families)


def _consumed(snapshots: _Snapshots) -> int:
    return sum(totals.consumed for one in snapshots for totals in one.producers.values())


def _dropped(snapshots: _Snapshots) -> int:
    return sum(sum(totals.dropped.values()) for one in snapshots for totals in one.producers.values())


def _profit(snapshots: _Snapshots) -> float:
    return _total(snapshots, "trading_bot_pnl_usd")


def _tick_to_trade(snapshots: _Snapshots) -> str:
    for one in snapshots:
        if _TICK_TO_TRADE in one.families and (times := one.histogram(_TICK_TO_TRADE)).count:
            return f"p50 {times.quantile(0.5) * 1e3:.2f} ms, p99 {times.quantile(0.99) * 1e3:.2f} ms"
    return "-"
