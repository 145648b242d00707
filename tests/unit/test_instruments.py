"""Counter, Gauge and Histogram: what enters the ring, and what is refused."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Consumer, Telemetry
from tests.catalogue import read_catalogue
from tests.processes import drained


@pytest.fixture
def tel(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        yield telemetry


@pytest.fixture
def consumer(tel: Telemetry, namespace: str) -> Iterator[Consumer]:
    with Consumer("bot", namespace) as consumer:
        yield consumer
        consumer.read()


def values(consumer: Consumer, count: int) -> list[tuple[int, float]]:
    return [(int(record["series"]), float(record["value"])) for record in drained(consumer, count)]


def test_each_instrument_writes_samples_of_its_series(tel: Telemetry, consumer: Consumer) -> None:
    orders, depth, latency = tel.counter("orders_total"), tel.gauge("depth"), tel.histogram("latency_seconds")
    assert orders.inc() is True
    assert orders.inc(2.5) is True
    assert orders.emit(3) is True
    assert depth.set(-4.0) is True
    assert depth.emit(5.0) is True
    assert latency.observe(0.25) is True
    assert latency.emit(0.5) is True
    assert values(consumer, 7) == [(0, 1.0), (0, 2.5), (0, 3.0), (1, -4.0), (1, 5.0), (2, 0.25), (2, 0.5)]
    assert tel.stats().attempted == 7


def test_the_time_of_a_sample_rises_and_its_flags_are_none(tel: Telemetry, consumer: Consumer) -> None:
    depth = tel.gauge("depth")
    for number in range(20):
        depth.set(number)
    samples = drained(consumer, 20)
    assert np.all(np.diff(samples["time"].astype("i8")) >= 0)
    assert samples["time"][0] > 0
    assert not samples["flags"].any()


@pytest.mark.parametrize("value", [True, 2, np.float32(1.5), np.int64(7), np.array(2.0)])
def test_a_value_may_be_anything_that_is_a_number(tel: Telemetry, consumer: Consumer, value: Any) -> None:
    assert tel.counter("orders_total").inc(value)
    assert values(consumer, 1) == [(0, float(value))]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1.0, ValueError),
        (-5e-324, ValueError),
        (-1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        (-math.inf, ValueError),
        ("1", TypeError),
        (None, TypeError),
        (10**400, OverflowError),
    ],
)
def test_a_counter_refuses_what_is_no_step(
    tel: Telemetry, consumer: Consumer, value: Any, error: type[Exception]
) -> None:
    orders = tel.counter("orders_total")
    for step in (orders.inc, orders.emit):
        with pytest.raises(error):
            step(value)
    stats = tel.stats()
    assert (stats.attempted, stats.rejected, stats.in_ring) == (2, 2, 0)


def test_a_counters_error_says_what_was_expected_and_what_came(tel: Telemetry) -> None:
    with pytest.raises(ValueError, match=r"orders_total: a counter takes finite steps >= 0, got -2\.0"):
        tel.counter("orders").inc(-2)


def test_a_counter_takes_zero_and_the_largest_step(tel: Telemetry, consumer: Consumer) -> None:
    orders = tel.counter("orders_total")
    for step in (0.0, -0.0, 5e-324, 1.7976931348623157e308):
        assert orders.inc(step)
    assert [value for _, value in values(consumer, 4)] == [0.0, 0.0, 5e-324, 1.7976931348623157e308]


def test_a_gauge_takes_anything_that_is_a_float(tel: Telemetry, consumer: Consumer) -> None:
    depth = tel.gauge("depth")
    for value in (math.inf, -math.inf, math.nan, -0.0):
        assert depth.set(value)
    assert repr([value for _, value in values(consumer, 4)]) == "[inf, -inf, nan, -0.0]"
    with pytest.raises(TypeError):
        depth.set("high")  # type: ignore[arg-type]
    assert tel.stats().rejected == 1


def test_a_histogram_takes_infinities_and_refuses_nan(tel: Telemetry, consumer: Consumer) -> None:
    latency = tel.histogram("latency_seconds")
    for value in (math.inf, -math.inf, -1.0, 0.0):
        assert latency.observe(value)
    with pytest.raises(ValueError, match="latency_seconds: a histogram does not take NaN"):
        latency.observe(math.nan)
    assert [value for _, value in values(consumer, 4)] == [math.inf, -math.inf, -1.0, 0.0]
    assert tel.stats().rejected == 1


def test_what_a_conversion_raises_comes_through_and_is_counted(tel: Telemetry) -> None:
    class Bad:
        def __float__(self) -> float:
            raise KeyError("no number")

    for emit in (tel.counter("a").inc, tel.gauge("b").set, tel.histogram("c").observe):
        with pytest.raises(KeyError):
            emit(Bad())
    assert (tel.stats().attempted, tel.stats().rejected) == (3, 3)


def test_definitions_stand_in_the_catalogue(tel: Telemetry) -> None:
    tel.counter("orders", "Orders sent.", labels=("symbol", "side")).labels("AAPL", "buy")
    tel.gauge("depth", merge="max")
    tel.histogram("fill_bytes", "Fills.", buckets=(1, 10, math.inf))
    first, second, third = read_catalogue(tel._producer.segment)
    assert first.metric == {
        "name": "orders_total", "kind": "counter", "help": "Orders sent.", "labels": ["symbol", "side"],
        "buckets": [], "unit": "", "merge": "last", "keep": False,
    }  # fmt: skip
    assert first.labels == ("AAPL", "buy")
    assert (second.metric["name"], second.metric["merge"], second.labels) == ("depth", "max", ())
    assert (third.metric["buckets"], third.metric["unit"]) == ([1.0, 10.0], "bytes")


def test_the_same_definition_twice_is_the_same_instrument(tel: Telemetry) -> None:
    assert tel.counter("orders") is tel.counter("orders_total")
    assert tel.histogram("latency_seconds") is tel.histogram("latency_seconds", unit="seconds")
    assert len(read_catalogue(tel._producer.segment)) == 2


def test_another_definition_of_one_name_is_an_error_and_changes_nothing(tel: Telemetry) -> None:
    depth = tel.gauge("depth")
    for define in (
        lambda: tel.gauge("depth", "With help."),
        lambda: tel.gauge("depth", merge="sum"),
        lambda: tel.gauge("depth", labels=("symbol",)),
        lambda: tel.histogram("depth"),
    ):
        with pytest.raises(ValueError, match="depth is defined already"):
            define()
    assert tel.gauge("depth") is depth
    assert len(read_catalogue(tel._producer.segment)) == 1


@pytest.mark.parametrize(
    ("define", "reason"),
    [
        (lambda tel: tel.gauge("latency_ms", unit="seconds"), "the name says ms"),
        (lambda tel: tel.counter("sent_bytes_total", unit="ratio"), "the name says bytes"),
        (lambda tel: tel.gauge("depth", unit="parsecs"), "unit 'parsecs'"),
        (lambda tel: tel.gauge(""), "metric name ''"),
        (lambda tel: tel.gauge("2fast"), "metric name"),
        (lambda tel: tel.gauge("a b"), "metric name"),
        (lambda tel: tel.gauge(7), "metric name 7"),
        (lambda tel: tel.gauge("depth", merge="mean"), "merge 'mean'"),
        (lambda tel: tel.gauge("depth", merge="all", labels=("producer",)), "label name 'producer'"),
        (lambda tel: tel.gauge("depth", labels=("__name__",)), "label name '__name__'"),
        (lambda tel: tel.gauge("depth", labels=("a", "a")), "repeat"),
        (lambda tel: tel.histogram("h", labels=("le",)), "label name 'le'"),
        (lambda tel: tel.histogram("h", buckets=(1, 1)), "rising"),
        (lambda tel: tel.histogram("h", buckets=(2, 1)), "rising"),
        (lambda tel: tel.histogram("h", buckets=(1, math.nan)), "rising"),
        (lambda tel: tel.histogram("h", buckets=(-math.inf, 1)), "rising"),
        (lambda tel: tel.histogram("h", buckets=range(257)), "at most 256"),
    ],
)
def test_a_definition_that_cannot_be_is_a_value_error_and_leaves_no_trace(
    tel: Telemetry, define: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        define(tel)
    assert tel._producer.segment.catalogue() == b""


def test_labels_given_as_one_string_are_a_type_error(tel: Telemetry) -> None:
    with pytest.raises(TypeError, match="sequence of names"):
        tel.counter("orders", labels="symbol")


@pytest.mark.parametrize(
    ("name", "unit", "bound"), [("h", None, 1.0), ("h_ms", None, 1000.0), ("h", "us", 1e6), ("h_ns", "ns", 1e9)]
)
def test_default_buckets_reach_to_one_second_in_the_metrics_unit(
    tel: Telemetry, name: str, unit: str | None, bound: float
) -> None:
    assert tel.histogram(name, unit=unit).metric.buckets[-1] == bound


def test_a_metric_number_is_never_given_twice_when_a_definition_fails_half_way(
    tel: Telemetry, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = tel._append
    with monkeypatch.context() as patch:

        def full(kind: int, payload: bytes) -> int:
            if kind == 2:
                raise MemoryError("no room for the series")
            return append(kind, payload)

        patch.setattr(tel, "_append", full)
        with pytest.raises(MemoryError):
            tel.counter("lost")
    tel.gauge("depth")
    assert tel.counter("lost").inc()
    assert [series.metric["name"] for series in read_catalogue(tel._producer.segment)] == ["depth", "lost_total"]
    assert values(consumer, 1) == [(1, 1.0)]


def test_a_handle_says_what_it_is_and_cannot_be_pickled(tel: Telemetry) -> None:
    orders = tel.counter("orders", labels=("symbol",))
    assert repr(orders.labels("AAPL")) == "<Counter orders_total{symbol='AAPL'}>"
    assert repr(orders) == "<Counter family orders_total>"
    with pytest.raises(TypeError, match="make it anew"):
        pickle.dumps(orders.labels("AAPL"))


def test_a_handle_keeps_its_ring_after_its_telemetry_is_forgotten(namespace: str) -> None:
    orders = Telemetry("bot", namespace, capacity=8).counter("orders")
    assert orders.inc()
    del orders
    with Consumer("bot", namespace) as consumer:
        assert values(consumer, 1) == [(0, 1.0)]


def test_after_close_emit_is_false_and_counted(namespace: str) -> None:
    tel = Telemetry("bot", namespace, capacity=8)
    orders, latency = tel.counter("orders"), tel.histogram("latency_seconds")
    tel.close()
    assert orders.inc() is False
    assert latency.observe(1.0) is False
    start = latency.start()
    assert 0 <= latency.stop(start) < 60
    assert tel.gauge("late").set(1.0) is False
    assert tel.stats().dropped["no_ring"] == 4
    assert tel.stats().attempted == 4
