"""The exchange: matches a generated order flow and our orders in its books, and tells what it did.

Our orders have the numbers that we gave them, negative in the feed, where all others are positive.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from shmtelemetry.demo.messages import Execution, Order
from shmtelemetry.demo.order_book import BUY, SELL, Fill, OrderBook
from shmtelemetry.demo.order_flow import CANCEL, INSTRUMENTS, LIMIT, Message, OrderFlow

SUCCESS: Final = "success"
REJECTED: Final = "rejected"
RATE_LIMIT: Final = "rate_limit"

_FEE_USD: Final = 0.003  # a share
_LARGEST_ORDER: Final = 10_000  # shares
_FARTHEST: Final = 0.5  # of an order's price from the best one, by it
_REMEMBERED: Final = 4096  # numbers of orders, so that one that is sent again does not trade again


class Exchange:
    """The books of all instruments.

    positions: shares that our orders have come to, by instrument.
    """

    def __init__(self, flow: OrderFlow) -> None:
        self.flow = flow
        self.positions = [0 for _ in INSTRUMENTS]
        self._books = [OrderBook() for _ in INSTRUMENTS]
        self._ours: dict[int, Order] = {}  # that rest
        self._known: OrderedDict[int, None] = OrderedDict()
        self._published: list[Message] = []
        self._executions: list[Execution] = []

    def advance(self, count: int) -> None:
        """The next messages of the flow happen."""
        for message in self.flow.take(count):
            book = self._books[message.instrument]
            if message.kind == CANCEL:
                book.cancel(message.order_id)
            else:
                price = message.price if message.kind == LIMIT else None
                self._report(book.submit(message.order_id, message.side, message.quantity, price), message.instrument)
            self._published.append(message)

    def submit(self, order: Order) -> str:
        """SUCCESS, or REJECTED for an order that cannot be. One that came before changes nothing."""
        if order.order_id in self._known:
            return SUCCESS
        if not self._can_be(order):
            return REJECTED
        self._known[order.order_id] = None
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        self._ours[order.order_id] = order
        book, number = self._books[order.instrument], -order.order_id
        fills = book.submit(number, order.side, order.quantity, order.price, order.immediate)
        self._published.append(Message(LIMIT, order.instrument, number, order.side, order.quantity, order.price))
        self._report(fills, order.instrument)
        if number not in book:
            self._ours.pop(order.order_id, None)
            if order.immediate and sum(fill.quantity for fill in fills) < order.quantity:
                self._published.append(Message(CANCEL, order.instrument, number, 0, 0, 0))
        return SUCCESS

    def cancel(self, order_id: int) -> None:
        """Take an order of ours out, if it still rests."""
        order = self._ours.pop(order_id, None)
        if order is not None:
            self._books[order.instrument].cancel(-order_id)
            self._published.append(Message(CANCEL, order.instrument, -order_id, 0, 0, 0))

    def resting(self) -> list[Message]:
        """All orders in the books, as they would have to be entered."""
        return [
            Message(LIMIT, instrument, number, side, quantity, price)
            for instrument, book in enumerate(self._books)
            for number, side, quantity, price in book.orders()
        ]

    def take_published(self) -> list[Message]:
        """All that happened since the last call, in order."""
        published, self._published = self._published, []
        return published

    def take_executions(self) -> list[Execution]:
        """What traded of our orders since the last call."""
        executions, self._executions = self._executions, []
        return executions

    def _can_be(self, order: Order) -> bool:
        if not 0 <= order.instrument < len(self._books) or order.side not in (BUY, SELL) or order.order_id < 1:
            return False
        book = self._books[order.instrument]
        best = book.best_ask if order.side == BUY else book.best_bid
        near = best is None or abs(order.price - best) <= _FARTHEST * best
        return near and order.price > 0 and 0 < order.quantity <= _LARGEST_ORDER

    def _report(self, fills: list[Fill], instrument: int) -> None:
        for fill in fills:
            for number in (fill.maker_id, fill.taker_id):
                if number < 0:
                    self._execute(self._ours[-number], fill, instrument)

    def _execute(self, order: Order, fill: Fill, instrument: int) -> None:
        self.positions[instrument] += order.side * fill.quantity
        fee = _FEE_USD * fill.quantity
        self._executions.append(Execution(order.order_id, instrument, order.side, fill.quantity, fill.price, fee))
        if -order.order_id == fill.maker_id and -order.order_id not in self._books[instrument]:
            self._ours.pop(order.order_id, None)


class RateLimit:
    """So many requests in each second. clock: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._second = self._taken = 0

    def remaining(self, limit: int) -> int:
        """Requests that are still taken in the present second."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        return max(0, limit - self._taken)

    def take(self, limit: int) -> bool:
        """Whether one more is taken."""
        if not self.remaining(limit):
            return False
        self._taken += 1
        return True
