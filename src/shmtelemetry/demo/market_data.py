"""The market data service: keeps the order book of each instrument and says what changed at its top."""

from __future__ import annotations

import math

from shmtelemetry import Producer, Telemetry, trading
from shmtelemetry.demo.messages import MarketBatch, Quote, Trade
from shmtelemetry.demo.order_book import BUY, SELL, SIDE_NAMES, Fill, OrderBook
from shmtelemetry.demo.order_flow import (
    CANCEL,
    INSTRUMENTS,
    KIND_NAMES,
    LIMIT,
    TICK_USD,
    Instrument,
    Message,
    OrderFlow,
)

_PER_SYMBOL = ("symbol",)
_PER_SIDE = ("symbol", "side")
_TRADE_SIZES = (1, 5, 10, 25, 50, 100, 200, 400)  # shares


class _Metrics:
    """The metrics of the service; a :class:`_Feed` resolves their labels once."""

    def __init__(self, tel: Telemetry) -> None:
        self.messages = tel.counter(
            "market_data_messages_total", "Messages taken from the feed.", labels=("symbol", "type")
        )
        self.book_update = tel.histogram(
            "market_data_book_update_duration_seconds",
            "Time the order book took for one message.",
            labels=("operation",),
        )
        self.orders = tel.gauge("market_data_book_orders", "Orders resting in the book.", labels=_PER_SYMBOL)
        self.levels = tel.gauge("market_data_book_levels", "Price levels of one side of the book.", labels=_PER_SIDE)
        self.depth = tel.gauge("market_data_book_depth_shares", "Shares resting on one side.", labels=_PER_SIDE)
        self.spread = tel.gauge("market_data_spread_usd", "Best ask less best bid.", labels=_PER_SYMBOL)
        self.imbalance = tel.gauge(
            "market_data_book_imbalance_ratio",
            "Bid less ask quantity at the best prices, by their sum: 1 is all bid, -1 all ask.",
            labels=_PER_SYMBOL,
        )
        self.quotes = tel.counter("market_data_quotes_total", "Changes of a best price or size.", labels=_PER_SYMBOL)
        self.trades = tel.counter("market_data_trades_total", "Trades on the market.", labels=_PER_SIDE)
        self.traded = tel.counter("market_data_traded_shares_total", "Shares traded on the market.", labels=_PER_SIDE)
        self.trade_size = tel.histogram(
            "market_data_trade_size_shares", "Shares in one trade.", labels=_PER_SYMBOL, buckets=_TRADE_SIZES
        )
        self.late_cancels = tel.counter(
            "market_data_late_cancels_total",
            "Cancellations of orders that had traded before.",
            labels=_PER_SYMBOL,
        )
        self.batch = tel.histogram("market_data_batch_duration_seconds", "Time to work through one batch.")


