"""The REST interface of a real service, with a real application's figures behind it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry import Telemetry, trading
from tests.monitoring import RUNBOOKS
from tests.processes import wait_until
from tests.readers import Running
from tests.services import ask, await_value, hear, listener, new_namespace, service

SIDES = ("buy", "sell")


@dataclass(frozen=True)
class Shown:
    """A service, and what it shows."""

    running: Running
    namespace: str

    def get(self, path: str) -> Any:
        reply = ask(self.running.url, path)
        assert reply.status == 200, reply.body
        return reply.json

    def post(self, path: str, body: object) -> Any:
        reply = ask(self.running.url, path, "POST", body)
        assert reply.status == 200, reply.body
        return reply.json


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A trading application, and a service that has seen all of it."""
    namespace = new_namespace()
    with (
        service(namespace, tmp_path_factory.mktemp("shown")) as running,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        trading.use(telemetry)
        try:
            trade()
            await_value(running.url, "/api/trades?limit=1000", lambda told: told["count"] == 50)
            await_value(running.url, "/api/metrics/symbols", lambda told: told["count"] == 2)
            yield Shown(running, namespace)
        finally:
            trading.use(None)


def trade() -> None:
    """What the application does."""
    trading.record_market_tick("AAPL", bid=150.24, ask=150.26, last_price=150.25, volume=1_250_000.0, trades=5_420)
    trading.record_market_tick("MSFT", bid=400.0, ask=400.2)
    for number in range(50):
        bot, symbol, side = f"bot{number % 2}", ("AAPL", "MSFT")[number % 2], SIDES[number // 2 % 2]
        trading.record_trade(
            bot, symbol, side, quantity=10.0, price=100.1, reference_price=100.0, trade_id=f"t{number}",
            order_id=f"o{number}", strategy="momentum", latency_ns=2_000_000,
        )  # fmt: skip
        status = "filled" if number % 5 else "rejected"
        trading.record_order(bot, symbol, side, status, order_id=f"o{number}", quantity=10.0, price=100.0)
    trading.update_strategy(
        "bot0", "momentum", "AAPL", "running", position=5.0, realized_pnl=100.0, unrealized_pnl=20.0
    )
    trading.update_strategy("bot1", "momentum", "MSFT", "paused", realized_pnl=-30.0)
    trading.SYSTEM_SAMPLES.emit_fields(
        time.time_ns(), 10_000, 9_950, 50, 512, 1024, 8500.5, 250e3, 375e3, 500e3, 2, 150
    )


# ---- what this is ----


def test_the_root_says_where_things_are(shown: Shown) -> None:
    told = shown.get("/")
    assert (told["service"], told["namespaces"]) == ("shmtelemetry", [shown.namespace])
    for path in told["endpoints"].values():
        if not path.startswith("/ws"):
            assert ask(shown.running.url, path).status == 200


def test_every_alert_of_the_package_has_a_page_that_leads_to_pages(shown: Shown) -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")}
    for alert in pages:
        page = ask(shown.running.url, f"/runbooks/{alert}.md")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        text = page.body.decode()
        assert f"<h1>{alert}</h1>" in text
        assert "<h2>What to do</h2>" in text
        assert set(re.findall(r'href="(\w+)\.md"', text)) <= pages
    for other in ("Nothing", "..%2F..%2Fapp", "%2Fetc%2Fpasswd"):
        assert ask(shown.running.url, f"/runbooks/{other}.md").status == 404


def test_the_reference_tells_of_every_route_without_any_script(shown: Shown) -> None:
    page = ask(shown.running.url, "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for path in shown.get("/openapi.json")["paths"]:
        assert path.replace("&", "&amp;") in page.body.decode()
    assert b"<script" not in page.body


# ---- the telemetry service of a log ----


def test_latest_has_the_columns_and_what_follows_from_them(shown: Shown) -> None:
    told = await_value(shown.running.url, "/latest", lambda told: told["batch_count"] == 150)
    expected = {
        "orders_produced": 10_000,
        "orders_consumed": 9_950,
        "orders_dropped": 50,
        "buffer_size": 512,
        "buffer_capacity": 1024,
        "throughput_ops_per_sec": 8500.5,
        "network_errors": 2,
        "buffer_utilization_percent": 50.0,
        "drop_percent": 0.5,
    }
    assert {name: told[name] for name in expected} == expected
    for name, value in (("avg_latency_ns", 250e3), ("p95_latency_ns", 375e3), ("p99_latency_ns", 500e3)):
        assert told[name] == pytest.approx(value)
    assert 0 <= told["age_seconds"] < 600
    assert abs(told["timestamp_ns"] / 1e9 + told["age_seconds"] - time.time()) < 60


def test_metrics_are_what_prometheus_reads(shown: Shown) -> None:
    text = ask(shown.running.url, "/metrics").body.decode()
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["orders_produced_total"] == 10_000
    single = ask(shown.running.url, "/metrics?name[]=batches_sent_total").body.decode()
    assert {family.name for family in text_string_to_metric_families(single)} == {
        "batches_sent",
        "batches_sent_created",
    }
    openmetrics = ask(shown.running.url, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")
    zipped = ask(shown.running.url, "/metrics", Accept_Encoding="gzip")
    assert zipped.headers["Content-Encoding"] == "gzip"


# ---- metrics ----


@pytest.mark.parametrize("path", ["/api/metrics", "/api/metrics/current"])
def test_current_metrics_have_the_documented_shape(shown: Shown, path: str) -> None:
    told = shown.get(path)
    assert told["market_data"]["AAPL"] == {
        "last_price": 150.25, "bid": 150.24, "ask": 150.26, "volume": 1_250_000, "trades": 5_420,
    }  # fmt: skip
    assert told["strategy"]["total_pnl"] == 90.0
    assert told["strategy"]["open_positions"] == 1
    assert told["execution"]["fill_rate"] == 0.8
    assert {"cpu_percent", "memory_percent", "health"} <= told["system"].keys()
    assert told["telemetry"]["records"] > 0


def test_symbols_and_the_summary_are_of_the_same_figures(shown: Shown) -> None:
    assert shown.get("/api/metrics/symbols")["symbols"] == ["AAPL", "MSFT"]
    told = shown.get("/api/metrics/summary")
    assert (told["symbols"], told["total_pnl"], told["open_positions"], told["fill_rate"]) == (2, 90.0, 1, 0.8)


def test_updates_and_rest_show_the_same(shown: Shown) -> None:
    with listener(shown.running.url) as websocket:
        update = hear(websocket, "metrics_update")
    assert update["market_data"] == shown.get("/api/metrics/current")["market_data"]


# ---- history ----


def test_the_samples_of_the_pipeline_are_kept_over_time(shown: Shown) -> None:
    path = "/stats/history?step=1"
    told = await_value(
        shown.running.url, path, lambda told: told["count"] > 1 and told["samples"][-1]["batch_count"] == 150
    )
    newest = told["samples"][-1]
    assert (newest["orders_produced"], newest["buffer_size"], newest["batch_count"]) == (10_000, 512, 150)
    assert newest["avg_latency_ns"] == pytest.approx(250e3)
    moments = [one["timestamp"] for one in told["samples"]]
    assert moments == sorted(set(moments))
    assert abs(moments[-1] - time.time()) < 600


@pytest.mark.parametrize(
    ("labels", "figure", "value"),
    [
        ({"bot_id": "bot1", "symbol": "MSFT", "side": "sell", "status": "filled"}, "value", 12),
        ({"symbol": "MSFT"}, "value", 25),
        ({}, "value", 50),
        ({"side": "sell"}, "rate", 0),
    ],
)
def test_one_series_or_several_together_over_time(
    shown: Shown, labels: dict[str, str], figure: str, value: float
) -> None:
    query = {"metric": "trading_bot_trades_total", "labels": labels, "figure": figure, "step": 1}

    def newest() -> list[float]:
        points = shown.post("/api/metrics/history", query)["points"]
        return [points[-1][1]] if points and points[-1][1] == value else []

    wait_until(newest, "history has it")


def test_there_is_no_history_of_what_never_was(shown: Shown) -> None:
    assert shown.post("/api/metrics/history", {"metric": "nothing"})["points"] == []


# ---- trades ----


def test_trades_come_newest_first_and_page_by_page(shown: Shown) -> None:
    first = shown.get("/api/trades?limit=20")
    assert [trade["trade_id"] for trade in first["trades"]] == [f"t{number}" for number in range(49, 29, -1)]
    second = shown.get(f"/api/trades?limit=20&before={first['next']}")
    third = shown.get(f"/api/trades?limit=20&before={second['next']}")
    assert [trade["trade_id"] for trade in third["trades"]] == [f"t{number}" for number in range(9, -1, -1)]
    assert (third["count"], third["next"]) == (10, None)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("symbol=AAPL", 25),
        ("side=buy", 26),
        ("bot_id=bot1", 25),
        ("status=filled", 50),
        ("strategy=none", 0),
        ("order_id=o7", 1),
        ("symbol=AAPL&side=sell", 12),
        ("until=2020-01-01T00:00:00Z", 0),
        ("since=2020-01-01T00:00:00", 50),
        ("since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z", 50),
    ],
)
def test_trades_can_be_filtered(shown: Shown, query: str, count: int) -> None:
    assert shown.get(f"/api/trades?{query}&limit=1000")["count"] == count


def test_one_trade_has_all_that_was_recorded(shown: Shown) -> None:
    told = shown.get("/api/trades/t7")
    assert told | {"id": 0, "timestamp": "", "producer": ""} == {
        "id": 0, "timestamp": "", "producer": "", "trade_id": "t7", "order_id": "o7", "bot_id": "bot1",
        "strategy": "momentum", "symbol": "MSFT", "side": "sell", "status": "filled", "quantity": 10.0, "price": 100.1,
        "reference_price": 100.0, "slippage_bps": pytest.approx(-10.0), "latency_ms": 2.0,
    }  # fmt: skip
    made = datetime.fromisoformat(told["timestamp"])
    assert timedelta() < datetime.now(UTC) - made < timedelta(minutes=10)
    assert ask(shown.running.url, "/api/trades/none").status == 404


def test_statistics_are_exact_in_total(shown: Shown) -> None:
    told = shown.get("/api/trades/stats/summary")
    assert told["total"]["trades"] == 50
    assert told["total"]["by_symbol"] == {"AAPL": 25, "MSFT": 25}
    assert told["total"]["by_side"] == {"buy": 26, "sell": 24}
    assert told["total"]["quantity"] == 500
    assert told["recent"]["notional_usd"] == pytest.approx(50 * 1001.0)
    assert told["recent"]["symbols"]["AAPL"]["vwap"] == pytest.approx(100.1)


def test_execution_quality_tells_fill_rate_latency_and_slippage(shown: Shown) -> None:
    told = shown.get("/api/trades/execution/quality")
    assert (told["fill_rate"], told["rejection_rate"], told["orders"]["filled"]) == (0.8, 0.2, 40)
    assert told["latency_ms"]["p99"] == 2.0
    assert told["slippage_bps"]["max"] == pytest.approx(10.0)
    assert shown.get("/api/trades/execution/quality?symbol=AAPL")["trades"] == 25


def test_bots_have_a_status_and_can_be_chosen_by_it(shown: Shown) -> None:
    told = shown.get("/api/v1/bots/")
    assert {bot["bot_id"]: bot["status"] for bot in told["bots"]} == {"bot0": "running", "bot1": "paused"}
    assert told["counts"] == {"running": 1, "paused": 1, "stopped": 0}
    (paused,) = shown.get("/api/v1/bots/?status=paused")["bots"]
    assert (paused["bot_id"], paused["pnl"]) == ("bot1", -30.0)


# ---- the system ----


def test_the_system_is_healthy_and_names_its_parts(shown: Shown) -> None:
    shown.get("/api/metrics/current")  # which asks the collectors
    health = await_value(shown.running.url, "/api/system/health", lambda told: told["status"] == "healthy")
    assert health["components"]["reader"] == "ok"
    names = {one["name"] for one in shown.get("/api/system/components")["components"]}
    assert {"reader", "market_data", "strategy", "execution", "system"} <= names
    assert shown.get("/api/system")["status"] == "healthy"


def test_performance_and_stats_count_requests_and_records(shown: Shown) -> None:
    for _ in range(20):
        shown.get("/latest")

    def is_told(told: Any) -> bool:
        return any(one["endpoint"] == "/latest" and one["p99_ms"] for one in told["http"]["endpoints"])

    told = await_value(shown.running.url, "/api/system/performance", is_told)
    assert told["reader_lag"]["p99_ms"] >= 0
    stats = shown.get("/api/system/stats")
    names = {producer["name"] for producer in stats["producers"]}
    assert {"bot", "bot-trades", "http", "service"} <= names
    assert stats["http_requests"] >= 20
    assert stats["events"]["stored"] >= 100


def test_recent_logs_are_those_of_the_service(shown: Shown) -> None:
    told = shown.get("/api/system/logs/recent?level=info&limit=5")
    assert told["count"] == len(told["logs"]) <= 5


# ---- what is refused ----


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/latest?wrong=1", "query parameter 'wrong'"),
        ("/api/trades?symbl=AAPL", "expected some of before"),
        ("/api/trades?limit=0", "limit"),
        ("/api/trades?limit=1001", "limit"),
        ("/api/trades?limit=many", "limit"),
        ("/api/trades?before=99999999999999999999", "before"),
        ("/api/trades?side=up", "side"),
        ("/api/trades?since=yesterday", "since"),
        ("/api/system/logs/recent?level=loud", "level"),
        ("/stats/history?start=2030-01-01T00:00:00Z&end=2020-01-01T00:00:00Z", "expected start before end"),
        ("/stats/history?start=1990-01-01T00:00:00Z&step=1", "expected at most 11,000"),
        ("/stats/history?step=0", "step"),
        ("/stats/history?step=nan", "step"),
    ],
)
def test_a_question_that_cannot_be_is_refused_with_what_was_expected(shown: Shown, path: str, complaint: str) -> None:
    reply = ask(shown.running.url, path)
    assert (reply.status, reply.headers["Content-Type"]) == (422, "application/problem+json")
    assert reply.json["status"] == 422
    assert complaint in reply.json["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        {},
        {"metric": ""},
        {"metric": "x", "more": 1},
        {"metric": "x", "labels": {"a": 1}},
        {"metric": "x", "step": 0},
        {"metric": "x", "start": "2020-01-01T00:00:00Z", "end": "2019-01-01T00:00:00Z"},
        {"metric": "x", "start": "0001-01-01T00:00:00Z", "step": 1},
        {"metric": "trading_bot_trades_total", "figure": "p99"},
    ],
)
def test_a_body_that_cannot_be_is_refused(shown: Shown, body: object) -> None:
    reply = ask(shown.running.url, "/api/metrics/history", "POST", body, Content_Type="application/json")
    assert reply.status in (400, 422)
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_what_is_not_there_is_a_problem_too(shown: Shown) -> None:
    for method, path, status in (("GET", "/nowhere", 404), ("POST", "/latest", 405), ("GET", "/static/none", 404)):
        reply = ask(shown.running.url, path, method)
        assert (reply.status, reply.json["status"]) == (status, status)


def test_a_path_from_outside_leads_nowhere(shown: Shown) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "//evil.example/latest"):
        assert ask(shown.running.url, path).status in (404, 421)
