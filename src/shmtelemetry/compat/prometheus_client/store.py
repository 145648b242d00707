"""What all metrics of this process share: one producer, and one embedded reader."""

import atexit
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from multiprocessing import parent_process, util

import numpy as np

from ... import config
from ...aggregate.snapshot import Family, Snapshot
from ...errors import ShmtelError
from ...liveness import fork_lock
from ...metric import Metric
from ...producer import warn_once
from ...reader import Reader, read_state
from ...segment import usable
from ...telemetry import Telemetry
from .._metrics import count_fork
from .tree import is_root, root_lives, sweep, tree_namespace

PRODUCER = "app"
PATIENCE = 1.0  # seconds for what was emitted before a look; what is read back is relied on, also on a busy machine
BRIEF = 0.05  # the same, while the process that drains is known to stand still: what is shown is what it had drained
DROPPED = "shmtel_dropped_records_total"
FULL = 4 * 1024 * 1024  # bytes of a catalogue after which new metrics get another producer
FRESH = 0.1  # seconds for which what others have defined is not read again: it takes 5 ms, and modules define many
LATE = -100  # priority of multiprocessing's finalizers: after those of applications


class Store:
    """In the private namespace of a process tree, every process that emits stands by to drain it.

    In a namespace that the operator names, a process drains only while it is asked to show something and nobody else
    does.
    """

    def __init__(self) -> None:
        self.private = config.namespace() is None
        self._reader: Reader | None = None
        self._pid = 0  # of the process that stands by
        self._busy = threading.RLock()  # while a reader is made or closed
        self._last: Snapshot | None = None  # the one at the exit, for those who look after it
        self._metrics: list[Metric] = []  # of others
        self._metrics_until = 0.0
        self._lent: Counter[Telemetry] = Counter()  # how many metrics each producer serves, the newest last
        self._newest: Telemetry | None = None
        self._patience = PATIENCE
        self.lost: Family | None = None  # records that were dropped, by producer and reason, in the last look
        if self._begin():
            os.register_at_fork(after_in_child=self._forked)
            atexit.register(self.close)
            self.stand_by()

    def _begin(self) -> bool:
        """Whether there is anything to write to."""
        if config.disabled() or not usable():
            warn_once("disabled", "metrics do nothing: SHMTEL_DISABLED is set, or there is no tmpfs on /dev/shm")
            return False
        try:
            if self.private:
                sweep()
            self.namespace = config.namespace() or tree_namespace()
            # Else it is a server's master that has not imported the application: its next workers go on with the state.
            self._of_root = self.private and is_root(self.namespace)  # a forked child's as well
            self._newest = Telemetry(PRODUCER, self.namespace)
            return True
        except (ShmtelError, OSError) as error:
            warn_once("no_ring", f"metrics do nothing: {error}")
            return False

    def lend(self, former: Telemetry | None) -> Telemetry | None:
        """The producer for one more metric; None where nothing is written. former: of the one before in its place.

        A catalogue only grows, also by what is removed. So applications that make metrics anew for each job get another
        producer now and then, and the former one ends with the last of its metrics.
        """
        with fork_lock():
            full = self._newest
            if full is not None and full.catalogue_length > FULL and self._last is None:
                self._newest = Telemetry(PRODUCER, self.namespace)
                self._end_unless_lent(full)
            lent = self._newest
            if lent is not None:
                self._lent[lent] += 1
        if former is not None and former is not lent:
            self.snapshot()  # so that the reader has seen what was removed, before another producer has it again
        return lent

    def give_back(self, telemetry: Telemetry) -> None:
        """A metric that it served is gone, and all its series are removed."""
        with fork_lock():
            self._lent[telemetry] -= 1
            self._end_unless_lent(telemetry)

    def _end_unless_lent(self, telemetry: Telemetry) -> None:
        if telemetry is not self._newest and not self._lent[telemetry]:
            del self._lent[telemetry]
            telemetry.close()

    def metrics(self) -> list[Metric]:
        """Those that others have defined under names of their choice, without a wait for anything newer."""
        if self.private or self._newest is None or self._last is not None:
            return []
        if time.monotonic() >= self._metrics_until:
            try:
                self._metrics = [family.metric for family in read_state(self.namespace).families.values()]
            except (ShmtelError, OSError):
                self._metrics = []  # nothing was read yet
            self._metrics_until = time.monotonic() + FRESH
        return self._metrics

    def _forked(self) -> None:
        """In a forked child. It stands by from its first emit or look on, so that a fork alone costs nothing."""
        self._reader, self._last, self._busy, self._patience = None, None, threading.RLock(), PATIENCE
        self._metrics_until = 0.0
        count_fork()

    def stand_by(self) -> None:
        """At the first emit of a process: see that somebody drains, now and when others have ended."""
        if self._pid == os.getpid() or self._newest is None:
            return
        self._pid = os.getpid()  # first: what follows may emit
        if parent_process() is not None:
            util.Finalize(None, self.close, exitpriority=LATE)  # such children run no atexit
        if self.private:
            with self._busy:
                self._reader = self._started()

    def _started(self) -> Reader | None:
        try:
            reader = self._made_reader()
            reader.start()
            return reader
        except (ShmtelError, OSError) as error:
            warn_once("no_reader", f"nothing is drained by this process: {error}")
            return None

    def _made_reader(self) -> Reader:
        if not self.private:
            return Reader(self.namespace, standby=True)
        # A live gauge goes with its process; nobody else looks, and this face shows no windows.
        return Reader(self.namespace, standby=True, ephemeral=True, gauge_ttl=0.0, windows=False)

    def snapshot(self) -> Snapshot | None:
        """Everything that was emitted before the call, in any process; None if there is nothing to show."""
        if self._newest is None or self._last is not None:
            return self._last
        self.stand_by()
        with self._busy:
            try:
                return self._scraped()
            except (ShmtelError, OSError) as error:
                warn_once("no_snapshot", f"the metrics of other processes cannot be shown: {error}")
                return None

    def _scraped(self) -> Snapshot:
        if self._reader is None:
            self._reader = self._made_reader()
        try:
            self._patience = PATIENCE if self._reader.catch_up(self._patience) else BRIEF
            return self._noted(self._reader.snapshot(distributions=False))
        finally:
            if not self.private and self._reader.holds:  # the namespace belongs to the operator's reader
                self._reader.close()
                self._reader = None

    def _noted(self, snapshot: Snapshot) -> Snapshot:
        """The same, once what was lost is told to the log and kept for an exposition."""
        family = snapshot.families[DROPPED]
        lost = np.flatnonzero(family.values)
        labels = tuple(family.labels[row] for row in lost)
        self.lost = replace(family, labels=labels, values=family.values[lost], created=family.created[lost])
        if labels:
            warn_once(DROPPED, "observations were dropped, because rings were full: see " + DROPPED)
        return snapshot

    def close(self) -> None:
        """At the exit: leave nothing in /dev/shm that nobody needs."""
        if self._newest is None or self._last is not None:
            return
        with self._busy:
            if self._pid == os.getpid():
                self._last = self.snapshot()
            for telemetry in {self._newest, *self._lent}:
                telemetry.close()
            if self._reader is not None:
                self._reader.ephemeral = self.private and (self._of_root or not root_lives(self.namespace))
                self._reader.close()
                self._reader = None


@cache
def store() -> Store:
    """That of this process, made when its first metric is."""
    with fork_lock():
        return Store()
