"""The execution engine: sends orders to a simulated venue, one book an instrument, and reports what traded.

The venue's book holds the market's best prices, replaced whenever they change, and our own resting orders.
Ours have positive numbers, the market's negative ones.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from typing import Final

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.demo.bots import BOT_OF, Bot
from shmtelemetry.demo.messages import Closed, Execution, ExecutionBatch, Order, OrderBatch, Quote
from shmtelemetry.demo.order_book import BUY, SELL, SIDE_NAMES, Fill, OrderBook
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.demo.order_link import VENUE_ORDERS_PER_BATCH

_PER_SYMBOL = ("symbol",)
_PER_SIDE = ("symbol", "side")

_RESTING_BATCHES: Final = 25  # how long an order that did not trade at once may rest

_SLIPPAGES: Final = (-1e-4, -5e-5, -2e-5, -1e-5, 0.0, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4)


class _Metrics:
    """The metrics of the service; a :class:`_Venue` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.tick_to_trade = tel.histogram(
            "execution_engine_tick_to_trade_seconds",
            "Time from the market data message that caused an order until the venue answered.",
        )
        self.requote = tel.histogram(
            "execution_engine_quote_update_duration_seconds",
            "Time to replace the market's quote in the venue's book.",
            labels=_PER_SYMBOL,
        )
        self.fills = tel.counter("execution_engine_fills_total", "Fills of our orders.", labels=_PER_SIDE)
        self.filled = tel.counter("execution_engine_filled_shares_total", "Shares filled.", labels=_PER_SIDE)
        self.expired = tel.counter(
            "execution_engine_orders_expired_total",
            "Orders that ended with a rest unfilled.",
            labels=_PER_SYMBOL,
        )
        self.fill_ratio = tel.histogram(
            "execution_engine_order_fill_ratio",
            "Share of an order's quantity that traded.",
            labels=_PER_SYMBOL,
            buckets=(0.0, 0.25, 0.5, 0.75, 1.0),
        )
        self.slippage = tel.histogram(
            "execution_engine_slippage_ratio",
            "Fill price against the middle of the market, by it; positive is worse for us.",
            labels=_PER_SYMBOL,
            buckets=_SLIPPAGES,
        )


