"""What a full ring could not take: steps are kept in the series' cell, observations are counted there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shmtelemetry import Consumer, Telemetry
from tests.catalogue import Cell, read_catalogue


@pytest.fixture
def tel(namespace: str) -> Iterator[Telemetry]:
    with Telemetry("bot", namespace, capacity=4) as telemetry:
        yield telemetry
    with Consumer("bot", namespace) as consumer:
        consumer.read()


def cell(tel: Telemetry, number: int = 0) -> Cell:
    return read_catalogue(tel._producer.segment)[number].cell


def test_a_counters_steps_add_up_in_its_cell(tel: Telemetry) -> None:
    orders = tel.counter("orders")
    assert all(orders.inc(float(step)) for step in range(1, 10))
    found = cell(tel)
    assert (found.steps, found.value, found.dropped) == (5, 5 + 6 + 7 + 8 + 9, 0)
    stats = tel.stats()
    assert (stats.attempted, stats.in_ring, stats.coalesced, sum(stats.dropped.values())) == (9, 4, 5, 0)


def test_a_gauges_last_value_and_time_stand_in_its_cell(tel: Telemetry) -> None:
    depth = tel.gauge("depth")
    times = []
    for value in range(10):
        assert depth.set(float(value))
        times.append(cell(tel).time)
    found = cell(tel)
    assert (found.steps, found.value) == (6, 9.0)
    assert times[:4] == [0] * 4
    assert times[4:] == sorted(times[4:])
    assert times[4] > int(tel._producer.last(1)[0]["time"])
    assert tel.stats().coalesced == 6


def test_a_histograms_dropped_observations_are_counted_in_its_cell(tel: Telemetry) -> None:
    latency = tel.histogram("latency_seconds")
    assert [latency.observe(1.0) for _ in range(7)] == [True] * 4 + [False] * 3
    found = cell(tel)
    assert (found.dropped, found.steps) == (3, 0)
    stats = tel.stats()
    assert (stats.attempted, stats.in_ring, stats.dropped["full"], stats.coalesced) == (7, 4, 3, 0)


def test_each_series_has_its_own_cell(tel: Telemetry) -> None:
    orders = tel.counter("orders", labels=("symbol",))
    aapl, msft, depth = orders.labels("AAPL"), orders.labels("MSFT"), tel.gauge("depth")
    for _ in range(4):
        aapl.inc()
    aapl.inc(2.0)
    msft.inc(3.0)
    depth.set(5.0)
    assert [cell(tel, number).value for number in range(3)] == [2.0, 3.0, 5.0]


def test_a_cell_goes_on_where_it_stood_after_the_ring_had_room_again(tel: Telemetry, namespace: str) -> None:
    orders = tel.counter("orders")
    with Consumer("bot", namespace) as consumer:
        total = 0.0
        for _ in range(3):
            for _ in range(6):
                assert orders.inc(1.5)
            total += float(consumer.read()["value"].sum())
        assert total + cell(tel).value == 3 * 6 * 1.5
        assert cell(tel).steps == tel.stats().coalesced == 6


def test_a_refused_step_does_not_touch_the_cell(tel: Telemetry) -> None:
    orders = tel.counter("orders")
    for _ in range(5):
        orders.inc()
    with pytest.raises(ValueError, match="finite steps"):
        orders.inc(-1.0)
    assert (cell(tel).steps, cell(tel).value) == (1, 1.0)
