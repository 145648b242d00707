"""Series one by one, as a real service tells them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from shmtelemetry import Telemetry, read_state
from tests.processes import wait_until
from tests.readers import Running
from tests.services import ask, await_value, new_namespace, service

SERIES, DISTRIBUTION = "/api/metrics/series", "/api/metrics/distribution"
LATENCIES = {"AAPL": [1e-3, 2e-3, 2e-3, 0.0], "MSFT": [5e-3, -1.0, math.inf]}


@dataclass(frozen=True)
class Shown:
    running: Running
    namespace: str
    telemetry: Telemetry

    def spread(self, **query: Any) -> Any:
        return ask(self.running.url, DISTRIBUTION, "POST", {"metric": "latency_seconds", **query})


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    namespace = new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("series")) as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        latency = telemetry.histogram("latency_seconds", "…", labels=("symbol",), unit="seconds")
        for symbol, values in LATENCIES.items():
            for value in values:
                latency.labels(symbol).emit(value)
        telemetry.counter("orders_total", "…", labels=("side",)).labels("buy").emit(3)
        telemetry.gauge("depth", "…").set(7.0)
        await_value(running.url, f"{SERIES}?search=latency_seconds", lambda told: rated(told, 2))
        yield Shown(running, namespace, telemetry)


def rated(told: Any, count: int) -> bool:
    """Whether so many series have windows by now."""
    return (
        sum(one["rate"] is not None and one["rate"] > 0 for one in told["series"] if one["metric"] == "latency_seconds")
        == count
    )


def test_a_series_is_told_with_its_window(shown: Shown) -> None:
    told = ask(shown.running.url, f"{SERIES}?kind=histogram&search=aapl").json
    (series,) = told["series"]
    assert (told["count"], told["total"]) == (1, 1)
    assert (series["metric"], series["labels"], series["unit"]) == ("latency_seconds", {"symbol": "AAPL"}, "seconds")
    assert series["value"] == len(LATENCIES["AAPL"])
    assert series["p50"] == pytest.approx(1e-3, rel=0.011)
    assert (series["p99"], series["max"]) == (pytest.approx(2e-3, rel=0.011), 2e-3)
    assert series["coverage"] == 1.0


def test_what_is_not_known_is_null(shown: Shown) -> None:
    (gauge,) = ask(shown.running.url, f"{SERIES}?kind=gauge&search=depth").json["series"]
    assert (gauge["value"], gauge["rate"], gauge["p99"], gauge["coverage"]) == (7.0, None, None, None)
    (counter,) = ask(shown.running.url, f"{SERIES}?kind=counter&search=buy").json["series"]
    assert (counter["value"], counter["p50"], counter["max"]) == (3.0, None, None)


def test_series_are_bounded_and_the_fastest_come_first(shown: Shown) -> None:
    told = ask(shown.running.url, f"{SERIES}?limit=2").json
    assert told["count"] == len(told["series"]) == 2 < told["total"]
    everything = ask(shown.running.url, f"{SERIES}?limit=10000").json["series"]
    rates = [one["rate"] or 0.0 for one in everything]
    assert rates == sorted(rates, reverse=True)
    assert ask(shown.running.url, f"{SERIES}?kind=summary").status == 422
    assert ask(shown.running.url, f"{SERIES}?limit=0").status == 422


def test_the_worst_come_first_of_all_that_there_are(shown: Shown) -> None:
    """Also where units differ: 2,000,000 us are more than 1 s."""
    for name, value in (("wait_us", 2e6), ("wait_seconds", 1.0)):
        assert shown.telemetry.histogram(name, "…").emit(value)
    path = f"{SERIES}?search=wait_&kind=histogram"
    await_value(shown.running.url, path, lambda told: sum(one["p99"] is not None for one in told["series"]) == 2)
    orders = {"descending": ["wait_us", "wait_seconds"], "ascending": ["wait_seconds", "wait_us"]}
    for sort in ("p50", "p99", "max", "metric"):
        for order, names in orders.items():
            told = ask(shown.running.url, f"{path}&sort={sort}&order={order}").json
            assert [one["metric"] for one in told["series"]] == names, sort
            first = ask(shown.running.url, f"{path}&sort={sort}&order={order}&limit=1").json
            assert (first["count"], first["total"]) == (1, 2)
            assert first["series"] == told["series"][:1]


@pytest.mark.parametrize("sort", ["metric", "labels", "rate", "p50", "p90", "p99", "p999", "max", "coverage", "value"])
def test_what_is_not_known_comes_last_either_way(shown: Shown, sort: str) -> None:
    key = {"metric": "metric", "labels": "metric"}.get(sort, sort)
    for order in ("ascending", "descending"):
        rows = ask(shown.running.url, f"{SERIES}?sort={sort}&order={order}&limit=10000").json["series"]
        known = [row[key] is not None for row in rows]
        assert known == sorted(known, reverse=True)
    for wrong in ("sort=p95", "sort=", "order=up", "sort=p99&sort=up"):
        assert ask(shown.running.url, f"{SERIES}?{wrong}").status == 422


@pytest.mark.parametrize(
    ("labels", "series", "counts", "low", "high"),
    [({"symbol": "AAPL"}, 1, [1, 2], 1, 0), ({}, 2, [1, 2, 1], 2, 1), ({"symbol": "none"}, 0, [], 0, 0)],
)
def test_a_distribution_is_that_of_all_series_with_the_labels(
    shown: Shown, labels: dict[str, str], series: int, counts: list[int], low: int, high: int
) -> None:
    told = shown.spread(labels=labels).json
    assert (told["unit"], told["series"]) == ("seconds", series)
    assert sum(one["low"] for one in told["seconds"]) == low
    assert sum(one["high"] for one in told["seconds"]) == high
    found: dict[int, int] = {}
    for second in told["seconds"]:
        assert second["count"] == sum(second["counts"]) + second["low"] + second["high"]
        for at, count in enumerate(second["counts"]):
            found[second["first"] + at] = found.get(second["first"] + at, 0) + count
    assert [found[index] for index in sorted(found) if found[index]] == counts
    for index, value in zip(sorted(index for index in found if found[index]), (1e-3, 2e-3, 5e-3), strict=False):
        assert 2 ** ((index - 1) / 2 ** told["scale"]) < value <= 2 ** (index / 2 ** told["scale"])


def test_the_seconds_are_those_of_the_clock(shown: Shown) -> None:
    ends = [second["end"] for second in shown.spread(seconds=60).json["seconds"]]
    assert ends == sorted(ends)
    assert abs(ends[-1] - time.time()) < 60
    assert len(shown.spread(seconds=1).json["seconds"]) == 1


def test_a_distribution_of_what_has_none_is_refused(shown: Shown) -> None:
    for metric in ("depth", "orders_total", "nothing"):
        refused = shown.spread(metric=metric)
        assert (refused.status, "histogram" in refused.json["detail"]) == (422, True)
    assert shown.spread(seconds=61).status == 422


def test_each_second_of_a_window_is_a_window(shown: Shown) -> None:
    def seconds() -> bool:
        snapshot = read_state(shown.namespace)
        each, whole = snapshot.seconds(60), snapshot.window(60)
        ages = [one.age for one in each]
        assert ages == sorted(ages, reverse=True)
        assert all(age >= 0 for age in ages)
        assert sum(one.seconds for one in each) == pytest.approx(whole.seconds)
        counts = [one.histogram("latency_seconds", symbol="AAPL").count for one in each]
        assert sum(counts) == whole.histogram("latency_seconds", symbol="AAPL").count
        return len(each) > 2

    wait_until(seconds, "some seconds are complete")
    with pytest.raises(ValueError, match="expected more than 0 and at most 60"):
        read_state(shown.namespace).seconds(61)


def test_the_telemetry_section_has_the_rate_of_losses(shown: Shown) -> None:
    told = await_value(
        shown.running.url, "/api/metrics/current", lambda told: told["telemetry"]["lost_per_second"] is not None
    )
    assert (told["telemetry"]["lost_per_second"], told["telemetry"]["lost"]) == (0.0, 0)
