"""How the machine is, and whether telemetry itself is well."""

import time
from typing import Any, Final

from ...aggregate.snapshot import Snapshot
from ...errors import StateError
from .base import BaseCollector
from .look import Look, onlooker

_MEMORY: Final = 60.0  # seconds for which what was lost counts as a problem
_DROPPED: Final = "shmtel_dropped_records_total"
_QUARANTINED: Final = "shmtel_quarantined_segments"


class SystemCollector(BaseCollector):
    """{"cpu_percent", "memory_percent", "health", "problems"}; health is healthy, degraded or unhealthy.

    cpu_percent: of all processors since it was asked before. problems: why it is not healthy, a sentence each: records
    that were dropped within the last minute, segments that are left aside, a reader that takes nothing. look: gives the
    snapshot to judge by, by default that of `namespace`, else of the settings' one. Needs psutil.
    """

    def __init__(self, look: Look | None = None, *, namespace: str | None = None) -> None:
        super().__init__("system")
        self._look = look or onlooker(namespace)
        self._dropped: float | None = None
        self._dropped_at = -_MEMORY

    async def _start_impl(self) -> None:
        import psutil  # here, where it is needed: all else does without

        self._machine = psutil
        psutil.cpu_percent()  # the first one says nothing

    async def get_current_metrics(self) -> dict[str, Any]:
        try:
            problems = self._problems(self._look())
            health = "degraded" if problems else "healthy"
        except StateError as error:
            problems, health = [str(error)], "unhealthy"
        return {
            "cpu_percent": self._machine.cpu_percent(),
            "memory_percent": self._machine.virtual_memory().percent,
            "health": health,
            "problems": problems,
        }

    def _problems(self, snapshot: Snapshot) -> list[str]:
        found = []
        dropped = float(snapshot.families[_DROPPED].values.sum())
        if self._dropped is not None and dropped > self._dropped:
            self._dropped_at = time.monotonic()
        self._dropped = dropped
        if time.monotonic() - self._dropped_at < _MEMORY:
            found.append("records were dropped within the last minute, because rings were full")
        aside = int(snapshot.value(_QUARANTINED))
        if aside:
            found.append(f"{aside} segments are left aside: shmtel doctor says why")
        if not _takes(snapshot):
            found.append("the reader takes nothing: is there one?")
        return found


def _takes(snapshot: Snapshot) -> bool:
    """Whether a second of the reader's was completed of late; yes where it keeps no seconds."""
    try:
        return snapshot.window(1).seconds > 0
    except ValueError:
        return True
