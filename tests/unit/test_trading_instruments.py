"""The trading pack's instruments and helpers: documented names, defined at their first use and cheap after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from shmtelemetry import Reader, Telemetry, trading
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.trading import ACTIVE_BOTS, BOT_PNL, WEBSOCKET_CONNECTIONS

# Name, kind and labels, as dashboards and alerts ask for them.
DOCUMENTED = {
    "ACTIVE_BOTS": ("trading_bots_active_total", "gauge", ("status",)),
    "BOT_TRADES": ("trading_bot_trades_total", "counter", ("bot_id", "symbol", "side", "status")),
    "BOT_ORDERS": ("trading_bot_orders_total", "counter", ("bot_id", "symbol", "side", "status")),
    "BOT_PNL": ("trading_bot_pnl_usd", "gauge", ("bot_id", "symbol")),
    "PORTFOLIO_VALUE": ("portfolio_total_value_usd", "gauge", ()),
    "PORTFOLIO_POSITIONS": ("portfolio_positions_count", "gauge", ("symbol",)),
    "PORTFOLIO_CASH": ("portfolio_cash_balance_usd", "gauge", ()),
    "MARKET_DATA_UPDATES": ("market_data_updates_total", "counter", ("symbol", "source")),
    "MARKET_DATA_LAG": ("market_data_lag_seconds", "histogram", ()),
    "WEBSOCKET_CONNECTIONS": ("websocket_connections_active", "gauge", ("endpoint",)),
    "WEBSOCKET_MESSAGES": ("websocket_messages_sent_total", "counter", ()),
    "REDIS_OPERATIONS": ("redis_operations_total", "counter", ("operation", "status")),
    "REDIS_CONNECTION_ERRORS": ("redis_connection_errors_total", "counter", ()),
    "DATABASE_QUERIES": ("database_queries_total", "counter", ("operation", "table", "status")),
    "DATABASE_QUERY_DURATION": ("database_query_duration_seconds", "histogram", ()),
    "ORDERS_PRODUCED": ("orders_produced_total", "counter", ("producer_id",)),
    "ORDERS_CONSUMED": ("orders_consumed_total", "counter", ("consumer_id",)),
    "ORDERS_DROPPED": ("orders_dropped_total", "counter", ()),
    "BATCHES_SENT": ("batches_sent_total", "counter", ()),
    "NETWORK_DROPPED_PACKETS": ("network_dropped_packets_total", "counter", ("network_type",)),
    "NETWORK_RETRANSMISSIONS": ("network_retransmissions_total", "counter", ("network_type",)),
    "THROUGHPUT": ("throughput_orders_per_second", "gauge", ()),
    "BUFFER_UTILIZATION": ("buffer_utilization_percent", "gauge", ()),
    "BATCH_LATENCY": ("batch_latency_seconds", "histogram", ()),
    "ORDER_SUBMISSION_LATENCY": ("execution_engine_order_submission_latency_us", "histogram", ("symbol",)),
    "ORDERS_SUBMITTED": ("execution_engine_orders_submitted_total", "counter", ("status",)),
    "API_FAILURES": ("execution_engine_api_failures_total", "counter", ("reason",)),
    "WEBSOCKET_LATENCY": ("market_data_websocket_latency_us", "histogram", ("symbol",)),
    "WEBSOCKET_FAILURES": ("market_data_websocket_connection_failures_total", "counter", ()),
    "PRETRADE_CHECK_LATENCY": ("risk_manager_pretrade_check_latency_us", "histogram", ("symbol",)),
    "RISK_FAILURES": ("risk_manager_risk_failures_total", "counter", ("check",)),
    "UNREALIZED_PNL": ("trading_unrealized_pnl_usd", "gauge", ("symbol",)),
    "OPEN_POSITIONS": ("trading_open_positions_count", "gauge", ()),
}


class Desk:
    """The pack on a telemetry of this test's, and what a reader makes of it."""

    def __init__(self, namespace: str, reader: Reader) -> None:
        self.namespace, self.reader = namespace, reader

    def snapshot(self) -> Snapshot:
        self.reader.poll()
        return self.reader.snapshot()


@pytest.fixture
def desk(namespace: str) -> Iterator[Desk]:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace, capacity=1024) as telemetry:
        trading.use(telemetry)
        try:
            yield Desk(namespace, reader)
        finally:
            trading.use(None)
            telemetry.close()
            reader.poll()


def emit_once(ready: Any, labels: tuple[str, ...]) -> None:
    handle = ready.labels(**dict.fromkeys(labels, "x")) if labels else ready
    assert handle.emit(1.0) is True


def test_every_documented_metric_has_its_name_kind_and_labels(desk: Desk) -> None:
    for constant, (_, _, labels) in DOCUMENTED.items():
        emit_once(getattr(trading, constant), labels)
    families = desk.snapshot().families
    told = {
        constant: (name, families[name].metric.kind, families[name].label_names)
        for constant, (name, _, _) in DOCUMENTED.items()
    }
    assert told == DOCUMENTED
    assert all(families[name].metric.help for name, _, _ in DOCUMENTED.values())


