"""Many sets of label values: each is its own series, and beyond the bound they are one."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from tests.processes import wait_until

DTYPE = np.dtype([("id", "<u4"), ("name", "S12"), ("x", "<u8")])
SCHEMA = Schema(DTYPE, {"id": field("label"), "name": field("label"), "x": field("counter", name="m")})
COUNT = 5000


def records_of_many_sets() -> np.ndarray:
    """Three records of each set, mixed."""
    ids = np.random.default_rng(5).permutation(np.repeat(np.arange(COUNT, dtype="u4"), 3))
    return np.array([(n, b"name-%d" % (n % 7), n + 1) for n in ids.tolist()], DTYPE)


def totals(reader: Reader) -> dict[tuple[str, ...], float]:
    family = reader.snapshot().families["m_total"]
    return dict(zip(family.labels, family.values.tolist(), strict=True))


EXPECTED = {(str(n), f"name-{n % 7}"): 3.0 * (n + 1) for n in range(COUNT)}


def test_thousands_of_label_sets_are_told_apart_in_one_poll(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Producer("p", SCHEMA, namespace) as ring:
        assert ring.emit_many(records_of_many_sets()) == 3 * COUNT
        reader.poll()
        assert totals(reader) == EXPECTED


def test_thousands_of_label_sets_are_told_apart_by_the_loop_and_its_successor(namespace: str) -> None:
    records = records_of_many_sets()
    with Producer("p", SCHEMA, namespace) as ring:
        with Reader(namespace) as reader:
            reader.start()
            assert ring.emit_many(records[: 2 * COUNT]) == 2 * COUNT
            wait_until(lambda: ring.stats().in_ring == 0, "all is drained")
        assert ring.emit_many(records[2 * COUNT :]) == COUNT
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert totals(reader) == EXPECTED


def test_instruments_may_have_as_many_series(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.counter("m", labels=("n",))
        for number in range(COUNT):
            family.labels(number).inc(number)
        reader.poll()
        assert totals(reader) == {(str(n),): float(n) for n in range(COUNT)}


def test_series_beyond_the_bound_are_counted_together_and_lose_nothing(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        Reader(namespace, ephemeral=True, max_series=10) as reader,
        Producer("p", SCHEMA, namespace) as ring,
        Telemetry("t", namespace) as telemetry,
    ):
        records = np.array([(n, b"", 1) for n in range(30)] * 2, DTYPE)
        ring.emit_many(records)
        family = telemetry.histogram("h", labels=("n",), buckets=(1.0,))
        for number in range(20):
            family.labels(number).observe(0.5)
        telemetry.counter("without_labels").inc()
        reader.poll()
        snapshot, counted = reader.snapshot(), totals(reader)
        assert sum(counted.values()) == 60
        assert counted["overflow", "overflow"] == 2.0 * (30 - (len(counted) - 1))
        histograms = snapshot.families["h"].labels
        assert sum(snapshot.histogram("h", n=n).count for (n,) in histograms) == 20
        assert ("overflow",) in histograms
        assert snapshot.value("without_labels_total") == 1  # a metric without labels always has its series
        beyond = 30 - (len(counted) - 1) + 20 - (len(histograms) - 1)
        assert snapshot.value("shmtel_series_overflow_total") == beyond
        assert snapshot.value("shmtel_series") <= 10 + 3
    said = Counter("overflow" in message for message in caplog.messages)
    assert said[True] == 2  # once a metric


TOTALS = Schema([("id", "<u4"), ("x", "<u8")], {"id": field("label"), "x": field("total", name="m")})


def test_totals_beyond_the_bound_add_up_exactly_for_each_label_set_and_ring(namespace: str) -> None:
    """Each ring's total of each label set grows by itself, falls by itself, and goes on with the next reader."""
    with Producer("a", TOTALS, namespace) as a, Producer("b", TOTALS, namespace) as b:
        for run, begin in enumerate((100, 150, 20)):  # the last one is a restart of what is counted
            for x in (begin, begin + 1):
                for number in range(10):
                    a.emit_fields(number, x + number)
                    b.emit_fields(number, 7 * x)
            with Reader(namespace, ephemeral=run == 2, max_series=5) as reader:
                reader.poll()
                counted, snapshot = totals(reader), reader.snapshot()
    ours, theirs = 151 + 21, 7 * (151 + 21)
    expected = {number: ours + 2 * number + theirs for number in range(10)}
    within = [labels for labels in counted if labels != ("overflow",)]
    assert 0 < len(within) < 10
    assert all(counted[labels] == expected[int(labels[0])] for labels in within)
    assert sum(counted.values()) == sum(expected.values())
    assert snapshot.value("shmtel_series_overflow_total") == 10 - len(within)
    assert {producer.invalid for producer in snapshot.producers.values()} == {0}
