"""The package's own collectors: what they make of a snapshot and of a history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Reader, Telemetry, trading
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.service.collectors import (
    BaseCollector,
    ExecutionCollector,
    MarketDataCollector,
    StrategyCollector,
    SystemCollector,
)
from shmtelemetry.service.events import EventStore
from shmtelemetry.service.history import History
from tests.processes import PATIENCE


class Noted(History):
    """A history with values that were noted."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.noted: dict[tuple[str, tuple[str, ...]], list[tuple[float, float]]] = {}

    def range(
        self, metric: str, labels: Mapping[str, str], start: float, end: float, step: float, figure: str = "value"
    ) -> list[tuple[float, float]]:
        assert (figure, step > 0) == ("value", True)
        noted = self.noted.get((metric, tuple(labels.values())), [])
        return [(moment, value) for moment, value in noted if start <= moment <= end]


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Noted]:
    with Noted(tmp_path / "history.sqlite") as history:
        yield history


@pytest.fixture
def look(namespace: str, tmp_path: Path) -> Iterator[Callable[[], Snapshot]]:
    store = EventStore(tmp_path / "history.sqlite")
    with (
        Reader(namespace, ephemeral=True, events=store) as reader,
        Telemetry("bot", namespace, capacity=1024) as telemetry,
    ):
        trading.use(telemetry)

        def look() -> Snapshot:
            reader.poll()
            return reader.snapshot(distributions=False)

        try:
            yield look
        finally:
            trading.use(None)
            telemetry.close()
            reader.poll()
            reader.close()
            store.close()


def said(collector: BaseCollector) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        await collector.start()
        try:
            return await collector.get_current_metrics()
        finally:
            await collector.stop()

    return asyncio.run(ask())


def test_market_data_has_the_documented_shape(look: Callable[[], Snapshot]) -> None:
    trading.record_market_tick("AAPL", bid=150.0, ask=150.02, last_price=150.01, volume=1_249_000, trades=5_418)
    trading.record_market_tick("AAPL", bid=150.24, ask=150.26, last_price=150.25, volume=1_000, trades=2)
    trading.record_market_tick("MSFT", bid=0.1 + 0.2, ask=400.1)
    assert said(MarketDataCollector(look)) == {
        "AAPL": {"last_price": 150.25, "bid": 150.24, "ask": 150.26, "volume": 1_250_000, "trades": 5_420},
        "MSFT": {"last_price": None, "bid": 0.3, "ask": 400.1, "volume": 0, "trades": 0},
    }


def test_symbols_that_were_added_are_shown_and_no_others(look: Callable[[], Snapshot]) -> None:
    for symbol in ("AAPL", "MSFT", "TSLA"):
        trading.record_market_tick(symbol, bid=1.0, ask=2.0)
    collector = MarketDataCollector(look)

    async def add() -> None:
        await collector.add_symbol("MSFT")
        await collector.add_symbol("NVDA")

    asyncio.run(add())
    shown = said(collector)
    assert list(shown) == ["MSFT", "NVDA"]
    assert shown["NVDA"] == {"last_price": None, "bid": None, "ask": None, "volume": None, "trades": None}
    with pytest.raises(ValueError, match="symbol ''"):
        asyncio.run(collector.add_symbol(""))


def test_strategy_has_the_documented_figures(look: Callable[[], Snapshot]) -> None:
    for symbol, position, realized, unrealized in (("AAPL", 100, 50.0, 1_000.0), ("MSFT", 0, 200.5, 0.0)):
        trading.update_strategy("bot1", "momentum", symbol, "running", position=position, realized_pnl=realized,
                                unrealized_pnl=unrealized)  # fmt: skip
    trading.update_strategy("bot2", "reversion", "TSLA", "paused", position=-5, unrealized_pnl=-0.5)
    assert said(StrategyCollector(look)) == {
        "total_pnl": 1_250.0,
        "daily_pnl": None,
        "open_positions": 2,
        "bots": {"running": 1, "paused": 1, "stopped": 0},
    }


def test_strategy_is_told_by_instruments_where_there_are_no_records(look: Callable[[], Snapshot]) -> None:
    trading.BOT_PNL.labels("bot1", "AAPL").set(10.0)
    trading.BOT_PNL.labels("bot2", "AAPL").set(-4.0)
    trading.ACTIVE_BOTS.labels("running").set(2)
    trading.OPEN_POSITIONS.set(1)
    assert said(StrategyCollector(look)) == {
        "total_pnl": 6.0,
        "daily_pnl": None,
        "open_positions": 1,
        "bots": {"running": 2, "paused": 0, "stopped": 0},
    }


def test_without_any_trading_strategy_says_that_nothing_is_known(look: Callable[[], Snapshot]) -> None:
    assert said(StrategyCollector(look)) == {
        "total_pnl": None,
        "daily_pnl": None,
        "open_positions": None,
        "bots": {"running": 0, "paused": 0, "stopped": 0},
    }
    assert said(ExecutionCollector(look))["fill_rate"] is None
    assert said(MarketDataCollector(look)) == {}


