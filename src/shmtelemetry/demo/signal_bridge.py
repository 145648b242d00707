"""The signal bridge: makes features of quotes and trades, scores of features, signals of strong scores."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shmtelemetry import Producer
from shmtelemetry.demo.bots import BOT_OF
from shmtelemetry.demo.messages import MarketBatch, Quote, Signal, SignalBatch, Trade
from shmtelemetry.demo.model import Model
from shmtelemetry.demo.order_book import BUY, SELL, SIDE_NAMES
from shmtelemetry.demo.order_flow import INSTRUMENTS
from shmtelemetry.trading import instruments as ready

_FAILURES: Final = ("not_finite", "error")
_SUPPRESSED: Final = ("weak", "quiet")
_THRESHOLD: Final = 0.55  # strength from which a score becomes a signal
_QUIET_QUOTES: Final = 4  # quotes of an instrument after a signal in which there is no other

_FAST: Final = 0.2  # weight of the newest price in the fast and in the slow average
_SLOW: Final = 0.02
_FLOW_MEMORY: Final = 0.9  # share of the trade flow that is left one trade later


class _Desk:
    """What is remembered of one instrument, and its handles."""

    def __init__(self, symbol: str, strategy: str) -> None:
        self.strategy = strategy
        self.fast = self.slow = self.flow = self.volume = 0.0
        self.quiet = 0
        self.quotes = ready.SIGNAL_BRIDGE_QUOTES.labels(symbol)
        self.trades = ready.SIGNAL_BRIDGE_TRADES.labels(symbol)
        self.features = ready.SIGNAL_BRIDGE_FEATURE_DURATION.labels(symbol)
        self.inference = ready.SIGNAL_BRIDGE_INFERENCE_DURATION.labels(symbol)
        self.momentum = ready.SIGNAL_BRIDGE_MOMENTUM_RATIO.labels(symbol)
        self.trade_flow = ready.SIGNAL_BRIDGE_TRADE_FLOW_RATIO.labels(symbol)
        self.score = ready.SIGNAL_BRIDGE_SCORE_RATIO.labels(symbol)
        self.strength = ready.SIGNAL_BRIDGE_SIGNAL_STRENGTH_RATIO.labels(symbol)
        self.signals = {side: ready.SIGNAL_BRIDGE_SIGNALS.labels(symbol, name) for side, name in SIDE_NAMES.items()}


class SignalBridge:
    """Scores every quote. model: the file of its weights, which `load` reads again.

    emits: how many records this service emitted, counted apart from the producer's own counters.
    """

    def __init__(self, model: Path) -> None:
        self._path = model
        self._desks = [
            _Desk(instrument.symbol, bot.strategy) for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)
        ]
        self._failures = {reason: ready.SIGNAL_BRIDGE_INFERENCE_FAILURES.labels(reason) for reason in _FAILURES}
        self._suppressed = {reason: ready.SIGNAL_BRIDGE_SIGNALS_SUPPRESSED.labels(reason) for reason in _SUPPRESSED}
        self._loads = {status: ready.SIGNAL_BRIDGE_MODEL_LOADS.labels(status) for status in ("success", "error")}
        self._models: dict[str, Model] = {}
        self._sequence = 0
        never = (*self._failures.values(), *self._loads.values(), ready.SIGNAL_BRIDGE_SEQUENCE_GAPS)
        for handle in never:
            handle.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = len(never)
        self.load()

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return []

    def load(self) -> None:
        """Read the model; one that cannot be read leaves the one before."""
        self.emits += 1
        try:
            models = {desk.strategy: Model(self._path, desk.strategy) for desk in self._desks}
        except (OSError, ValueError, KeyError):
            self._loads["error"].emit(1.0)
            return
        self._models = models
        self._loads["success"].emit(1.0)
        ready.SIGNAL_BRIDGE_MODEL_TIMESTAMP.emit(min(model.made_at for model in models.values()))
        self.emits += 1

    def handle(self, batch: MarketBatch) -> SignalBatch:
        """Works through one batch of market data."""
        start = ready.SIGNAL_BRIDGE_BATCH_DURATION.start()
        self._look_for_gap(batch.sequence)
        for trade in batch.trades:
            self._remember_trade(self._desks[trade.instrument], trade)
        signals = []
        newest: dict[int, Quote] = {}
        for quote in batch.quotes:
            newest[quote.instrument] = quote
            signal = self._judge(self._desks[quote.instrument], quote)
            if signal is not None:
                signals.append(signal)
                ready.SIGNAL_BRIDGE_SIGNAL_AGE.stop(signal.origin)
                self.emits += 1
        ready.SIGNAL_BRIDGE_BATCH_DURATION.stop(start)
        self.emits += 1
        return SignalBatch(batch.sequence, list(newest.values()), signals)

    def _look_for_gap(self, sequence: int) -> None:
        missing = sequence - self._sequence - 1
        self._sequence = sequence
        if missing > 0:
            ready.SIGNAL_BRIDGE_SEQUENCE_GAPS.emit(missing)
            self.emits += 1

    def _remember_trade(self, desk: _Desk, trade: Trade) -> None:
        desk.flow = _FLOW_MEMORY * desk.flow + trade.side * trade.quantity
        desk.volume = _FLOW_MEMORY * desk.volume + trade.quantity
        desk.trades.emit(1.0)
        desk.trade_flow.emit(desk.flow / desk.volume)
        self.emits += 2

    def _judge(self, desk: _Desk, quote: Quote) -> Signal | None:
        ready.MARKET_DATA_LAG.emit(max(0.0, (time.time_ns() - quote.time_ns) / 1e9))
        start = desk.features.start()
        features = _features(desk, quote)
        desk.features.stop(start)
        desk.quotes.emit(1.0)
        desk.momentum.emit(features[0])
        self.emits += 4
        score = self._score(desk, features)
        return None if score is None else self._signal(desk, quote, score)

    def _score(self, desk: _Desk, features: Sequence[float]) -> float | None:
        start = desk.inference.start()
        score = self._models[desk.strategy].score(features)
        desk.inference.stop(start)
        self.emits += 2
        if not math.isfinite(score):
            self._failures["not_finite"].emit(1.0)
            return None
        desk.score.emit(score)
        return score

    def _signal(self, desk: _Desk, quote: Quote, score: float) -> Signal | None:
        strength = abs(score)
        desk.quiet -= 1
        if strength < _THRESHOLD or desk.quiet > 0:
            self._suppressed["weak" if strength < _THRESHOLD else "quiet"].emit(1.0)
            self.emits += 1
            return None
        desk.quiet = _QUIET_QUOTES
        side = BUY if score > 0 else SELL
        desk.signals[side].emit(1.0)
        desk.strength.emit(strength)
        self.emits += 2
        return Signal(quote.instrument, side, strength, quote.origin)


def _features(desk: _Desk, quote: Quote) -> tuple[float, float, float, float]:
    mid, spread = quote.mid, quote.ask - quote.bid
    if desk.slow == 0.0:  # the first quote
        desk.fast = desk.slow = mid
    desk.fast += _FAST * (mid - desk.fast)
    desk.slow += _SLOW * (mid - desk.slow)
    sizes = quote.bid_quantity + quote.ask_quantity
    return (
        (desk.fast - desk.slow) / spread,
        (quote.bid_quantity - quote.ask_quantity) / sizes,
        desk.flow / desk.volume if desk.volume else 0.0,
        (mid - desk.slow) / spread,
    )
