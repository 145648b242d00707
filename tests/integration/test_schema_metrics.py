"""Records of one's own become metrics by the roles of their fields, in the reader, without code there."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, field
from tests.histograms import exponential_counts, histogram_of

TRADE = np.dtype(
    [
        ("ts", "<u8"),
        ("symbol", "S8"),
        ("side", "u1"),
        ("qty", "<u4"),
        ("price", "<f8"),
        ("latency_ns", "<u4"),
        ("seq", "<i8"),
    ]
)
ROLES = {
    "ts": field("time", unit="ns"),
    "symbol": field("label"),
    "side": field("label", values={0: "buy", 1: "sell"}),
    "qty": field("counter"),
    "price": field("gauge", help="Last price."),
    "latency_ns": field("histogram", name="order_latency_seconds", unit="ns", buckets=(1e-6, 1e-3)),
    "seq": field("total", name="sequence_total"),
}


def trades(*rows: tuple[object, ...]) -> np.ndarray:
    return np.array(list(rows), TRADE)


def one_field(
    namespace: str, dtype: str, role: str, values: list[object], **options: object
) -> tuple[Reader, Producer]:
    """A reader, still open, that has drained these values of one field `x`."""
    reader = Reader(namespace, ephemeral=True)
    producer = Producer("p", Schema([("x", dtype)], {"x": field(role, name="m", **options)}), namespace)
    producer.emit_many(np.array([(value,) for value in values], [("x", dtype)]))
    reader.poll()
    return reader, producer


def test_each_role_gives_its_metric_with_the_labels_of_the_record(namespace: str) -> None:
    now = time.time_ns()
    with Reader(namespace, ephemeral=True) as reader, Producer("orders", Schema(TRADE, ROLES), namespace) as ring:
        ring.emit_fields(now, b"AAPL", 0, 100, 190.5, 1250, 7)
        ring.emit_fields(now + 1, b"AAPL", 0, 50, 191.5, 999, 9)
        ring.emit_fields(now + 2, b"MSFT", 1, 1, 400.0, 1000, 1)
        ring.emit_fields(now + 2, b"MSFT", 7, 1, 1.0, 1001, 1)
        reader.poll()
        snapshot = reader.snapshot()
        aapl = {"symbol": "AAPL", "side": "buy"}
        assert snapshot.value("orders_qty_total", **aapl) == 150
        assert snapshot.value("orders_price", **aapl) == 191.5
        assert snapshot.value("sequence_total", **aapl) == 9
        latency = snapshot.histogram("order_latency_seconds", **aapl)
        assert latency.buckets == ((1e-6, 1), (1e-3, 2), (math.inf, 2))
        assert (latency.min, latency.max) == (999 / 1e9, 1250 / 1e9)
        exact = snapshot.histogram("order_latency_seconds", symbol="MSFT", side="sell")
        assert exact.buckets[0] == (1e-6, 1)  # 1,000 ns are 1e-06 s, to the last bit
        assert snapshot.value("orders_qty_total", symbol="MSFT", side="7") == 1
        assert snapshot.families["orders_price"].metric.help == "Last price."


def test_records_written_many_at_once_are_the_same_metrics(namespace: str) -> None:
    chance = np.random.default_rng(3)
    records = np.zeros(10_000, TRADE)
    records["symbol"] = chance.choice([b"A", b"BB", b"CCCCCCCC"], len(records))
    records["qty"], records["latency_ns"] = chance.integers(1, 9, len(records)), chance.integers(0, 10**7, len(records))
    with Reader(namespace, ephemeral=True) as reader, Producer("orders", Schema(TRADE, ROLES), namespace) as ring:
        assert ring.emit_many(records) == len(records)
        reader.poll()
        snapshot = reader.snapshot()
        for symbol in ("A", "BB", "CCCCCCCC"):
            mine = records[records["symbol"] == symbol.encode()]
            assert snapshot.value("orders_qty_total", symbol=symbol, side="buy") == mine["qty"].sum()
            latency = snapshot.histogram("order_latency_seconds", symbol=symbol, side="buy")
            seconds = [int(value) / 1e9 for value in mine["latency_ns"]]
            assert exponential_counts(latency) == exponential_counts(histogram_of(seconds))


@pytest.mark.parametrize(
    ("dtype", "values", "total"),
    [
        ("<u8", [1, 2**40], 1 + 2**40),
        ("<i2", [3, 4], 7),
        ("?", [True, False, True], 2),
        ("<f4", [0.5, 0.25], 0.75),
        ("<f8", [0.1], 0.1),
        ("<u1", [255, 255], 510),
    ],
)
def test_a_counter_adds_numbers_of_every_kind(namespace: str, dtype: str, values: list[object], total: float) -> None:
    reader, producer = one_field(namespace, dtype, "counter", values)
    with reader, producer:
        assert reader.snapshot().value("m_total") == total


@pytest.mark.parametrize(("dtype", "value"), [("<i4", -1), ("<f8", math.nan), ("<f8", math.inf), ("<f8", -0.5)])
@pytest.mark.parametrize("role", ["counter", "total"])
def test_steps_that_cannot_be_are_invalid_and_change_nothing(
    namespace: str, dtype: str, value: float, role: str
) -> None:
    reader, producer = one_field(namespace, dtype, role, [1, value, 1])
    with reader, producer:
        snapshot = reader.snapshot()
        assert snapshot.value("m_total") == (2 if role == "counter" else 1)
        assert snapshot.value("shmtel_invalid_records_total", producer="p") == 1
        assert snapshot.value("shmtel_records_total", producer="p") == 3


def test_a_total_adds_its_growth_and_begins_again_where_it_falls(namespace: str) -> None:
    reader, producer = one_field(namespace, "<u8", "total", [5, 5, 8, 2, 3])
    with reader, producer:
        assert reader.snapshot().value("m_total") == 11  # 5, and 3 more, then 2 and 1 more after a restart


def test_a_total_goes_on_after_the_readers_restart(namespace: str) -> None:
    schema = Schema([("who", "S4"), ("x", "<u8")], {"who": field("label"), "x": field("total", name="m")})
    with Producer("p", schema, namespace) as ring:
        for run, x in enumerate((100, 130, 20)):
            ring.emit_fields(b"a", x)
            ring.emit_fields(b"b", 7 * run)
            with Reader(namespace, ephemeral=run == 2) as reader:
                reader.poll()
                snapshot = reader.snapshot()
    assert snapshot.value("m_total", who="a") == 150
    assert snapshot.value("m_total", who="b") == 14


def test_totals_of_two_producers_are_each_their_own(namespace: str) -> None:
    schema = Schema([("x", "<u8")], {"x": field("total", name="m")})
    with (
        Reader(namespace, ephemeral=True) as reader,
        Producer("a", schema, namespace) as a,
        Producer("b", schema, namespace) as b,
    ):
        for x in (10, 20):
            a.emit_fields(x)
            b.emit_fields(100 * x)
            reader.poll()
        assert reader.snapshot().value("m_total") == 2020


@pytest.mark.parametrize(
    ("unit", "name", "value", "expected"),
    [
        ("ns", "x_seconds", 1, 1e-9), ("us", "x_seconds", 3, 3e-6), ("ms", "x_seconds", 7, 7e-3),
        ("seconds", "x_ms", 2, 2e3),
        ("ms", "x_ns", 1, 1e6), ("bytes", "x_bytes", 5, 5.0), (None, "x_seconds", 4, 4.0), ("ns", "x", 9, 9.0),
    ],
)  # fmt: skip
def test_a_field_is_converted_to_the_unit_that_the_name_says(
    namespace: str, unit: str | None, name: str, value: int, expected: float
) -> None:
    schema = Schema([("x", "<u8")], {"x": field("histogram", name=name, unit=unit, buckets=(1.0,))})
    with Reader(namespace, ephemeral=True) as reader, Producer("p", schema, namespace) as ring:
        ring.emit_fields(value)
        reader.poll()
        assert reader.snapshot().histogram(name).sum == expected


def test_a_metrics_default_name_is_the_producer_and_the_field(namespace: str) -> None:
    schema = Schema(
        [("a", "<u8"), ("b", "<u8"), ("c", "<f8")],
        {"a": field("counter"), "b": field("gauge"), "c": field("histogram")},
    )
    with Reader(namespace, ephemeral=True) as reader, Producer("9-my_bot", schema, namespace) as ring:
        ring.emit_fields(1, 2, 3.0)
        reader.poll()
        names = [name for name in reader.snapshot().families if not name.startswith("shmtel_")]
        assert names == ["_9_my_bot_a_total", "_9_my_bot_b", "_9_my_bot_c"]


def test_a_gauge_follows_the_records_time_not_the_order_of_draining(namespace: str) -> None:
    schema = Schema([("ts", "<u8"), ("x", "<f8")], {"ts": field("time", unit="ms"), "x": field("gauge", name="m")})
    now = time.time_ns() // 10**6
    with (
        Reader(namespace, ephemeral=True) as reader,
        Producer("a", schema, namespace) as a,
        Producer("b", schema, namespace) as b,
    ):
        a.emit_fields(now - 1000, 1.0)
        reader.poll()
        b.emit_fields(now - 2000, 2.0)
        reader.poll()
        assert reader.snapshot().value("m") == 1.0
        b.emit_fields(now - 500, 3.0)
        reader.poll()
        assert reader.snapshot().value("m") == 3.0


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "seconds"])
@pytest.mark.parametrize("garbage", [2**64 - 1, 2**63, 2**62])
def test_a_time_that_cannot_be_counts_as_now(namespace: str, unit: str, garbage: int) -> None:
    schema = Schema([("ts", "<u8"), ("x", "<f8")], {"ts": field("time", unit=unit), "x": field("gauge", name="m")})
    per_second = {"ns": 10**9, "us": 10**6, "ms": 10**3, "seconds": 1}[unit]
    with Reader(namespace, ephemeral=True) as reader, Producer("p", schema, namespace) as ring:
        ring.emit_fields(garbage, 1.0)
        reader.poll()
        assert reader.snapshot().value("m") == 1.0
        ring.emit_fields((time.time_ns() + 10**9) * per_second // 10**9, 2.0)
        reader.poll()
        assert reader.snapshot().value("m") == 2.0


def test_labels_are_shown_as_text_whatever_their_bytes_are(namespace: str) -> None:
    roles = {"a": field("label"), "b": field("label"), "x": field("counter", name="m")}
    schema = Schema([("a", "S3"), ("b", "<i2"), ("x", "u1")], roles)
    with Reader(namespace, ephemeral=True) as reader, Producer("p", schema, namespace) as ring:
        for a, b in ((b"", -1), (b"\xff\xfe", 0), ("é".encode(), 5), (b"a\0b", 5)):
            ring.emit_fields(a, b, 1)
        reader.poll()
        assert set(reader.snapshot().families["m_total"].labels) == {
            ("", "-1"), ("\ufffd\ufffd", "0"), ("é", "5"), ("a\0b", "5"),
        }  # fmt: skip


def test_one_field_that_disagrees_does_not_keep_the_others_from_counting(namespace: str) -> None:
    both = [("x", "<u8"), ("y", "<u8")]
    ours = Schema(both, {"x": field("counter", name="x"), "y": field("counter", name="y")})
    theirs = Schema(both, {"x": field("counter", name="x"), "y": field("gauge", name="y_total")})
    with Reader(namespace, ephemeral=True) as reader, Producer("a", ours, namespace) as a:
        a.emit_fields(1, 1)
        reader.poll()
        with Producer("b", theirs, namespace) as b:
            b.emit_fields(10, 10)
            reader.poll()
            snapshot = reader.snapshot()
            assert (snapshot.value("x_total"), snapshot.value("y_total")) == (11, 1)
            assert snapshot.value("shmtel_conflicting_metrics_total") == 1
