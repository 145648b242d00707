"""History of more producers than one would name, by a real service."""

from __future__ import annotations

from pathlib import Path

from shmtelemetry import Telemetry
from tests.services import ask, await_value, service

PRODUCERS = 101


def test_series_of_more_than_a_hundred_producers_are_added_up(namespace: str, tmp_path: Path) -> None:
    with service(namespace, tmp_path) as running, Telemetry("orders", namespace) as telemetry:
        orders = telemetry.counter("orders_produced_total", labels=("producer_id",))
        for number in range(PRODUCERS):
            orders.labels(number).inc(number)

        def is_all(told: dict[str, list[dict[str, float]]]) -> bool:
            return bool(told["samples"]) and told["samples"][-1]["orders_produced"] == sum(range(PRODUCERS))

        await_value(running.url, "/stats/history?step=1", is_all)
        path = "/api/metrics/history"
        query: dict[str, object] = {"metric": "orders_produced_total", "step": 1}
        for extra in ({}, {"sum": True}):
            points = ask(running.url, path, "POST", query | extra).json["points"]
            assert points[-1][1] == sum(range(PRODUCERS))
        one = query | {"labels": {"producer_id": "7"}, "sum": False}
        assert ask(running.url, path, "POST", one).json["points"][-1][1] == 7
        assert ask(running.url, path, "POST", query | {"sum": False}).json["points"] == []
        assert ask(running.url, path, "POST", query | {"sum": "all"}).status == 422
