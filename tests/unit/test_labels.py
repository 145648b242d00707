"""Series: label values in order or by name, resolved once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shmtelemetry import Consumer, Telemetry
from tests.catalogue import read_catalogue
from tests.processes import drained


@pytest.fixture
def tel(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace, capacity=64) as telemetry:
        yield telemetry


def test_the_same_values_give_the_same_handle_in_order_or_by_name(tel: Telemetry) -> None:
    orders = tel.counter("orders", labels=("symbol", "side"))
    aapl = orders.labels("AAPL", "buy")
    assert orders.labels("AAPL", "buy") is aapl
    assert orders.labels(side="buy", symbol="AAPL") is aapl
    assert orders.labels("buy", "AAPL") is not aapl
    assert aapl.values == ("AAPL", "buy")
    assert [series.labels for series in read_catalogue(tel._producer.segment)] == [("AAPL", "buy"), ("buy", "AAPL")]


@pytest.mark.parametrize("value", ["", "é", "a\0b", "\n", '"', "x" * 4096, 7, 1.5, None, True])
def test_any_value_becomes_its_text(tel: Telemetry, value: Any) -> None:
    tel.counter("orders", labels=("symbol",)).labels(value)
    (series,) = read_catalogue(tel._producer.segment)
    assert series.labels == (str(value),)


@pytest.mark.parametrize(
    ("values", "named", "reason"),
    [
        ((), {}, "expected 2 label values, got 0"),
        (("AAPL",), {}, "expected 2 label values, got 1"),
        (("AAPL", "buy", "x"), {}, "expected 2 label values, got 3"),
        ((), {"symbol": "AAPL"}, "expected the labels symbol, side, got symbol"),
        ((), {"symbol": "AAPL", "size": "1"}, "expected the labels symbol, side, got symbol, size"),
        ((), {"symbol": "AAPL", "side": "buy", "x": "y"}, "expected the labels symbol, side"),
        (("AAPL",), {"side": "buy"}, "not both"),
        (("\ud800", "buy"), {}, "not valid Unicode"),
        (("x" * 4097, "buy"), {}, "more than 4096 bytes"),
        (("é" * 2049, "buy"), {}, "more than 4096 bytes"),
    ],
)
def test_wrong_labels_are_a_value_error_and_make_no_series(
    tel: Telemetry, values: tuple[str, ...], named: dict[str, str], reason: str
) -> None:
    orders = tel.counter("orders", labels=("symbol", "side"))
    with pytest.raises(ValueError, match=reason):
        orders.labels(*values, **named)
    assert read_catalogue(tel._producer.segment) == []


@pytest.mark.parametrize("use", ["emit", "inc", "set", "observe", "time", "start", "stop"])
def test_an_instrument_with_labels_asks_for_them(tel: Telemetry, use: str) -> None:
    with pytest.raises(ValueError, match=r"has the labels symbol: use \.labels"):
        getattr(tel.counter("orders", labels=("symbol",)), use)()


@pytest.mark.slow
def test_twenty_thousand_series_are_all_there_and_emit(tel: Telemetry, namespace: str) -> None:
    orders = tel.counter("orders", labels=("symbol",))
    before = tel._producer.segment.size
    handles = [orders.labels(f"symbol-{number}") for number in range(20_000)]
    segment = tel._producer.segment
    assert segment.mapping.size > before
    series = read_catalogue(segment)
    assert [s.labels[0] for s in series] == [f"symbol-{number}" for number in range(20_000)]
    with Consumer("bot", namespace) as consumer:
        for number in (0, 9_999, 19_999):
            assert handles[number].inc(number)
        assert drained(consumer, 3)["series"].tolist() == [0, 9_999, 19_999]
        while tel.stats().coalesced < 2:
            handles[19_999].inc(3.0)
        assert read_catalogue(segment)[-1].cell.value == 6.0
        consumer.read()


def test_a_reader_that_attached_earlier_follows_the_catalogues_growth(tel: Telemetry) -> None:
    from shmtelemetry.segment import attach

    seen = attach(tel._producer.segment.name)
    orders = tel.counter("orders", labels=("symbol",))
    have = b""
    for number in range(2000):
        orders.labels(f"symbol-{number}")
        if number % 100 == 0:
            have += seen.catalogue(len(have))
    have += seen.catalogue(len(have))
    assert have == tel._producer.segment.catalogue()
    seen.close()
