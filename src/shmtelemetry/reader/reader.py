"""Reader: drains a namespace, or looks on while another process does."""

import contextlib
import logging
import os
import select
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from .._mapping import install_guard
from ..aggregate.outside import Published
from ..aggregate.snapshot import Snapshot
from ..aggregate.state import GAUGE_TTL, MAX_SERIES, state_path
from ..errors import ReaderBusyError, ShmtelError
from ..events import EventSink
from ..segment import DIRECTORY, check_name, check_uids
from .control import Membership, ask
from .onlooker import SCRAPE_WAIT, Onlooker
from .role import LONGEST_SLEEP, Role

logger = logging.getLogger("shmtelemetry")

WATCH = 1.0  # seconds between two attempts to take the role; the holder's death is noticed at once


def read_state(namespace: str = "default") -> Snapshot:
    """What the reader of a namespace has aggregated, from any process of the same user; disturbs nobody.

    Raises StateError where there is no state.
    """
    with Onlooker(namespace) as onlooker:
        return onlooker.snapshot()


def _bounds(max_series: int, gauge_ttl: float) -> tuple[int, float]:
    """Both, as they can be. Raises ValueError."""
    if max_series < 1:
        raise ValueError(f"max_series {max_series!r}: expected at least 1")
    if not gauge_ttl >= 0:
        raise ValueError(f"gauge_ttl {gauge_ttl!r}: expected 0 or more seconds")
    return max_series, gauge_ttl


