"""Role: draining a namespace, for as long as this process holds its lock.

Two threads: the agent's loop drains rings and applies records without the GIL; the keeper finds segments, gives series
their places, and ends what is dead. A ring that needs the keeper waits for it alone, all others go on.
"""

import _thread
import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..aggregate._kernels import Buckets
from ..aggregate.aside import keep_aside
from ..aggregate.recorder import Recorder, remove
from ..aggregate.seconds import windows_path
from ..aggregate.series import SERIES_TABLE
from ..aggregate.snapshot import Snapshot
from ..aggregate.state import GAUGE_TTL, MAX_SERIES, State, make_state, state_path
from ..aggregate.view import View
from ..events import EventSink
from ..segment import DIRECTORY
from ._agent import Agent
from .control import ASKED, BELL, Control
from .feed import Feed
from .keeper import Keeper

logger = logging.getLogger("shmtelemetry")

LONGEST_SLEEP = 0.004  # seconds; at most 1 ms of it while anything was active in the last second
KEEPER_PERIOD = 0.1
CHECKS = 10  # rings whose locks are tried in one period; a ring that was closed is noticed by the loop
QUIET_CHECKS = 100  # of those that have just fallen quiet: a producer that was killed is most likely among them
SCRAPE_CHECKS = 200  # before a scrape, so that it shows who lives
TURNING = 2.0  # seconds without a turn after which the loop is not healthy
JOIN_PERIOD = 0.0005  # seconds
PATIENCE = 0.05  # seconds for which others who ask are served, as long as they wait


