"""Reader: the role that drains a namespace.

Two threads: the agent's loop drains rings and applies records without the GIL; the keeper finds segments, gives series
their places, and ends what is dead. A ring that needs the keeper waits for it alone, all others go on.
"""

import contextlib
import logging
import os
import select
import threading
import time
from types import TracebackType
from typing import Self

from ..aggregate._kernels import Buckets
from ..aggregate.outside import read_view
from ..aggregate.series import SERIES_TABLE
from ..aggregate.snapshot import Snapshot
from ..aggregate.state import MAX_SERIES, State, make_state, state_path
from ..aggregate.view import View
from ..segment import DIRECTORY, check_name
from ._agent import Agent
from .control import Control
from .keeper import Keeper

logger = logging.getLogger("shmtelemetry")

LONGEST_SLEEP = 0.004  # seconds; at most 1 ms of it while anything was active in the last second
KEEPER_PERIOD = 0.1
CHECKS = 10  # rings whose locks are tried in one period; a ring that was closed is noticed by the loop
TURNING = 2.0  # seconds without a turn after which the loop is not healthy


def read_state(namespace: str = "default") -> Snapshot:
    """What the reader of a namespace has aggregated, from any process of the same user; disturbs nobody.

    Raises StateError where there is no state.
    """
    check_name("namespace", namespace)
    return read_view(namespace, state_path(DIRECTORY, namespace, os.geteuid()))


