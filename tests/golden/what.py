"""What a reader makes of segments, in a form that can be kept and compared."""

from __future__ import annotations

from typing import Any

from shmtelemetry.aggregate.snapshot import Family, Snapshot


def aggregated(snapshot: Snapshot) -> dict[str, Any]:
    """All series but the reader's own, and the accounting of each producer."""
    families = {name: _series(snapshot, family) for name, family in snapshot.families.items()}
    producers = {
        name: [totals.attempted, totals.consumed, totals.coalesced, totals.rejected, dict(totals.dropped)]
        for name, totals in snapshot.producers.items()
    }
    return {"families": {name: one for name, one in families.items() if name[:7] != "shmtel_"}, "producers": producers}


def _series(snapshot: Snapshot, family: Family) -> dict[str, Any]:
    exemplars = [[e.series, e.bucket, [list(pair) for pair in e.labels], e.value] for e in family.exemplars]
    return {
        "kind": family.metric.kind,
        "help": family.metric.help,
        "labels": list(family.label_names),
        "series": [[list(labels), _value(snapshot, family, labels)] for labels in family.labels],
        "exemplars": exemplars,
    }


def _value(snapshot: Snapshot, family: Family, labels: tuple[str, ...]) -> Any:
    named = dict(zip(family.label_names, labels, strict=True))
    if family.counts is None:
        return snapshot.value(family.metric.name, **named)
    h = snapshot.histogram(family.metric.name, **named)
    return [h.count, h.sum, h.min, h.max, h.zeros, h.first, h.exponential.tolist(), [n for _, n in h.buckets]]
