"""What the bots and their strategies have earned, and what they hold."""

import math
from collections import Counter, defaultdict
from typing import Any, Final

from ...aggregate.snapshot import Snapshot
from ...trading.schemas import STRATEGY, STRATEGY_STATUSES
from ..figures import added, total
from .base import BaseCollector, History
from .grouped import by_label, by_labels, metric_of, rounded, whole
from .look import Look, onlooker

_DAY: Final = 86_400.0  # seconds
_STEP: Final = 60.0
SETTLED: Final = 10.0  # seconds after midnight, until the row of midnight is written and can be relied on
_CENTS: Final = 4  # digits of profits

_PNL: Final = "trading_bot_pnl_usd"
_ACTIVE: Final = "trading_bots_active_total"
_POSITIONS: Final = "trading_open_positions_count"
_HELD: Final = "portfolio_positions_count"
_BOT: Final = ("bot_id", "symbol")
_STATE: Final = ("bot_id", "strategy", "symbol")
_PROFITS: Final = tuple(metric_of(STRATEGY, field) for field in ("realized_pnl", "unrealized_pnl"))
# What is told of a position → field of a state.
_POSITION: Final = {
    "quantity": "position",
    "average_price": "average_price",
    "mark_price": "mark_price",
    "realized_pnl": "realized_pnl",
    "unrealized_pnl": "unrealized_pnl",
}

_Labels = tuple[tuple[str, str], ...]
_Series = dict[tuple[str, _Labels], float]  # metric and labels → value
_States = dict[str, dict[tuple[str, ...], float]]  # field → (bot, strategy, symbol) → value


class StrategyCollector(BaseCollector):
    """{"total_pnl", "daily_pnl", "open_positions", "bots": {"running", "paused", "stopped"}}, in USD and by number.

    None is what nobody has told; the daily profit counts from midnight, UTC, and needs a history. What records of
    STRATEGY say comes before what instruments say. look, history: where figures of now and of before come from.
    """

    def __init__(self, look: Look | None = None, history: History | None = None) -> None:
        super().__init__("strategy")
        self._look, self._history = look or onlooker(), history
        self._day = 0.0
        self._at_midnight: _Series = {}

    async def get_current_metrics(self) -> dict[str, Any]:
        snapshot = self._look()
        states, profits = _states(snapshot), _profits(snapshot)
        return {
            "total_pnl": rounded(added(profits.values()), _CENTS) if profits else None,
            "daily_pnl": self._daily(profits, snapshot.taken_ns / 1e9),
            "open_positions": _open_positions(snapshot, states),
            "bots": _bots(snapshot, states),
        }

    def get_bots(self) -> list[dict[str, Any]]:
        """Each bot: {"bot_id", "strategy", "status", "pnl", "positions"}, with a position a symbol that it holds."""
        snapshot = self._look()
        states = _states(snapshot)
        profits: defaultdict[str, float] = defaultdict(float)
        for (_, labels), profit in _profits(snapshot).items():
            profits[dict(labels)["bot_id"]] += profit
        statuses, strategies = _statuses(states), {bot: strategy for bot, strategy, _ in states["status"]}
        return [
            {
                "bot_id": bot_id,
                "strategy": strategies.get(bot_id),
                "status": statuses.get(bot_id),
                "pnl": rounded(profits.get(bot_id), _CENTS),
                "positions": [
                    _position(states, key) for key, held in states["position"].items() if key[0] == bot_id and held
                ],
            }
            for bot_id in sorted({*profits, *statuses})
        ]

    def get_counts(self) -> dict[str, int | None]:
        """How many bots are {"running", "paused", "stopped"}."""
        snapshot = self._look()
        return _bots(snapshot, _states(snapshot))

    def _daily(self, profits: _Series, now: float) -> float | None:
        if self._history is None or not profits:
            return None
        midnight = now // _DAY * _DAY
        if midnight != self._day or now < midnight + SETTLED:
            self._day, self._at_midnight = midnight, {}
        for series in profits.keys() - self._at_midnight.keys():
            self._at_midnight[series] = _value_at(self._history, *series, midnight)
        return rounded(added(profit - self._at_midnight[key] for key, profit in profits.items()), _CENTS)


def _value_at(history: History, metric: str, labels: _Labels, moment: float) -> float:
    """The last value of a series within a day before a moment; 0 of one that was not there."""
    values = history.range(metric, dict(labels), moment - _DAY, moment, _STEP)
    known = [value for _, value in values if math.isfinite(value)]
    return known[-1] if known else 0.0


def _states(snapshot: Snapshot) -> _States:
    return {field: by_labels(snapshot, metric_of(STRATEGY, field), *_STATE) for field in STRATEGY.metric_fields}


def _profits(snapshot: Snapshot) -> _Series:
    """Series that add up to the whole profit."""
    found: _Series = {}
    told = set()
    for metric in _PROFITS:
        for (bot_id, strategy, symbol), profit in by_labels(snapshot, metric, *_STATE).items():
            told.add((bot_id, symbol))
            found[metric, tuple(zip(_STATE, (bot_id, strategy, symbol), strict=True))] = profit
    for bot, profit in by_labels(snapshot, _PNL, *_BOT).items():
        if bot not in told:
            found[_PNL, tuple(zip(_BOT, bot, strict=True))] = profit
    return found


def _statuses(states: _States) -> dict[str, str]:
    """By bot, the most active one of its strategies and symbols."""
    codes: dict[str, int] = {}
    for (bot_id, *_), code in states["status"].items():
        codes[bot_id] = max(codes.get(bot_id, 0), whole(code) or 0)
    return {bot_id: STRATEGY_STATUSES.get(code, str(code)) for bot_id, code in codes.items()}


def _bots(snapshot: Snapshot, states: _States) -> dict[str, int | None]:
    counts = Counter(_statuses(states).values()) or by_label(snapshot, _ACTIVE, "status")
    return {status: whole(counts.get(status, 0)) for status in ("running", "paused", "stopped")}


def _open_positions(snapshot: Snapshot, states: _States) -> int | None:
    if states["position"]:
        return sum(quantity != 0 for quantity in states["position"].values())
    held = by_label(snapshot, _HELD, "symbol")
    return whole(added(held.values()) if held else total(snapshot, _POSITIONS))


def _position(states: _States, key: tuple[str, ...]) -> dict[str, Any]:
    return {"symbol": key[-1]} | {name: rounded(states[field].get(key)) for name, field in _POSITION.items()}
