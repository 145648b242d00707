"""A limit order book with price-time priority.

Prices are whole ticks and quantities whole units, so nothing is ever rounded. Adding and matching an order
costs O(log n) of the number of price levels, cancelling one O(1), both amortised.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

BUY: Final = 1
SELL: Final = -1
SIDE_NAMES: Final = {BUY: "buy", SELL: "sell"}

# A heap keeps the prices of emptied levels until they surface. It is rebuilt when it holds more than this and
# twice the living levels.
_STALE_PRICES_KEPT: Final = 16


class Fill(NamedTuple):
    """One trade: a quantity of a resting order (the maker) bought or sold by an incoming one (the taker)."""

    maker_id: int
    taker_id: int
    price: int
    quantity: int


class _Level:
    """The orders resting at one price."""

    __slots__ = ("orders", "quantity")

    def __init__(self) -> None:
        self.orders: OrderedDict[int, int] = OrderedDict()  # order id → quantity left, oldest first
        self.quantity = 0


class _Half:
    """All levels of one side, and a heap that knows the best of them."""

    __slots__ = ("_heap", "_sign", "levels", "quantity")

    def __init__(self, side: int) -> None:
        self.levels: dict[int, _Level] = {}
        self.quantity = 0
        self._sign = -side  # the heap yields its smallest: the highest bid, the lowest ask
        self._heap: list[int] = []

    def best(self) -> int | None:
        heap, levels = self._heap, self.levels
        while heap:
            price = heap[0] * self._sign
            if price in levels:
                return price
            heappop(heap)
        return None

    def add(self, order_id: int, price: int, quantity: int) -> None:
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = _Level()
            heappush(self._heap, price * self._sign)
        level.orders[order_id] = quantity
        level.quantity += quantity
        self.quantity += quantity

    def remove(self, order_id: int, price: int) -> int:
        """Takes a whole order out and returns what was left of it."""
        level = self.levels[price]
        quantity = level.orders.pop(order_id)
        level.quantity -= quantity
        self.quantity -= quantity
        if not level.orders:
            self.drop_level(price)
        return quantity

    def drop_level(self, price: int) -> None:
        del self.levels[price]
        if len(self._heap) > 2 * len(self.levels) + _STALE_PRICES_KEPT:
            self._heap = [living * self._sign for living in self.levels]
            heapify(self._heap)


class OrderBook:
    """Resting orders of one instrument; the best price trades first, and within a price the oldest order."""

    def __init__(self) -> None:
        self._bids = _Half(BUY)
        self._asks = _Half(SELL)
        self._resting: dict[int, tuple[_Half, int]] = {}  # order id → where it rests, and at which price

    def __len__(self) -> int:
        """How many orders rest in the book."""
        return len(self._resting)

    def __contains__(self, order_id: object) -> bool:
        """Whether the order rests in the book."""
        return order_id in self._resting

    @property
    def best_bid(self) -> int | None:
        """The highest price somebody buys at, in ticks; None if nobody does."""
        return self._bids.best()

    @property
    def best_ask(self) -> int | None:
        """The lowest price somebody sells at, in ticks; None if nobody does."""
        return self._asks.best()

    def quantity_at(self, side: int, price: int) -> int:
        """The quantity that rests on ``side`` (BUY or SELL) at ``price``, in units; 0 if none does."""
        level = self._half(side).levels.get(price)
        return 0 if level is None else level.quantity

    def level_count(self, side: int) -> int:
        """The number of prices at which orders rest on ``side``."""
        return len(self._half(side).levels)

    def open_quantity(self, side: int) -> int:
        """The quantity that rests on ``side`` at all prices, in units."""
        return self._half(side).quantity

    def orders(self) -> Iterator[tuple[int, int, int, int]]:
        """(order id, side, quantity, price) of all that rests; within a price the oldest first."""
        for side, half in ((BUY, self._bids), (SELL, self._asks)):
            for price, level in half.levels.items():
                for order_id, quantity in level.orders.items():
                    yield order_id, side, quantity, price

    def submit(
        self, order_id: int, side: int, quantity: int, price: int | None = None, immediate: bool = False
    ) -> list[Fill]:
        """Matches an order, lets what is left of a limit order rest, and returns the fills, first one first.

        order_id: any integer that no resting order has.
        side: BUY or SELL.
        quantity: in units, at least 1.
        price: the limit in ticks; None is a market order, of which nothing ever rests.
        immediate: what is left of a limit order expires instead of resting.

        Raises ValueError, before anything changes, for an id that rests already, an unknown side or a
        quantity below 1.
        """
        if quantity < 1:
            raise ValueError(f"quantity must be at least 1, got {quantity}")
        if order_id in self._resting:
            raise ValueError(f"order {order_id} rests in the book already: cancel it first, or use a new id")
        own, opposite = self._half(side), self._half(-side)
        fills: list[Fill] = []
        left = quantity
        while left:
            best = opposite.best()
            if best is None or (price is not None and (best - price) * side > 0):
                break
            left = self._take(opposite, best, order_id, left, fills)
        if left and price is not None and not immediate:
            own.add(order_id, price, left)
            self._resting[order_id] = (own, price)
        return fills

    def cancel(self, order_id: int) -> int:
        """Takes an order out and returns the quantity that was left of it; 0 if it does not rest."""
        place = self._resting.pop(order_id, None)
        return 0 if place is None else place[0].remove(order_id, place[1])

    def _half(self, side: int) -> _Half:
        if side == BUY:
            return self._bids
        if side == SELL:
            return self._asks
        raise ValueError(f"side must be BUY ({BUY}) or SELL ({SELL}), got {side!r}")

    def _take(self, half: _Half, price: int, taker_id: int, wanted: int, fills: list[Fill]) -> int:
        """Fills up to ``wanted`` from one level, oldest first, and returns what is still wanted."""
        level = half.levels[price]
        orders = level.orders
        left = wanted
        while left and orders:
            maker_id, resting = next(iter(orders.items()))
            if resting > left:
                traded = left
                orders[maker_id] = resting - left  # keeps its place in the queue
            else:
                traded = resting
                del orders[maker_id], self._resting[maker_id]
            fills.append(Fill(maker_id, taker_id, price, traded))
            left -= traded
        level.quantity -= wanted - left
        half.quantity -= wanted - left
        if not orders:
            half.drop_level(price)
        return left
