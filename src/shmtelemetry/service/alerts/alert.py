"""Alert: one thing that somebody has found, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

RULES: Final = "rules"  # of this package, or
ALERTMANAGER: Final = "alertmanager"


@dataclass(frozen=True, slots=True)
class Alert:
    """What somebody has found. Times are seconds since the epoch; source, name, labels and since tell it from others.

    since: when it was so first. fired: since when it was so for long enough; None for not yet. ended: None while it is
    so.
    """

    source: str
    name: str
    labels: Mapping[str, str]
    since: float
    severity: str
    summary: str
    runbook: str
    value: float
    fired: float | None = None
    ended: float | None = None

    @property
    def state(self) -> str:
        """pending, firing or resolved; inactive for one that has ended without firing."""
        if self.ended is not None:
            return "inactive" if self.fired is None else "resolved"
        return "pending" if self.fired is None else "firing"
