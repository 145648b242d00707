"""What emit refuses: the error says what was expected and what came, nothing enters, and it is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer

DTYPE = np.dtype([("ts", "<u8"), ("symbol", "S8"), ("latency_ns", "<u4"), ("side", "i1"), ("price", "<f8")])
OTHER = np.dtype([("ts", "<u8"), ("symbol", "S8"), ("latency_us", "<u4"), ("side", "i1"), ("price", "<f8")])
SIZE = DTYPE.itemsize
assert SIZE == 29


@pytest.fixture
def ring(namespace: str) -> Iterator[Producer]:
    with Producer("orders", DTYPE, namespace, capacity=8) as producer, Consumer("orders", namespace) as consumer:
        yield producer
        assert len(consumer.read()) == 0


def refused(ring: Producer, error: type[Exception], *words: str) -> Any:
    """That nothing was counted as anything but rejected."""

    class Refused:
        def __enter__(self) -> None:
            self.before = ring.stats()
            self.raises = pytest.raises(error)
            self.caught = self.raises.__enter__()

        def __exit__(self, *exc: Any) -> bool:
            swallowed = bool(self.raises.__exit__(*exc))
            for word in words:
                assert word in str(self.caught.value)
            after = ring.stats()
            assert (after.attempted, after.rejected) == (self.before.attempted + 1, self.before.rejected + 1)
            assert after.in_ring == self.before.in_ring
            assert after.holds
            return swallowed

    return Refused()


@pytest.mark.parametrize(
    ("record", "error", "words"),
    [
        (b"", ValueError, ["expected 29 bytes", "got 0"]),
        (bytes(SIZE - 1), ValueError, ["expected 29 bytes", "got 28"]),
        (bytes(SIZE + 1), ValueError, ["expected 29 bytes", "got 30"]),
        (bytearray(3), ValueError, ["expected 29 bytes", "got 3"]),
        (memoryview(bytes(3)), ValueError, ["expected 29 bytes", "got 3"]),
        (np.zeros(1, OTHER)[0], TypeError, ["latency_ns", "latency_us"]),
        (np.zeros((), OTHER), TypeError, ["latency_ns", "latency_us"]),
        (np.void(bytes(SIZE)), TypeError, ["expected dtype", "V29"]),
        (np.zeros(2, DTYPE), ValueError, ["expected one record", "array of 2", "emit_many"]),
        (np.zeros(0, DTYPE), ValueError, ["expected one record", "array of 0"]),
        (np.float64(1.0), TypeError, ["29 bytes", "float64"]),
        ((1, b"AAPL", 2, 3, 4.0), TypeError, ["29 bytes", "tuple"]),
        ("text", TypeError, ["29 bytes", "str"]),
        (None, TypeError, ["29 bytes", "NoneType"]),
    ],
)
def test_emit_refuses_what_is_no_record(ring: Producer, record: Any, error: type[Exception], words: list[str]) -> None:
    with refused(ring, error, *words):
        ring.emit(record)


@pytest.mark.parametrize(
    ("records", "error", "words"),
    [
        (np.zeros(3, OTHER), TypeError, ["latency_ns", "latency_us"]),
        (np.zeros((2, 2), DTYPE), ValueError, ["1-d", "2 dimensions"]),
        (np.zeros((), DTYPE), ValueError, ["1-d", "0 dimensions"]),
        ([b"x" * SIZE], TypeError, ["1-d array", "list"]),
        (bytes(SIZE), TypeError, ["1-d array", "bytes"]),
        (np.zeros(1, DTYPE)[0], TypeError, ["1-d array", "void"]),
    ],
)
def test_emit_many_refuses_what_is_no_array_of_records(
    ring: Producer, records: Any, error: type[Exception], words: list[str]
) -> None:
    with refused(ring, error, *words):
        ring.emit_many(records)


GOOD = (1, b"AAPL", 2, -3, 4.0)


@pytest.mark.parametrize(
    ("index", "value", "error", "words"),
    [
        (0, -1, ValueError, ["'ts'", "negative"]),
        (0, 2**64, ValueError, ["'ts'", "too large"]),
        (0, 1.5, TypeError, ["'ts'", "'float'", "integer"]),
        (0, 1.0, TypeError, ["'ts'", "'float'", "integer"]),
        (0, "1", TypeError, ["'ts'", "'str'", "integer"]),
        (0, None, TypeError, ["'ts'", "'NoneType'"]),
        (1, b"NINECHARS", ValueError, ["'symbol'", "9 bytes do not fit 8"]),
        (1, "äöüß€", ValueError, ["'symbol'", "11 bytes do not fit 8"]),
        (1, "\ud800", ValueError, ["'symbol'", "surrogates"]),
        (1, 5, TypeError, ["'symbol'", "expected bytes or str", "int"]),
        (2, 2**32, ValueError, ["'latency_ns'", "4294967296 does not fit 4 bytes"]),
        (3, 128, ValueError, ["'side'", "128 does not fit 1 bytes"]),
        (3, -129, ValueError, ["'side'", "-129 does not fit 1 bytes"]),
        (4, "1.0", TypeError, ["'price'", "str"]),
        (4, 10**400, ValueError, ["'price'", "too large"]),
    ],
)
def test_emit_fields_refuses_a_value_that_its_field_cannot_hold(
    ring: Producer, index: int, value: Any, error: type[Exception], words: list[str]
) -> None:
    values = [*GOOD]
    values[index] = value
    with refused(ring, error, *words):
        ring.emit_fields(*values)


@pytest.mark.parametrize("values", [(), GOOD[:-1], (*GOOD, 5)])
def test_emit_fields_refuses_another_number_of_values(ring: Producer, values: tuple[Any, ...]) -> None:
    with refused(ring, TypeError, "expected 5 values", f"got {len(values)}"):
        ring.emit_fields(*values)


def test_what_a_conversion_raises_comes_through_and_is_counted(ring: Producer) -> None:
    class Bad:
        def __float__(self) -> float:
            raise KeyError("no number")

    with refused(ring, KeyError, "no number"):
        ring.emit_fields(1, b"AAPL", 2, 3, Bad())


@pytest.mark.parametrize(
    ("format_", "value", "error"),
    [
        ("<U3", "four", ValueError),
        ("<U3", 5, TypeError),
        ("<f2", [1.0, 2.0], TypeError),
        ("<M8[ns]", "no date", ValueError),
        ("<m8[s]", object(), ValueError),
    ],
)
def test_emit_fields_refuses_what_numpy_cannot_convert(
    namespace: str, format_: str, value: Any, error: type[Exception]
) -> None:
    with Producer("odd", np.dtype([("x", format_), ("n", "<u2")]), namespace, capacity=8) as ring:
        with refused(ring, error, "'x'"):
            ring.emit_fields(value, 1)
        with refused(ring, ValueError, "'n'"):
            ring.emit_fields("2026-01-01" if "M8" in format_ else "1" if "U" in format_ else 1, 2**16)
        ring.close()


def test_a_refused_record_does_not_warn_that_the_ring_is_full(ring: Producer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="expected 29 bytes"):
        ring.emit(b"")
    assert not caplog.records
