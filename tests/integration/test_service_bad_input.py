"""What comes from outside and is not what it should be: each is told, and the next question finds all as it was."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Telemetry, trading
from shmtelemetry.service.collectors import BaseCollector, register
from shmtelemetry.service.collectors.base import TAKEN
from tests.processes import PATIENCE
from tests.readers import Running, shmtel
from tests.services import ask, await_value, hear, listener, new_namespace, service

ALERTS = "/api/system/alerts"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    namespace = new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("running")) as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        trading.use(telemetry)
        try:
            yield running
        finally:
            trading.close()


def alert(**said: Any) -> dict[str, Any]:
    one = {"status": "firing", "labels": {"alertname": "Test"}, "startsAt": "2026-11-25T10:00:00Z"}
    return {"version": "4", "alerts": [one | said]}


def is_well(running: Running) -> None:
    for path in (ALERTS, "/api/system/health", "/api/trades/stats/summary", "/api/trades/execution/quality"):
        assert ask(running.url, path).status == 200, path
    with listener(running.url) as websocket:
        hear(websocket, "alerts")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"])
def test_moments_that_cannot_be_told_are_refused(running: Running, moment: str) -> None:
    assert ask(running.url, f"{ALERTS}/webhook", "POST", alert(startsAt=moment)).status == 422
    ended = alert(status="resolved", endsAt=moment)
    assert ask(running.url, f"{ALERTS}/webhook", "POST", ended).status == 422
    number = ask(running.url, f"{ALERTS}/webhook", "POST", alert()).json["ids"][0]
    assert ask(running.url, f"{ALERTS}/acknowledge/{number}", "POST", {"until": moment}).status == 422
    is_well(running)


def test_half_a_surrogate_pair_is_told_as_what_can_be(running: Running) -> None:
    body = json.dumps(alert(labels={"alertname": "half", "\ud800": "\udfff"})).encode()
    assert ask(running.url, f"{ALERTS}/webhook", "POST", body).status == 200
    (found,) = [one for one in ask(running.url, ALERTS).json["alerts"] if one["name"] == "half"]
    assert found["labels"] == {"?": "?"}
    question = json.dumps({"metric": "x", "labels": {"\ud800": "b"}}).encode()
    assert ask(running.url, "/api/metrics/history", "POST", question).status in (200, 404, 422)
    is_well(running)


def test_infinities_of_producers_are_figures_that_nobody_knows(running: Running) -> None:
    infinity = float("inf")
    for price in (infinity, -infinity, 1e308, 1e308):
        trading.record_trade("bot-i", "INF", "buy", quantity=1.0, price=price, reference_price=1.0)
    for symbol, value in (("INF", infinity), ("NEG", -infinity)):
        trading.BOT_PNL.labels(bot_id="bot-i", symbol=symbol).set(value)
    await_value(running.url, "/api/trades?symbol=INF", lambda told: told["count"] == 4)
    is_well(running)
    assert ask(running.url, "/api/system/stats").status == ask(running.url, "/api/system/performance").status == 200
    strategy = await_value(running.url, "/api/metrics/current", lambda told: "strategy" in told)["strategy"]
    assert strategy["total_pnl"] is None
    told = {one["name"]: one for one in ask(running.url, "/api/system/components").json["components"]}
    assert told["strategy"]["status"] == "ok"
    assert 0 <= told["strategy"]["age_seconds"] < PATIENCE


def test_what_helpers_tell_without_records_is_shown(running: Running) -> None:
    trading.ACTIVE_BOTS.labels(status="running").set(3)
    trading.record_market_data_update("QUIET", "websocket")
    trading.update_portfolio_metrics({"positions": {"QUIET": 2.0, "LOUD": 1.0}})
    told = await_value(running.url, "/api/v1/bots/", lambda told: told["counts"]["running"])
    assert told["counts"] == {"running": 3, "paused": 0, "stopped": 0}
    await_value(running.url, "/api/metrics/symbols", lambda told: "QUIET" in told["symbols"])
    await_value(running.url, "/api/metrics/current", lambda told: told["strategy"]["open_positions"] == 3)


def test_questions_that_mean_nothing_are_refused(running: Running) -> None:
    for query in (
        "since=2026-11-26T00:00:00Z&until=2026-11-25T00:00:00Z",
        "symbol=AAPL&symbol=TSLA",
        "symbol=AAPL%00",
    ):
        assert ask(running.url, f"/api/trades?{query}").status == 422, query
    trading.record_trade("bot-i", "AAPL", "buy", quantity=1.0, price=2.0, trade_id="t/0")
    assert ask(running.url, "/api/trades/t%2F0%00").status == 422
    await_value(running.url, "/api/trades?symbol=AAPL", lambda told: told["count"] > 0)
    assert ask(running.url, f"/api/trades/{urllib.parse.quote('t/0', safe='')}").json["trade_id"] == "t/0"


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_head_that_comes_at_once_has_a_bound_too(running: Running, size: int) -> None:
    assert ask(running.url, "/health", X_Long="x" * size).status == 431


@pytest.mark.parametrize("path", ["/", "/health", "/health/ready", "/latest", "/static/page.js"])
def test_head_is_answered_as_get_without_the_body(running: Running, path: str) -> None:
    got, head = ask(running.url, path), ask(running.url, path, "HEAD")
    assert (head.status, head.body) == (got.status, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


def test_a_topic_that_there_is_none_of_is_told_and_changes_nothing(running: Running) -> None:
    with listener(running.url) as websocket:
        hear(websocket, "connected")
        websocket.send(json.dumps({"type": "subscribe", "topics": ["sytem"]}))
        said = hear(websocket, "error")
        assert said["code"] == "unknown_topic"
        assert "sytem" in said["message"]
        assert "market_data" in said["message"]
        assert hear(websocket, "metrics_update").keys() >= {"market_data", "system"}


def test_who_connects_takes_nobody_elses_news(running: Running) -> None:
    with listener(running.url) as first:
        hear(first, "alerts")
        number = ask(running.url, f"{ALERTS}/webhook", "POST", alert(labels={"alertname": "News"})).json["ids"][0]
        with listener(running.url) as second:
            hear(second, "alerts")
        told = hear(first, lambda message: message["type"] == "alerts" and message["alerts"])
        assert number in [one["id"] for one in told["alerts"]]


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_no_collector_takes_the_place_of_what_a_message_is_made_of(name: str) -> None:
    class Mine(BaseCollector):
        async def get_current_metrics(self) -> dict[str, Any]:
            return {"mine": 1}

    with pytest.raises(ValueError, match="taken"):
        register(Mine(name))


@pytest.mark.parametrize(
    "setting", ["WS_MAX_CONNECTIONS=60000000", "METRIC_COLLECTION_INTERVAL=1e-10", "WS_MESSAGE_QUEUE_SIZE=1000000000"]
)
def test_settings_that_cannot_be_meant_are_one_line(namespace: str, setting: str) -> None:
    name, _, value = setting.partition("=")
    done = shmtel("serve", "--namespace", namespace, "--listen", "127.0.0.1:0", **{name: value})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert name in done.stderr


def test_a_state_folder_that_cannot_be_made_is_told_with_its_option(namespace: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "below")
    done = shmtel("serve", "--namespace", namespace, "--listen", "127.0.0.1:0", "--state-dir", folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--state-dir" in done.stderr
