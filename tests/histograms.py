"""Histograms made the whole way: emitted, drained, read from a snapshot."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import HistogramValue


def histogram_of(values: Iterable[float], buckets: Sequence[float] = (1.0,)) -> HistogramValue:
    """What a reader makes of these observations of one series."""
    namespace = f"test-{secrets.token_hex(6)}"
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=4096) as telemetry:
        observe = telemetry.histogram("h", buckets=buckets).observe
        for count, value in enumerate(values, 1):
            assert observe(value)
            if count % 4096 == 0:
                reader.poll()
        reader.poll()
        return reader.snapshot().histogram("h")


def exponential_counts(histogram: HistogramValue) -> dict[int, int]:
    """Index → count of the buckets that are not empty."""
    return {histogram.first + at: int(count) for at, count in enumerate(histogram.exponential) if count}