def test_the_buckets_reach_what_alerts_ask_for(desk: Desk) -> None:
    for constant in ("MARKET_DATA_LAG", "ORDER_SUBMISSION_LATENCY", "WEBSOCKET_LATENCY", "PRETRADE_CHECK_LATENCY"):
        emit_once(getattr(trading, constant), DOCUMENTED[constant][2])
    families = desk.snapshot().families
    assert max(families["market_data_lag_seconds"].metric.buckets) > 5.0
    assert {100.0, 5_000.0} <= set(families["execution_engine_order_submission_latency_us"].metric.buckets)
    assert 10.0 in families["market_data_websocket_latency_us"].metric.buckets
    assert 500.0 in families["risk_manager_pretrade_check_latency_us"].metric.buckets


def test_the_documented_calls_work_as_documented(desk: Desk) -> None:
    WEBSOCKET_CONNECTIONS.labels(endpoint="general").set(4)
    ACTIVE_BOTS.labels(status="running").set(3)
    BOT_PNL.labels(bot_id="bot1", symbol="BTCUSDT").set(125.50)
    trading.record_market_data_update("BTCUSDT", "websocket")
    trading.record_market_data_update("BTCUSDT", "websocket", lag=0.25)
    trading.update_portfolio_metrics({"total_value": 110_000.0, "cash_balance": 100_000.0})
    snapshot = desk.snapshot()
    assert snapshot.value("websocket_connections_active", endpoint="general") == 4.0
    assert snapshot.value("trading_bots_active_total", status="running") == 3.0
    assert snapshot.value("trading_bot_pnl_usd", bot_id="bot1", symbol="BTCUSDT") == 125.5
    assert snapshot.value("market_data_updates_total", symbol="BTCUSDT", source="websocket") == 2.0
    assert snapshot.histogram("market_data_lag_seconds").sum == 0.25
    assert snapshot.value("portfolio_total_value_usd") == 110_000.0
    assert snapshot.value("portfolio_cash_balance_usd") == 100_000.0


def test_a_position_that_is_no_longer_told_is_closed(desk: Desk) -> None:
    trading.update_portfolio_metrics({"positions": {"BTCUSDT": 2, "ETHUSDT": 1}})
    trading.update_portfolio_metrics({"positions": {"ETHUSDT": 3}})
    snapshot = desk.snapshot()
    assert snapshot.value("portfolio_positions_count", symbol="BTCUSDT") == 0.0
    assert snapshot.value("portfolio_positions_count", symbol="ETHUSDT") == 3.0


def test_an_unknown_portfolio_figure_is_refused_before_any_is_told(desk: Desk) -> None:
    with pytest.raises(ValueError, match=r"'equity'.*total_value, cash_balance, positions"):
        trading.update_portfolio_metrics({"total_value": 1.0, "equity": 2.0})
    assert "portfolio_total_value_usd" not in desk.snapshot().families


def test_a_trade_is_counted_and_with_quantity_and_price_kept_as_an_event(desk: Desk) -> None:
    trading.record_trade("bot1", "BTCUSDT", "buy", "failed")
    trading.record_trade("bot1", "BTCUSDT", "buy", quantity=0.5, price=64_000.0, trade_id="t-1", order_id="o-1")
    (event,) = trading.TRADES.last(10)
    assert (event["bot_id"], event["symbol"], event["side"], event["status"]) == (b"bot1", b"BTCUSDT", 0, b"filled")
    assert (event["quantity"], event["price"]) == (0.5, 64_000.0)
    assert (event["trade_id"], event["order_id"]) == (b"t-1", b"o-1")
    assert math.isnan(event["reference_price"])
    snapshot = desk.snapshot()
    bot = {"bot_id": "bot1", "symbol": "BTCUSDT", "side": "buy"}
    assert snapshot.value("trading_bot_trades_total", **bot, status="failed") == 1.0
    assert snapshot.value("trading_bot_trades_total", **bot, status="filled") == 1.0
    assert snapshot.value("trading_bot_traded_quantity_total", **bot, status="filled") == 0.5


