"""History: the read side of the service's database, for any process."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, Self, TypeVar

from ...schema import Schema
from ..database import Readers
from ..events.reading import newest_events
from .ranges import Places, Points, all_series, check_range, find_all, find_series, range_of

THREADS: Final = 2  # of those who answer questions that may take long

Answer = TypeVar("Answer")
Stopped = Callable[[], bool]
Find = Callable[[Connection, str, Mapping[str, str]], Places | None]


class History:
    """What is stored in a namespace's database. There need be none yet: then there is nothing.

    Threads may share it, and do not wait for each other. Raises ValueError for a file that is no such database; trouble
    with the disk is a sqlite3.Error.
    """

    def __init__(self, path: Path) -> None:
        self._database = Readers(path)
        self._threads = ThreadPoolExecutor(THREADS, "shmtel-history")
        self._closing = threading.Event()

    def range(
        self,
        metric: str,
        labels: Mapping[str, str],
        start: float,
        end: float,
        step: float,
        figure: str = "value",
        stopped: Stopped | None = None,
    ) -> Points:
        """(time, figure) of one series, at the multiples of `step` from start to end, in seconds since the epoch.

        labels: all that the series has. figure: of a counter `value`, its total, or `rate` a second; of a gauge
        `value`; of a histogram `count`, `sum`, `rate`, `p50`, `p90`, `p99`, `max` or `coverage` of the observations in
        the step that ends at that time. Where several rows lie in a step, a quantile is the largest of theirs: the true
        one is no larger.

        What is older is kept minutes or hours apart, and so are the points then. Times at which the series was not
        there, and quantiles of nothing, are left out. stopped: whether nobody wants it any more; then it raises
        sqlite3.OperationalError. Raises ValueError for a range that cannot be, or has more than
        11,000 points, and for a figure that the metric has not.
        """
        return self._points(find_series, metric, labels, start, end, step, figure, stopped)

    def sum(
        self,
        metric: str,
        labels: Mapping[str, str],
        start: float,
        end: float,
        step: float,
        figure: str = "value",
        stopped: Stopped | None = None,
    ) -> Points:
        """As `range`, of all series that have these labels, and others besides: added up, however many they are.

        figure: `value`, `rate`, `count` or `sum`; another one where there is one series.
        """
        return self._points(find_all, metric, labels, start, end, step, figure, stopped)

    def _points(
        self,
        find: Find,
        metric: str,
        labels: Mapping[str, str],
        start: float,
        end: float,
        step: float,
        figure: str,
        stopped: Stopped | None,
    ) -> Points:
        check_range(start, end, step)
        with contextlib.suppress(FileNotFoundError), self._database.reading(stopped) as database:
            places = find(database, metric, labels)
            return range_of(database, places, start, end, step, figure, stopped) if places is not None else []
        return []

    async def apart(self, ask: Callable[[Stopped], Answer]) -> Answer:
        """What a function answers, in one of two threads of its own, so that no other work waits behind it.

        It is given what says that nobody wants the answer any more: who waits was cancelled, or this is closed.
        """
        left = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, ask, lambda: left.is_set() or self._closing.is_set()
            )
        finally:
            left.set()

    def series(self, metric: str) -> list[dict[str, str]]:
        """The labels of all series of a metric that history has, in the order in which they came."""
        with contextlib.suppress(FileNotFoundError), self._database.reading() as database:
            return all_series(database, metric)
        return []

    def events(
        self, schema: Schema, *, filters: Mapping[str, Any] | None = None, before: int | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Events of all producers with this very schema, the newest first.

        filters: what fields have to be: a value, or (low, high), both included, None for any; a label of named numbers
        by name or number. before: only events whose `_id` is smaller, for the next page. limit: 1 to 10,000.

        Each event has its fields, `_id`, which counts the events of the schema from 1 on in the order in which they
        were stored, and `_producer`. Times are integers in the field's unit; a label of named numbers is its name.
        Raises ValueError for a field that the schema has not, and for a value that it cannot have.
        """
        with contextlib.suppress(FileNotFoundError), self._database.reading() as database:
            return newest_events(database, schema, filters or {}, before, limit)
        return []

    def close(self) -> None:
        self._closing.set()
        self._threads.shutdown(cancel_futures=True)
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