def test_the_daily_profit_is_counted_from_the_last_value_before_midnight(
    look: Callable[[], Snapshot], history: Noted
) -> None:
    midnight = time.time() // 86_400 * 86_400
    history.noted["trading_bot_pnl_usd", ("bot1", "AAPL")] = [
        (midnight - 7_200, 1_000.0),
        (midnight - 60, 1_124.75),
        (midnight + 60, 9_999.0),
    ]
    trading.BOT_PNL.labels("bot1", "AAPL").set(1_200.0)
    trading.BOT_PNL.labels("bot2", "MSFT").set(50.5)  # began today
    assert said(StrategyCollector(look, history))["daily_pnl"] == pytest.approx(125.75)
    realized = "trading_strategy_realized_pnl_usd", ("bot3", "momentum", "TSLA")
    history.noted[realized] = [(midnight - 60, 1_000.0)]
    trading.update_strategy("bot3", "momentum", "TSLA", "running", realized_pnl=1_001.0, unrealized_pnl=0.25)
    assert said(StrategyCollector(look, history))["daily_pnl"] == pytest.approx(127.0)


def test_bots_are_told_with_status_profit_and_positions(look: Callable[[], Snapshot]) -> None:
    trading.update_strategy("bot1", "momentum", "AAPL", "paused", position=100, average_price=150.0, mark_price=151.0,
                            realized_pnl=20.0, unrealized_pnl=100.0)  # fmt: skip
    trading.update_strategy("bot1", "momentum", "MSFT", "paused")
    trading.BOT_PNL.labels("bot2", "TSLA").set(7.0)
    assert StrategyCollector(look).get_bots() == [
        {
            "bot_id": "bot1",
            "strategy": "momentum",
            "status": "paused",
            "pnl": 120.0,
            "positions": [
                {
                    "symbol": "AAPL",
                    "quantity": 100.0,
                    "average_price": 150.0,
                    "mark_price": 151.0,
                    "realized_pnl": 20.0,
                    "unrealized_pnl": 100.0,
                }
            ],
        },
        {"bot_id": "bot2", "strategy": None, "status": None, "pnl": 7.0, "positions": []},
    ]


def test_execution_tells_how_orders_ended_how_fast_and_at_what_price(
    look: Callable[[], Snapshot], history: Noted
) -> None:
    order = {"order_id": 1, "quantity": 100, "price": 150.0}
    for status, times in (("accepted", 21), ("filled", 19), ("expired", 1), ("rejected", 0)):
        for _ in range(times):
            trading.record_order("bot1", "AAPL", "buy", status, **order)
    trading.record_trade("bot1", "AAPL", "buy", quantity=100, price=150.15, reference_price=150.0)
    trading.record_trade("bot1", "AAPL", "sell", quantity=100, price=150.0, reference_price=150.0)
    trading.record_trade("bot1", "AAPL", "sell", quantity=100, price=150.0)  # against what, nobody said
    for microseconds in (40_000.0, 50_600.0):
        trading.ORDER_SUBMISSION_LATENCY.labels("AAPL").emit(microseconds)
    told = said(ExecutionCollector(look, history))
    while told["avg_latency_ms"] is None:  # until a second of the reader's is complete
        time.sleep(0.01)
        told = said(ExecutionCollector(look, history))
    assert told == {
        "fill_rate": 0.95,
        "avg_latency_ms": 45.3,
        "orders": {
            "accepted": 21, "partially_filled": 0, "filled": 19, "cancelled": 0, "expired": 1, "rejected": 0,
        },
        "trades": 3,
        "slippage_bps": 5.0,
    }  # fmt: skip


def test_the_fill_rate_is_the_venues_where_orders_have_no_records(look: Callable[[], Snapshot]) -> None:
    trading.ORDERS_SUBMITTED.labels("success").inc(3)
    trading.ORDERS_SUBMITTED.labels("rejected").inc(1)
    told = said(ExecutionCollector(look))
    assert (told["fill_rate"], told["slippage_bps"]) == (0.75, None)


def test_system_tells_of_the_machine_and_that_all_is_well(namespace: str) -> None:
    pytest.importorskip("psutil")
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace, capacity=16) as telemetry:
        reader.start()
        collector = SystemCollector(reader.snapshot)

        async def ask() -> None:
            await collector.start()
            deadline = time.monotonic() + PATIENCE
            while (told := await collector.get_current_metrics())["health"] != "healthy":
                assert time.monotonic() < deadline, told
            assert told["problems"] == []
            assert 0.0 <= told["cpu_percent"] <= 100.0
            assert 0.0 < told["memory_percent"] <= 100.0
            reader.stop()
            latency = telemetry.histogram("latency_seconds")
            while latency.emit(1.0):
                pass
            reader.start()
            while not (told := await collector.get_current_metrics())["problems"]:
                assert time.monotonic() < deadline, told
            assert "dropped" in told["problems"][0]
            assert told["health"] == "degraded"

        asyncio.run(ask())
        telemetry.close()
        reader.settle()


def test_system_goes_on_without_a_state_and_says_so(namespace: str) -> None:
    pytest.importorskip("psutil")
    told = said(SystemCollector(namespace=namespace))
    assert told["health"] == "unhealthy"
    assert told["memory_percent"] > 0
    assert namespace in told["problems"][0]


def test_a_collector_of_its_own_looks_at_the_namespace_of_the_settings(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHMTEL_NAMESPACE", namespace)
    with Reader(namespace, ephemeral=True) as reader, Telemetry("bot", namespace, capacity=64) as telemetry:
        trading.use(telemetry)
        with suppress(ValueError):
            trading.record_market_tick("AAPL", bid=1.0, ask=2.0)
        reader.poll()
        assert list(said(MarketDataCollector())) == ["AAPL"]
        trading.use(None)
        telemetry.close()
        reader.poll()
