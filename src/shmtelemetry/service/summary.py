"""How things stand, in one look, of whatever the collectors say."""

from typing import Any, Final

from .ticks import Tick

# Field → the section that it is of.
FIELDS: Final = {
    "total_pnl": "strategy",
    "daily_pnl": "strategy",
    "open_positions": "strategy",
    "fill_rate": "execution",
    "avg_latency_ms": "execution",
    "cpu_percent": "system",
    "memory_percent": "system",
    "health": "system",
    "records_per_second": "telemetry",
    "coverage": "telemetry",
    "producers": "telemetry",
    "series": "telemetry",
}


def summary(tick: Tick) -> dict[str, Any]:
    """Null is what no collector says."""
    return {
        "timestamp": tick.timestamp,
        "namespace": tick.snapshot.namespace,
        "symbols": len(tick.sections.get("market_data", {})),
        **{field: tick.sections.get(section, {}).get(field) for field, section in FIELDS.items()},
    }
