"""A group of collectors, each in a thread of its own: whatever one of them does, the others are asked and answer."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from ...errors import one_line
from .base import BaseCollector

LIMIT: Final = 0.25  # seconds
RETRY: Final = 5.0  # seconds until one that could not start is started again
FAREWELL: Final = 2.0  # seconds for a collector to stop

logger = logging.getLogger("shmtelemetry")


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a collector.

    metrics: its last good answer, {} before the first. age: seconds since that, None before. error: why there is
    nothing newer, "" if there is nothing wrong.
    """

    metrics: dict[str, Any]
    age: float | None
    error: str

    @property
    def status(self) -> str:
        return "degraded" if self.error else "healthy"


class Collectors:
    """Asks all at once, and waits for none longer than the limit.

    limit: seconds. One that has missed it is degraded, and not waited for until it keeps it again; it is not asked a
    second time before it has answered the first. counted: told the name of a collector and how many figures it gave, in
    that collector's thread. Raises ValueError for two of one name.
    """

    def __init__(
        self,
        collectors: Iterable[BaseCollector],
        limit: float = LIMIT,
        counted: Callable[[str, int], object] = lambda name, figures: None,
    ) -> None:
        self._limit = limit
        self._asked: dict[str, _Asked] = {}
        for collector in collectors:
            if collector.name in self._asked:
                raise ValueError(f"two collectors are called {collector.name!r}: give one of them another name")
            self._asked[collector.name] = _Asked(collector, limit, counted)

    async def collect(self) -> dict[str, Answer]:
        """What all have to say now, by name; those that do not run are started. Takes at most the limit."""
        asked = [(each, each.ask()) for each in self._asked.values()]
        waited_for = [asyncio.wrap_future(answering) for each, answering in asked if not each.is_slow]
        if waited_for:
            _, missing = await asyncio.wait(waited_for, timeout=self._limit)
            for answering in missing:
                answering.cancel()  # nobody looks at it any more; the collector goes on
        for each, _ in asked:
            each.note_time()
        return self.answers()

    def answers(self) -> dict[str, Answer]:
        """What is known of all without asking."""
        return {name: each.answer() for name, each in self._asked.items()}

    async def stop(self) -> None:
        """Stop all. One that does not stop in time is left behind, in a thread that ends with the process."""
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in self._asked.values()))


class _Asked:
    """One collector, and its thread. is_slow: whether it missed the limit."""

    def __init__(self, collector: BaseCollector, limit: float, counted: Callable[[str, int], object]) -> None:
        self._collector, self._limit, self._counted = collector, limit, counted
        self._context = {"collector": collector.name}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._answering: Future[None] | None = None
        self._asked_at = 0.0
        self._good: tuple[float, dict[str, Any]] | None = None  # when, and what
        self._error = "it has not been asked yet"
        self._cannot: BaseException = RuntimeError()  # start, until then
        self._not_before = 0.0
        self.is_slow = False

    def ask(self) -> "Future[None]":
        """Done when there is an answer, good or bad."""
        if self._answering is None or self._answering.done():
            self._asked_at = time.monotonic()
            self._answering = self._run(self._answer())
        return self._answering

    def note_time(self) -> None:
        if self._answering is not None and not self._answering.done() and self._takes() >= self._limit:
            self._fail(TimeoutError())

    def answer(self) -> Answer:
        at, metrics = self._good or (None, {})
        return Answer(metrics, None if at is None else time.monotonic() - at, self._error)

    def close(self) -> None:
        """In a thread that may wait."""
        if self._loop is None:
            return
        self._run(self._stop(self._loop))
        self._thread.join(FAREWELL)
        if self._thread.is_alive():
            logger.warning(
                "the collector %s does not stop: it is left behind", self._collector.name, extra=self._context
            )
        self._loop, self._answering = None, None

    def _takes(self) -> float:
        return time.monotonic() - self._asked_at

    def _run(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        if self._loop is None:
            self._loop = loop = asyncio.new_event_loop()
            name = f"shmtel-collector-{self._collector.name}"
            self._thread = threading.Thread(target=_live, args=(loop,), name=name, daemon=True)
            self._thread.start()
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # whoever waits for it and goes away cannot cancel it
        self._loop.call_soon_threadsafe(_begin, work, done)
        return done

    # ---- in the collector's thread ----

    async def _start(self) -> None:
        """Begin, unless it has, or could not a moment ago."""
        if not self._collector.running and time.monotonic() < self._not_before:
            raise self._cannot
        try:
            await self._collector.start()
        except BaseException as error:
            self._cannot, self._not_before = error, time.monotonic() + RETRY
            raise

    async def _answer(self) -> None:
        try:
            await self._start()
            self._asked_at = time.monotonic()
            async with asyncio.timeout(self._limit):
                said = await self._collector.get_current_metrics()
            metrics = _plain(said)
            self._good = time.monotonic(), metrics
            if self._takes() > self._limit:
                raise TimeoutError
            self._error, self.is_slow = "", False
            self._counted(self._collector.name, _figures(metrics))
        except BaseException as error:  # also of a collector that exits or cancels itself
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.is_slow = isinstance(error, TimeoutError)
        why = f"it did not answer within {self._limit} s" if self.is_slow else f"{type(error).__name__}: {error}"
        if not self._error:
            logger.warning("the collector %s is degraded: %s", self._collector.name, one_line(why), extra=self._context)
        self._error = one_line(why)

    async def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await self._collector.stop()
        except BaseException as error:
            logger.warning(
                "the collector %s fails to stop: %s", self._collector.name, one_line(error), extra=self._context
            )
        finally:
            loop.stop()


def _begin(work: Coroutine[Any, Any, None], done: "Future[None]") -> None:
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda task: done.set_result(None))


def _live(loop: asyncio.AbstractEventLoop) -> None:
    """What a collector's thread does, until its loop is stopped."""
    loop.run_forever()
    loop.run_until_complete(_cancel_all())
    loop.close()


async def _cancel_all() -> None:
    """All that still goes on in this loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _plain(said: object) -> dict[str, Any]:
    """A copy that its collector cannot change any more. Raises TypeError or ValueError."""
    if not isinstance(said, dict):
        raise TypeError(f"expected a dict, got {type(said).__name__}")
    try:
        copy: dict[str, Any] = json.loads(json.dumps(said, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"it says what JSON has no word for: {error}") from error
    return copy


def _figures(said: object) -> int:
    """How many values it has, whatever they are in."""
    if isinstance(said, dict):
        said = list(said.values())
    return sum(map(_figures, said)) if isinstance(said, list) else 1
