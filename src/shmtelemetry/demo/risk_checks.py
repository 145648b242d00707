"""The checks an order must pass before it leaves, and the book-keeping they need."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shmtelemetry.demo.bots import BOT_OF, BOTS, RUNNING, Supervision
from shmtelemetry.demo.messages import Closed, Execution, Order
from shmtelemetry.demo.order_book import BUY, SELL
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.demo.position import Position


@dataclass(frozen=True)
class Limits:
    """What the risk manager allows. Values are per order or per instrument unless they say otherwise.

    order_quantity: shares of one order.
    order_notional_usd: price times quantity of one order.
    price_band_ratio: distance of an order's price from the middle of the market.
    position_quantity: shares held, open orders on the same side included.
    gross_exposure_usd: value of all positions, long and short added up.
    orders_per_second: over all instruments.
    loss_usd: realized and unrealized loss over all instruments.
    bot_drawdown_usd, bot_pause_seconds: a bot that has lost so much since its peak sends no orders for so long.
    bot_loss_usd: a bot that has lost so much in all sends none any more.
    """

    order_quantity: int = 250
    order_notional_usd: float = 150_000.0
    price_band_ratio: float = 0.0005
    position_quantity: int = 2_500
    gross_exposure_usd: float = 4_000_000.0
    orders_per_second: int = 1_000
    loss_usd: float = 250_000.0
    bot_drawdown_usd: float = 500.0
    bot_pause_seconds: float = 5.0
    bot_loss_usd: float = 10_000.0


class Account:
    """Positions, open orders and newest prices of all instruments, and the bots that trade them."""

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.bots = [Supervision(limits.bot_drawdown_usd, limits.bot_pause_seconds, limits.bot_loss_usd) for _ in BOTS]
        self.positions = [Position() for _ in INSTRUMENTS]
        self.marks = [0.0 for _ in INSTRUMENTS]  # ticks; 0 until the first quote
        self._open = [{BUY: 0, SELL: 0} for _ in INSTRUMENTS]  # shares of orders sent and not closed

    def mark(self, instrument: int, price: float) -> None:
        """Takes in the newest price of an instrument, in ticks."""
        self.marks[instrument] = price

    def sent(self, order: Order) -> None:
        """An order leaves."""
        self._open[order.instrument][order.side] += order.quantity

    def executed(self, execution: Execution) -> None:
        """A part of an order traded."""
        self._open[execution.instrument][execution.side] -= execution.quantity
        self.positions[execution.instrument].apply(execution.side, execution.quantity, execution.price)

    def closed(self, closed: Closed) -> None:
        """An order will not trade any more."""
        self._open[closed.instrument][closed.side] -= closed.unfilled

    def open_quantity(self, instrument: int, side: int) -> int:
        """Shares that orders on their way may still buy (BUY) or sell (SELL)."""
        return self._open[instrument][side]

    def open_positions(self) -> int:
        """The number of instruments we are long or short in."""
        return sum(position.quantity != 0 for position in self.positions)

    def unrealized_usd(self, instrument: int) -> float:
        """What the position would earn if it were closed at the newest price."""
        return self.positions[instrument].unrealized(self.marks[instrument]) * TICK_USD

    def realized_usd(self, instrument: int) -> float:
        """What closed positions in the instrument have earned."""
        return self.positions[instrument].realized * TICK_USD

    def pnl_usd(self, instrument: int) -> float:
        """Realized and unrealized."""
        return self.realized_usd(instrument) + self.unrealized_usd(instrument)

    def profit_usd(self) -> float:
        """Realized and unrealized, over all instruments."""
        return sum(map(self.pnl_usd, range(len(self.positions))))

    def judge_bots(self, now: float) -> bool:
        """Whether the status of a bot changes by what it has earned. now: seconds, never going back."""
        profits = [0.0 for _ in BOTS]
        for instrument, bot in enumerate(BOT_OF):
            profits[bot.number] += self.pnl_usd(instrument)
        changes = [bot.judge(profit, now) for bot, profit in zip(self.bots, profits, strict=True)]
        return any(changes)

    def gross_exposure_usd(self) -> float:
        """The value of all positions, long and short added up."""
        pairs = zip(self.positions, self.marks, strict=True)
        return sum(abs(position.quantity) * mark for position, mark in pairs) * TICK_USD


class Checks:
    """Each check is a method that says whether an order may leave; ``CHECK_NAMES`` is their order.

    breaker: whether all orders are held back.
    """

    def __init__(
        self,
        account: Account,
        limits: Limits,
        breaker: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self.limits = limits
        self._breaker = breaker
        self._clock = clock  # seconds, never going back
        self._sent_at: deque[float] = deque()  # seconds; of the orders of the last second

    def bot_running(self, order: Order) -> bool:
        """The bot that trades the instrument is neither paused nor stopped."""
        return self._account.bots[BOT_OF[order.instrument].number].status == RUNNING

    def order_quantity(self, order: Order) -> bool:
        """The order is not larger than any order should be."""
        return 0 < order.quantity <= self.limits.order_quantity

    def order_notional(self, order: Order) -> bool:
        """The order is not worth more than any order should be."""
        return order.quantity * order.price * TICK_USD <= self.limits.order_notional_usd

    def price_band(self, order: Order) -> bool:
        """The price is near the market's."""
        mark = self._account.marks[order.instrument]
        return abs(order.price - mark) <= self.limits.price_band_ratio * mark

    def position_limit(self, order: Order) -> bool:
        """The position stays within its limit if this order and all that are on their way trade."""
        account, instrument, side = self._account, order.instrument, order.side
        held = account.positions[instrument].quantity * side
        wanted = account.open_quantity(instrument, side) + order.quantity
        return held + wanted <= self.limits.position_quantity

    def gross_exposure(self, order: Order) -> bool:
        """All positions together stay within their limit; an order that makes one smaller always passes."""
        if self._account.positions[order.instrument].quantity * order.side < 0:
            return True
        worth = order.quantity * order.price * TICK_USD
        return self._account.gross_exposure_usd() + worth <= self.limits.gross_exposure_usd

    def self_trade(self, order: Order) -> bool:
        """No order of ours is on its way on the other side, so we cannot trade with ourselves."""
        return self._account.open_quantity(order.instrument, -order.side) == 0

    def circuit_breaker(self, order: Order) -> bool:
        """No circuit breaker holds orders back."""
        return not self._breaker()

    def order_rate(self, order: Order) -> bool:
        """Not too many orders left within the last second."""
        now, sent_at = self._clock(), self._sent_at
        while sent_at and now - sent_at[0] > 1.0:
            sent_at.popleft()
        if len(sent_at) >= self.limits.orders_per_second:
            return False
        sent_at.append(now)
        return True

    def loss_limit(self, order: Order) -> bool:
        """We have not lost more than we may."""
        return self._account.profit_usd() > -self.limits.loss_usd


# The order rate comes last: it counts what passes it as sent.
CHECK_NAMES = (
    "bot_running",
    "order_quantity",
    "order_notional",
    "price_band",
    "position_limit",
    "gross_exposure",
    "self_trade",
    "loss_limit",
    "circuit_breaker",
    "order_rate",
)
