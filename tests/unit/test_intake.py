"""What every source has in common."""

from __future__ import annotations

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.sources.intake import MAX_LABEL, Intake


def test_items_are_counted_and_series_beyond_the_bound_go_to_one(namespace: str) -> None:
    with Telemetry("source", namespace) as telemetry, Reader(namespace, ephemeral=True) as reader:
        intake = Intake(telemetry, "csv", max_series=2)
        orders = telemetry.counter("orders_total", "", ("symbol",))
        for symbol in ("A", "B", "C", "D", "A"):
            intake.series(orders, (symbol,)).emit(1)
            intake.take()
        intake.reject("columns")
        intake.reject("columns", 2)
        reader.poll()
        snapshot = reader.snapshot()
    assert {s: snapshot.value("orders_total", symbol=s) for s in ("A", "B", "overflow")} == {
        "A": 2, "B": 1, "overflow": 2,
    }  # fmt: skip
    assert snapshot.value("ingest_items_total", source="csv") == 5
    assert snapshot.value("ingest_overflow_total", source="csv") == 2
    assert snapshot.value("ingest_rejected_total", source="csv", reason="columns") == 3


def test_a_label_value_without_bounds_is_refused(namespace: str) -> None:
    with Telemetry("source", namespace) as telemetry:
        orders = telemetry.counter("orders_total", "", ("symbol",))
        with pytest.raises(ValueError, match="bytes"):
            Intake(telemetry, "csv").series(orders, ("x" * (MAX_LABEL + 1),))
