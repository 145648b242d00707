"""Recording: the reader's role of a namespace, and what its holder keeps beside the totals."""

import logging
import threading
import time
from contextlib import ExitStack
from typing import Final, Self

from .aggregate.snapshot import Snapshot
from .reader import Reader
from .service.alerts import AlertWatch, Rules
from .service.database import database_path
from .service.events import EventStore
from .service.history.trouble import ALERTS, EVENTS, FAILING, FIRING, HISTORY, LOST
from .service.history.writer import HistoryWriter
from .service.settings import ServiceSettings
from .telemetry import Telemetry

PERIOD: Final = 1.0  # seconds
PRODUCER: Final = "recording"
CAPACITY: Final = 256  # records

logger = logging.getLogger("shmtelemetry")


class Recording:
    """Reads a namespace from `with` to its end, keeps events, and once a second history and what rules find.

    Rules are looked at each second, whatever the disk does; that it does not take something is told in figures, which
    all processes see.

    settings: of a service, whose `reader` says how to read. standby: share the role with others; whoever has it keeps.
    reset_state: as Reader has it. Raises what Reader raises, ValueError for a file that is no database of ours, and for
    rules that cannot be.
    """

    def __init__(self, settings: ServiceSettings, standby: bool = False, reset_state: bool = False) -> None:
        namespace, database = settings.namespace, database_path(settings.namespace, settings.state_dir)
        with ExitStack() as stack:
            self._events = EventStore(database, settings.keep_events)
            self._history = HistoryWriter(database, namespace)
            self._alerts = AlertWatch(database, Rules.load(settings.rules))
            for opened in (self._events, self._history, self._alerts):
                stack.callback(opened.close)
            how = dict(settings.reader or {}, standby=standby, reset_state=reset_state)
            self.reader = Reader(namespace, guard=True, events=self._events, **how)
            stack.callback(self.reader.close)
            telemetry = stack.enter_context(Telemetry(PRODUCER, namespace, capacity=CAPACITY))
            self._lost = telemetry.counter(LOST, "Figures of series that the disk did not take.")
            self._told = 0  # of these
            self._firing = telemetry.gauge(FIRING, "Alerts of each rule that fire.", labels=("alert", "severity"))
            self._failing = telemetry.gauge(FAILING, "Whether the disk does not take it now.", labels=("part",))
            self._stack = stack.pop_all()
        self._stopping, self._has_seen = threading.Event(), threading.Event()
        self._seen: tuple[Snapshot, float]  # last, and when
        self._threads = [
            threading.Thread(target=work, name=f"shmtel-{name}", daemon=True)
            for name, work in (("rules", self._look), ("recording", self._keep_all))
        ]

    def _look(self) -> None:
        """Each second, whatever the disk does."""
        while not self._stopping.wait(PERIOD - time.time() % PERIOD):
            if self.reader.holds:
                try:
                    snapshot, now = self.reader.snapshot(), time.time()
                    self._seen = snapshot, now
                    self._has_seen.set()
                    self._alerts.look(snapshot, now)
                    for (alert, severity), count in self._alerts.firing().items():
                        self._firing.labels(alert, severity).set(count)
                except Exception:
                    logger.exception("rules are not looked at")

    def _keep_all(self) -> None:
        """What was seen last, as fast as the disk takes it."""
        while self._has_seen.wait() and not self._stopping.is_set():
            self._has_seen.clear()
            for keep in (self._alerts.keep, self._keep_history):
                try:
                    keep()
                except Exception:
                    logger.exception("what there is now is not kept")
            failing = {HISTORY: self._history.failing, EVENTS: self._events.failing, ALERTS: self._alerts.failing}
            for part, fails in failing.items():
                self._failing.labels(part).set(fails)

    def _keep_history(self) -> None:
        self._history.record(*self._seen)
        if self._history.lost > self._told:
            self._lost.emit(self._history.lost - self._told)
            self._told = self._history.lost

    def __enter__(self) -> Self:
        self.reader.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._has_seen.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()
