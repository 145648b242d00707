"""The demo's exchange, and those who follow it: the same book on both sides, whatever was missed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

pytest.importorskip("zmq", reason="needs shmtelemetry[demo]")
pytest.importorskip("msgspec", reason="needs shmtelemetry[demo]")

from shmtelemetry import Reader, Telemetry, trading
from shmtelemetry.demo.breakers import DAILY_LOSS, MARKET_DATA, REJECTIONS, Breakers
from shmtelemetry.demo.causes import CAUSES, bring_about, cure
from shmtelemetry.demo.exchange import REJECTED, SUCCESS, Exchange, RateLimit
from shmtelemetry.demo.exchange_server import Server
from shmtelemetry.demo.market_data import MarketData
from shmtelemetry.demo.messages import FeedBatch, Order
from shmtelemetry.demo.order_book import BUY, SELL
from shmtelemetry.demo.order_flow import INSTRUMENTS, LIMIT, Message, OrderFlow
from shmtelemetry.demo.wire import Link, connect
from tests.processes import wait_until


@pytest.fixture(autouse=True)
def telemetry(namespace: str) -> Iterator[None]:
    with Reader(namespace, ephemeral=True), Telemetry("demo", namespace) as tel:
        trading.use(tel)
        yield
        trading.use(None)


class Follower:
    """Market data, and what an exchange has told it."""

    def __init__(self, exchange: Exchange) -> None:
        self.service, self._exchange, self._number = MarketData(), exchange, 1

    def begin(self) -> None:
        self._told()
        self.service.handle(FeedBatch(self._number, time.time_ns(), self._exchange.resting(), snapshot=True))

    def follow(self, lost: bool = False) -> None:
        number, messages = self._number, self._told()
        if not lost:
            self.service.handle(FeedBatch(number, time.time_ns(), messages))

    def _told(self) -> list[Message]:
        messages = self._exchange.take_published()
        self._number += len(messages)
        return messages

    def book(self) -> set[tuple[int, ...]]:
        markets = enumerate(self.service._markets)
        return {(instrument, *order) for instrument, market in markets for order in market.book.orders()}


def resting(exchange: Exchange) -> set[tuple[int, ...]]:
    return {(one.instrument, one.order_id, one.side, one.quantity, one.price) for one in exchange.resting()}


def test_who_follows_the_feed_has_the_exchanges_books_also_after_a_gap() -> None:
    exchange = Exchange(OrderFlow(3))
    follower = Follower(exchange)
    exchange.advance(3_000)
    follower.begin()
    for number in range(1, 40):
        exchange.advance(50)
        price = exchange._books[0].best_ask
        assert price is not None
        exchange.submit(Order(number, 0, BUY, 60, price, immediate=bool(number % 2), origin=0))
        exchange.cancel(number - 4)
        follower.follow()
        assert follower.book() == resting(exchange)
    exchange.advance(50)
    follower.follow(lost=True)
    exchange.advance(50)
    follower.follow()
    assert follower.service.behind
    follower.begin()
    exchange.advance(50)
    follower.follow()
    assert not follower.service.behind
    assert follower.book() == resting(exchange)


def test_who_comes_to_the_feed_while_it_goes_on_is_told_first_what_rests() -> None:
    server = Server(Exchange(OrderFlow(3)), 1_000)
    with closing(server), closing(connect(server.feed.port, FeedBatch)) as early:
        server.turn(500)
        server._sent_at = math.inf  # what happens now is not published at once
        server.turn(10)
        with closing(connect(server.feed.port, FeedBatch)) as late:
            server.turn(0)
            server._sent_at = 0.0
            server.turn(10)
            came = {name: await_batches(link, at_least=2) for name, link in (("early", early), ("late", late))}
    for batches in came.values():
        assert [batch.snapshot for batch in batches] == [True] + [False] * (len(batches) - 1)
        numbers = [batch.number + (0 if batch.snapshot else len(batch.messages)) for batch in batches]
        assert [batch.number for batch in batches[1:]] == numbers[:-1]


def await_batches(link: Link[FeedBatch], at_least: int) -> list[FeedBatch]:
    found: list[FeedBatch] = []

    def enough() -> bool:
        found.extend(link.receive())
        return len(found) >= at_least

    wait_until(enough, "batches come")
    return found


def test_messages_that_cannot_be_are_left_out() -> None:
    service = MarketData()
    service.handle(FeedBatch(1, 0, [], snapshot=True))
    good = Message(LIMIT, 0, 1, BUY, 10, 100)
    bad = [
        good._replace(order_id=2, instrument=len(INSTRUMENTS)),
        good._replace(order_id=3, side=7),
        good._replace(order_id=4, quantity=0),
        good._replace(order_id=5, kind=9),
    ]
    service.handle(FeedBatch(1, 0, [good, *bad]))
    assert [order[0] for order in service._markets[0].book.orders()] == [1]


def test_an_order_that_is_sent_twice_trades_once() -> None:
    exchange = Exchange(OrderFlow(3))
    exchange.advance(3_000)
    price = exchange._books[0].best_ask
    assert price is not None
    order = Order(1, 0, BUY, 5, price, immediate=True, origin=0)
    assert [exchange.submit(order), exchange.submit(order)] == [SUCCESS, SUCCESS]
    assert sum(execution.quantity for execution in exchange.take_executions()) == 5
    assert exchange.positions[0] == 5


@pytest.mark.parametrize(
    "wrong", [{"quantity": 0}, {"quantity": 10_001}, {"side": 0}, {"price": 1}, {"instrument": 99}, {"order_id": 0}]
)
def test_an_order_that_cannot_be_is_rejected(wrong: dict[str, int]) -> None:
    exchange = Exchange(OrderFlow(3))
    exchange.advance(3_000)
    price = exchange._books[0].best_bid
    assert price is not None
    assert exchange.submit(Order(1, 0, SELL, 5, price, immediate=True, origin=0)._replace(**wrong)) == REJECTED
    assert exchange.take_executions() == []


def test_no_more_requests_are_taken_in_a_second_than_the_limit() -> None:
    now = 10.0
    limit = RateLimit(lambda: now)
    assert [limit.take(2) for _ in range(3)] == [True, True, False]
    now = 11.0
    assert limit.remaining(2) == 2


def test_breakers_hold_orders_back_and_let_go() -> None:
    now = 0.0
    breakers = Breakers(lambda: now)
    breakers.quoted()
    breakers.look(loss_usd=99.0, limit_usd=100.0)
    assert not breakers.hold()
    breakers.look(loss_usd=100.0, limit_usd=100.0)
    assert breakers._active[DAILY_LOSS]
    breakers.look(loss_usd=0.0, limit_usd=100.0)
    breakers.answered(40, refused=21)
    breakers.look(0.0, 100.0)
    assert breakers._active[REJECTIONS]
    now = 6.0
    breakers.look(0.0, 100.0)
    assert (breakers._active[REJECTIONS], breakers._active[MARKET_DATA]) == (False, True)
    breakers.quoted()
    breakers.look(0.0, 100.0)
    assert not breakers.hold()


@pytest.mark.parametrize("name", CAUSES)
def test_a_cure_undoes_its_cause(name: str) -> None:
    said: dict[tuple[str, str], object] = {}
    bring_about(name, lambda process, condition, value: said.update({(process, condition): value}))
    caused = dict(said)
    cure(name, lambda process, condition, value: said.update({(process, condition): value}))
    assert said.keys() == caused.keys()
    assert said != caused
