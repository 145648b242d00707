"""The demo's order book, and the order flow that it matches."""

from __future__ import annotations

import pytest

from shmtelemetry.demo.order_book import BUY, SELL, Fill, OrderBook
from shmtelemetry.demo.order_flow import CANCEL, INSTRUMENTS, LIMIT, MARKET, Message, OrderFlow


@pytest.fixture
def book() -> OrderBook:
    return OrderBook()


def test_an_empty_book_has_no_best_prices(book: OrderBook) -> None:
    assert book.best_bid is None
    assert book.best_ask is None
    assert len(book) == 0


def test_orders_that_do_not_cross_rest(book: OrderBook) -> None:
    assert book.submit(1, BUY, 10, 99) == []
    assert book.submit(2, SELL, 20, 101) == []
    assert (book.best_bid, book.best_ask) == (99, 101)
    assert (book.quantity_at(BUY, 99), book.quantity_at(SELL, 101)) == (10, 20)
    assert [order_id in book for order_id in (1, 2, 3)] == [True, True, False]


def test_the_best_price_trades_first(book: OrderBook) -> None:
    book.submit(1, SELL, 5, 102)
    book.submit(2, SELL, 5, 101)
    book.submit(3, SELL, 5, 103)
    assert book.submit(4, BUY, 12, 103) == [Fill(2, 4, 101, 5), Fill(1, 4, 102, 5), Fill(3, 4, 103, 2)]


def test_the_oldest_order_of_a_price_trades_first(book: OrderBook) -> None:
    for order_id in (7, 3, 5):
        book.submit(order_id, BUY, 4, 100)
    assert book.submit(9, SELL, 10, 100) == [Fill(7, 9, 100, 4), Fill(3, 9, 100, 4), Fill(5, 9, 100, 2)]


def test_a_partial_fill_keeps_its_place_in_the_queue(book: OrderBook) -> None:
    book.submit(1, SELL, 10, 100)
    book.submit(2, SELL, 10, 100)
    book.submit(3, BUY, 4, 100)
    assert book.submit(4, BUY, 8, 100) == [Fill(1, 4, 100, 6), Fill(2, 4, 100, 2)]


def test_a_trade_happens_at_the_price_of_the_resting_order(book: OrderBook) -> None:
    book.submit(1, BUY, 10, 105)
    assert book.submit(2, SELL, 10, 100) == [Fill(1, 2, 105, 10)]


def test_a_limit_is_never_exceeded_and_the_rest_rests(book: OrderBook) -> None:
    book.submit(1, SELL, 5, 101)
    book.submit(2, SELL, 5, 102)
    assert book.submit(3, BUY, 8, 101) == [Fill(1, 3, 101, 5)]
    assert (book.best_bid, book.quantity_at(BUY, 101)) == (101, 3)
    assert book.best_ask == 102


def test_a_market_order_takes_what_there_is_and_never_rests(book: OrderBook) -> None:
    book.submit(1, SELL, 5, 101)
    book.submit(2, SELL, 5, 250)
    assert book.submit(3, BUY, 100) == [Fill(1, 3, 101, 5), Fill(2, 3, 250, 5)]
    assert len(book) == 0
    assert book.submit(4, BUY, 1) == []


def test_the_rest_of_an_immediate_order_expires(book: OrderBook) -> None:
    book.submit(1, SELL, 5, 101)
    assert book.submit(2, BUY, 9, 101, immediate=True) == [Fill(1, 2, 101, 5)]
    assert 2 not in book
    assert book.best_bid is None


def test_a_cancelled_order_never_trades(book: OrderBook) -> None:
    book.submit(1, SELL, 5, 101)
    book.submit(2, SELL, 6, 101)
    assert book.cancel(1) == 5
    assert book.submit(3, BUY, 6, 101) == [Fill(2, 3, 101, 6)]


def test_cancelling_the_last_order_of_the_best_price_uncovers_the_next(book: OrderBook) -> None:
    book.submit(1, BUY, 5, 100)
    book.submit(2, BUY, 5, 99)
    book.cancel(1)
    assert book.best_bid == 99
    assert book.level_count(BUY) == 1


def test_cancelling_returns_what_was_left(book: OrderBook) -> None:
    book.submit(1, SELL, 10, 100)
    book.submit(2, BUY, 4, 100)
    assert book.cancel(1) == 6
    assert book.cancel(1) == 0
    assert book.cancel(12345) == 0


def test_a_price_can_be_emptied_and_used_again(book: OrderBook) -> None:
    for order_id in range(100):
        book.submit(order_id, SELL, 1, 100)
        assert book.best_ask == 100
        book.cancel(order_id)
        assert book.best_ask is None


def test_prices_that_come_and_go_far_from_the_best_leave_nothing_behind(book: OrderBook) -> None:
    book.submit(0, BUY, 1, 1_000_000)
    for order_id in range(1, 10_000):
        book.submit(order_id, BUY, 1, order_id)
        book.cancel(order_id)
    assert len(book._bids._heap) < 50
    assert book.best_bid == 1_000_000


def test_open_quantity_and_levels_are_those_of_a_side(book: OrderBook) -> None:
    book.submit(1, BUY, 5, 100)
    book.submit(2, BUY, 6, 99)
    book.submit(3, SELL, 7, 101)
    assert (book.open_quantity(BUY), book.level_count(BUY)) == (11, 2)
    assert (book.open_quantity(SELL), book.level_count(SELL)) == (7, 1)


@pytest.mark.parametrize(
    ("order_id", "side", "quantity", "message"),
    [
        (1, BUY, 5, "order 1 rests in the book already"),
        (2, BUY, 0, "quantity must be at least 1, got 0"),
        (2, 0, 5, "side must be BUY"),
    ],
)
def test_a_wrong_order_is_refused_and_changes_nothing(
    book: OrderBook, order_id: int, side: int, quantity: int, message: str
) -> None:
    book.submit(1, SELL, 5, 101)
    with pytest.raises(ValueError, match=message):
        book.submit(order_id, side, quantity, 101)
    assert (len(book), book.open_quantity(SELL), book.open_quantity(BUY)) == (1, 5, 0)


def test_equal_seeds_give_equal_flows() -> None:
    assert OrderFlow(7).take(500) == OrderFlow(7).take(500)
    assert OrderFlow(7).take(500) != OrderFlow(8).take(500)


def test_a_flow_is_the_same_however_it_is_cut() -> None:
    whole = OrderFlow(3).take(100)
    flow = OrderFlow(3)
    assert flow.take(1) + flow.take(60) + flow.take(39) == whole


def test_a_flow_keeps_its_books_filled_but_not_overfull() -> None:
    books = [OrderBook() for _ in INSTRUMENTS]
    trades = sum(_apply(books[message.instrument], message) for message in OrderFlow(11).take(40_000))
    assert trades > 1_000
    for book in books:
        assert None not in (book.best_bid, book.best_ask)
        assert 20 <= len(book) <= 240


def test_a_flow_has_every_kind_of_message_for_every_instrument() -> None:
    seen = {(message.kind, message.instrument) for message in OrderFlow(5).take(10_000)}
    assert seen == {(kind, index) for kind in (LIMIT, MARKET, CANCEL) for index in range(len(INSTRUMENTS))}


def _apply(book: OrderBook, message: Message) -> int:
    if message.kind == CANCEL:
        book.cancel(message.order_id)
        return 0
    price = message.price if message.kind == LIMIT else None
    return len(book.submit(message.order_id, message.side, message.quantity, price))
