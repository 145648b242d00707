"""The market data service: keeps the order book of each instrument and says what changed at its top."""

from __future__ import annotations

import math
import time
from typing import Final

from shmtelemetry import Producer, trading
from shmtelemetry.demo.messages import FeedBatch, MarketBatch, Quote, Trade
from shmtelemetry.demo.order_book import BUY, SELL, SIDE_NAMES, Fill, OrderBook
from shmtelemetry.demo.order_flow import (
    CANCEL,
    INSTRUMENTS,
    KIND_NAMES,
    LIMIT,
    MARKET,
    TICK_USD,
    Instrument,
    Message,
)
from shmtelemetry.trading import instruments as ready

_MALFORMED: Final = "malformed"
_UNKNOWN: Final = "unknown_symbol"
_REASONS: Final = (_MALFORMED, _UNKNOWN)


class _Market:
    """One instrument: its book, and its handles."""

    def __init__(self, instrument: Instrument) -> None:
        symbol = instrument.symbol
        self.symbol = symbol
        self.book = OrderBook()
        self.quote: Quote | None = None
        self.last_price = math.nan  # ticks
        self.volume = self.trade_count = 0  # since the last market tick
        self.messages = [ready.MARKET_DATA_MESSAGES.labels(symbol, kind) for kind in KIND_NAMES]
        self.latency = trading.WEBSOCKET_LATENCY.labels(symbol)
        self.updates = trading.MARKET_DATA_UPDATES.labels(symbol, "exchange")
        self.orders = ready.MARKET_DATA_BOOK_ORDERS.labels(symbol)
        self.levels, self.depth, self.trades, self.traded = (
            {side: family.labels(symbol, name) for side, name in SIDE_NAMES.items()}
            for family in (
                ready.MARKET_DATA_BOOK_LEVELS,
                ready.MARKET_DATA_BOOK_DEPTH_SHARES,
                ready.MARKET_DATA_TRADES,
                ready.MARKET_DATA_TRADED_SHARES,
            )
        )
        self.spread = ready.MARKET_DATA_SPREAD_USD.labels(symbol)
        self.imbalance = ready.MARKET_DATA_BOOK_IMBALANCE_RATIO.labels(symbol)
        self.quotes = ready.MARKET_DATA_QUOTES.labels(symbol)
        self.trade_size = ready.MARKET_DATA_TRADE_SIZE_SHARES.labels(symbol)
        self.late_cancels = ready.MARKET_DATA_LATE_CANCELS.labels(symbol)


