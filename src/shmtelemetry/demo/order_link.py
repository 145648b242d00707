"""The link to the execution engine as the risk manager sees it: orders out, answers in, and how long that took."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from shmtelemetry.demo.messages import ExecutionBatch, OrderBatch

MOST_UNANSWERED: Final = 16  # batches
BUFFER_ORDERS: Final = 64  # that may be on their way, as far as anybody plans for


class OrderLink:
    """Counts batches of orders from when they leave until they are answered.

    clock: nanoseconds, never going back.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._waiting: deque[tuple[int, int, int]] = deque()  # sequence, orders, when it left
        self._produced = self._consumed = self._refused = self._lost = self._batches = 0
        self._sampled_at, self._sampled_consumed = clock(), 0
        self._times: list[int] = []  # ns, of the answers since the last sample

    def sent(self, batch: OrderBatch) -> None:
        """A batch leaves."""
        self._waiting.append((batch.sequence, len(batch.orders), self._clock()))
        self._produced += len(batch.orders)
        self._batches += 1

    def answered(self, answer: ExecutionBatch) -> tuple[int, float]:
        """Its answer, or that of a later one: answers come in order, so what is passed over is lost.

        Gives how many orders it was of, and seconds from when it left; 0 and NaN for an answer to nothing.
        """
        while self._waiting:
            sequence, orders, left_at = self._waiting.popleft()
            if sequence == answer.sequence:
                self._consumed += orders - answer.refused
                self._refused += answer.refused
                self._times.append(self._clock() - left_at)
                return orders, self._times[-1] / 1e9
            self._lost += 1
        return 0, math.nan

    @property
    def used(self) -> int:
        """Orders on their way, at most as many as the buffer holds."""
        return min(BUFFER_ORDERS, sum(orders for _, orders, _ in self._waiting))

    @property
    def unanswered(self) -> int:
        """Batches that left and were not answered yet."""
        return len(self._waiting)

    def sample(self) -> tuple[int | float, ...]:
        """The columns of a system sample; its buffer holds the orders on their way.

        Times are NaN where nothing was answered since the sample before.
        """
        now = self._clock()
        seconds = (now - self._sampled_at) / 1e9
        throughput = (self._consumed - self._sampled_consumed) / seconds if seconds else 0.0
        times = sorted(self._times)
        self._sampled_at, self._sampled_consumed, self._times = now, self._consumed, []
        return (
            time.time_ns(),
            self._produced,
            self._consumed,
            self._refused,
            self.used,
            BUFFER_ORDERS,
            throughput,
            sum(times) / len(times) if times else math.nan,
            _quantile(times, 0.95),
            _quantile(times, 0.99),
            self._lost,
            self._batches,
        )


def _quantile(times: Sequence[int], q: float) -> float:
    """The smallest of them that at least a share `q` does not exceed; they are in order."""
    return float(times[math.ceil(q * len(times)) - 1]) if times else math.nan
