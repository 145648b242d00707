"""The risk manager: turns signals into orders, checks each, and keeps positions and profit."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from typing import Any, Final

from shmtelemetry import Producer, trading
from shmtelemetry.demo.bots import BOT_OF, BOTS, STATUSES, Bot
from shmtelemetry.demo.breakers import Breakers
from shmtelemetry.demo.messages import (
    Execution,
    ExecutionBatch,
    Order,
    OrderBatch,
    Quote,
    Signal,
    SignalBatch,
)
from shmtelemetry.demo.order_book import BUY, SIDE_NAMES
from shmtelemetry.demo.order_flow import INSTRUMENTS, TICK_USD
from shmtelemetry.demo.order_link import BUFFER_ORDERS, OrderLink
from shmtelemetry.demo.risk_checks import CHECK_NAMES, Account, Checks, Limits
from shmtelemetry.trading import instruments as ready

_LOT: Final = 25  # shares; orders are whole lots
_LOTS_AT_FULL_STRENGTH: Final = 10
_IMMEDIATE_STRENGTH: Final = 0.7  # from here a signal is worth paying the spread for
_CAPITAL_USD: Final = 2_000_000.0  # committed at the start


class _Desk:
    """The bot that trades one instrument, and its handles."""

    def __init__(self, symbol: str, bot: Bot) -> None:
        self.symbol, self.bot = symbol, bot
        self.signals = {side: ready.RISK_MANAGER_SIGNALS.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.approved = {
            side: ready.RISK_MANAGER_ORDERS_APPROVED.labels(symbol, name) for side, name in SIDE_NAMES.items()
        }
        self.pretrade = trading.PRETRADE_CHECK_LATENCY.labels(symbol)
        self.quantity = ready.RISK_MANAGER_ORDER_QUANTITY_SHARES.labels(symbol)
        self.unrealized = trading.UNREALIZED_PNL.labels(symbol)
        self.pnl = trading.BOT_PNL.labels(bot.bot_id, symbol)
        self.limit_used = ready.RISK_MANAGER_POSITION_LIMIT_USED_RATIO.labels(symbol)


class RiskManager:
    """Sizes and checks orders.

    emits, states, samples: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self._account = Account(limits)
        self._breakers = Breakers()
        self._all_checks = Checks(self._account, limits, self._breakers.hold)
        self._checks = [
            (getattr(self._all_checks, name), ready.RISK_MANAGER_CHECK_DURATION.labels(name),
             trading.RISK_FAILURES.labels(name))
            for name in CHECK_NAMES
        ]  # fmt: skip
        self._desks = [_Desk(instrument.symbol, bot) for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)]
        self._bots = {status: trading.ACTIVE_BOTS.labels(status) for status in STATUSES}
        self._quotes: dict[int, Quote] = {}
        self._last_order_id = 0
        self._link = OrderLink()
        self._held = b""  # memory that nobody needs
        self._sent_ns: dict[int, int] = {}  # number of an order that is on its way → when it left
        self.traded: list[tuple[Execution, float]] = []  # and ms since its order left; until somebody stores them
        for _, _, failures in self._checks:
            failures.emit(0.0)  # so that its rate is 0, and not absent
        self._emits = len(self._checks)
        self.states = self.samples = 0
        self._report_bots()

    @property
    def emits(self) -> int:
        return self._emits + self._breakers.emits

    @property
    def unanswered(self) -> int:
        """Batches of orders that left and were not answered yet."""
        return self._link.unanswered

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.STRATEGIES, self.states), (trading.SYSTEM_SAMPLES, self.samples)]

    def bots(self) -> dict[str, str]:
        """Name → status."""
        return {bot.bot_id: self._account.bots[bot.number].status for bot in BOTS}

    def set(self, name: str, value: Any) -> None:
        """A limit by its name, or what all bots do (run, pause, or what they did), or memory that is held, in bytes."""
        if name == "bots":
            for bot in self._account.bots:
                if value == "run":
                    bot.start()
                elif value == "pause":
                    bot.pause()
            self._report_bots()
        elif name == "held_bytes":
            self._held = os.urandom(value)
        else:
            self._all_checks.limits = dataclasses.replace(self._all_checks.limits, **{name: value})

    def handle(self, batch: SignalBatch) -> OrderBatch:
        """Works through one batch of signals."""
        start = ready.RISK_MANAGER_BATCH_DURATION.start()
        for quote in batch.quotes:
            self._quotes[quote.instrument] = quote
            self._account.mark(quote.instrument, quote.mid)
            self._breakers.quoted()
        if self._account.judge_bots(time.monotonic()):
            self._report_bots()
        for quote in batch.quotes:
            self._report_desk(quote.instrument)
        orders = []
        for signal in batch.signals:
            order = self._order(signal)
            if self._passes(order):
                orders.append(order)
        ready.RISK_MANAGER_BATCH_DURATION.stop(start)
        self._emits += 1
        sent = OrderBatch(batch.sequence, batch.quotes, orders)
        self._link.sent(sent)
        return sent

    def settle(self, batch: ExecutionBatch) -> None:
        """Takes in what became of orders sent before."""
        orders, seconds = self._link.answered(batch)
        if orders:
            self._breakers.answered(orders, batch.refused)
            ready.BATCH_LATENCY.emit(seconds)
            self._emits += 1
        if not math.isnan(seconds):
            ready.RISK_MANAGER_ANSWER_LATENCY.emit(seconds)
            self._emits += 1
        now = time.monotonic_ns()
        for execution in batch.executions:
            self._account.executed(execution)
            self.traded.append((execution, (now - self._sent_ns.get(execution.order_id, now)) / 1e6))
        for closed in batch.closed:
            self._account.closed(closed)
            self._sent_ns.pop(closed.order_id, None)
        for instrument in {execution.instrument for execution in batch.executions}:
            self._report_desk(instrument)
        if batch.executions:
            trading.OPEN_POSITIONS.emit(self._account.open_positions())
            self._emits += 1

    def tell(self) -> None:
        """What is told once a second."""
        account, limits = self._account, self._all_checks.limits
        profit, exposure = account.profit_usd(), account.gross_exposure_usd()
        self._breakers.look(max(0.0, -profit), limits.loss_usd)
        trading.update_portfolio_metrics(
            {"total_value": _CAPITAL_USD + profit, "cash_balance": _CAPITAL_USD, "positions": self.positions()}
        )
        ready.RISK_MANAGER_DAILY_LOSS_USD.emit(max(0.0, -profit))
        ready.RISK_MANAGER_DAILY_LOSS_LIMIT_USD.emit(limits.loss_usd)
        ready.TRADING_GROSS_EXPOSURE_USD.emit(exposure)
        ready.RISK_MANAGER_EXPOSURE_LIMIT_USED_RATIO.emit(exposure / limits.gross_exposure_usd)
        ready.RISK_MANAGER_UNANSWERED_BATCHES.emit(self._link.unanswered)
        ready.BUFFER_UTILIZATION.emit(100.0 * self._link.used / BUFFER_ORDERS)
        for desk, position in zip(self._desks, account.positions, strict=True):
            desk.limit_used.emit(abs(position.quantity) / limits.position_quantity)
        self._emits += 8 + 2 * len(self._desks)
        trading.SYSTEM_SAMPLES.emit_fields(*self._link.sample())
        self.samples += 1

    def positions(self) -> dict[str, int]:
        """Symbol → whether there is a position, as 0 or 1."""
        pairs = zip(self._desks, self._account.positions, strict=True)
        return {desk.symbol: int(position.quantity != 0) for desk, position in pairs}

    def stop(self) -> None:
        """There is nothing more to come: the bots stop."""
        for bot in self._account.bots:
            bot.stop()
        self._report_bots()
        for instrument in range(len(self._desks)):
            self._report_desk(instrument)
        self.tell()

    def _report_bots(self) -> None:
        statuses = [bot.status for bot in self._account.bots]
        for status, handle in self._bots.items():
            handle.emit(statuses.count(status))
        self._emits += len(self._bots)

    def _report_desk(self, instrument: int) -> None:
        account, desk = self._account, self._desks[instrument]
        position, unrealized = account.positions[instrument], account.unrealized_usd(instrument)
        realized = account.realized_usd(instrument)
        desk.unrealized.emit(unrealized)
        desk.pnl.emit(realized + unrealized)
        self._emits += 2
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

    def _order(self, signal: Signal) -> Order:
        quote = self._quotes[signal.instrument]
        self._desks[signal.instrument].signals[signal.side].emit(1.0)
        self._emits += 1
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
        ready.RISK_MANAGER_ORDERS_CHECKED.emit(1.0)
        self._emits += 2
        if passed:
            self._account.sent(order)
            self._sent_ns[order.order_id] = time.monotonic_ns()
            desk.approved[order.side].emit(1.0)
            desk.quantity.emit(order.quantity)
            self._emits += 2
        return passed

    def _run_checks(self, order: Order) -> bool:
        for check, duration, failures in self._checks:
            start = duration.start()
            passed = check(order)
            duration.stop(start)
            self._emits += 1
            if not passed:
                failures.emit(1.0)
                self._emits += 1
                return False
        return True
