"""Circuit breakers: what holds back all orders at once, until it is over."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from shmtelemetry.trading import instruments

DAILY_LOSS: Final = "daily_loss"
REJECTIONS: Final = "rejections"
MARKET_DATA: Final = "market_data"
NAMES: Final = (DAILY_LOSS, REJECTIONS, MARKET_DATA)

_SILENT_SECONDS: Final = 2.0  # without a quote
_WATCHED: Final = 40  # orders, of which the exchange may reject half
_REST_SECONDS: Final = 5.0  # for which orders are held back after that


class Breakers:
    """emits: how many records it emitted. clock: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._active = dict.fromkeys(NAMES, False)
        self._quoted_at = math.inf  # until the market has opened
        self._refused: deque[bool] = deque(maxlen=_WATCHED)
        self._rest_until = 0.0
        self._gauges = {name: instruments.RISK_MANAGER_CIRCUIT_BREAKER_ACTIVE.labels(name) for name in NAMES}
        self._trips = {name: instruments.RISK_MANAGER_CIRCUIT_BREAKER_TRIPS.labels(name) for name in NAMES}
        for name in NAMES:
            self._gauges[name].emit(0.0)
            self._trips[name].emit(0.0)  # so that its rate is 0, and not absent
        self.emits = 2 * len(NAMES)

    def quoted(self) -> None:
        """A quote has come."""
        self._quoted_at = self._clock()

    def answered(self, orders: int, refused: int) -> None:
        """Orders were answered, so many of them by a refusal."""
        self._refused.extend([True] * refused + [False] * (orders - refused))
        if len(self._refused) == _WATCHED and sum(self._refused) > _WATCHED / 2:
            self._rest_until = self._clock() + _REST_SECONDS
            self._refused.clear()

    def look(self, loss_usd: float, limit_usd: float) -> None:
        """Trip, or let go."""
        now = self._clock()
        self._set(DAILY_LOSS, loss_usd >= limit_usd)
        self._set(REJECTIONS, now < self._rest_until)
        self._set(MARKET_DATA, now > self._quoted_at + _SILENT_SECONDS)

    def hold(self) -> bool:
        """Whether any of them holds orders back."""
        return any(self._active.values())

    def _set(self, name: str, active: bool) -> None:
        if active == self._active[name]:
            return
        self._active[name] = active
        self._gauges[name].emit(float(active))
        self.emits += 1
        if active:
            self._trips[name].emit(1.0)
            self.emits += 1