def test_an_order_is_counted_by_status_and_kept_as_an_event(desk: Desk) -> None:
    order = {"order_id": 42, "quantity": 100, "price": 150.0}
    trading.record_order("bot1", "AAPL", "sell", "accepted", **order)
    trading.record_order("bot1", "AAPL", "sell", "filled", **order, filled=100, latency_ns=1_200)
    accepted, filled = trading.ORDERS.last(10)
    assert (accepted["order_id"], accepted["status"], accepted["filled_quantity"]) == (b"42", 0, 0.0)
    assert (filled["order_id"], filled["status"], filled["filled_quantity"], filled["latency_ns"]) == (
        b"42", 2, 100.0, 1_200,
    )  # fmt: skip
    snapshot = desk.snapshot()
    bot = {"bot_id": "bot1", "symbol": "AAPL", "side": "sell"}
    assert snapshot.value("trading_bot_orders_total", **bot, status="accepted") == 1.0
    assert snapshot.value("trading_bot_orders_total", **bot, status="filled") == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trading.record_trade("b", "AAPL", "BUY"), "side 'BUY': expected buy, sell"),
        (lambda: trading.record_order("b", "AAPL", "buy", "done", order_id=1, quantity=1, price=1), "status 'done'"),
        (lambda: trading.update_strategy("b", "m", "AAPL", "asleep"), "status 'asleep'.*stopped, paused, running"),
        (lambda: trading.record_trade("b", "AAPL", "buy", quantity=1.0), "both quantity and price, or neither"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_counted(desk: Desk, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
    families = desk.snapshot().families
    assert not any(family.values.any() for name, family in families.items() if name.startswith("trading_"))


def test_a_strategys_state_and_a_tick_reach_the_reader(desk: Desk) -> None:
    trading.update_strategy("bot1", "momentum", "AAPL", "paused", position=-25, average_price=151.0, mark_price=150.0,
                            realized_pnl=12.0, unrealized_pnl=25.0)  # fmt: skip
    trading.record_market_tick("AAPL", bid=150.24, ask=150.26, last_price=150.25, volume=100, trades=2)
    snapshot = desk.snapshot()
    which = {"bot_id": "bot1", "strategy": "momentum", "symbol": "AAPL"}
    assert snapshot.value("trading_strategy_status", **which) == 1.0
    assert snapshot.value("trading_strategy_position_quantity", **which) == -25.0
    assert snapshot.value("market_data_last_price_usd", symbol="AAPL") == 150.25
    assert snapshot.value("market_data_traded_quantity_total", symbol="AAPL") == 100.0


def test_redis_operations_are_counted_by_how_they_ended(desk: Desk) -> None:
    trading.record_redis_operation("get")
    trading.record_redis_operation("get", "error")
    snapshot = desk.snapshot()
    assert snapshot.value("redis_operations_total", operation="get", status="success") == 1.0
    assert snapshot.value("redis_operations_total", operation="get", status="error") == 1.0


def test_a_query_is_timed_and_counted_whether_it_succeeds_or_raises(desk: Desk) -> None:
    with trading.time_database_query("select", "orders"):
        pass
    with pytest.raises(KeyError, match="gone"), trading.time_database_query("select", "orders"):
        raise KeyError("gone")
    snapshot = desk.snapshot()
    select = {"operation": "select", "table": "orders"}
    assert snapshot.value("database_queries_total", **select, status="success") == 1.0
    assert snapshot.value("database_queries_total", **select, status="error") == 1.0
    durations = snapshot.histogram("database_query_duration_seconds")
    assert durations.count == 2
    assert 0 < durations.min <= durations.max < 60


def test_after_its_first_use_a_handle_is_the_instruments_own_method(desk: Desk) -> None:
    trading.PORTFOLIO_VALUE.set(1.0)
    method = trading.PORTFOLIO_VALUE.set
    assert type(method) is type([].append)  # of the compiled handle: nothing of Python stands between
    assert trading.PORTFOLIO_VALUE.set is method
    assert ACTIVE_BOTS.labels("running") is ACTIVE_BOTS.labels(status="running")


def test_the_helpers_resolve_the_labels_of_a_series_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trading.record_market_data_update("BTCUSDT", "websocket")
    trading.record_redis_operation("get")
    trading.record_trade("bot1", "BTCUSDT", "buy")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("labels are resolved again")

    for ready in (trading.MARKET_DATA_UPDATES, trading.REDIS_OPERATIONS, trading.BOT_TRADES):
        monkeypatch.setattr(ready, "labels", refuse, raising=False)
    trading.record_market_data_update("BTCUSDT", "websocket")
    trading.record_redis_operation("get")
    trading.record_trade("bot1", "BTCUSDT", "buy")
    assert desk.snapshot().value("market_data_updates_total", symbol="BTCUSDT", source="websocket") == 2.0


def test_another_telemetry_takes_over_with_all_handles_and_helpers(desk: Desk) -> None:
    trading.record_redis_operation("get")
    WEBSOCKET_CONNECTIONS.labels(endpoint="a").set(1)
    with Telemetry("second", desk.namespace, capacity=1024) as second:
        trading.use(second)
        trading.record_redis_operation("get")
        WEBSOCKET_CONNECTIONS.labels(endpoint="b").set(1)
        trading.record_trade("bot1", "BTCUSDT", "buy", quantity=1, price=1)
        assert second.stats().attempted == 3
        producers = desk.snapshot().producers
        assert producers["second-trades"].consumed == 1
        trading.use(None)
    assert desk.snapshot().value("redis_operations_total", operation="get", status="success") == 2.0


def test_a_handle_can_be_looked_at_without_being_defined(desk: Desk) -> None:
    assert "trading_bots_active_total" in repr(ACTIVE_BOTS)
    assert not hasattr(ACTIVE_BOTS, "__wrapped__")
    assert not hasattr(ACTIVE_BOTS, "_pytestfixturefunction")
    assert not [name for name in desk.snapshot().families if name.startswith("trading_")]
