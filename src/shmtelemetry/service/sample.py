"""The newest sample of an order pipeline: the twelve columns of a telemetry log, and what follows from them."""

from typing import Any, Final

from ..aggregate.snapshot import Snapshot
from .figures import finite, newest, rate, recent, total

# Column → its metric, and how much of the column one of its unit is.
COLUMNS: Final = {
    "orders_produced": ("orders_produced_total", 1),
    "orders_consumed": ("orders_consumed_total", 1),
    "orders_dropped": ("orders_dropped_total", 1),
    "buffer_size": ("buffer_used_orders", 1),
    "buffer_capacity": ("buffer_capacity_orders", 1),
    "throughput_ops_per_sec": ("throughput_orders_per_second", 1),
    "avg_latency_ns": ("batch_latency_mean_seconds", 1e9),
    "p95_latency_ns": ("batch_latency_p95_seconds", 1e9),
    "p99_latency_ns": ("batch_latency_p99_seconds", 1e9),
    "network_errors": ("network_dropped_packets_total", 1),
    "batch_count": ("batches_sent_total", 1),
}
RATES: Final = ("orders_produced", "orders_consumed", "orders_dropped", "network_errors", "batch_count")
LATENCY: Final = "batch_latency_seconds"  # the distribution itself, of those who emit it
SET: Final = ("throughput_orders_per_second", "buffer_used_orders", "batch_latency_mean_seconds")


def sample(snapshot: Snapshot) -> dict[str, Any]:
    """None is what nobody has told. Rates are of the last seconds; age_seconds is how old the columns are."""
    columns = {name: _scaled(total(snapshot, metric), factor) for name, (metric, factor) in COLUMNS.items()}
    columns |= {name: value for name, value in _latencies(snapshot).items() if columns[name] is None}
    told = newest(snapshot, *SET)
    return {
        "timestamp_ns": told,
        **columns,
        **{f"{name}_per_second": rate(snapshot, COLUMNS[name][0]) for name in RATES},
        "buffer_utilization_percent": _percent(columns["buffer_size"], columns["buffer_capacity"]),
        "drop_percent": _percent(columns["orders_dropped"], columns["orders_produced"]),
        "age_seconds": None if told is None else max(0.0, (snapshot.taken_ns - told) / 1e9),
    }


def _latencies(snapshot: Snapshot) -> dict[str, float | None]:
    """From the distribution, where a system tells that and no figures of its own."""
    latency = recent(snapshot, LATENCY)
    if latency is None or not latency.count:
        return {}
    seconds = (latency.sum / latency.count, latency.quantile(0.95), latency.quantile(0.99))
    names = ("avg_latency_ns", "p95_latency_ns", "p99_latency_ns")
    return {name: _scaled(value, 1e9) for name, value in zip(names, seconds, strict=True)}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else finite(value * factor)


def _percent(part: float | None, whole: float | None) -> float | None:
    return finite(100 * part / whole) if part is not None and whole else None
