"""The connection of the execution engine to the exchange's entry for orders: requests, answers, and what traded."""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from itertools import count
from typing import Final

from shmtelemetry.demo.messages import Execution, Order, Reply, Request
from shmtelemetry.demo.wire import Link, connect
from shmtelemetry.trading import instruments

TIMEOUT: Final = "timeout"
DISCONNECTED: Final = "disconnected"

_ANSWER_SECONDS: Final = 0.5  # after which a request counts as unanswered
_RETRY_SECONDS: Final = 0.5
_BEAT_SECONDS: Final = 1.0
_STATUSES: Final = ("success", "rejected", "error")
_ENDPOINTS: Final = ("submit", "cancel", "heartbeat")


class OrderEntry:
    """emits: how many records it emitted. port: where the exchange takes orders."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._link: Link[Reply] | None = None
        self._was_connected = False
        self._retry_at = self._beat_at = 0.0
        self._numbers = count(1)
        self._executions: list[Execution] = []
        self._durations = {name: instruments.EXECUTION_ENGINE_API_REQUEST_DURATION.labels(name) for name in _ENDPOINTS}
        self._counts = {
            (endpoint, status): instruments.EXECUTION_ENGINE_API_REQUESTS.labels(endpoint, status)
            for endpoint in _ENDPOINTS
            for status in _STATUSES
        }
        self._retransmissions = instruments.NETWORK_RETRANSMISSIONS.labels("loopback")
        self._retransmitted = 0
        instruments.EXECUTION_ENGINE_API_RECONNECTS.emit(0.0)
        instruments.EXECUTION_ENGINE_API_UP.emit(0.0)
        self.emits = 2

    def descriptors(self) -> list[int]:
        """What is readable when the exchange says something unasked."""
        return [] if self._link is None else [self._link.fileno()]

    def submit(self, orders: Iterable[Order]) -> list[str]:
        """Sends orders all at once. Of each: success, rejected, rate_limit, timeout or disconnected."""
        return self._ask("submit", [Request(next(self._numbers), "submit", order) for order in orders])

    def cancel(self, order_ids: Iterable[int]) -> list[str]:
        """As submit, of orders that rest."""
        return self._ask("cancel", [Request(next(self._numbers), "cancel", None, number) for number in order_ids])

    def look(self) -> None:
        """Once in a while: hears what is said unasked, and asks whether the exchange is there."""
        if self._connected():
            self._hear(0.0)
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + _BEAT_SECONDS
            (outcome,) = self._ask("heartbeat", [Request(next(self._numbers), "heartbeat")])
            instruments.EXECUTION_ENGINE_API_UP.emit(float(outcome == "success"))
            self.emits += 1
            self._tell_retransmissions()

    def take_executions(self) -> list[Execution]:
        """What traded since the last call."""
        executions, self._executions = self._executions, []
        return executions

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _tell_retransmissions(self) -> None:
        before = self._retransmitted
        self._retransmitted = 0 if self._link is None else self._link.retransmitted()
        self._retransmissions.emit(max(0, self._retransmitted - before))
        self.emits += 1

    def _ask(self, endpoint: str, requests: list[Request]) -> list[str]:
        if not requests:
            return []
        start = self._durations[endpoint].start()
        replies: dict[int, Reply] = {}
        gone = not self._send(requests)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not gone and len(replies) < len(requests) and (left := deadline - time.monotonic()) > 0:
            came = self._hear(left)
            gone = self._link is None
            for reply in came:
                replies[reply.number] = reply
                self._durations[endpoint].stop(start)
                self.emits += 1
        return [self._outcome(endpoint, replies.get(request.number), gone) for request in requests]

    def _outcome(self, endpoint: str, reply: Reply | None, gone: bool) -> str:
        status = reply.status if reply is not None else "error"
        self._counts[endpoint, status if status in _STATUSES else "error"].emit(1.0)
        self.emits += 1
        if reply is None:
            return DISCONNECTED if gone else TIMEOUT
        instruments.EXECUTION_ENGINE_RATE_LIMIT_REMAINING_REQUESTS.emit(reply.remaining)
        self.emits += 1
        return reply.reason or reply.status

    def _send(self, requests: list[Request]) -> bool:
        if not self._connected():
            return False
        assert self._link is not None
        try:
            for request in requests:
                if not self._link.send(request):
                    return False
        except OSError:
            self._lose()
            return False
        return True

    def _hear(self, seconds: float) -> list[Reply]:
        """Answers that come within that time; what traded is kept for who asks for it."""
        assert self._link is not None
        try:
            self._link.flush()
            select.select([self._link], [], [], seconds)
            replies = self._link.receive()
        except OSError:
            self._lose()
            return []
        for reply in replies:
            self._executions += reply.executions
        return [reply for reply in replies if reply.number]

    def _connected(self) -> bool:
        if self._link is not None:
            return True
        if time.monotonic() < self._retry_at:
            return False
        try:
            self._link = connect(self._port, Reply)
        except OSError:
            self._lose()
            return False
        if self._was_connected:
            instruments.EXECUTION_ENGINE_API_RECONNECTS.emit(1.0)
            self.emits += 1
        self._was_connected = True
        return True

    def _lose(self) -> None:
        self.close()
        self._retry_at = time.monotonic() + _RETRY_SECONDS
