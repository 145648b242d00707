"""The exchange's process: a feed that everybody may listen to, and an entry for orders, each at a port of its own."""

from __future__ import annotations

import dataclasses
import select
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from shmtelemetry.demo.exchange import RATE_LIMIT, REJECTED, SUCCESS, Exchange, RateLimit
from shmtelemetry.demo.messages import FeedBatch, Reply, Request
from shmtelemetry.demo.wire import Door, Link

_BATCH_SECONDS: Final = 0.002
_SLICE: Final = 6  # messages between two looks at orders, so that those do not wait for a whole batch
_MOST_BEHIND_SECONDS: Final = 0.1  # an exchange that is later than this skips the rest, and so slows down
_FAST_PULL: Final = 2e-3


@dataclass
class Conditions:
    """What the exchange is like.

    feed, orders: whether it lets anybody in there. feed_seconds: age of market data when it is sent. answer_seconds:
    that an order waits for its answer. requests_per_second: that it takes. largest_quantity, spread_ratio: as Mood has
    them. against_us: how far prices go against the positions that our orders have come to, by the opening price.
    """

    feed: bool = True
    orders: bool = True
    feed_seconds: float = 0.0
    answer_seconds: float = 0.0
    requests_per_second: int = 2_000
    largest_quantity: int = 400
    spread_ratio: float = 0.0
    against_us: float = 0.0


class Server:
    """The exchange, and who is connected to it. rate: messages a second of the flow."""

    def __init__(self, exchange: Exchange, rate: int) -> None:
        self.feed, self.orders = Door(Request), Door(Request)  # of listeners to the feed nothing is expected
        self.conditions = Conditions()
        self._exchange, self._rate = exchange, rate
        self._limit = RateLimit()
        self._number = 1  # of the next message of the feed
        self._held: deque[tuple[float, FeedBatch]] = deque()  # until when
        self._late: deque[tuple[float, Link[Request], Reply]] = deque()
        self._sent_at = 0.0
        self.feed.open()
        self.orders.open()

    def set(self, name: str, value: Any) -> None:
        """One of the conditions changes."""
        self.conditions = now = dataclasses.replace(self.conditions, **{name: value})
        for door, is_open in ((self.feed, now.feed), (self.orders, now.orders)):
            if is_open:
                door.open()
            else:
                door.close()
        if name == "against_us":  # 0: back to where they opened
            shift = {at: -now.against_us if held > 0 else now.against_us for at, held in enumerate(self._positions())}
            self._exchange.flow.mood.shift_ratio = shift
            self._exchange.flow.mood.pull = _FAST_PULL
        self._exchange.flow.mood.largest_quantity = now.largest_quantity
        self._exchange.flow.mood.spread_ratio = now.spread_ratio

    def run(self, asked_to_stop: Callable[[], bool], waker: Connection | None = None) -> None:
        """Serve until asked to stop. waker: readable when there may be something to ask for."""
        credited = time.monotonic()
        also: list[Any] = [] if waker is None else [waker]
        while not asked_to_stop():
            due = min(_SLICE, int((time.monotonic() - credited) * self._rate))
            wait = 0.0 if due else 1.0 / self._rate
            select.select([*also, *self.feed.readers(), *self.orders.readers()], [], [], wait)
            self.turn(due)
            credited = max(credited + due / self._rate, time.monotonic() - _MOST_BEHIND_SECONDS)

    def turn(self, count: int) -> None:
        """Let so many messages of the flow happen, and answer what has come."""
        self._welcome(self.feed.newcomers())
        self.feed.receive()
        for link in self.orders.newcomers():
            self.orders.let_in(link)
        for link, request in self.orders.receive():
            self._late.append((time.monotonic() + self.conditions.answer_seconds, link, self._answer(request)))
        self._exchange.advance(count)
        if self.orders.links and (executions := self._exchange.take_executions()):
            self.orders.send(Reply(0, SUCCESS, "", self._remaining(), executions))  # before the answer to the order
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, link, reply = self._late.popleft()
            self.orders.send_to(link, reply)
        if now - self._sent_at >= _BATCH_SECONDS:
            self._sent_at = now
            self._publish(now)
            self.orders.flush()

    def close(self) -> None:
        self.feed.close()
        self.orders.close()

    def _welcome(self, links: list[Link[Request]]) -> None:
        """Tell who has come to the feed what rests; all that follows it is told as it happens."""
        if links:
            self._publish(time.monotonic())
            batch = FeedBatch(self._number, time.time_ns(), self._exchange.resting(), snapshot=True)
            for link in links:
                self.feed.send_to(link, batch)
                self.feed.let_in(link)  # not before: it could not use what is no snapshot

    def _answer(self, request: Request) -> Reply:
        status, reason = SUCCESS, ""
        if request.endpoint != "heartbeat" and not self._limit.take(self.conditions.requests_per_second):
            status, reason = REJECTED, RATE_LIMIT
        elif request.endpoint == "submit":
            if request.order is None or self._exchange.submit(request.order) == REJECTED:
                status = reason = REJECTED
        elif request.endpoint == "cancel":
            self._exchange.cancel(request.order_id)
        return Reply(request.number, status, reason, self._remaining(), [])

    def _remaining(self) -> int:
        return self._limit.remaining(self.conditions.requests_per_second)

    def _positions(self) -> list[int]:
        return self._exchange.positions

    def _publish(self, now: float) -> None:
        messages = self._exchange.take_published()
        if messages:
            batch = FeedBatch(self._number, time.time_ns(), messages)
            self._held.append((now + self.conditions.feed_seconds, batch))
            self._number += len(messages)
        while self._held and self._held[0][0] <= now:
            self.feed.send(self._held.popleft()[1])
        self.feed.flush()
