"""Whatever lies in /dev/shm under a segment's name: a SegmentError or a segment, never a crash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import Consumer, Producer, Schema, field, layout
from shmtelemetry.accounting import segment_stats
from shmtelemetry.errors import SegmentError
from shmtelemetry.metric import Metric
from shmtelemetry.segment import attach

DTYPE = np.dtype([("seq", "<u8"), ("symbol", "S8"), ("price", "<f8")])
SCHEMA = Schema(DTYPE, {"symbol": field("label"), "price": field("histogram", name="price_usd", buckets=(1, 2))})


@pytest.fixture(scope="module")
def image() -> bytes:
    """The bytes of a good segment with three records."""
    with Producer("garbage", SCHEMA, "test-garbage", capacity=8) as ring:
        ring.emit_many(np.array([(1, b"a", 1.0), (2, b"b", 2.0), (3, b"c", 3.0)], DTYPE))
        stored = Path("/dev/shm", ring.segment.name).read_bytes()
        with Consumer("garbage", "test-garbage") as consumer:
            consumer.read()
    return stored


def look_at(name: str) -> None:
    """Everything that one does with a segment; it may only say SegmentError."""
    try:
        segment = attach(name)
        try:
            segment.alive()
            segment_stats(segment)
            segment.catalogue()
            segment.schema.metrics("orders")
        except (SegmentError, ValueError):
            pass
        finally:
            segment.close()
    except SegmentError:
        pass


@given(
    changes=st.lists(st.tuples(st.integers(0, 3 * 4096 - 1), st.integers(0, 255)), max_size=12), cut=st.integers(0, 9)
)
def test_changed_bytes_never_crash_a_reader(
    namespace: str, image: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(image)
    length = layout.HEADER.size + layout.HEADER.unpack_from(image)[layout.HEADER_FIELDS.index("schema_length")]
    for place, byte in changes:
        changed[place % length if place < 8192 else place % len(image)] = byte
    path = Path("/dev/shm", f"shmtel.{namespace}.orders.0")
    path.write_bytes(changed[: len(changed) - 512 * cut])
    look_at(path.name)
    with Consumer("orders", namespace) as consumer:
        assert len(consumer.read()) <= 8
        assert len(consumer.read(2)) <= 2
    path.unlink(missing_ok=True)


@given(content=st.binary(max_size=600))
def test_any_bytes_never_crash_a_reader(namespace: str, content: bytes) -> None:
    path = Path("/dev/shm", f"shmtel.{namespace}.orders.0")
    path.write_bytes(layout.MAGIC.to_bytes(8, "little") + content)
    look_at(path.name)
    path.unlink()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_stored_schema_or_metric_that_is_garbage_is_a_value_or_type_error(stored: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Schema.from_json(stored)
    with pytest.raises((ValueError, TypeError)):
        Metric.from_json(stored)


@given(fields=json_values, itemsize=st.integers(-1, 2**70) | json_values, roles=json_values, events=json_values)
def test_a_stored_schema_of_the_right_shape_and_wrong_content_is_a_value_error_or_a_schema(
    fields: object, itemsize: object, roles: object, events: object
) -> None:
    for fields_ in (fields, [["seq", "<u8", 0]]):
        for roles_ in (roles, {"seq": roles}, {}):
            stored = {"fields": fields_, "itemsize": itemsize, "roles": roles_, "events": events}
            try:
                schema = Schema.from_json(json.dumps(stored).encode())
            except ValueError:
                continue
            assert Schema.from_json(schema.to_json()) == schema
