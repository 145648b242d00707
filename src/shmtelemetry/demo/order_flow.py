"""A seeded stream of orders for a few instruments.

The shape is that of the zero-intelligence models of Smith, Farmer, Gillemot and Krishnamurthy, "Statistical
theory of the continuous double auction" (Quantitative Finance 3, 2003): limit orders, market orders and
cancellations arrive at random around a price that wanders. Random numbers decide what is ordered, and nothing
else.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shmtelemetry.demo.order_book import BUY, SELL

TICK_USD: Final = 0.01

LIMIT: Final = 0
MARKET: Final = 1
CANCEL: Final = 2
KIND_NAMES: Final = ("limit", "market", "cancel")  # indexed by the three above


class Instrument(NamedTuple):
    """What is traded, and the price it starts from, in ticks."""

    symbol: str
    opening_price: int


INSTRUMENTS: Final = (
    Instrument("AAPL", 23_150),
    Instrument("AMD", 16_420),
    Instrument("AMZN", 21_890),
    Instrument("GOOG", 19_275),
    Instrument("META", 61_240),
    Instrument("MSFT", 43_060),
    Instrument("NVDA", 14_180),
    Instrument("TSLA", 25_705),
)


class Message(NamedTuple):
    """One message of the feed; of a cancellation, ``side``, ``quantity`` and ``price`` are 0."""

    kind: int  # LIMIT, MARKET or CANCEL
    instrument: int  # index into the instruments
    order_id: int
    side: int  # BUY or SELL
    quantity: int  # units
    price: int  # ticks; 0 for a market order


# Probabilities of what comes next for an instrument whose book is neither thin nor full.
_LIMIT_SHARE: Final = 0.50
_MARKET_SHARE: Final = 0.08

# Orders of one instrument that were sent and not cancelled. The book holds at most as many: some traded.
_FEWEST_ORDERS: Final = 40
_MOST_ORDERS: Final = 240

_MEAN_DISTANCE: Final = 3.0  # ticks of a limit order from the fair price, exponentially distributed
_DRIFT: Final = 0.15  # ticks of the fair price a message, standard deviation


class _Market:
    """What the flow knows of one instrument: a fair price, and the orders it may still cancel."""

    __slots__ = ("fair", "opening", "orders")

    def __init__(self, opening: int) -> None:
        self.opening = float(opening)
        self.fair = float(opening)
        self.orders: list[int] = []


@dataclass
class Mood:
    """What traders are like at present.

    largest_quantity: units of one order. spread_ratio: distance that limit orders keep from the fair price, by it.
    shift_ratio: by instrument, how far from its opening price the fair price is drawn to, by that.
    pull: share of that way in one message.
    """

    largest_quantity: int = 400
    spread_ratio: float = 0.0
    shift_ratio: Mapping[int, float] = field(default_factory=dict)
    pull: float = 2e-5


class OrderFlow:
    """An endless order flow: equal seeds and instruments give equal messages.

    seed: any integer.
    instruments: what is traded; a message names one by its index here.
    """

    def __init__(self, seed: int, instruments: Sequence[Instrument] = INSTRUMENTS) -> None:
        self.mood = Mood()
        self._random = random.Random(seed)
        self._markets = [_Market(instrument.opening_price) for instrument in instruments]
        self._last_id = 0

    def take(self, count: int) -> list[Message]:
        """The next ``count`` messages."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Message:
        draw = self._random.random
        instrument = int(draw() * len(self._markets))
        market = self._markets[instrument]
        mood = self.mood
        home = market.opening * (1.0 + mood.shift_ratio.get(instrument, 0.0))  # so that prices do not run away
        market.fair += _DRIFT * self._random.gauss(0.0, 1.0) + mood.pull * (home - market.fair)
        kind = self._kind(len(market.orders))
        if kind == CANCEL:
            return Message(CANCEL, instrument, self._forget_one(market.orders), 0, 0, 0)
        self._last_id += 1
        side = BUY if draw() < 0.5 else SELL
        quantity = 1 + int(draw() * draw() * mood.largest_quantity)
        if kind == MARKET:
            return Message(MARKET, instrument, self._last_id, side, quantity, 0)
        market.orders.append(self._last_id)
        return Message(LIMIT, instrument, self._last_id, side, quantity, self._limit_price(market.fair, side))

    def _kind(self, orders: int) -> int:
        if orders < _FEWEST_ORDERS:
            return LIMIT
        if orders >= _MOST_ORDERS:
            return CANCEL
        draw = self._random.random()
        if draw < _LIMIT_SHARE:
            return LIMIT
        return MARKET if draw < _LIMIT_SHARE + _MARKET_SHARE else CANCEL

    def _forget_one(self, orders: list[int]) -> int:
        # The last takes the place of the one that goes, so a list of any length costs the same.
        place = int(self._random.random() * len(orders))
        orders[place], orders[-1] = orders[-1], orders[place]
        return orders.pop()

    def _limit_price(self, fair: float, side: int) -> int:
        distance = self._random.expovariate(1.0 / _MEAN_DISTANCE)
        return max(1, round(fair - side * (distance + 0.5 + self.mood.spread_ratio * fair)))
