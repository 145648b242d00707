"""Collectors beside real processes: the demo's platform, and collectors of installed packages."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry import Reader
from shmtelemetry.demo.bots import BOTS
from shmtelemetry.demo.order_flow import INSTRUMENTS
from shmtelemetry.demo.platform import Platform, together
from shmtelemetry.service.collectors import (
    Answer,
    Collectors,
    ExecutionCollector,
    MarketDataCollector,
    StrategyCollector,
    SystemCollector,
    standard,
)
from shmtelemetry.service.collectors.look import onlooker
from shmtelemetry.service.events import EventStore
from shmtelemetry.service.history import History
from tests.processes import wait_until

SYMBOLS = sorted(instrument.symbol for instrument in INSTRUMENTS)


class Asked:
    """All collectors of a namespace, asked as a service asks them."""

    def __init__(self, collectors: Collectors) -> None:
        self._collectors = collectors
        self._runner = asyncio.Runner()

    def ask(self) -> dict[str, Answer]:
        return self._runner.run(self._collectors.collect())

    def metrics(self, name: str) -> dict[str, Any]:
        return self.ask()[name].metrics

    def close(self) -> None:
        self._runner.run(self._collectors.stop())
        self._runner.close()


@pytest.fixture
def platform(namespace: str, tmp_path: Path) -> Iterator[Platform]:
    with Reader(namespace, ephemeral=True, events=EventStore(tmp_path / "history.sqlite")) as reader:
        reader.start()
        with Platform(together(namespace), rate=5_000) as platform:
            platform.start()
            platform.go()
            yield platform
            platform.stop()
            platform.join()
        reader.settle()


@pytest.fixture
def asked(namespace: str, tmp_path: Path) -> Iterator[Asked]:
    look = onlooker(namespace)
    with History(tmp_path / "history.sqlite") as history:
        execution = ExecutionCollector(look, history)
        own = MarketDataCollector(look), StrategyCollector(look), execution, SystemCollector(look)
        asked = Asked(Collectors(own, limit=1.0))
        yield asked
        asked.close()


@pytest.mark.usefixtures("platform")
def test_the_collectors_tell_of_the_demos_order_flow(namespace: str, asked: Asked) -> None:
    wait_until(lambda: asked.metrics("execution").get("trades"), "something has traded")
    wait_until(lambda: list(asked.metrics("market_data")) == SYMBOLS, "every symbol has ticked")
    wait_until(lambda: asked.metrics("execution")["fill_rate"], "an order is filled")
    wait_until(lambda: asked.metrics("execution")["avg_latency_ms"], "a window is complete")
    wait_until(lambda: asked.metrics("execution")["slippage_bps"] is not None, "trades are stored")
    wait_until(lambda: asked.ask()["system"].metrics.get("health") == "healthy", "all is well")
    answers = asked.ask()

    for figures in answers["market_data"].metrics.values():
        assert 0 < figures["bid"] < figures["ask"]
        assert figures["volume"] >= figures["trades"] >= 0
    assert sum(answers["strategy"].metrics["bots"].values()) == len(BOTS)
    assert answers["strategy"].metrics["bots"]["running"] > 0
    active = onlooker(namespace)().families["trading_bots_active_total"]
    assert (active.label_names, sum(active.values)) == (("status",), len(BOTS))
    orders = answers["execution"].metrics["orders"]
    assert orders["accepted"] >= orders["filled"] + orders["expired"] > 0
    assert 0 < answers["execution"].metrics["fill_rate"] <= 1
    bots = wait_until(lambda: told(namespace), "every bot is told of")
    assert [(bot["bot_id"], bot["strategy"]) for bot in bots] == [(bot.bot_id, bot.strategy) for bot in BOTS]
    assert {bot["status"] for bot in bots} <= {"running", "paused", "stopped"}
    assert all(isinstance(bot["pnl"], float) for bot in bots)


def told(namespace: str) -> list[dict[str, Any]]:
    bots = StrategyCollector(onlooker(namespace)).get_bots()
    return bots if len(bots) == len(BOTS) else []


def test_a_bot_that_has_stopped_is_told_so(namespace: str, platform: Platform, asked: Asked) -> None:
    wait_until(lambda: asked.metrics("strategy").get("bots", {}).get("running"), "bots run")
    platform.stop()
    wait_until(lambda: asked.metrics("strategy")["bots"]["stopped"] == len(BOTS), "all bots have stopped")
    assert {bot["status"] for bot in told(namespace)} == {"stopped"}


@pytest.mark.usefixtures("platform")
def test_the_documented_steps_work_by_themselves(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHMTEL_NAMESPACE", namespace)

    async def steps() -> dict[str, Any]:
        collector = MarketDataCollector()
        await collector.start()
        await collector.add_symbol("AAPL")
        await collector.add_symbol("MSFT")
        while None in (figures := (await collector.get_current_metrics())["AAPL"]).values():
            await asyncio.sleep(0.01)
        await collector.stop()
        return figures

    wait_until(lambda: Path(f"/dev/shm/shmtel.{namespace}.@state.{os.geteuid()}").exists(), "there is a state")
    assert set(asyncio.run(steps())) == {"last_price", "bid", "ask", "volume", "trades"}


PLUGIN = """
import sys
from shmtelemetry.service.collectors import BaseCollector

class Weather(BaseCollector):
    def __init__(self):
        super().__init__("weather")

    async def _start_impl(self):
        self.degrees = 21.5

    async def get_current_metrics(self):
        return {"degrees": self.degrees}

def nothing():
    return object()

def leaves():
    sys.exit("no licence")
"""
ENTRY_POINTS = """
[shmtelemetry.collectors]
weather = weather_station:Weather
absent = weather_station_that_is_not_there:Weather
nothing = weather_station:nothing
leaves = weather_station:leaves
system = weather_station:Weather
bad name = weather_station:Weather
"""


@pytest.fixture
def weather_station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package as pip leaves it, with entry points."""
    info = tmp_path / "weather_station-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: weather-station\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "weather_station.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("weather_station", None)


@pytest.mark.usefixtures("weather_station")
def test_collectors_of_installed_packages_are_asked_and_bad_ones_are_degraded(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(Collectors(standard(onlooker(namespace)), limit=1.0))
    try:
        wait_until(lambda: asked.metrics("weather") == {"degrees": 21.5}, "the weather is told")
        wanted = {
            "absent": "No module named 'weather_station_that_is_not_there'",
            "nothing": "weather_station:nothing makes a object, expected a BaseCollector",
            "leaves": "SystemExit: no licence",
        }
        for name, why in wanted.items():
            wait_until(lambda name=name, why=why: why in asked.ask()[name].error, f"{name} is degraded")  # type: ignore[misc]
        answers = asked.ask()
        assert answers["system"].metrics["health"] == "unhealthy"  # the package's own, which sees no state
    finally:
        asked.close()
    assert "the name 'system' is taken" in caplog.text
    assert "'bad name'" in caplog.text