class Reader:
    """Drains all rings of a namespace into its state.

    ephemeral: remove the state at the end, else the next reader goes on with the totals. interval: longest sleep
    between turns in seconds, by default 1 ms with traffic and 4 ms without. max_series, gauge_ttl: see `bound`.
    label_producer: whether each series carries its producer's name in the label `producer`, instead of one for all
    producers; None goes on as the state began, and a new one is for all. One reader a namespace and user: raises
    ReaderBusyError naming the other's pid, StateError for a state that cannot be used or has label_producer otherwise.
    """

    def __init__(
        self,
        namespace: str = "default",
        *,
        ephemeral: bool = False,
        interval: float | None = None,
        max_series: int = MAX_SERIES,
        gauge_ttl: float | None = None,
        label_producer: bool | None = None,
    ) -> None:
        self.namespace, self.ephemeral = check_name("namespace", namespace), ephemeral
        if interval is not None and not 0 < interval < 1:
            raise ValueError(f"interval {interval!r}: expected more than 0 and less than 1 second")
        self._check_bounds(max_series, gauge_ttl)
        self._max_series, self._gauge_ttl, self._label_producer = max_series, gauge_ttl, label_producer
        self._pid, self._closed = os.getpid(), False
        self._control = Control(namespace)
        try:
            self._open(namespace, interval or LONGEST_SLEEP)
        except BaseException:
            self._control.close()
            raise

    def _open(self, namespace: str, interval: float) -> None:
        path = state_path(DIRECTORY, namespace, os.geteuid())
        make_state(path)
        self._control.hold(path, namespace)
        self._state = State(namespace, path, self._max_series, self._gauge_ttl, self._label_producer)
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._agent = Agent(self._state.store, self._eventfd, int(interval * 1e9))
        lag = self._state.place(SERIES_TABLE, self._state.lag)
        self._agent.set_lag(lag, Buckets(self._state.metrics[0].buckets))
        self._keeper = Keeper(namespace, self._state, self._agent)
        self._view, self._view_lock = View(namespace, self._state.mapping), threading.Lock()
        self._keeping = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._wakeful = select.poll()  # select.select refuses descriptors from 1024 on
        self._wakeful.register(self._eventfd, select.POLLIN)
        self._drained = 0

    @staticmethod
    def _check_bounds(max_series: int, gauge_ttl: float | None) -> None:
        if max_series < 1:
            raise ValueError(f"max_series {max_series!r}: expected at least 1")
        if gauge_ttl is not None and not gauge_ttl > 0:
            raise ValueError(f"gauge_ttl {gauge_ttl!r}: expected more than 0 seconds")

    def bound(self, max_series: int = MAX_SERIES, gauge_ttl: float | None = None) -> None:
        """Set anew, from now on, what bounds the series that are kept.

        max_series: of the namespace; what comes beyond is counted in one `overflow` series a metric. Series that are
        there stay. gauge_ttl: seconds that gauges stay, None for ever. Raises ValueError.
        """
        self._check_bounds(max_series, gauge_ttl)
        self._max_series, self._gauge_ttl = max_series, gauge_ttl
        self._state.max_series, self._state.gauge_ttl = max_series, gauge_ttl

    # ---- turns ----

    def poll(self) -> int:
        """One turn: takes what is published now from every ring of the namespace; returns how many records.

        Not while the loop runs: RuntimeError; ValueError after `close`.
        """
        self._check_open()
        if self._threads:
            raise RuntimeError("the reader's loop is running: use catch_up()")
        with self._keeping:
            return self._take()

    def _take(self) -> int:
        self._keeper.look_now()
        self._keeper.attend()
        self._keeper.check_all()
        self._agent.calibrate()
        drained = self._agent.poll()
        while self._keeper.serve():
            drained += self._agent.poll()
        self._agent.look()
        return int(drained)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the reader of namespace {self.namespace} is closed")

    def start(self) -> None:
        """Run the loop in threads of their own until `stop`. ValueError after `close`."""
        self._check_open()
        if self._threads:
            return
        self._stopping = False
        self._agent.resume()
        self._threads = [
            threading.Thread(target=self._agent.run, name="shmtel-loop", daemon=True),
            threading.Thread(target=self._keep, name="shmtel-keeper", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _keep(self) -> None:
        calibrated = checked = time.monotonic()
        while not self._stopping:
            try:
                with self._keeping:
                    self._keeper.attend()
                    if time.monotonic() - checked >= KEEPER_PERIOD:
                        self._keeper.check(CHECKS)
                        checked = time.monotonic()
                now = time.monotonic()
                if now - calibrated >= 1.0:
                    self._agent.calibrate()
                    calibrated = now
            except Exception:
                logger.exception("the reader goes on after an error")
                time.sleep(KEEPER_PERIOD)
            self._wakeful.poll(KEEPER_PERIOD * 1000)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._eventfd)

    def stop(self) -> None:
        """End the loop; what is published is taken first."""
        if not self._threads:
            return
        self._stopping = True
        self._agent.stop()
        self._wake()
        for thread in self._threads:
            thread.join()
        self._threads = []
        self.poll()

    def _wake(self) -> None:
        os.eventfd_write(self._eventfd, 1)

    def catch_up(self, timeout: float = 0.05) -> bool:
        """Wait until everything that was published before this call is in the state; False if time ran out."""
        if not self._threads:
            self.poll()
            return True
        deadline = time.monotonic() + timeout
        self._keeper.look_now()
        rounds = self._keeper.rounds + 2  # the next to end may have begun before the call; the one after it has not
        published = None
        while published is None or (published := self._agent.behind(published)):
            if published is None and self._keeper.rounds >= rounds:
                published = self._agent.published()
                continue
            if time.monotonic() >= deadline:
                return False
            self._agent.ask()
            self._wake()
            time.sleep(0.0005)
        return True

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until every ended producer is drained and its segment unlinked; False if time ran out."""
        deadline = time.monotonic() + timeout
        while True:
            self.catch_up(max(0.0, deadline - time.monotonic()))
            if self._keeping.acquire(timeout=max(0.0, deadline - time.monotonic())):
                try:
                    if self._keeper.settled():
                        return True
                finally:
                    self._keeping.release()
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)

    # ---- looks ----

    def snapshot(self, distributions: bool = True) -> Snapshot:
        """A consistent copy of the state; never delays the loop.

        distributions: with what Snapshot.histogram reads; text expositions do without, and are faster.
        """
        with self._view_lock:
            self._check_open()
            return self._view.snapshot(distributions)

    @property
    def records(self) -> int:
        """Records that this reader has drained."""
        return self._drained if self._closed else int(self._agent.records)

    @property
    def turning(self) -> bool:
        """Whether the loop runs and made a turn in the last two seconds."""
        return bool(self._threads) and time.time_ns() - self._state.get("turn_ns") < TURNING * 1e9

    # ---- the end ----

    def close(self) -> None:
        """Stop, take what is published, and leave the namespace to the next reader."""
        if self._closed or self._pid != os.getpid():  # a forked child has no part in it
            return
        try:
            if self._threads:
                self.stop()
            else:
                self.poll()
        finally:
            self._closed = True
            with self._keeping, self._view_lock:
                self._let_go()

    def _let_go(self) -> None:
        self._keeper.release()
        if self.ephemeral:
            self._state.unlink()
        self._drained = int(self._agent.records)
        del self._agent, self._keeper
        self._state.close()
        os.close(self._eventfd)
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
