"""Whatever enters a ring, in whatever form, comes out as it was and in order."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmtelemetry import Consumer, Producer, Schema
from shmtelemetry.producer import Setup
from tests.property.records import records, same_fields

FORMS = ("void", "array", "0-d", "bytes", "bytearray", "fields", "many", "strided")
STARTS = st.sampled_from([0, 1, 2**31 - 2, 2**32 - 3, 2**63 - 2, 2**64 - 3, 2**64 - 1])


def one_of(namespace: str) -> str:
    """A namespace for one example, which finds nothing of a failed one before it."""
    return f"{namespace}-{secrets.token_hex(4)}"


def open_ring(namespace: str, dtype: np.dtype[np.void], capacity: int, start: int) -> Producer:
    setup = Setup(namespace, "orders", Schema(dtype), capacity, start_position=start)
    return Producer("orders", dtype, setup=setup)


def emit(ring: Producer, form: str, rows: np.ndarray, values: tuple[Any, ...]) -> bool:
    """Emit the first of `rows`, of which there may be more, in one of the forms."""
    match form:
        case "void":
            return ring.emit(rows[0])
        case "array":
            return ring.emit(rows[:1])
        case "0-d":
            return ring.emit(rows[:1].reshape(()))
        case "bytes":
            return ring.emit(rows[:1].tobytes())
        case "bytearray":
            return ring.emit(bytearray(rows[:1].tobytes()))  # type: ignore[arg-type]
        case "fields":
            return ring.emit_fields(*values)
        case "many":
            return ring.emit_many(rows[:1]) == 1
        case _:
            return ring.emit_many(np.frombuffer(2 * rows[:1].tobytes(), rows.dtype)[::2]) == 1


@given(content=records(), forms=st.lists(st.sampled_from(FORMS), min_size=40, max_size=40), start=STARTS)
def test_every_form_of_emit_round_trips(
    namespace: str, content: tuple[np.dtype[np.void], list[tuple[Any, ...]]], forms: list[str], start: int
) -> None:
    dtype, rows = content
    expected = np.zeros(len(rows), dtype)
    for number, row in enumerate(rows):
        for name, value in zip(dtype.names or (), row, strict=True):
            expected[name][number] = value
    found = []
    namespace = one_of(namespace)
    with open_ring(namespace, dtype, 4, start) as ring, Consumer("orders", namespace) as consumer:
        for number, row in enumerate(rows):
            assert emit(ring, forms[number], expected[number:], row)
            assert same_fields(ring.last(1), expected[number : number + 1])
            if number % 3 == 2:
                found.append(consumer.read())
        found.append(consumer.read())
    assert all(batch.dtype == dtype for batch in found)
    assert sum(map(len, found)) == len(rows)
    begin = 0
    for batch in found:
        assert same_fields(batch, expected[begin : begin + len(batch)])
        begin += len(batch)


@given(content=records(max_count=200), capacity=st.sampled_from([2, 8, 64, 128]), start=STARTS)
def test_emit_many_accepts_from_the_front_what_has_room(
    namespace: str, content: tuple[np.dtype[np.void], list[tuple[Any, ...]]], capacity: int, start: int
) -> None:
    dtype, rows = content
    namespace = one_of(namespace)
    sent = np.frombuffer(np.array(rows, dtype).tobytes(), dtype)
    with open_ring(namespace, dtype, capacity, start) as ring, Consumer("orders", namespace) as consumer:
        first = sent[: len(sent) // 3]
        accepted = ring.emit_many(first)
        assert accepted == min(len(first), capacity)
        assert consumer.read().tobytes() == first[:accepted].tobytes()
        accepted = ring.emit_many(sent)
        assert accepted == min(len(sent), capacity)
        assert ring.last(len(sent)).tobytes()[-accepted * dtype.itemsize :] == sent[:accepted].tobytes()
        assert consumer.read().tobytes() == sent[:accepted].tobytes()
        stats = ring.stats()
        assert stats.attempted == len(first) + len(sent)
        assert stats.dropped["full"] == stats.attempted - stats.consumed
        assert stats.holds


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 511, 512, 513, 4095, 4096, 4097, 65535, 65536])
def test_records_of_every_size_round_trip(namespace: str, size: int) -> None:
    dtype = np.dtype([("data", f"S{size}")])
    patterns = [bytes((n * 7 + place) % 255 + 1 for place in range(size)) for n in range(7)]
    with open_ring(namespace, dtype, 2, 0) as ring, Consumer("orders", namespace) as consumer:
        for number, pattern in enumerate(patterns):
            assert ring.emit_fields(pattern) if number % 2 else ring.emit(pattern)
            assert consumer.read()["data"].tolist() == [pattern]
