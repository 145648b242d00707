"""The bots: which instruments each trades by which strategy, and whether it may."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from shmtelemetry.demo.order_flow import INSTRUMENTS

RUNNING: Final = "running"
PAUSED: Final = "paused"
STOPPED: Final = "stopped"
STATUSES: Final = (RUNNING, PAUSED, STOPPED)


class Bot(NamedTuple):
    """Who trades an instrument; every instrument has exactly one."""

    number: int  # index into BOTS
    bot_id: str
    strategy: str


BOTS: Final = (
    Bot(0, "bot-1", "momentum"),
    Bot(1, "bot-2", "reversion"),
    Bot(2, "bot-3", "momentum"),
    Bot(3, "bot-4", "reversion"),
)
BOT_OF: Final = tuple(BOTS[index * len(BOTS) // len(INSTRUMENTS)] for index in range(len(INSTRUMENTS)))
"""By index of the instrument."""


class Supervision:
    """The status of one bot, which follows from its profit.

    It is paused for a while when it has lost more than drawdown_usd since its peak, and stopped for good when it has
    lost loss_usd in all.
    """

    def __init__(self, drawdown_usd: float, pause_seconds: float, loss_usd: float) -> None:
        self._drawdown_usd, self._pause_seconds, self._loss_usd = drawdown_usd, pause_seconds, loss_usd
        self._peak = 0.0
        self._resume_at = 0.0
        self._earned: float | None = 0.0  # before it was started; None until that is known
        self.status = RUNNING

    def judge(self, profit_usd: float, now: float) -> bool:
        """Whether the status changes. now: seconds, never going back."""
        before = self.status
        if before == STOPPED:
            return False
        if self._earned is None:
            self._earned = profit_usd
        profit_usd -= self._earned
        if profit_usd <= -self._loss_usd:
            self.status = STOPPED
        elif before == PAUSED and now >= self._resume_at:
            self.status, self._peak = RUNNING, profit_usd
        elif before == RUNNING:
            self._peak = max(self._peak, profit_usd)
            if profit_usd < self._peak - self._drawdown_usd:
                self.status, self._resume_at = PAUSED, now + self._pause_seconds
        return self.status != before

    def stop(self) -> None:
        """Until somebody starts it again."""
        self.status = STOPPED

    def pause(self) -> None:
        """Until somebody starts it again."""
        self.status, self._resume_at = PAUSED, math.inf

    def start(self) -> None:
        """With what it has earned so far behind it."""
        self.status, self._peak, self._earned = RUNNING, 0.0, None
