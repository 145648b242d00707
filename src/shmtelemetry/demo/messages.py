"""What the exchange and the services send each other: batches of what happened within a couple of milliseconds.

Prices are ticks, quantities are shares, ``instrument`` is an index into
:data:`shmtelemetry.demo.order_flow.INSTRUMENTS`, ``origin`` is the ring clock's time at which the market data message
that caused all this was taken from the feed, and ``time_ns`` when the exchange sent that, in ns since the epoch.
"""

from __future__ import annotations

from typing import NamedTuple

from shmtelemetry.demo.order_flow import Message


class Quote(NamedTuple):
    """The best prices of an instrument and the quantities at them, after they changed."""

    instrument: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int
    origin: int
    time_ns: int

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
    """A quantity of one of our orders that traded, and what the exchange charged for it."""

    order_id: int
    instrument: int
    side: int
    quantity: int
    price: int
    fee_usd: float = 0.0


class Closed(NamedTuple):
    """An order that will not trade any more, and the quantity that never did."""

    order_id: int
    instrument: int
    side: int
    unfilled: int


class FeedBatch(NamedTuple):
    """From the exchange to market data: messages, numbered on from the first one.

    snapshot: they are all orders that rest, to begin with; the number is that of the message that follows.
    """

    number: int
    time_ns: int
    messages: list[Message]
    snapshot: bool = False


class Request(NamedTuple):
    """From the execution engine to the exchange. endpoint: submit, cancel or heartbeat. order_id: to cancel."""

    number: int
    endpoint: str
    order: Order | None = None
    order_id: int = 0


class Reply(NamedTuple):
    """From the exchange to the execution engine: the answer to a request, or with number 0 and unasked what traded.

    status: success or rejected. reason: rate_limit or rejected. remaining: requests that are still taken within the
    present second.
    """

    number: int
    status: str
    reason: str
    remaining: int
    executions: list[Execution]


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
    """The execution engine's answer to exactly one :class:`OrderBatch`, of which so many orders never got to rest or
    trade; with all that traded since the answer before."""

    sequence: int
    refused: int
    executions: list[Execution]
    closed: list[Closed]