class _Feed:
    """One instrument: its book, and its handles."""

    def __init__(self, metrics: _Metrics, instrument: Instrument) -> None:
        symbol = instrument.symbol
        self.symbol = symbol
        self.book = OrderBook()
        self.quote: Quote | None = None
        self.last_price = math.nan  # ticks
        self.volume = self.trade_count = 0  # since the last market tick
        self.messages = [metrics.messages.labels(symbol, kind) for kind in KIND_NAMES]
        self.latency = trading.WEBSOCKET_LATENCY.labels(symbol)
        self.updates = trading.MARKET_DATA_UPDATES.labels(symbol, "order-flow")
        self.orders = metrics.orders.labels(symbol)
        self.levels = {side: metrics.levels.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.depth = {side: metrics.depth.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.trades = {side: metrics.trades.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.traded = {side: metrics.traded.labels(symbol, name) for side, name in SIDE_NAMES.items()}
        self.spread = metrics.spread.labels(symbol)
        self.imbalance = metrics.imbalance.labels(symbol)
        self.quotes = metrics.quotes.labels(symbol)
        self.trade_size = metrics.trade_size.labels(symbol)
        self.late_cancels = metrics.late_cancels.labels(symbol)


class MarketData:
    """Applies an order flow to the books of all instruments.

    emits, market_ticks: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self, tel: Telemetry, flow: OrderFlow) -> None:
        metrics = _Metrics(tel)
        self._flow = flow
        self._feeds = [_Feed(metrics, instrument) for instrument in INSTRUMENTS]
        self._book_update = [metrics.book_update.labels(kind) for kind in KIND_NAMES]
        self._batch = metrics.batch
        self._sequence = 0
        trading.WEBSOCKET_FAILURES.emit(0.0)  # so that its rate is 0, and not absent; this feed is never lost
        self.emits = 1
        self.market_ticks = 0

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.MARKET_TICKS, self.market_ticks)]

    def next_batch(self, count: int) -> MarketBatch:
        """Works through the next ``count`` messages of the flow."""
        start = self._batch.start()
        quotes: list[Quote] = []
        trades: list[Trade] = []
        for message in self._flow.take(count):
            self._handle(self._feeds[message.instrument], message, quotes, trades)
        self._batch.stop(start)
        self.emits += 1
        self._sequence += 1
        return MarketBatch(self._sequence, quotes, trades)

    def _handle(self, feed: _Feed, message: Message, quotes: list[Quote], trades: list[Trade]) -> None:
        origin = feed.latency.start()
        kind = message.kind
        feed.messages[kind].emit(1.0)
        update = self._book_update[kind]
        start = update.start()
        fills = self._apply(feed, message)
        update.stop(start)
        for fill in fills:
            trades.append(self._report_trade(feed, message, fill))
        self._report_depth(feed)
        quote = self._changed_quote(feed, message.instrument, origin)
        if quote is not None:
            quotes.append(quote)
        feed.latency.stop(origin)
        self.emits += 3

    def _apply(self, feed: _Feed, message: Message) -> list[Fill]:
        if message.kind != CANCEL:
            price = message.price if message.kind == LIMIT else None
            return feed.book.submit(message.order_id, message.side, message.quantity, price)
        if feed.book.cancel(message.order_id) == 0:
            feed.late_cancels.emit(1.0)
            self.emits += 1
        return []

    def _report_depth(self, feed: _Feed) -> None:
        book = feed.book
        feed.orders.emit(len(book))
        for side in (BUY, SELL):
            feed.levels[side].emit(book.level_count(side))
            feed.depth[side].emit(book.open_quantity(side))
        self.emits += 5

    def _report_trade(self, feed: _Feed, message: Message, fill: Fill) -> Trade:
        feed.trades[message.side].emit(1.0)
        feed.traded[message.side].emit(fill.quantity)
        feed.trade_size.emit(fill.quantity)
        self.emits += 3
        feed.last_price = fill.price
        feed.volume += fill.quantity
        feed.trade_count += 1
        return Trade(message.instrument, message.side, fill.quantity, fill.price)

    def _changed_quote(self, feed: _Feed, instrument: int, origin: int) -> Quote | None:
        """The new quote, or None if nothing changed at the top of the book or one side is empty."""
        book = feed.book
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None:
            return None
        quote = Quote(instrument, bid, book.quantity_at(BUY, bid), ask, book.quantity_at(SELL, ask), origin)
        if feed.quote is not None and feed.quote[:-1] == quote[:-1]:
            return None
        feed.quote = quote
        feed.quotes.emit(1.0)
        feed.updates.emit(1.0)
        feed.spread.emit((ask - bid) * TICK_USD)
        sizes = quote.bid_quantity + quote.ask_quantity
        feed.imbalance.emit((quote.bid_quantity - quote.ask_quantity) / sizes)
        self.emits += 4
        self._report_tick(feed, quote)
        return quote

    def _report_tick(self, feed: _Feed, quote: Quote) -> None:
        trading.record_market_tick(
            feed.symbol,
            bid=quote.bid * TICK_USD,
            ask=quote.ask * TICK_USD,
            bid_quantity=quote.bid_quantity,
            ask_quantity=quote.ask_quantity,
            last_price=feed.last_price * TICK_USD,
            volume=feed.volume,
            trades=feed.trade_count,
        )
        self.market_ticks += 1
        feed.volume = feed.trade_count = 0
