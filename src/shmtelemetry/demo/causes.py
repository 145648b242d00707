"""What can be made to go wrong in the demo, by real behaviour, and which alert tells of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

EXCHANGE: Final = "exchange"
RISK_MANAGER: Final = "risk-manager"
SIGNAL_BRIDGE: Final = "signal-bridge"
REDIS: Final = "redis"
STOPPED: Final = "stopped"

_MIB: Final = 2**20


class Condition(NamedTuple):
    """Of a process: the name of a condition, its value while the cause lasts, and the one that it has without."""

    process: str
    name: str
    value: Any
    usual: Any


class Cause(NamedTuple):
    """alert: the one that tells of it. means: what happens."""

    alert: str
    means: str
    conditions: tuple[Condition, ...]


CAUSES: Final[Mapping[str, Cause]] = {
    "service-stopped": Cause(
        "ServiceDown", "the signal bridge gets no CPU (SIGSTOP)", (Condition(SIGNAL_BRIDGE, STOPPED, True, False),)
    ),
    "market-crash": Cause(
        "MaxDailyLossExceeded",
        "prices go against the bots' positions by half; cured, they come back, and the bots start anew",
        (Condition(EXCHANGE, "against_us", 0.5, 0.0), Condition(RISK_MANAGER, "bots", "as they are", "run")),
    ),
    "breaker": Cause(
        "CircuitBreakerTriggered",
        "the exchange takes one request a second, until the risk manager's circuit breaker holds orders back",
        (Condition(EXCHANGE, "requests_per_second", 1, 2_000),),
    ),
    "feed-lost": Cause(
        "MarketDataWebsocketDisconnected",
        "the exchange closes its feed and lets nobody in",
        (Condition(EXCHANGE, "feed", False, True),),
    ),
    "exchange-down": Cause(
        "ExecutionApiDown",
        "the exchange closes its entry for orders and lets nobody in",
        (Condition(EXCHANGE, "orders", False, True),),
    ),
    "memory-held": Cause(
        "MemoryLeakDetected",
        "the risk manager holds 256 MiB that it does not need",
        (Condition(RISK_MANAGER, "held_bytes", 256 * _MIB, 0),),
    ),
    "bots-paused": Cause(
        "NoActiveBotsRunning", "all bots are paused", (Condition(RISK_MANAGER, "bots", "pause", "run"),)
    ),
    "slow-exchange": Cause(
        "HighOrderLatency",
        "the exchange lets each order wait for 8 ms before it answers",
        (Condition(EXCHANGE, "answer_seconds", 0.008, 0.0),),
    ),
    "wide-market": Cause(
        "HighSlippage",
        "nobody else trades within 1 % of the fair price, and the risk manager lets orders through at such prices",
        (Condition(EXCHANGE, "spread_ratio", 0.01, 0.0), Condition(RISK_MANAGER, "price_band_ratio", 0.05, 0.0005)),
    ),
    "model-broken": Cause(
        "InferenceFailures",
        "the model's file has weights that are no numbers, and is read",
        (Condition(SIGNAL_BRIDGE, "model", "broken", "good"),),
    ),
    "tight-limits": Cause(
        "RiskCheckFailures",
        "the risk manager allows no distance from the middle of the market",
        (Condition(RISK_MANAGER, "price_band_ratio", 0.0, 0.0005),),
    ),
    "thin-market": Cause(
        "LowFillRate", "nobody else offers more than one share", (Condition(EXCHANGE, "largest_quantity", 1, 400),)
    ),
    "rate-limited": Cause(
        "ApiRateLimitHit",
        "the exchange takes 20 requests a second",
        (Condition(EXCHANGE, "requests_per_second", 20, 2_000),),
    ),
    "feed-late": Cause(
        "HighMarketDataLag",
        "the exchange sends its feed 8 seconds late",
        (Condition(EXCHANGE, "feed_seconds", 8.0, 0.0),),
    ),
    "redis-killed": Cause(
        "HighRedisErrorRate", "Redis is killed, where it is installed", (Condition(REDIS, STOPPED, True, False),)
    ),
}


def bring_about(name: str, change: Callable[[str, str, Any], object]) -> None:
    """change: sets a condition of a process, by name. Raises KeyError for an unknown cause, as cure does."""
    for process, condition, value, _ in CAUSES[name].conditions:
        change(process, condition, value)


def cure(name: str, change: Callable[[str, str, Any], object]) -> None:
    for process, condition, _, usual in CAUSES[name].conditions:
        change(process, condition, usual)
