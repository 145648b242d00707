"""The risk manager: turns signals into orders, checks each, and keeps positions and profit."""

from __future__ import annotations

import math
from typing import Final

from shmtelemetry import Telemetry
from shmtelemetry.demo.messages import (
    Execution,
    ExecutionBatch,
    Order,
    OrderBatch,
    Quote,
    Signal,
    SignalBatch,
)
from shmtelemetry.demo.order_book import BUY, SELL
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.demo.risk_checks import CHECK_NAMES, Account, Checks, Limits

_PER_SYMBOL = ("symbol",)
_PER_SIDE = ("symbol", "side")

_LOT: Final = 25  # shares; orders are whole lots
_LOTS_AT_FULL_STRENGTH: Final = 10
_IMMEDIATE_STRENGTH: Final = 0.7  # from here a signal is worth paying the spread for


class _Metrics:
    """The metrics of the service; a :class:`_Desk` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.signals = tel.counter("risk_manager_signals_total", "Signals taken from the bridge.", labels=_PER_SIDE)
        self.pretrade = tel.histogram(
            "risk_manager_pretrade_check_latency_us",
            "Time all checks of one order took.",
            labels=_PER_SYMBOL,
            unit="us",
        )
        self.check = tel.histogram("risk_manager_check_duration_seconds", "Time one check took.", labels=("check",))
        self.failures = tel.counter(
            "risk_manager_risk_failures_total", "Orders that did not pass a check.", labels=("check",)
        )
        self.approved = tel.counter(
            "risk_manager_orders_approved_total", "Orders that passed all checks.", labels=_PER_SIDE
        )
        self.quantity = tel.histogram(
            "risk_manager_order_quantity_shares",
            "Shares of the orders that passed.",
            labels=_PER_SYMBOL,
            buckets=(25, 50, 100, 150, 200, 250),
        )
        self.unrealized = tel.gauge(
            "trading_unrealized_pnl_usd", "Profit of the position at the newest price.", labels=_PER_SYMBOL
        )
        self.realized = tel.gauge(
            "trading_realized_pnl_usd", "Profit of what was bought and sold again.", labels=_PER_SYMBOL
        )
        self.position = tel.gauge("trading_position_shares", "Shares held; negative when short.", labels=_PER_SYMBOL)
        self.mark = tel.gauge("trading_mark_price_usd", "The price positions are valued at.", labels=_PER_SYMBOL)


class _Desk:
    """The handles of one instrument."""

    def __init__(self, metrics: _Metrics, symbol: str) -> None:
        sides = ((BUY, "buy"), (SELL, "sell"))
        self.signals = {side: metrics.signals.labels(symbol, name) for side, name in sides}
        self.approved = {side: metrics.approved.labels(symbol, name) for side, name in sides}
        self.pretrade = metrics.pretrade.labels(symbol)
        self.quantity = metrics.quantity.labels(symbol)
        self.unrealized = metrics.unrealized.labels(symbol)
        self.realized = metrics.realized.labels(symbol)
        self.position = metrics.position.labels(symbol)
        self.mark = metrics.mark.labels(symbol)


class RiskManager:
    """Sizes and checks orders.

    emits: how many records this service emitted, counted apart from the producer's own counters.
    """

    def __init__(self, tel: Telemetry, limits: Limits | None = None) -> None:
        metrics = _Metrics(tel)
        self._account = Account()
        checks = Checks(self._account, limits or Limits())
        self._checks = [
            (getattr(checks, name), metrics.check.labels(name), metrics.failures.labels(name)) for name in CHECK_NAMES
        ]
        self._desks = [_Desk(metrics, instrument.symbol) for instrument in INSTRUMENTS]
        self._quotes: dict[int, Quote] = {}
        self._last_order_id = 0
        self._open_positions = tel.gauge("trading_open_positions_count", "Instruments with a position.")
        self._exposure = tel.gauge("trading_gross_exposure_usd", "Value of all positions, long and short added up.")
        self._batch = tel.histogram("risk_manager_batch_duration_seconds", "Time to work through one batch.")
        for _, _, failures in self._checks:
            failures.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = len(self._checks)

    def handle(self, batch: SignalBatch) -> OrderBatch:
        """Works through one batch of signals."""
        start = self._batch.start()
        for quote in batch.quotes:
            self._revalue(quote)
        orders = []
        for signal in batch.signals:
            order = self._order(signal)
            if self._passes(order):
                orders.append(order)
        self._batch.stop(start)
        self.emits += 1
        return OrderBatch(batch.sequence, batch.quotes, orders)

    def settle(self, batch: ExecutionBatch) -> None:
        """Takes in what became of orders sent before."""
        for execution in batch.executions:
            self._account.executed(execution)
            self._report_position(execution)
        for closed in batch.closed:
            self._account.closed(closed)
        if batch.executions:
            self._open_positions.emit(self._account.open_positions())
            self._exposure.emit(self._account.gross_exposure_usd())
            self.emits += 2

    def _revalue(self, quote: Quote) -> None:
        index = quote.instrument
        desk = self._desks[index]
        self._quotes[index] = quote
        self._account.mark(index, quote.mid)
        desk.mark.emit(quote.mid * TICK_USD)
        desk.unrealized.emit(self._account.unrealized_usd(index))
        self.emits += 2

    def _order(self, signal: Signal) -> Order:
        quote = self._quotes[signal.instrument]
        self._desks[signal.instrument].signals[signal.side].emit(1.0)
        self.emits += 1
        immediate = signal.strength >= _IMMEDIATE_STRENGTH
        # At once at the other side's price, or patiently at our own.
        price = quote.ask if (signal.side == BUY) == immediate else quote.bid
        quantity = _LOT * math.ceil(signal.strength * _LOTS_AT_FULL_STRENGTH)
        self._last_order_id += 1
        return Order(self._last_order_id, signal.instrument, signal.side, quantity, price, immediate, signal.origin)

    def _passes(self, order: Order) -> bool:
        desk = self._desks[order.instrument]
        start = desk.pretrade.start()
        passed = self._run_checks(order)
        desk.pretrade.stop(start)
        self.emits += 1
        if passed:
            self._account.sent(order)
            desk.approved[order.side].emit(1.0)
            desk.quantity.emit(order.quantity)
            self.emits += 2
        return passed

    def _run_checks(self, order: Order) -> bool:
        for check, duration, failures in self._checks:
            start = duration.start()
            passed = check(order)
            duration.stop(start)
            self.emits += 1
            if not passed:
                failures.emit(1.0)
                self.emits += 1
                return False
        return True

    def _report_position(self, execution: Execution) -> None:
        index = execution.instrument
        desk = self._desks[index]
        desk.position.emit(self._account.positions[index].quantity)
        desk.realized.emit(self._account.realized_usd(index))
        desk.unrealized.emit(self._account.unrealized_usd(index))
        self.emits += 3
