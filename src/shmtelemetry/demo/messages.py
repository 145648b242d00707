"""What the services send each other: one batch of everything that happened within a couple of milliseconds.

Prices are ticks, quantities are shares, ``instrument`` is an index into
:data:`shmtelemetry.demo.order_flow.INSTRUMENTS`, and ``origin`` is the ring clock's time at which the market
data message that caused all this was taken from the feed.
"""

from __future__ import annotations

from typing import NamedTuple


class Quote(NamedTuple):
    """The best prices of an instrument and the quantities at them, after they changed."""

    instrument: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int
    origin: int

    @property
    def mid(self) -> float:
        """The price half-way between bid and ask, in ticks."""
        return (self.bid + self.ask) / 2


class Trade(NamedTuple):
    """A trade on the market, with the side of the order that caused it."""

    instrument: int
    side: int
    quantity: int
    price: int


class Signal(NamedTuple):
    """A wish to buy or sell, between 0 (indifferent) and 1 (certain) strong."""

    instrument: int
    side: int
    strength: float
    origin: int


class Order(NamedTuple):
    """A checked order. An immediate one trades at once or expires; another one rests for a while."""

    order_id: int
    instrument: int
    side: int
    quantity: int
    price: int
    immediate: bool
    origin: int


class Execution(NamedTuple):
    """A quantity of one of our orders that traded."""

    order_id: int
    instrument: int
    side: int
    quantity: int
    price: int


class Closed(NamedTuple):
    """An order that will not trade any more, and the quantity that never did."""

    order_id: int
    instrument: int
    side: int
    unfilled: int


class MarketBatch(NamedTuple):
    """From market data to the signal bridge: everything, in the order it happened."""

    sequence: int
    quotes: list[Quote]
    trades: list[Trade]


class SignalBatch(NamedTuple):
    """From the signal bridge to the risk manager: the newest quote of each instrument that has a new one."""

    sequence: int
    quotes: list[Quote]
    signals: list[Signal]


class OrderBatch(NamedTuple):
    """From the risk manager to the execution engine."""

    sequence: int
    quotes: list[Quote]
    orders: list[Order]


class ExecutionBatch(NamedTuple):
    """The execution engine's answer to exactly one :class:`OrderBatch`, of which the venue refused so many orders."""

    sequence: int
    refused: int
    executions: list[Execution]
    closed: list[Closed]
