"""What becomes of orders: how many fill, how fast the venue answers, and at what price they trade."""

import math
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ...aggregate.snapshot import Snapshot
from ...trading.schemas import ORDER_STATUSES, TRADE
from ..figures import added, total
from ..trades import slippage
from .base import BaseCollector, History
from .grouped import by_label, rounded, whole
from .look import Look, onlooker

_ENDED: Final = ("filled", "cancelled", "expired", "rejected")
_RECENT: Final = 60.0  # seconds
_RECENT_TRADES: Final = 100

_ORDERS: Final = "trading_bot_orders_total"
_SUBMITTED: Final = "execution_engine_orders_submitted_total"
_TRADES: Final = "trading_bot_trades_total"
_LATENCY: Final = "execution_engine_order_submission_latency_us"


class ExecutionCollector(BaseCollector):
    """{"fill_rate", "avg_latency_ms", "orders": {status: number}, "trades", "slippage_bps"}.

    fill_rate: of the orders that have ended, the share that was filled, 0 to 1; where nobody tells of those, of the
    orders that were submitted the share that the venue took. avg_latency_ms: until the venue answered, within the last
    minute. slippage_bps: by how much the newest 100 trades were worse than their reference price, on average, in
    hundredths of a percent; it needs a history. None is what nobody has told. look, history: where figures of now and
    events come from.
    """

    def __init__(self, look: Look | None = None, history: History | None = None) -> None:
        super().__init__("execution")
        self._look, self._history = look or onlooker(), history
        self._slipped: float | None = None
        self._asked = -math.inf  # when the history was

    async def get_current_metrics(self) -> dict[str, Any]:
        snapshot = self._look()
        orders = by_label(snapshot, _ORDERS, "status")
        return {
            "fill_rate": rounded(_fill_rate(snapshot, orders), 4),
            "avg_latency_ms": rounded(_mean_latency(snapshot), 4),
            "orders": {status: whole(orders.get(status, 0.0)) for status in ORDER_STATUSES.values()},
            "trades": whole(total(snapshot, _TRADES) or 0.0),
            "slippage_bps": rounded(self._slippage(), 4),
        }

    def _slippage(self) -> float | None:
        """Of the newest trades, looked for once a second."""
        if self._history is not None and time.monotonic() - self._asked >= 1.0:
            self._slipped, self._asked = self._slippage_of(self._history), time.monotonic()
        return self._slipped

    def _slippage_of(self, history: History) -> float | None:
        trades = history.events(TRADE, filters={}, before=None, limit=_RECENT_TRADES)
        known = [one for trade in trades if math.isfinite(one := slippage(trade))]
        return added(known) / len(known) if known else None


def _fill_rate(snapshot: Snapshot, orders: Mapping[str, float]) -> float | None:
    if orders:
        part, whole = orders.get("filled", 0.0), math.fsum(orders.get(status, 0.0) for status in _ENDED)
    else:
        submitted = by_label(snapshot, _SUBMITTED, "status")
        part, whole = submitted.get("success", 0.0), math.fsum(submitted.values())
    return part / whole if whole else None


def _mean_latency(snapshot: Snapshot) -> float | None:
    """In milliseconds."""
    family = snapshot.families.get(_LATENCY)
    if family is None:
        return None
    recent = snapshot.window(_RECENT).merged(family, np.arange(len(family.labels)))
    return recent.sum / recent.count / 1e3 if recent.count else None
