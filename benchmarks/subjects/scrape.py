"""A scrape of many histogram series, each with 14 classic buckets: from the aggregates to the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shmtelemetry.cli.bench import BUCKETS, Timing, namespace

if TYPE_CHECKING:
    from shmtelemetry import Reader

SERIES = 10_000
OBSERVATIONS = 3
"""Of each series, so that a scrape has something to write."""


@contextmanager
def scrape(series: int = SERIES) -> Iterator[Timing]:
    """shmtelemetry: snapshot and expose, 10,000 histogram series"""
    from shmtelemetry.exporters.prometheus import expose

    with observed(series) as reader:
        lines = expose(reader.snapshot()).count(b"bench_bucket{")
        if lines != series * (len(BUCKETS) + 1):
            raise RuntimeError(f"a scrape has {lines} buckets: expected {series * (len(BUCKETS) + 1)}")
        yield Timing("expose(snapshot())", {"expose": expose, "snapshot": reader.snapshot}, 1)


@contextmanager
def protobuf_scrape(series: int = SERIES) -> Iterator[Timing]:
    """shmtelemetry: the same in protobuf, with native histograms as well"""
    from shmtelemetry.exporters.protobuf import MetricFamilies

    with observed(series) as reader:
        yield Timing("Families().expose(snapshot())", {"Families": MetricFamilies, "snapshot": reader.snapshot}, 1)


@contextmanager
def observed(series: int) -> Iterator[Reader]:
    """A reader of that many series, each with observations."""
    from shmtelemetry import Reader, Telemetry

    with (
        Telemetry("bench", namespace=namespace(), capacity=1 << 16) as telemetry,
        Reader(namespace=namespace(), ephemeral=True) as reader,
    ):
        histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
        for number in range(series):
            handle = histogram.labels(f"S{number}")
            for value in BUCKETS[:OBSERVATIONS]:
                handle.emit(value)
        while reader.poll():
            pass
        yield reader


@contextmanager
def prometheus_scrape(series: int = SERIES) -> Iterator[Timing]:
    """prometheus_client: generate_latest, 10,000 histogram series"""
    from prometheus_client import CollectorRegistry, Histogram, generate_latest

    registry = CollectorRegistry()
    histogram = Histogram("bench", "Of the benchmark.", ["symbol"], registry=registry, buckets=BUCKETS)
    for number in range(series):
        for value in BUCKETS[:OBSERVATIONS]:
            histogram.labels(f"S{number}").observe(value)
    yield Timing("generate(registry)", {"generate": generate_latest, "registry": registry}, 1)
