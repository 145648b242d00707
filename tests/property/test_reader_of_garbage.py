"""Whatever bytes lie in a segment: its reader neither raises nor crashes, and counts the others exactly."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import SAMPLE, Producer, Reader, Schema, Telemetry, field, layout
from shmtelemetry.segment import Segment
from tests.forging import Forgery

WORDS = st.one_of(
    st.sampled_from([0, 1, 2, 15, 16, 17, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
WIDTHS = st.sampled_from([1, 4, 8])
CHANGES = st.lists(st.tuples(st.integers(0, 2**16), WIDTHS, WORDS), min_size=1, max_size=8)

SCHEMA = Schema(
    [("who", "S3"), ("side", "i1"), ("n", "<u4"), ("at", "<u8"), ("x", "<f8"), ("y", "<f4"), ("z", "<i8")],
    {
        "who": field("label"),
        "side": field("label", values={0: "buy"}),
        "n": field("counter"),
        "at": field("time", unit="us"),
        "x": field("histogram", buckets=(1.0, 2.0)),
        "y": field("gauge"),
        "z": field("total"),
    },
)


def changed(segment: Segment, areas: list[tuple[int, int]], changes: list[tuple[int, int, int]]) -> Forgery:
    """A copy with words written into these areas, (begin, length) each."""
    forged = Forgery(segment)
    for number, (place, width, word) in enumerate(changes):
        begin, length = areas[number % len(areas)]
        at = begin + place % max(1, length - width + 1) // width * width
        forged.bytes[at : at + width] = (word % 2 ** (8 * width)).to_bytes(width, "little")
    return forged


def assert_others_are_counted(forge: Callable[[str], tuple[Forgery, Callable[[], None]]]) -> None:
    namespace = f"test-{secrets.token_hex(6)}"
    try:
        with Reader(namespace, ephemeral=True) as reader, Telemetry("healthy", namespace, capacity=16) as telemetry:
            forged, close = forge(namespace)
            close()
            forged.put()
            for total in range(1, 4):
                telemetry.counter("healthy").inc()
                reader.poll()
                snapshot = reader.snapshot()
                assert snapshot.value("healthy_total") == total
                for name, family in snapshot.families.items():
                    if family.counts is not None:
                        for labels in family.labels:
                            snapshot.histogram(name, **dict(zip(family.label_names, labels, strict=True))).quantile(0.5)
    finally:
        for path in Path("/dev/shm").glob(f"shmtel.{namespace}.*"):
            path.unlink(missing_ok=True)


@given(CHANGES)
def test_changed_instruments(changes: list[tuple[int, int, int]]) -> None:
    def forge(namespace: str) -> tuple[Forgery, Callable[[], None]]:
        telemetry = Telemetry("forged", namespace, capacity=8)
        telemetry.gauge("g", merge="sum").set(1.0)
        histogram = telemetry.histogram("h", labels=("a",), buckets=(1.0,)).labels("b")
        for value in range(20):
            histogram.observe(value)
            telemetry.counter("c").inc()
        segment = telemetry._producer.segment
        header = segment.header
        catalogue = segment.mapping.load(header.producer_offset + layout.CATALOGUE_LENGTH)
        areas = [
            (header.producer_offset, 192),
            (header.reader_offset, 32),
            (header.catalogue_offset, catalogue),
            (header.ring_offset, 8 * SAMPLE.itemsize),
            (0, layout.HEADER.size),
        ]
        return changed(segment, areas, changes), telemetry.close

    assert_others_are_counted(forge)


@given(CHANGES)
def test_changed_records(changes: list[tuple[int, int, int]]) -> None:
    def forge(namespace: str) -> tuple[Forgery, Callable[[], None]]:
        ring = Producer("forged", SCHEMA, namespace, capacity=8)
        ring.emit_many(np.zeros(6, SCHEMA.dtype))
        header = ring.segment.header
        areas = [
            (header.ring_offset, 8 * SCHEMA.dtype.itemsize),
            (header.producer_offset, 192),
            (layout.HEADER.size, header.schema_length),
        ]
        return changed(ring.segment, areas, changes), ring.close

    assert_others_are_counted(forge)


@given(st.lists(st.tuples(WORDS, st.integers(0, 5), st.floats()), max_size=16))
def test_samples_of_any_bits(samples: list[tuple[int, int, float]]) -> None:
    namespace = f"test-{secrets.token_hex(6)}"
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace, capacity=16) as telemetry:
        telemetry.counter("c"), telemetry.gauge("g"), telemetry.histogram("h", buckets=(1.0,))
        telemetry._producer.emit_many(np.array([(at, series, 0, value) for at, series, value in samples], SAMPLE))
        reader.poll()
        snapshot = reader.snapshot()
        steps = [value for _, series, value in samples if series == 0 and 0 <= value < float("inf")]
        observed = [value for _, series, value in samples if series == 2 and value == value]
        gauged = sum(series == 1 for _, series, _ in samples)
        assert snapshot.value("c_total") == sum(steps)
        assert snapshot.histogram("h").count == len(observed)
        assert snapshot.producers["p"].consumed == len(samples)
        assert snapshot.producers["p"].invalid == len(samples) - len(steps) - len(observed) - gauged
