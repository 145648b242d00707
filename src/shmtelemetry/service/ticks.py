"""Ticks: the figures of a namespace at one moment, which everybody shares who asks within an interval."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..aggregate.snapshot import Snapshot

Sections = Mapping[str, Any]

encode = msgspec.json.Encoder(enc_hook=float).encode  # numpy's scalars; NaN and infinity become null


def now() -> datetime:
    """The moment, as all messages and answers tell it: RFC 3339 in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Tick:
    """One moment. number: of its interval since the machine started, so that all workers count alike. sections: what
    each collector says, by its name."""

    number: int
    snapshot: Snapshot
    sections: Sections
    _encoded: dict[Hashable, bytes] = field(default_factory=dict)

    @property
    def timestamp(self) -> datetime:
        return datetime.fromtimestamp(self.snapshot.taken_ns / 1e9, UTC)

    def encoded(self, key: Hashable, make: Callable[["Tick"], Any]) -> bytes:
        """JSON of what `make` makes of this tick; made once for each key."""
        found = self._encoded.get(key)
        if found is None:
            found = self._encoded[key] = encode(make(self))
        return found


class Feed:
    """Makes a tick when one is asked for and there is none of this interval yet.

    namespace: whose. look: a consistent copy of the figures, called in a thread. collect: what there is to say of it,
    called in the event loop. interval: seconds.
    """

    def __init__(
        self,
        namespace: str,
        look: Callable[[], Snapshot],
        collect: Callable[[Snapshot], Awaitable[Sections]],
        interval: float,
    ) -> None:
        self.namespace = namespace
        self._look, self._collect, self._interval_ns = look, collect, round(interval * 1e9)
        self._tick: Tick | None = None
        self._making: asyncio.Task[Tick] | None = None
        # A thread of its own: a slow disk may hold those of the event loop's.
        self._thread = ThreadPoolExecutor(1, "shmtel-tick")

    async def tick(self) -> Tick:
        """The one of this interval. Raises StateError where there are no figures."""
        if self._tick is not None and self._tick.number == self._number():
            return self._tick
        if self._making is None:
            self._making = asyncio.create_task(self._make())
            self._making.add_done_callback(self._made)
        return await asyncio.shield(self._making)

    async def next(self, number: int) -> int:
        """Wait for the first interval after that one; returns the number of the one that is then."""
        while (left := (number + 1) * self._interval_ns - time.monotonic_ns()) > 0:  # a timer may be early
            await asyncio.sleep(left / 1e9)
        return self._number()

    def _number(self) -> int:
        return time.monotonic_ns() // self._interval_ns

    async def _make(self) -> Tick:
        number = self._number()
        snapshot = await asyncio.get_running_loop().run_in_executor(self._thread, self._look)
        sections = await self._collect(snapshot)
        self._tick = Tick(number, snapshot, sections)
        return self._tick

    def _made(self, making: asyncio.Task[Tick]) -> None:
        self._making = None
        if not making.cancelled():
            making.exception()  # whoever waits is told; if nobody does, there is nobody to tell

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
