"""The execution engine: sends orders to the exchange, again where that helps, and reports what traded."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from shmtelemetry import Producer, trading
from shmtelemetry.demo.bots import BOT_OF, Bot
from shmtelemetry.demo.exchange import RATE_LIMIT, REJECTED, SUCCESS
from shmtelemetry.demo.messages import Closed, Execution, ExecutionBatch, Order, OrderBatch, Quote
from shmtelemetry.demo.order_book import SIDE_NAMES
from shmtelemetry.demo.order_entry import DISCONNECTED, TIMEOUT, OrderEntry
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.trading import instruments as ready

_STATUSES: Final = ("success", "rejected", "error")
_RETRIED: Final = (RATE_LIMIT, TIMEOUT, DISCONNECTED)
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.005  # before an order is sent again

_RESTING_BATCHES: Final = 25  # how long an order that did not trade at once may rest


class _Venue:
    """Where one instrument is traded, the bot that does it, and its handles."""

    def __init__(self, symbol: str, bot: Bot) -> None:
        self.symbol, self.bot = symbol, bot
        self.mid = 0.0  # ticks
        self.fills = {side: ready.EXECUTION_ENGINE_FILLS.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        filled = ready.EXECUTION_ENGINE_FILLED_SHARES
        self.filled = {side: filled.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.submission = trading.ORDER_SUBMISSION_LATENCY.labels(symbol)
        self.requote = ready.EXECUTION_ENGINE_QUOTE_UPDATE_DURATION.labels(symbol)
        self.expired = ready.EXECUTION_ENGINE_ORDERS_EXPIRED.labels(symbol)
        self.fill_ratio = ready.EXECUTION_ENGINE_ORDER_FILL_RATIO.labels(symbol)
        self.slippage = ready.EXECUTION_ENGINE_SLIPPAGE_RATIO.labels(symbol)


class _OpenOrder:
    """An order of ours that may still trade."""

    __slots__ = ("_sent_ns", "accepted", "left", "order")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = order.quantity
        self.accepted = False  # as far as we know
        self._sent_ns = time.monotonic_ns()

    @property
    def age_ns(self) -> int:
        """Since it was handed to the venue."""
        return time.monotonic_ns() - self._sent_ns


class ExecutionEngine:
    """Sends orders to the exchange. entry: the way there.

    emits, events, trades: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self, entry: OrderEntry) -> None:
        self._entry = entry
        self._venues = [_Venue(instrument.symbol, bot) for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)]
        self._submitted = {status: trading.ORDERS_SUBMITTED.labels(status) for status in _STATUSES}
        self._failures = {reason: trading.API_FAILURES.labels(reason) for reason in (*_RETRIED, REJECTED)}
        self._retries = {reason: ready.EXECUTION_ENGINE_ORDER_RETRIES.labels(reason) for reason in _RETRIED}
        self._given_up = {reason: ready.EXECUTION_ENGINE_ORDERS_GIVEN_UP.labels(reason) for reason in _RETRIED}
        self._open: dict[int, _OpenOrder] = {}
        self._expiries: deque[tuple[int, int]] = deque()  # batch after which an order ends, order number
        self._executions: list[Execution] = []
        self._closed: list[Closed] = []
        never = (*self._submitted.values(), *self._failures.values(), *self._retries.values(),
                 *self._given_up.values())  # fmt: skip
        for handle in never:
            handle.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = len(never)
        self.events = self.trades = 0

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.ORDERS, self.events), (trading.TRADES, self.trades)]

    def handle(self, batch: OrderBatch) -> ExecutionBatch:
        """Works through one batch of orders."""
        start = ready.EXECUTION_ENGINE_BATCH_DURATION.start()
        self._executions, self._closed = [], []
        for quote in batch.quotes:
            self._requote(quote)
        self._entry.look()
        self._take_executions()
        self._expire(batch.sequence)
        refused = self._submit_all(batch.orders, batch.sequence)
        ready.EXECUTION_ENGINE_OPEN_ORDERS.emit(len(self._open))
        ready.EXECUTION_ENGINE_BATCH_DURATION.stop(start)
        self.emits += 2
        return ExecutionBatch(batch.sequence, refused, self._executions, self._closed)

    def _requote(self, quote: Quote) -> None:
        venue = self._venues[quote.instrument]
        start = venue.requote.start()
        venue.mid = quote.mid
        venue.requote.stop(start)
        self.emits += 1

    def _submit_all(self, orders: list[Order], sequence: int) -> int:
        """Returns how many the exchange did not take."""
        left, refused = orders, 0
        for attempt in range(_ATTEMPTS):
            if not left:
                break
            last = attempt == _ATTEMPTS - 1
            again = []
            for order, outcome in zip(left, self._attempt(left), strict=True):
                if outcome == SUCCESS:
                    self._accepted(order, sequence)
                    continue
                self._failures[outcome].emit(1.0)
                self.emits += 1
                if outcome in _RETRIED and not last:
                    self._retries[outcome].emit(1.0)
                    self.emits += 1
                    again.append(order)
                else:
                    self._refused(order, outcome)
                    refused += 1
            self._take_executions()
            left = again
            if left:
                time.sleep(_PAUSE_SECONDS)
        return refused

    def _attempt(self, orders: list[Order]) -> list[str]:
        ready.EXECUTION_ENGINE_ORDERS_IN_FLIGHT.emit(len(orders))
        for order in orders:
            if order.order_id not in self._open:
                self._open[order.order_id] = _OpenOrder(order)
        starts = [self._venues[order.instrument].submission.start() for order in orders]
        outcomes = self._entry.submit(orders)
        for order, start in zip(orders, starts, strict=True):
            self._venues[order.instrument].submission.stop(start)
        ready.EXECUTION_ENGINE_ORDERS_IN_FLIGHT.emit(0.0)
        self.emits += 2 + len(orders)
        return outcomes

    def _accepted(self, order: Order, sequence: int) -> None:
        ready.EXECUTION_ENGINE_TICK_TO_TRADE.stop(order.origin)
        self._submitted[SUCCESS].emit(1.0)
        self.emits += 2
        open_order = self._open[order.order_id]
        self._record(open_order, "accepted")
        open_order.accepted = True
        self._expiries.append((sequence + (0 if order.immediate else _RESTING_BATCHES), order.order_id))

    def _refused(self, order: Order, outcome: str) -> None:
        self._submitted["rejected" if outcome in (REJECTED, RATE_LIMIT) else "error"].emit(1.0)
        self.emits += 1
        if outcome in _RETRIED:
            self._given_up[outcome].emit(1.0)
            self.emits += 1
        self._record(self._open.pop(order.order_id), "rejected")
        self._closed.append(Closed(order.order_id, order.instrument, order.side, order.quantity))

    def _expire(self, sequence: int) -> None:
        due = []
        while self._expiries and self._expiries[0][0] < sequence:
            order_id = self._expiries.popleft()[1]
            if order_id in self._open:
                due.append(order_id)
        resting = [order_id for order_id in due if not self._open[order_id].order.immediate]
        outcomes = self._entry.cancel(resting)
        self._take_executions()  # what traded before it was cancelled
        gone = {order_id for order_id, outcome in zip(resting, outcomes, strict=True) if outcome != SUCCESS}
        for order_id in due:
            if order_id in gone:
                self._expiries.append((sequence + _RESTING_BATCHES, order_id))  # asked again later
            elif order_id in self._open:
                self._close(order_id)

    def _take_executions(self) -> None:
        for execution in self._entry.take_executions():
            self._executions.append(execution)
            open_order = self._open.get(execution.order_id)
            if open_order is not None:
                self._execute(open_order, execution)

    def _execute(self, open_order: _OpenOrder, execution: Execution) -> None:
        order = open_order.order
        venue = self._venues[order.instrument]
        open_order.left -= execution.quantity
        self._record_trade(open_order, execution)
        venue.fills[order.side].emit(1.0)
        venue.filled[order.side].emit(execution.quantity)
        venue.slippage.emit(order.side * (execution.price - venue.mid) / venue.mid)
        ready.EXECUTION_ENGINE_FEES_USD.emit(execution.fee_usd)
        self.emits += 4
        if open_order.left == 0 and open_order.accepted:
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

    def _record_trade(self, open_order: _OpenOrder, fill: Execution) -> None:
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
