"""How fast records come, and how many of them are lost: what changed between two looks at the producers' accounts."""

import math
from dataclasses import dataclass
from typing import Any, Final

from ..aggregate.snapshot import ProducerTotals, Snapshot
from .figures import WINDOW, finite

LAG: Final = "shmtel_reader_lag_seconds"
SHORTEST: Final = 1.0  # seconds between two looks that say anything


@dataclass(frozen=True, slots=True)
class _Look:
    taken_ns: int
    consumed: int
    attempted: int
    lost: int


class Pace:
    """Remembers the last looks at one namespace."""

    def __init__(self) -> None:
        self._before: _Look | None = None
        self._rate: float | None = None
        self._coverage: float | None = None
        self._lost: float | None = None

    def __call__(self, snapshot: Snapshot) -> dict[str, Any]:
        """The section `telemetry` of an update. coverage: of what was attempted in the last second or so, the share
        that was not lost. lag_ms: from emit to the reader, of the last 10 s."""
        totals = snapshot.producers.values()
        look = _Look(
            snapshot.taken_ns,
            sum(producer.consumed for producer in totals),
            sum(producer.attempted for producer in totals),
            sum(map(_lost, totals)),
        )
        self._compare(look)
        lag = snapshot.window(WINDOW).histogram(LAG)
        p50, p99 = (finite(lag.quantile(q) * 1e3) for q in (0.5, 0.99))
        return {
            "records": look.consumed,
            "records_per_second": self._rate,
            "lost": look.lost,
            "lost_per_second": self._lost,
            "coverage": self._coverage,
            "lag_ms": {"p50": p50, "p99": p99},
            "producers": sum(producer.live for producer in totals),
            "series": sum(len(family.labels) for family in snapshot.families.values()),
        }

    def _compare(self, look: _Look) -> None:
        before = self._before
        if before is None:
            self._before = look
            return
        seconds = (look.taken_ns - before.taken_ns) / 1e9
        if seconds < SHORTEST:
            return
        attempted, lost = look.attempted - before.attempted, look.lost - before.lost
        self._rate = max(0.0, (look.consumed - before.consumed) / seconds)
        self._lost = max(0.0, lost / seconds)
        self._coverage = min(1.0, max(0.0, 1 - lost / attempted)) if attempted > 0 else 1.0
        self._before = look


def _lost(producer: ProducerTotals) -> int:
    return sum(producer.dropped.values()) + producer.overwritten + producer.aborted


def producers(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The account of each producer, as accounting.Stats has it; used: share of its rings that waits to be read."""
    return [
        {
            "name": one.name,
            "live": one.live,
            "attempted": one.attempted,
            "consumed": one.consumed,
            "in_ring": one.in_ring,
            "coalesced": one.coalesced,
            "dropped": dict(one.dropped),
            "overwritten": one.overwritten,
            "rejected": one.rejected,
            "aborted": one.aborted,
            "invalid": one.invalid,
            "capacity": one.capacity,
            "used": one.in_ring / one.capacity if one.capacity else math.nan,
        }
        for one in snapshot.producers.values()
    ]