class LoopThread:
    """A thread of the operating system, also where gevent's monkey patching gives greenlets to those who ask for
    threads: the loop waits in C, so that as a greenlet it would never let another one run."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._runs = True
        start = _thread.start_new_thread
        if gevent := sys.modules.get("gevent.monkey"):
            start = gevent.get_original("_thread", "start_new_thread")
        start(self._run, (run,))

    def _run(self, run: Callable[[], object]) -> None:
        try:
            run()
        finally:
            self._runs = False

    def join(self) -> None:
        """Wait for its end, in a way that greenlets know."""
        while self._runs:
            time.sleep(JOIN_PERIOD)


class Role:
    """The namespace's lock, its state, and the loop that drains into it.

    interval: longest sleep in seconds. max_series, gauge_ttl, label_producer: as State has them. windows: whether to
    keep what series gained in each of the last seconds. allow_uids: as attach has them. events: who keeps the records
    of rings with events; None for nobody. reset_state: begin from zero; what there was is kept aside.

    Raises ReaderBusyError naming the process that has the lock, StateError for a state that cannot be used.
    """

    def __init__(
        self,
        namespace: str,
        interval: float = LONGEST_SLEEP,
        max_series: int = MAX_SERIES,
        gauge_ttl: float = GAUGE_TTL,
        label_producer: bool | None = None,
        windows: bool = True,
        allow_uids: frozenset[int] = frozenset(),
        events: EventSink | None = None,
        reset_state: bool = False,
    ) -> None:
        self._allow_uids, self._events = allow_uids, events
        self._control = Control(namespace)
        try:
            path = state_path(DIRECTORY, namespace, os.geteuid())
            if reset_state:
                self._reset(path, namespace)
            make_state(path)
            self._control.hold(path, namespace)
            self._state = State(namespace, path, max_series, gauge_ttl, label_producer)
            self._open(namespace, interval, windows)
        except BaseException:
            self._control.close()
            raise

    def _reset(self, path: Path, namespace: str) -> None:
        """Keep the state aside, unless a reader whose own lock somebody removed still writes it."""
        if os.path.lexists(path):
            if path.is_file() and not path.is_symlink():
                self._control.hold(path, namespace)
            logger.warning("the state of namespace %s is kept aside as %s", namespace, keep_aside(path))

    def _open(self, namespace: str, interval: float, windows: bool) -> None:
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._agent = Agent(self._state.store, self._eventfd, int(interval * 1e9), self._control.mapping, BELL, ASKED)
        lag = self._state.place(SERIES_TABLE, self._state.lag)
        self._agent.set_lag(lag, Buckets(self._state.metrics[0].buckets))
        self._feed = Feed(self._events, self._agent, self._allow_uids) if self._events is not None else None
        self._keeper = Keeper(namespace, self._state, self._agent, self._allow_uids, self._feed)
        seconds = windows_path(self._state.path)
        remove(seconds)  # those of a reader that was killed
        self._recorder = Recorder(seconds, self._state.store, self._state.uuid) if windows else None
        self._view, self._view_lock = View(namespace, self._state.mapping, seconds=seconds), threading.Lock()
        self._keeping, self._starting = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread | LoopThread] = []
        self._stopping = False
        self._wakeful = select.poll()  # select.select refuses descriptors from 1024 on
        self._wakeful.register(self._eventfd, select.POLLIN)
        self._drained = 0  # records, when it was closed

    def bound(self, max_series: int, gauge_ttl: float) -> None:
        self._state.max_series, self._state.gauge_ttl = max_series, gauge_ttl

    # ---- turns ----

    @property
    def runs(self) -> bool:
        return bool(self._threads)

    def poll(self) -> int:
        """One turn over every ring; returns how many records. Not while the loop runs."""
        with self._keeping:
            self._state.check_whole()
            self._keeper.look_now()
            self._keeper.attend()
            self._keeper.check_all()
            self._agent.calibrate()
            drained = self._agent.poll()
            while self._keeper.serve():
                drained += self._agent.poll()
            if self._feed is not None:
                self._feed.catch_up()
                drained += self._agent.poll()  # gives back what is stored
                self._keeper.attend()
            self._agent.look()
            self._take_second()
            return int(drained)

    def start(self) -> None:
        """Run the loop in threads of their own until `stop`."""
        with self._starting:  # two loops would write one state
            if not self._threads:
                self._start()

    def _start(self) -> None:
        self._stopping = False
        self._agent.resume()
        keeper = threading.Thread(target=self._keep, name="shmtel-keeper", daemon=True)
        self._threads = [LoopThread(self._agent.run), keeper]
        keeper.start()
        if self._feed is not None:
            self._feed.start()

    def _keep(self) -> None:
        calibrated = checked = time.monotonic()
        while not self._stopping:
            if self._state.mapping.cut:
                logger.error("the reader stands still: the state of namespace %s was cut short", self._state.namespace)
                return
            try:
                if self._control.is_asked:
                    self._serve()
                with self._keeping:
                    self._keeper.attend()
                    if time.monotonic() - checked >= KEEPER_PERIOD:
                        self._keeper.check(CHECKS, QUIET_CHECKS)
                        checked = time.monotonic()
                self._take_second()
                now = time.monotonic()
                if now - calibrated >= 1.0:
                    self._agent.calibrate()
                    calibrated = now
            except Exception:
                logger.exception("the reader goes on after an error")
                time.sleep(KEEPER_PERIOD)
            if not self._control.is_asked:
                self._wakeful.poll(1000 * min(KEEPER_PERIOD, self._recorder.due if self._recorder else KEEPER_PERIOD))
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._eventfd)

    def _take_second(self) -> None:
        if self._recorder is not None and not self._recorder.due:
            self._recorder.take(self._agent.losses())

    def _serve(self) -> None:
        """Take what others wait for."""
        began = time.monotonic_ns()
        if self.catch_up(PATIENCE):
            self._control.serve(began)

    def stop(self) -> None:
        """End the loop; what is published is taken first."""
        if not self._threads:
            return
        self._stopping = True
        self._agent.stop()
        os.eventfd_write(self._eventfd, 1)
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._feed is not None:
            self._feed.stop()
        self.poll()

    def catch_up(self, timeout: float) -> bool:
        """Wait until everything that was published before this call is in the state; False if time ran out."""
        self._state.check_whole()
        if not self._threads:
            self.poll()
            return True
        deadline = time.monotonic() + timeout
        if not self._attend(deadline, look=True):
            return False
        published = self._agent.published()
        while (published := self._agent.behind(published)) or self._agent.ending():
            if time.monotonic() >= deadline:
                return False
            self._agent.await_turn(max(0.0, deadline - time.monotonic()))
            if not self._attend(deadline):
                return False
        return True

    def _attend(self, deadline: float, look: bool = False) -> bool:
        """The keeper's work, done here; False if somebody else is at it for too long."""
        if not self._keeping.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return False
        try:
            if look:
                self._keeper.look_now()
            self._keeper.attend()
            if look:
                self._keeper.check(SCRAPE_CHECKS)  # after: who has just been found may have ended already
        finally:
            self._keeping.release()
        return True

    def settle(self, timeout: float) -> bool:
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

    def snapshot(self, distributions: bool) -> Snapshot:
        with self._view_lock:
            try:
                return self._view.snapshot(distributions)
            finally:
                self._state.check_whole()

    @property
    def records(self) -> int:
        """Records drained so far."""
        return int(self._agent.records) if hasattr(self, "_agent") else self._drained

    @property
    def turning(self) -> bool:
        """Whether the loop runs and made a turn in the last two seconds."""
        return bool(self._threads) and time.time_ns() - self._state.get("turn_ns") < TURNING * 1e9

    # ---- the end ----

    def close(self, remove: bool = False) -> None:
        """Stop, take what is published, and leave the namespace to the next reader. remove: without the state."""
        try:
            if self._threads:
                self.stop()
            else:
                self.poll()
        finally:
            with self._keeping, self._view_lock:
                self._keeper.release()
                if self._feed is not None:
                    self._feed.close()
                if self._recorder is not None:
                    self._recorder.close()
                if remove:
                    self._state.unlink()
                self._drained = self.records
                del self._agent, self._keeper
                self._state.close()
                os.close(self._eventfd)
                self._control.close()
