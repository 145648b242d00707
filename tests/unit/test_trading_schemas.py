"""The trading pack's schemas: what their records say, in the reader and in an event store."""

from __future__ import annotations

import math
import time

import pytest

from shmtelemetry import Producer, Reader, Schema
from shmtelemetry.trading import MARKET_TICK, ORDER, STRATEGY, SYSTEM_SAMPLE, TRADE

CSV_HEADER = (
    "timestamp_ns,orders_produced,orders_consumed,orders_dropped,buffer_size,buffer_capacity,throughput_ops_per_sec,"
    "avg_latency_ns,p95_latency_ns,p99_latency_ns,network_errors,batch_count"
)
ALL = {"MARKET_TICK": MARKET_TICK, "ORDER": ORDER, "TRADE": TRADE, "STRATEGY": STRATEGY, "SYSTEM_SAMPLE": SYSTEM_SAMPLE}


def test_orders_and_trades_are_events_and_nothing_else_is() -> None:
    assert {name for name, schema in ALL.items() if schema.events} == {"ORDER", "TRADE"}


@pytest.mark.parametrize("schema", ALL.values(), ids=ALL)
def test_a_schema_is_read_back_from_a_segment_as_it_is_here(schema: Schema) -> None:
    assert Schema.from_json(schema.to_json()) == schema


@pytest.mark.parametrize("schema", ALL.values(), ids=ALL)
def test_the_metrics_of_a_schema_do_not_depend_on_the_producers_name(schema: Schema) -> None:
    assert [metric for metric, *_ in schema.metrics("a").values()] == [m for m, *_ in schema.metrics("b").values()]
    assert all(metric.help for metric, *_ in schema.metrics("a").values())


@pytest.mark.parametrize("schema", ALL.values(), ids=ALL)
def test_every_field_has_a_role_and_lies_where_c_would_put_it(schema: Schema) -> None:
    assert list(schema.roles) == list(schema.dtype.names or ())
    for _, dtype, offset in schema.fields():
        assert offset % dtype.alignment == 0
    assert schema.dtype.itemsize % 8 == 0


def test_the_system_sample_has_the_columns_of_the_csv_in_their_order() -> None:
    assert ",".join(SYSTEM_SAMPLE.dtype.names or ()) == CSV_HEADER


def test_a_tick_becomes_prices_and_traded_quantity(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Producer("feed", MARKET_TICK, namespace) as ring:
        ring.emit_fields(time.time_ns(), "AAPL", 150.25, 150.24, 150.26, 300.0, 200.0, 1_000.0, 3)
        ring.emit_fields(time.time_ns(), "AAPL", 150.5, 150.49, 150.51, 100.0, 50.0, 250.0, 1)
        ring.emit_fields(time.time_ns(), "MSFT", math.nan, 400.0, 400.1, 1.0, 1.0, 0.0, 0)
        reader.poll()
        snapshot = reader.snapshot()
    assert snapshot.value("market_data_last_price_usd", symbol="AAPL") == 150.5
    assert snapshot.value("market_data_bid_price_usd", symbol="AAPL") == 150.49
    assert snapshot.value("market_data_ask_price_usd", symbol="AAPL") == 150.51
    assert snapshot.value("market_data_bid_quantity", symbol="AAPL") == 100.0
    assert snapshot.value("market_data_ask_quantity", symbol="AAPL") == 50.0
    assert snapshot.value("market_data_traded_quantity_total", symbol="AAPL") == 1_250.0
    assert snapshot.value("market_data_tick_trades_total", symbol="AAPL") == 4.0
    assert math.isnan(snapshot.value("market_data_last_price_usd", symbol="MSFT"))
    assert snapshot.producers["feed"].invalid == 0


def test_orders_and_trades_add_up_by_bot_symbol_side_and_status(namespace: str) -> None:
    now = time.time_ns()
    with (
        Reader(namespace, ephemeral=True) as reader,
        Producer("orders", ORDER, namespace) as orders,
        Producer("trades", TRADE, namespace) as trades,
    ):
        orders.emit_fields(now, "7", "bot1", "momentum", "AAPL", 150.0, 100.0, 0.0, 0, 0, 0, 0)
        orders.emit_fields(now, "7", "bot1", "momentum", "AAPL", 150.0, 100.0, 60.0, 900, 0, 0, 4)
        trades.emit_fields(now, "t1", "7", "bot1", "momentum", "AAPL", "filled", 149.9, 60.0, 150.0, 800, 0)
        reader.poll()
        snapshot = reader.snapshot()
    bot = {"bot_id": "bot1", "symbol": "AAPL", "side": "buy"}
    assert snapshot.value("trading_bot_order_quantity_total", **bot, status="accepted") == 100.0
    assert snapshot.value("trading_bot_order_quantity_total", **bot, status="expired") == 100.0
    assert snapshot.value("trading_bot_traded_quantity_total", **bot, status="filled") == 60.0


def test_a_strategys_state_is_its_newest(namespace: str) -> None:
    which = {"bot_id": "bot1", "strategy": "momentum", "symbol": "AAPL"}
    with Reader(namespace, ephemeral=True) as reader, Producer("states", STRATEGY, namespace) as ring:
        ring.emit_fields(time.time_ns(), "bot1", "momentum", "AAPL", 100.0, 150.0, 151.0, 0.0, 100.0, 2)
        ring.emit_fields(time.time_ns(), "bot1", "momentum", "AAPL", -50.0, 152.0, 151.0, 200.0, 50.0, 1)
        reader.poll()
        snapshot = reader.snapshot()
    assert snapshot.value("trading_strategy_position_quantity", **which) == -50.0
    assert snapshot.value("trading_strategy_average_price_usd", **which) == 152.0
    assert snapshot.value("trading_strategy_mark_price_usd", **which) == 151.0
    assert snapshot.value("trading_strategy_realized_pnl_usd", **which) == 200.0
    assert snapshot.value("trading_strategy_unrealized_pnl_usd", **which) == 50.0
    assert snapshot.value("trading_strategy_status", **which) == 1.0


def test_a_system_sample_gives_the_documented_totals_and_gauges(namespace: str) -> None:
    first = 1_703_123_456_789_000_000, 10_000, 9_950, 50, 512, 1_024, 8_500.5, 250_000.0, 375_000.0, 500_000.0, 2, 150
    second = first[0] + 10**9, 10_100, 10_060, 50, 256, 1_024, 8_000.0, 240_000.0, 300_000.0, 400_000.0, 3, 155
    with Reader(namespace, ephemeral=True) as reader, Producer("engine", SYSTEM_SAMPLE, namespace) as ring:
        ring.emit_fields(*first)
        ring.emit_fields(*second)
        reader.poll()
        snapshot = reader.snapshot()
    told = {name: snapshot.value(name) for name in snapshot.families if not name.startswith("shmtel_")}
    assert told == {
        "orders_produced_total": 10_100.0,
        "orders_consumed_total": 10_060.0,
        "orders_dropped_total": 50.0,
        "buffer_used_orders": 256.0,
        "buffer_capacity_orders": 1_024.0,
        "throughput_orders_per_second": 8_000.0,
        "batch_latency_mean_seconds": 240e-6,
        "batch_latency_p95_seconds": 300e-6,
        "batch_latency_p99_seconds": 400e-6,
        "network_dropped_packets_total": 3.0,
        "batches_sent_total": 155.0,
    }
