"""The execution engine: sends orders to a simulated venue, one book an instrument, and reports what traded.

The venue's book holds the market's best prices, replaced whenever they change, and our own resting orders.
Ours have positive numbers, the market's negative ones.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Final

from shmtelemetry import Telemetry
from shmtelemetry.demo.messages import Closed, Execution, ExecutionBatch, Order, OrderBatch, Quote
from shmtelemetry.demo.order_book import BUY, SELL, Fill, OrderBook
from shmtelemetry.demo.order_flow import INSTRUMENTS

_PER_SYMBOL = ("symbol",)
_PER_SIDE = ("symbol", "side")

_RESTING_BATCHES: Final = 25  # how long an order that did not trade at once may rest
_VENUE_ORDERS_PER_BATCH: Final = 3  # the venue refuses more

_SLIPPAGES: Final = (-1e-4, -5e-5, -2e-5, -1e-5, 0.0, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4)


class _Metrics:
    """The metrics of the service; a :class:`_Venue` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.submission = tel.histogram(
            "execution_engine_order_submission_latency_us",
            "Time from handing an order to the venue until it answered.",
            labels=_PER_SYMBOL,
            unit="us",
        )
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
        self.submitted = tel.counter(
            "execution_engine_orders_submitted_total", "Orders, by the venue's answer.", labels=("status",)
        )
        self.api_failures = tel.counter(
            "execution_engine_api_failures_total", "Orders the venue refused, and why.", labels=("reason",)
        )


class _Venue:
    """The venue's book of one instrument, and its handles."""

    def __init__(self, metrics: _Metrics, symbol: str) -> None:
        self.book = OrderBook()
        self.mid = 0.0
        self.market_orders: tuple[int, ...] = ()  # the numbers of the market's orders in the book
        sides = ((BUY, "buy"), (SELL, "sell"))
        self.fills = {side: metrics.fills.labels(symbol, name) for side, name in sides}
        self.filled = {side: metrics.filled.labels(symbol, name) for side, name in sides}
        self.submission = metrics.submission.labels(symbol)
        self.requote = metrics.requote.labels(symbol)
        self.expired = metrics.expired.labels(symbol)
        self.fill_ratio = metrics.fill_ratio.labels(symbol)
        self.slippage = metrics.slippage.labels(symbol)


class _OpenOrder:
    """An order of ours that may still trade."""

    __slots__ = ("left", "order")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.quantity


class ExecutionEngine:
    """Sends orders to the venue.

    emits: how many records this service emitted, counted apart from the producer's own counters.
    """

    def __init__(self, tel: Telemetry) -> None:
        metrics = _Metrics(tel)
        self._venues = [_Venue(metrics, instrument.symbol) for instrument in INSTRUMENTS]
        self._tick_to_trade = metrics.tick_to_trade
        self._success = metrics.submitted.labels("success")
        self._rejected = metrics.submitted.labels("rejected")
        self._rate_limited = metrics.api_failures.labels("rate_limit")
        self._open_orders = tel.gauge("execution_engine_open_orders", "Orders resting at the venue.")
        self._batch = tel.histogram("execution_engine_batch_duration_seconds", "Time to work through one batch.")
        self._market_ids = count(-1, -1)
        self._open: dict[int, _OpenOrder] = {}
        self._expiries: deque[tuple[int, int]] = deque()  # batch after which an order ends, order number
        self._executions: list[Execution] = []
        self._closed: list[Closed] = []
        self._rate_limited.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = 1

    def handle(self, batch: OrderBatch) -> ExecutionBatch:
        """Works through one batch of orders."""
        start = self._batch.start()
        self._executions, self._closed = [], []
        for quote in batch.quotes:
            self._requote(quote)
        self._expire(batch.sequence)
        for place, order in enumerate(batch.orders):
            if place < _VENUE_ORDERS_PER_BATCH:
                self._submit(order, batch.sequence)
            else:
                self._refuse(order)
        self._open_orders.emit(len(self._open))
        self._batch.stop(start)
        self.emits += 2
        return ExecutionBatch(batch.sequence, self._executions, self._closed)

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
        self._open[order.order_id] = _OpenOrder(order)
        start = venue.submission.start()
        fills = venue.book.submit(order.order_id, order.side, order.quantity, order.price, order.immediate)
        venue.submission.stop(start)
        self._tick_to_trade.stop(order.origin)
        self._success.emit(1.0)
        self.emits += 3
        self._report(fills)
        if order.order_id in venue.book:
            self._expiries.append((sequence + _RESTING_BATCHES, order.order_id))
        elif order.order_id in self._open:
            self._close(order.order_id)

    def _refuse(self, order: Order) -> None:
        self._rejected.emit(1.0)
        self._rate_limited.emit(1.0)
        self.emits += 2
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
        if open_order.left:
            venue.expired.emit(1.0)
            self.emits += 1
        self._closed.append(Closed(order.order_id, order.instrument, order.side, open_order.left))
