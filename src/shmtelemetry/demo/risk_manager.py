"""The risk manager: turns signals into orders, checks each, and keeps positions and profit."""

from __future__ import annotations

import math
import time
from typing import Final

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.demo.bots import BOT_OF, STATUSES, Bot
from shmtelemetry.demo.messages import (
    ExecutionBatch,
    Order,
    OrderBatch,
    Quote,
    Signal,
    SignalBatch,
)
from shmtelemetry.demo.order_book import BUY, SIDE_NAMES
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.demo.order_link import OrderLink
from shmtelemetry.demo.risk_checks import CHECK_NAMES, Account, Checks, Limits

_PER_SIDE = ("symbol", "side")

_LOT: Final = 25  # shares; orders are whole lots
_LOTS_AT_FULL_STRENGTH: Final = 10
_IMMEDIATE_STRENGTH: Final = 0.7  # from here a signal is worth paying the spread for
_CAPITAL_USD: Final = 5_000_000.0  # committed at the start
_TELL_SECONDS: Final = 1.0  # between two looks at the portfolio and at the link


class _Metrics:
    """The metrics of the service; a :class:`_Desk` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.signals = tel.counter("risk_manager_signals_total", "Signals taken from the bridge.", labels=_PER_SIDE)
        self.check = tel.histogram("risk_manager_check_duration_seconds", "Time one check took.", labels=("check",))
        self.approved = tel.counter(
            "risk_manager_orders_approved_total", "Orders that passed all checks.", labels=_PER_SIDE
        )
        self.quantity = tel.histogram(
            "risk_manager_order_quantity_shares",
            "Shares of the orders that passed.",
            labels=("symbol",),
            buckets=(25, 50, 100, 150, 200, 250),
        )


class _Desk:
    """The bot that trades one instrument, and its handles."""

    def __init__(self, metrics: _Metrics, symbol: str, bot: Bot) -> None:
        self.symbol, self.bot = symbol, bot
        self.signals = {side: metrics.signals.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.approved = {side: metrics.approved.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.pretrade = trading.PRETRADE_CHECK_LATENCY.labels(symbol)
        self.quantity = metrics.quantity.labels(symbol)
        self.unrealized = trading.UNREALIZED_PNL.labels(symbol)
        self.pnl = trading.BOT_PNL.labels(bot.bot_id, symbol)


class RiskManager:
    """Sizes and checks orders.

    emits, states, samples: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self, tel: Telemetry, limits: Limits | None = None) -> None:
        metrics = _Metrics(tel)
        limits = limits or Limits()
        self._account = Account(limits)
        checks = Checks(self._account, limits)
        self._checks = [
            (getattr(checks, name), metrics.check.labels(name), trading.RISK_FAILURES.labels(name))
            for name in CHECK_NAMES
        ]
        self._desks = [
            _Desk(metrics, instrument.symbol, bot) for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)
        ]
        self._bots = {status: trading.ACTIVE_BOTS.labels(status) for status in STATUSES}
        self._quotes: dict[int, Quote] = {}
        self._last_order_id = 0
        self._exposure = tel.gauge("trading_gross_exposure_usd", "Value of all positions, long and short added up.")
        self._batch = tel.histogram("risk_manager_batch_duration_seconds", "Time to work through one batch.")
        self._link = OrderLink()
        self._tell_at = time.monotonic()
        for _, _, failures in self._checks:
            failures.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = len(self._checks)
        self.states = self.samples = 0
        self._report_bots()

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.STRATEGIES, self.states), (trading.SYSTEM_SAMPLES, self.samples)]

    def handle(self, batch: SignalBatch) -> OrderBatch:
        """Works through one batch of signals."""
        start = self._batch.start()
        for quote in batch.quotes:
            self._quotes[quote.instrument] = quote
            self._account.mark(quote.instrument, quote.mid)
        now = time.monotonic()
        if self._account.judge_bots(now):
            self._report_bots()
        for quote in batch.quotes:
            self._report_desk(quote.instrument)
        orders = []
        for signal in batch.signals:
            order = self._order(signal)
            if self._passes(order):
                orders.append(order)
        self._batch.stop(start)
        self.emits += 1
        sent = OrderBatch(batch.sequence, batch.quotes, orders)
        self._link.sent(sent)
        if now >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            self._tell()
        return sent

    def settle(self, batch: ExecutionBatch) -> None:
        """Takes in what became of orders sent before."""
        self._link.answered(batch)
        for execution in batch.executions:
            self._account.executed(execution)
        for closed in batch.closed:
            self._account.closed(closed)
        for instrument in {execution.instrument for execution in batch.executions}:
            self._report_desk(instrument)
        if batch.executions:
            trading.OPEN_POSITIONS.emit(self._account.open_positions())
            self._exposure.emit(self._account.gross_exposure_usd())
            self.emits += 2

    def stop(self) -> None:
        """There is nothing more to come: the bots stop."""
        for bot in self._account.bots:
            bot.stop()
        self._report_bots()
        for instrument in range(len(self._desks)):
            self._report_desk(instrument)
        self._tell()

    def _report_bots(self) -> None:
        statuses = [bot.status for bot in self._account.bots]
        for status, handle in self._bots.items():
            handle.emit(statuses.count(status))
        self.emits += len(self._bots)

    def _report_desk(self, instrument: int) -> None:
        account, desk = self._account, self._desks[instrument]
        position, unrealized = account.positions[instrument], account.unrealized_usd(instrument)
        realized = account.realized_usd(instrument)
        desk.unrealized.emit(unrealized)
        desk.pnl.emit(realized + unrealized)
        self.emits += 2
        trading.update_strategy(
            desk.bot.bot_id,
            desk.bot.strategy,
            desk.symbol,
            account.bots[desk.bot.number].status,
            position=position.quantity,
            average_price=position.average_price * TICK_USD,
            mark_price=account.marks[instrument] * TICK_USD,
            realized_pnl=realized,
            unrealized_pnl=unrealized,
        )
        self.states += 1

    def _tell(self) -> None:
        """What is told once a second."""
        account = self._account
        positions = {
            desk.symbol: int(position.quantity != 0)
            for desk, position in zip(self._desks, account.positions, strict=True)
        }
        trading.update_portfolio_metrics(
            {"total_value": _CAPITAL_USD + account.profit_usd(), "cash_balance": _CAPITAL_USD, "positions": positions}
        )
        self.emits += 2 + len(positions)
        trading.SYSTEM_SAMPLES.emit_fields(*self._link.sample())
        self.samples += 1

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