class Reader:
    """Drains all rings of a namespace into its state. One process at a time has that role.

    standby: share the role with other processes that have such a reader. `start` takes it if it is free, and takes it
    over when its holder ends; until then this reader shows what the holder publishes. Otherwise the role is taken now:
    raises ReaderBusyError naming the pid of the process that has it, StateError for a state that cannot be used or was
    begun with label_producer otherwise.

    ephemeral: remove the state at the end, else the next reader goes on with the totals; with standby, the last of the
    processes that share it removes it, if that one's is ephemeral when it closes. interval: longest sleep between turns
    in seconds, by default 1 ms with traffic and 4 ms without. max_series, gauge_ttl: see `bound`. label_producer:
    whether each series carries its producer's name in the label `producer`, instead of one for all producers; None goes
    on as the state began, a new one for all. windows: whether to keep what Snapshot.window needs: what each series
    gained in each of the last 60 seconds, in at most 64 MiB of shared memory. reset_state: begin from zero; the state
    that there is, good or bad, is kept aside under another name.

    allow_uids: numbers of the users whose segments are drained as well; by default one's own only. guard: install a
    handler of SIGBUS in this process, so that files which somebody cuts short do not end it: a segment is left aside,
    and without its state this reader stands still and raises StateError; other faults go to the handler before it.
    events: who keeps the records of rings whose schema says events=True, for as long as this reader has the role; it
    may lag by half a ring, and what it loses then it counts. Its transactions end with `poll`, or go on in a thread of
    their own.
    """

    def __init__(
        self,
        namespace: str = "default",
        *,
        standby: bool = False,
        ephemeral: bool = False,
        interval: float | None = None,
        max_series: int = MAX_SERIES,
        gauge_ttl: float = GAUGE_TTL,
        label_producer: bool | None = None,
        windows: bool = True,
        allow_uids: Iterable[int] = (),
        guard: bool = False,
        events: EventSink | None = None,
        reset_state: bool = False,
    ) -> None:
        self.namespace, self.ephemeral, self.standby = check_name("namespace", namespace), ephemeral, standby
        if interval is not None and not 0 < interval < 1:
            raise ValueError(f"interval {interval!r}: expected more than 0 and less than 1 second")
        if reset_state and standby:
            raise ValueError("reset_state and standby: a reader that may wait for the role cannot reset its state")
        self._settings = (
            interval or LONGEST_SLEEP,
            *_bounds(max_series, gauge_ttl),
            label_producer,
            windows,
            check_uids(allow_uids),
            events,
        )
        if guard:
            install_guard()
        self._path = state_path(DIRECTORY, namespace, os.geteuid())
        self._pid, self._closed = os.getpid(), False
        self._drained = 0
        self._published: Published | None = None
        self._membership: Membership | None = None
        self._watcher: threading.Thread | None = None
        self._holder = 0  # pid of the process that has the role; 0 where it is not known
        self._lock = threading.RLock()  # of what changes when the role is taken
        self._role = None if standby else Role(namespace, *self._settings, reset_state=reset_state)

    def bound(self, max_series: int = MAX_SERIES, gauge_ttl: float = GAUGE_TTL) -> None:
        """Set anew, from now on, what bounds the series that are kept.

        max_series: of the namespace; what comes beyond is counted in one `overflow` series a metric. Series that are
        there stay. gauge_ttl: seconds until a gauge expires that no living producer has, math.inf for never. Raises
        ValueError.
        """
        bounds = _bounds(max_series, gauge_ttl)
        with self._lock:
            self._settings = self._settings[0], *bounds, *self._settings[3:]
            if self._role is not None:
                self._role.bound(*bounds)

    # ---- turns ----

    def poll(self) -> int:
        """One turn: takes what is published now from every ring of the namespace; returns how many records.

        Not while the loop runs: RuntimeError; ValueError after `close`. With standby, 0 where another has the role.
        """
        self._check_open()
        role = self._role or self._take()
        if role is None:
            return 0
        if role.runs:
            raise RuntimeError("the reader's loop is running: use catch_up()")
        return role.poll()

    def start(self) -> None:
        """Run the loop in threads of their own until `stop`; with standby, as soon as the role is free."""
        self._check_open()
        role = self._role or self._take()
        if role is not None:
            role.start()
        elif self._watcher is None:
            self._stopped = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._watcher = threading.Thread(target=self._watch, name="shmtel-standby", daemon=True)
            self._watcher.start()

    def stop(self) -> None:
        """End the loop; what is published is taken first."""
        if self._pid != os.getpid():  # a forked child has no loop
            return
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            os.eventfd_write(self._stopped, 1)
            watcher.join()
            os.close(self._stopped)
        if self._role is not None:
            self._role.stop()

    def catch_up(self, timeout: float = SCRAPE_WAIT) -> bool:
        """Wait until everything that was published before this call is in the state; False if time ran out."""
        self._check_open()
        role = self._role
        if role is None:
            served = ask(self.namespace, timeout)
            if served is not None:
                return served
            role = self._take()  # its holder has ended
            if role is None:
                return bool(ask(self.namespace, timeout))
            if self._watcher is not None:
                role.start()
        return role.catch_up(timeout)

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait until every ended producer is drained and its segment unlinked; False if time ran out.

        Only by the reader that has the role: RuntimeError otherwise.
        """
        self._check_open()
        if self._role is None:
            raise RuntimeError(f"another process reads namespace {self.namespace}")
        return self._role.settle(timeout)

    # ---- the role ----

    @property
    def holds(self) -> bool:
        """Whether this reader has the role."""
        return self._role is not None

    def _take(self) -> Role | None:
        """The role, taken now; None if another process has it."""
        with self._lock:
            if self._role is None and not self._closed:
                try:
                    self._role = Role(self.namespace, *self._settings)
                except ReaderBusyError as busy:
                    self._holder = busy.pid
            self._join()
            return self._role

    def _join(self) -> None:
        if self.standby and self.ephemeral and self._membership is None:
            with contextlib.suppress(FileNotFoundError):  # its holder is about to make the state
                self._membership = Membership(self._path)

    def _watch(self) -> None:
        """Take the role when its holder ends."""
        role = None
        said = ""
        while role is None:
            if self._waited_for_holder():
                return
            try:
                role = self._take()
            except (ShmtelError, OSError) as error:  # such as no memory now: tried again every WATCH seconds
                if str(error) != said:
                    logger.warning("namespace %s cannot be read: %s", self.namespace, error)
                said, self._holder = str(error), 0
        role.start()

    def _waited_for_holder(self) -> bool:
        """Wait until the role may be free; True if this reader is stopped."""
        ends = select.poll()
        ends.register(self._stopped, select.POLLIN)
        pidfd = None
        with contextlib.suppress(OSError, OverflowError):  # of another namespace, or none: try again after a while
            pidfd = os.pidfd_open(self._holder)
            ends.register(pidfd, select.POLLIN)
        try:
            return any(fd == self._stopped for fd, _ in ends.poll(WATCH * 1000))
        finally:
            if pidfd is not None:
                os.close(pidfd)

    # ---- looks ----

    def snapshot(self, distributions: bool = True) -> Snapshot:
        """A consistent copy of the state; never delays the loop.

        distributions: with what Snapshot.histogram reads; text expositions do without, and are faster. Raises
        StateError where another process has the role and its state cannot be read.
        """
        self._check_open()
        role = self._role
        if role is not None:
            return role.snapshot(distributions)
        with self._lock:
            if self._published is None:
                self._published = Published(self.namespace, self._path)
            return self._published.snapshot(distributions)

    def scrape(self, distributions: bool = False) -> Snapshot:
        """What exporters show: a snapshot in which everything is that was published before the call.

        Waits 50 ms for that at most.
        """
        self.catch_up(SCRAPE_WAIT)
        return self.snapshot(distributions)

    @property
    def records(self) -> int:
        """Records that this reader has drained."""
        return self._drained if self._role is None else self._role.records

    @property
    def turning(self) -> bool:
        """Whether the loop runs and made a turn in the last two seconds."""
        return self._role is not None and self._role.turning

    # ---- the end ----

    def close(self) -> None:
        """Stop, take what is published, and leave the namespace to the next reader."""
        if self._closed or self._pid != os.getpid():  # a forked child has no part in it
            return
        self._closed = True
        try:
            if self._watcher is not None:
                self.stop()
        finally:
            with self._lock:
                self._let_go()

    def _let_go(self) -> None:
        role, self._role = self._role, None
        if role is not None:
            try:
                role.close(remove=self.ephemeral and not self.standby)
            finally:
                self._drained = role.records
        if self._published is not None:
            self._published.close()
        if self._membership is not None:
            self._membership.leave(remove=self.ephemeral)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the reader of namespace {self.namespace} is closed")
        if self._pid != os.getpid():
            raise ValueError(f"the reader of namespace {self.namespace} belongs to process {self._pid}: make another")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
