"""AlertWatch: what the process that reads does about alerts, once a second."""

import logging
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Final, Self

from ...aggregate.snapshot import Snapshot
from .alert import Alert
from .evaluator import Evaluator, Name, name_of
from .rules import Rules
from .store import AlertStore

logger = logging.getLogger("shmtelemetry")

MOST: Final = 10_000  # changes that wait for the disk; beyond, those of alerts that have ended are forgotten


class AlertWatch:
    """Evaluates rules, and keeps what has changed; goes on where another one has ended.

    One thread looks, and waits for no disk; another one keeps. What the disk does not take waits in memory until it
    does. Raises ValueError for a file that is no such database.
    """

    def __init__(self, path: Path, rules: Rules) -> None:
        self._store, self._rules = AlertStore(path), rules
        self._evaluator = Evaluator(rules)
        self._known = False  # whether it goes on with what was active
        self._changed: dict[tuple[Name, float], Alert] = {}  # and not stored yet
        self._lock = threading.Lock()  # of these
        self.failing = False

    def look(self, snapshot: Snapshot, now: float) -> None:
        """snapshot: with windows. now: seconds since the epoch."""
        with self._lock:
            if not self._known:
                self._go_on()
            for alert in self._evaluator.evaluate(snapshot, now):
                self._changed[name_of(alert), alert.since] = alert
            if len(self._changed) > MOST:
                self._changed = {key: alert for key, alert in self._changed.items() if alert.ended is None}
                self._known = False  # which of those that are stored have ended is found anew

    def firing(self) -> dict[tuple[str, str], int]:
        """How many alerts fire, by name and severity of each rule."""
        with self._lock:
            found = Counter((alert.name, alert.severity) for alert in self._evaluator.active if alert.fired is not None)
        return {(rule.name, rule.severity): found[rule.name, rule.severity] for rule in self._rules}

    def keep(self) -> None:
        """What has changed since. May wait for the disk."""
        try:
            with self._lock:
                changed = dict(self._changed)
            if changed:
                self._store.record(changed.values())
            with self._lock:
                for key, alert in changed.items():
                    if self._changed.get(key) is alert:
                        del self._changed[key]
            self.failing = not self._known
        except (sqlite3.Error, OSError) as error:
            self._fail(error)

    def _go_on(self) -> None:
        """With what another one has found. Who reads waits for nobody, and a disk in trouble is asked again."""
        try:
            active = self._store.active()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
            return
        for alert in self._evaluator.go_on(active):
            self._changed.pop((name_of(alert), alert.since), None)
        self._known = True

    def _fail(self, error: Exception) -> None:
        if not self.failing:
            logger.warning("alerts are not listed, as long as that lasts: %s", error)
        self.failing = True

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