class _Venue:
    """The venue's book of one instrument, the bot that trades there, and its handles."""

    def __init__(self, metrics: _Metrics, symbol: str, bot: Bot) -> None:
        self.symbol, self.bot = symbol, bot
        self.book = OrderBook()
        self.mid = 0.0
        self.market_orders: tuple[int, ...] = ()  # the numbers of the market's orders in the book
        self.fills = {side: metrics.fills.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.filled = {side: metrics.filled.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.submission = trading.ORDER_SUBMISSION_LATENCY.labels(symbol)
        self.requote = metrics.requote.labels(symbol)
        self.expired = metrics.expired.labels(symbol)
        self.fill_ratio = metrics.fill_ratio.labels(symbol)
        self.slippage = metrics.slippage.labels(symbol)


class _OpenOrder:
    """An order of ours that may still trade."""

    __slots__ = ("_sent_ns", "left", "order")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.quantity
        self._sent_ns = time.monotonic_ns()

    @property
    def age_ns(self) -> int:
        """Since it was handed to the venue."""
        return time.monotonic_ns() - self._sent_ns


class ExecutionEngine:
    """Sends orders to the venue.

    emits, events, trades: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self, tel: Telemetry) -> None:
        metrics = _Metrics(tel)
        self._venues = [
            _Venue(metrics, instrument.symbol, bot) for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)
        ]
        self._tick_to_trade = metrics.tick_to_trade
        self._success = trading.ORDERS_SUBMITTED.labels("success")
        self._rejected = trading.ORDERS_SUBMITTED.labels("rejected")
        self._rate_limited = trading.API_FAILURES.labels("rate_limit")
        self._open_orders = tel.gauge("execution_engine_open_orders", "Orders resting at the venue.")
        self._batch = tel.histogram("execution_engine_batch_duration_seconds", "Time to work through one batch.")
        self._market_ids = count(-1, -1)
        self._open: dict[int, _OpenOrder] = {}
        self._expiries: deque[tuple[int, int]] = deque()  # batch after which an order ends, order number
        self._executions: list[Execution] = []
        self._closed: list[Closed] = []
        self._rate_limited.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = 1
        self.events = self.trades = 0

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.ORDERS, self.events), (trading.TRADES, self.trades)]

    def handle(self, batch: OrderBatch) -> ExecutionBatch:
        """Works through one batch of orders."""
        start = self._batch.start()
        self._executions, self._closed = [], []
        for quote in batch.quotes:
            self._requote(quote)
        self._expire(batch.sequence)
        for place, order in enumerate(batch.orders):
            if place < VENUE_ORDERS_PER_BATCH:
                self._submit(order, batch.sequence)
            else:
                self._refuse(order)
        self._open_orders.emit(len(self._open))
        self._batch.stop(start)
        self.emits += 2
        refused = max(0, len(batch.orders) - VENUE_ORDERS_PER_BATCH)
        return ExecutionBatch(batch.sequence, refused, self._executions, self._closed)

    def _requote(self, quote: Quote) -> None:
        """Replaces the market's orders; a new one may trade with an order of ours that rests."""
        venue = self._venues[quote.instrument]
        start = venue.requote.start()
        book = venue.book
        for order_id in venue.market_orders:
            book.cancel(order_id)
        bid_id, ask_id = next(self._market_ids), next(self._market_ids)
        fills = book.submit(bid_id, BUY, quote.bid_quantity, quote.bid)
        fills += book.submit(ask_id, SELL, quote.ask_quantity, quote.ask)
        venue.market_orders = (bid_id, ask_id)
        venue.mid = quote.mid
        venue.requote.stop(start)
        self.emits += 1
        self._report(fills)

    def _submit(self, order: Order, sequence: int) -> None:
        venue = self._venues[order.instrument]
        open_order = self._open[order.order_id] = _OpenOrder(order)
        start = venue.submission.start()
        fills = venue.book.submit(order.order_id, order.side, order.quantity, order.price, order.immediate)
        venue.submission.stop(start)
        self._tick_to_trade.stop(order.origin)
        self._success.emit(1.0)
        self.emits += 3
        self._record(open_order, "accepted")
        self._report(fills)
        if order.order_id in venue.book:
            self._expiries.append((sequence + _RESTING_BATCHES, order.order_id))
        elif order.order_id in self._open:
            self._close(order.order_id)

    def _refuse(self, order: Order) -> None:
        self._rejected.emit(1.0)
        self._rate_limited.emit(1.0)
        self.emits += 2
        self._record(_OpenOrder(order), "rejected")
        self._closed.append(Closed(order.order_id, order.instrument, order.side, order.quantity))

    def _expire(self, sequence: int) -> None:
        while self._expiries and self._expiries[0][0] <= sequence:
            order_id = self._expiries.popleft()[1]
            if order_id in self._open:
                self._venues[self._open[order_id].order.instrument].book.cancel(order_id)
                self._close(order_id)

    def _report(self, fills: list[Fill]) -> None:
        for fill in fills:
            for order_id in (fill.maker_id, fill.taker_id):
                if order_id in self._open:
                    self._execute(self._open[order_id], fill)

    def _execute(self, open_order: _OpenOrder, fill: Fill) -> None:
        order = open_order.order
        venue = self._venues[order.instrument]
        open_order.left -= fill.quantity
        self._record_trade(open_order, fill)
        venue.fills[order.side].emit(1.0)
        venue.filled[order.side].emit(fill.quantity)
        venue.slippage.emit(order.side * (fill.price - venue.mid) / venue.mid)
        self.emits += 3
        self._executions.append(Execution(order.order_id, order.instrument, order.side, fill.quantity, fill.price))
        if open_order.left == 0:
            self._close(order.order_id)

    def _close(self, order_id: int) -> None:
        """An order ends, whether it traded or not."""
        open_order = self._open.pop(order_id)
        order = open_order.order
        venue = self._venues[order.instrument]
        venue.fill_ratio.emit(1.0 - open_order.left / order.quantity)
        self.emits += 1
        self._record(open_order, "expired" if open_order.left else "filled")
        if open_order.left:
            venue.expired.emit(1.0)
            self.emits += 1
        self._closed.append(Closed(order.order_id, order.instrument, order.side, open_order.left))

    def _record(self, open_order: _OpenOrder, status: str) -> None:
        """An order has this status now."""
        order = open_order.order
        venue = self._venues[order.instrument]
        trading.record_order(
            venue.bot.bot_id,
            venue.symbol,
            SIDE_NAMES[order.side],
            status,
            order_id=order.order_id,
            quantity=order.quantity,
            price=order.price * TICK_USD,
            filled=order.quantity - open_order.left,
            order_type="immediate" if order.immediate else "limit",
            strategy=venue.bot.strategy,
            latency_ns=open_order.age_ns,
        )
        self.emits += 1
        self.events += 1

    def _record_trade(self, open_order: _OpenOrder, fill: Fill) -> None:
        order = open_order.order
        venue = self._venues[order.instrument]
        self.trades += 1
        trading.record_trade(
            venue.bot.bot_id,
            venue.symbol,
            SIDE_NAMES[order.side],
            "partially_filled" if open_order.left else "filled",
            quantity=fill.quantity,
            price=fill.price * TICK_USD,
            trade_id=self.trades,
            order_id=order.order_id,
            strategy=venue.bot.strategy,
            reference_price=venue.mid * TICK_USD,
            latency_ns=open_order.age_ns,
        )
        self.emits += 1
