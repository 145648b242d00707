"""The signal bridge: makes features of quotes and trades, scores of features, signals of strong scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.demo.bots import BOT_OF
from shmtelemetry.demo.messages import MarketBatch, Quote, Signal, SignalBatch, Trade
from shmtelemetry.demo.order_book import BUY, SELL, SIDE_NAMES
from shmtelemetry.demo.order_flow import INSTRUMENTS

_PER_SYMBOL = ("symbol",)

# Weights of a logistic model over momentum, imbalance, trade flow and distance from the slow average, by strategy. Set
# by hand: the demo shows what measuring a model costs, and makes no claim about trading with it.
_WEIGHTS: Final = {"momentum": (0.9, 1.8, 1.2, -0.3), "reversion": (-0.3, 1.5, 0.9, -1.2)}
_THRESHOLD: Final = 0.55  # strength from which a score becomes a signal
_QUIET_QUOTES: Final = 4  # quotes of an instrument after a signal in which there is no other

_FAST: Final = 0.2  # weight of the newest price in the fast and in the slow average
_SLOW: Final = 0.02
_FLOW_MEMORY: Final = 0.9  # share of the trade flow that is left one trade later


class _Metrics:
    """The metrics of the service; a :class:`_Model` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.quotes = tel.counter("signal_bridge_quotes_total", "Quotes taken from market data.", labels=_PER_SYMBOL)
        self.trades = tel.counter("signal_bridge_trades_total", "Trades taken from market data.", labels=_PER_SYMBOL)
        self.features = tel.histogram(
            "signal_bridge_feature_duration_seconds",
            "Time to compute the features of a quote.",
            labels=_PER_SYMBOL,
        )
        self.inference = tel.histogram(
            "signal_bridge_inference_duration_seconds",
            "Time the model took for one score.",
            labels=_PER_SYMBOL,
        )
        self.momentum = tel.gauge(
            "signal_bridge_momentum_ratio", "Fast less slow average price, by the spread.", labels=_PER_SYMBOL
        )
        self.trade_flow = tel.gauge(
            "signal_bridge_trade_flow_ratio",
            "Shares bought less sold, by their sum, recently.",
            labels=_PER_SYMBOL,
        )
        self.score = tel.gauge(
            "signal_bridge_score_ratio", "Score of the model: 1 says buy, -1 says sell.", labels=_PER_SYMBOL
        )
        self.strength = tel.histogram(
            "signal_bridge_signal_strength_ratio",
            "Strength of the signals that were sent.",
            labels=_PER_SYMBOL,
            buckets=(0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
        )
        self.signals = tel.counter("signal_bridge_signals_total", "Signals sent.", labels=("symbol", "side"))


class _Model:
    """What is remembered of one instrument, and its handles."""

    def __init__(self, metrics: _Metrics, symbol: str, strategy: str) -> None:
        self.weights = _WEIGHTS[strategy]
        self.fast = self.slow = self.flow = self.volume = 0.0
        self.quiet = 0
        self.quotes = metrics.quotes.labels(symbol)
        self.trades = metrics.trades.labels(symbol)
        self.features = metrics.features.labels(symbol)
        self.inference = metrics.inference.labels(symbol)
        self.momentum = metrics.momentum.labels(symbol)
        self.trade_flow = metrics.trade_flow.labels(symbol)
        self.score = metrics.score.labels(symbol)
        self.strength = metrics.strength.labels(symbol)
        self.signals = {side: metrics.signals.labels(symbol, name) for side, name in SIDE_NAMES.items()}


class SignalBridge:
    """Scores every quote.

    emits: how many records this service emitted, counted apart from the producer's own counters.
    """

    def __init__(self, tel: Telemetry) -> None:
        metrics = _Metrics(tel)
        self._models = [
            _Model(metrics, instrument.symbol, bot.strategy)
            for instrument, bot in zip(INSTRUMENTS, BOT_OF, strict=True)
        ]
        self._batch = tel.histogram("signal_bridge_batch_duration_seconds", "Time to work through one batch.")
        self._gaps = tel.counter("signal_bridge_sequence_gaps_total", "Batches of market data that never came.")
        self._lag = trading.MARKET_DATA_LAG.stop
        self._sequence = 0
        self._gaps.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = 1

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return []

    def handle(self, batch: MarketBatch) -> SignalBatch:
        """Works through one batch of market data."""
        start = self._batch.start()
        self._check_sequence(batch.sequence)
        for trade in batch.trades:
            self._remember_trade(self._models[trade.instrument], trade)
        signals = []
        newest: dict[int, Quote] = {}
        for quote in batch.quotes:
            newest[quote.instrument] = quote
            signal = self._score(self._models[quote.instrument], quote)
            if signal is not None:
                signals.append(signal)
        self._batch.stop(start)
        self.emits += 1
        return SignalBatch(batch.sequence, list(newest.values()), signals)

    def _check_sequence(self, sequence: int) -> None:
        missing = sequence - self._sequence - 1
        self._sequence = sequence
        if missing > 0:
            self._gaps.emit(missing)
            self.emits += 1

    def _remember_trade(self, model: _Model, trade: Trade) -> None:
        model.flow = _FLOW_MEMORY * model.flow + trade.side * trade.quantity
        model.volume = _FLOW_MEMORY * model.volume + trade.quantity
        model.trades.emit(1.0)
        model.trade_flow.emit(model.flow / model.volume)
        self.emits += 2

    def _score(self, model: _Model, quote: Quote) -> Signal | None:
        self._lag(quote.origin)
        start = model.features.start()
        features = _features(model, quote)
        model.features.stop(start)
        start = model.inference.start()
        score = _infer(model.weights, features)
        model.inference.stop(start)
        model.quotes.emit(1.0)
        model.momentum.emit(features[0])
        model.score.emit(score)
        self.emits += 6
        return self._signal(model, quote, score)

    def _signal(self, model: _Model, quote: Quote, score: float) -> Signal | None:
        strength = abs(score)
        model.quiet -= 1
        if strength < _THRESHOLD or model.quiet > 0:
            return None
        model.quiet = _QUIET_QUOTES
        side = BUY if score > 0 else SELL
        model.signals[side].emit(1.0)
        model.strength.emit(strength)
        self.emits += 2
        return Signal(quote.instrument, side, strength, quote.origin)


def _features(model: _Model, quote: Quote) -> tuple[float, float, float, float]:
    mid, spread = quote.mid, quote.ask - quote.bid
    if model.slow == 0.0:  # the first quote
        model.fast = model.slow = mid
    model.fast += _FAST * (mid - model.fast)
    model.slow += _SLOW * (mid - model.slow)
    sizes = quote.bid_quantity + quote.ask_quantity
    return (
        (model.fast - model.slow) / spread,
        (quote.bid_quantity - quote.ask_quantity) / sizes,
        model.flow / model.volume if model.volume else 0.0,
        (mid - model.slow) / spread,
    )


def _infer(weights: Sequence[float], features: Sequence[float]) -> float:
    """A score from -1 (sell) to 1 (buy)."""
    return math.tanh(0.5 * sum(weight * value for weight, value in zip(weights, features, strict=True)))
