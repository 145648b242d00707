"""How late an event loop is: what every request that waits for it waits in addition."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

PERIOD: Final = 0.25  # seconds between two samples


class Lag:
    """Observes, as long as the loop runs, how many seconds after its time a callback is called."""

    def __init__(self, loop: asyncio.AbstractEventLoop, emit: Callable[[float], object]) -> None:
        self._loop, self._emit = loop, emit
        self._ask()

    def _ask(self) -> None:
        # A timer and no task: a loop that ends drops it without a word.
        self._due = perf_counter() + PERIOD
        self._loop.call_later(PERIOD, self._called)

    def _called(self) -> None:
        self._emit(max(0.0, perf_counter() - self._due))
        self._ask()
