"""The demo's order book against a reference that is too simple to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry.demo.order_book import BUY, SELL, Fill, OrderBook


@dataclass
class RestingOrder:
    order_id: int
    side: int
    quantity: int
    price: int


@dataclass
class NaiveBook:
    """Keeps all orders in one list, oldest first, and looks through all of it for every trade."""

    orders: list[RestingOrder] = field(default_factory=list)

    def submit(self, order_id: int, side: int, quantity: int, price: int | None, immediate: bool) -> list[Fill]:
        fills = []
        while quantity and (maker := self._best_against(side, price)) is not None:
            traded = min(quantity, maker.quantity)
            fills.append(Fill(maker.order_id, order_id, maker.price, traded))
            quantity -= traded
            maker.quantity -= traded
            self.orders = [order for order in self.orders if order.quantity]
        if quantity and price is not None and not immediate:
            self.orders.append(RestingOrder(order_id, side, quantity, price))
        return fills

    def cancel(self, order_id: int) -> int:
        quantity = sum(order.quantity for order in self.orders if order.order_id == order_id)
        self.orders = [order for order in self.orders if order.order_id != order_id]
        return quantity

    def _best_against(self, side: int, limit: int | None) -> RestingOrder | None:
        others = [order for order in self.orders if order.side == -side]
        if limit is not None:
            others = [order for order in others if (order.price - limit) * side <= 0]
        # min() keeps the first of equals, and the list is oldest first: this line is price-time priority.
        return min(others, key=lambda order: order.price * side, default=None)


@dataclass(frozen=True)
class Submit:
    side: int
    quantity: int
    price: int | None
    immediate: bool


@dataclass(frozen=True)
class Cancel:
    age: int  # counted back from the newest order


# Few prices and small quantities, so that orders meet, share levels and are filled in part.
submits = st.builds(
    Submit,
    side=st.sampled_from([BUY, SELL]),
    quantity=st.integers(1, 12),
    price=st.none() | st.integers(95, 105),
    immediate=st.booleans(),
)
operations = st.lists(submits | st.builds(Cancel, age=st.integers(0, 15)), max_size=80)


@given(operations)
def test_fills_and_cancellations_are_those_of_the_naive_book(steps: list[Submit | Cancel]) -> None:
    book, naive = OrderBook(), NaiveBook()
    for order_id, step in enumerate(steps):
        if isinstance(step, Cancel):
            assert book.cancel(order_id - step.age) == naive.cancel(order_id - step.age)
        else:
            order = (order_id, step.side, step.quantity, step.price, step.immediate)
            assert book.submit(*order) == naive.submit(*order)
        assert_same_orders(book, naive)


@given(operations)
def test_a_book_is_never_crossed(steps: list[Submit | Cancel]) -> None:
    book = OrderBook()
    for order_id, step in enumerate(steps):
        apply(book, order_id, step)
        if book.best_bid is not None and book.best_ask is not None:
            assert book.best_bid < book.best_ask


@given(operations)
def test_quantity_is_neither_made_nor_lost(steps: list[Submit | Cancel]) -> None:
    book = OrderBook()
    entered = traded = left = 0
    for order_id, step in enumerate(steps):
        before = open_quantity(book)
        fills, cancelled = apply(book, order_id, step)
        filled = sum(fill.quantity for fill in fills)
        if isinstance(step, Submit):
            entered += step.quantity
            rested = open_quantity(book) - before + filled
            assert rested in (0, step.quantity - filled)
            left += step.quantity - filled - rested  # expired
        traded += 2 * filled  # both the maker's and the taker's
        left += cancelled
    assert entered == traded + left + open_quantity(book)


@given(operations)
def test_no_order_trades_beyond_its_quantity_or_its_limit(steps: list[Submit | Cancel]) -> None:
    book = OrderBook()
    filled: dict[int, int] = {}
    for order_id, step in enumerate(steps):
        for fill in apply(book, order_id, step)[0]:
            for party in (fill.maker_id, fill.taker_id):
                filled[party] = filled.get(party, 0) + fill.quantity
                order = steps[party]
                assert isinstance(order, Submit)
                assert filled[party] <= order.quantity
                assert order.price is None or (fill.price - order.price) * order.side <= 0


def apply(book: OrderBook, order_id: int, step: Submit | Cancel) -> tuple[list[Fill], int]:
    if isinstance(step, Cancel):
        return [], book.cancel(order_id - step.age)
    return book.submit(order_id, step.side, step.quantity, step.price, step.immediate), 0


def open_quantity(book: OrderBook) -> int:
    return book.open_quantity(BUY) + book.open_quantity(SELL)


def assert_same_orders(book: OrderBook, naive: NaiveBook) -> None:
    bids = [order for order in naive.orders if order.side == BUY]
    asks = [order for order in naive.orders if order.side == SELL]
    assert len(book) == len(naive.orders)
    assert book.best_bid == max((order.price for order in bids), default=None)
    assert book.best_ask == min((order.price for order in asks), default=None)
    for side, orders in ((BUY, bids), (SELL, asks)):
        assert book.open_quantity(side) == sum(order.quantity for order in orders)
        assert book.level_count(side) == len({order.price for order in orders})
        for order in orders:
            resting = sum(other.quantity for other in orders if other.price == order.price)
            assert book.quantity_at(side, order.price) == resting