class MarketData:
    """Applies the exchange's messages to the books of all instruments.

    emits, market_ticks: how many records this service emitted, counted apart from the producers' own counters.
    """

    def __init__(self) -> None:
        self._markets = [_Market(instrument) for instrument in INSTRUMENTS]
        self._book_update = [ready.MARKET_DATA_BOOK_UPDATE_DURATION.labels(kind) for kind in KIND_NAMES]
        self._rejected = {reason: ready.MARKET_DATA_MESSAGES_REJECTED.labels(reason) for reason in _REASONS}
        self._sequence = 0
        self._number = 0  # of the next message
        self.behind = True  # whether the books miss something, until a snapshot comes
        for never in (*self._rejected.values(), ready.MARKET_DATA_FEED_GAPS):
            never.emit(0.0)  # so that its rate is 0, and not absent
        self.emits = len(_REASONS) + 1
        self.market_ticks = 0

    def rings(self) -> list[tuple[Producer, int]]:
        """The rings beside the telemetry's, and how many records this service emitted into each."""
        return [(trading.MARKET_TICKS, self.market_ticks)]

    def handle(self, batch: FeedBatch) -> MarketBatch:
        """Works through one batch of the feed."""
        start = ready.MARKET_DATA_BATCH_DURATION.start()
        quotes: list[Quote] = []
        trades: list[Trade] = []
        for message in self._followed(batch):
            reason = _wrong(message)
            if reason is None:
                self._handle(self._markets[message.instrument], message, batch.time_ns, quotes, trades)
            else:
                self._rejected[reason].emit(1.0)
                self.emits += 1
        ready.MARKET_DATA_BATCH_DURATION.stop(start)
        ready.MARKET_DATA_LAST_MESSAGE_TIMESTAMP.emit(time.time())
        self.emits += 2
        self._sequence += 1
        return MarketBatch(self._sequence, quotes, trades)

    def _followed(self, batch: FeedBatch) -> list[Message]:
        """The messages that follow what the books know; they are none of a snapshot, and none before there is one."""
        if batch.snapshot:
            self._begin_with(batch)
            return []
        missed = batch.number - self._number
        if self.behind or missed < 0:  # a snapshot knows those already
            return []
        if missed > 0:
            ready.MARKET_DATA_FEED_GAPS.emit(missed)
            self.emits += 1
            self.behind = True
            return []
        self._number = batch.number + len(batch.messages)
        return batch.messages

    def _begin_with(self, batch: FeedBatch) -> None:
        if self._number and batch.number > self._number:
            ready.MARKET_DATA_FEED_GAPS.emit(batch.number - self._number)
            self.emits += 1
        for market in self._markets:
            market.book = OrderBook()
        for message in batch.messages:
            if _wrong(message) is None:
                book = self._markets[message.instrument].book
                book.submit(message.order_id, message.side, message.quantity, message.price)
        self._number, self.behind = batch.number, False

    def _handle(
        self, market: _Market, message: Message, time_ns: int, quotes: list[Quote], trades: list[Trade]
    ) -> None:
        origin = market.latency.start()
        kind = message.kind
        ready.MARKET_DATA_MESSAGE_AGE.emit(max(0.0, (time.time_ns() - time_ns) / 1e9))
        market.messages[kind].emit(1.0)
        update = self._book_update[kind]
        start = update.start()
        fills = self._apply(market, message)
        update.stop(start)
        for fill in fills:
            trades.append(self._report_trade(market, message, fill))
        self._report_depth(market)
        quote = self._changed_quote(market, message.instrument, origin, time_ns)
        if quote is not None:
            quotes.append(quote)
        market.latency.stop(origin)
        self.emits += 4

    def _apply(self, market: _Market, message: Message) -> list[Fill]:
        if message.kind != CANCEL:
            price = message.price if message.kind == LIMIT else None
            return market.book.submit(message.order_id, message.side, message.quantity, price)
        if market.book.cancel(message.order_id) == 0:
            market.late_cancels.emit(1.0)
            self.emits += 1
        return []

    def _report_depth(self, market: _Market) -> None:
        book = market.book
        market.orders.emit(len(book))
        for side in (BUY, SELL):
            market.levels[side].emit(book.level_count(side))
            market.depth[side].emit(book.open_quantity(side))
        self.emits += 5

    def _report_trade(self, market: _Market, message: Message, fill: Fill) -> Trade:
        market.trades[message.side].emit(1.0)
        market.traded[message.side].emit(fill.quantity)
        market.trade_size.emit(fill.quantity)
        self.emits += 3
        market.last_price = fill.price
        market.volume += fill.quantity
        market.trade_count += 1
        return Trade(message.instrument, message.side, fill.quantity, fill.price)

    def _changed_quote(self, market: _Market, instrument: int, origin: int, time_ns: int) -> Quote | None:
        """The new quote, or None if nothing changed at the top of the book or one side is empty."""
        book = market.book
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None:
            return None
        quote = Quote(instrument, bid, book.quantity_at(BUY, bid), ask, book.quantity_at(SELL, ask), origin, time_ns)
        if market.quote is not None and market.quote[:5] == quote[:5]:
            return None
        market.quote = quote
        market.quotes.emit(1.0)
        market.updates.emit(1.0)
        market.spread.emit((ask - bid) * TICK_USD)
        sizes = quote.bid_quantity + quote.ask_quantity
        market.imbalance.emit((quote.bid_quantity - quote.ask_quantity) / sizes)
        self.emits += 4
        self._report_tick(market, quote)
        return quote

    def _report_tick(self, market: _Market, quote: Quote) -> None:
        trading.record_market_tick(
            market.symbol,
            bid=quote.bid * TICK_USD,
            ask=quote.ask * TICK_USD,
            bid_quantity=quote.bid_quantity,
            ask_quantity=quote.ask_quantity,
            last_price=market.last_price * TICK_USD,
            volume=market.volume,
            trades=market.trade_count,
        )
        self.market_ticks += 1
        market.volume = market.trade_count = 0


def _wrong(message: Message) -> str | None:
    """Why a message cannot be used, or None."""
    if not 0 <= message.instrument < len(INSTRUMENTS):
        return _UNKNOWN
    if message.kind == CANCEL:
        return None
    fits = message.side in (BUY, SELL) and message.quantity > 0 and (message.price > 0 or message.kind == MARKET)
    return None if fits and message.kind in (LIMIT, MARKET) else _MALFORMED
