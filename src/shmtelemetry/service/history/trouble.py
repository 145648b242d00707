"""What the process that keeps history says of itself in the namespace's figures, which need no disk."""

from typing import Final

from ...aggregate.snapshot import Snapshot

LOST: Final = "history_lost_figures_total"
FAILING: Final = "recording_failing"  # by part
FIRING: Final = "alerts_firing"  # by alert and severity
HISTORY: Final = "history"
EVENTS: Final = "events"
ALERTS: Final = "alerts"


def trouble(snapshot: Snapshot) -> str:
    """Why what is told of the past is not complete, for people; empty while the disk takes all that is to be kept."""
    family = snapshot.families.get(FAILING)
    if family is None:
        return ""
    parts = [labels[0] for labels, fails in zip(family.labels, family.values.tolist(), strict=True) if fails]
    return f"the disk does not take {' and '.join(sorted(parts))}: the log says why" if parts else ""
