"""How fast the service and its reader are, by the metrics that all workers count together."""

import math
from typing import Any, Final

from ..aggregate.snapshot import FamilyWindows, Snapshot
from .figures import WINDOW, finite, rate, recent, total
from .pace import LAG

DURATION: Final = "http_request_duration_seconds"
MOST: Final = 100  # endpoints that are told, those most asked for
NAMES: Final = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")  # of the quantiles that windows have


def performance(snapshot: Snapshot) -> dict[str, Any]:
    """Rates and quantiles of the last ten seconds."""
    return {
        "reader_lag": _lag(snapshot, LAG),
        "event_loop_lag": _lag(snapshot, "event_loop_lag_seconds"),
        "http": {"requests_per_second": rate(snapshot, "http_requests_total"), "endpoints": _endpoints(snapshot)},
        "websocket": {
            "connections": total(snapshot, "websocket_connections_active") or 0.0,
            "messages_per_second": rate(snapshot, "websocket_messages_sent_total"),
            "dropped_per_second": rate(snapshot, "websocket_messages_dropped_total"),
        },
    }


def _lag(snapshot: Snapshot, name: str) -> dict[str, float | None]:
    found = recent(snapshot, name)
    values = (math.nan,) * 3 if found is None else (found.quantile(0.5), found.quantile(0.99), found.max)
    return {key: finite(value * 1e3) for key, value in zip(("p50_ms", "p99_ms", "max_ms"), values, strict=True)}


def _endpoints(snapshot: Snapshot) -> list[dict[str, Any]]:
    for windows in snapshot.windows():
        if windows.family.metric.name == DURATION:
            return sorted(_told(windows), key=lambda one: -(one["requests_per_second"] or 0.0))[:MOST]
    return []


def _told(windows: FamilyWindows) -> list[dict[str, Any]]:
    column, family = windows.lengths.index(WINDOW), windows.family
    return [
        {
            **dict(zip(family.label_names, family.labels[at], strict=True)),
            "requests_per_second": finite(windows.rates[row, column]),
            **{
                name: finite(value * 1e3)
                for name, value in zip(NAMES, windows.quantiles[row, column].tolist(), strict=True)
            },
        }
        for row, at in enumerate(windows.series.tolist())
    ]
