"""The demo emits the whole catalogue by real work, and what is said to go wrong in it does, and ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from shmtelemetry.demo.causes import CAUSES
from shmtelemetry.monitoring.catalogue import Catalogue
from tests.demo import RunningDemo, families
from tests.processes import PATIENCE, wait_until

Look = Callable[..., float]


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    demo = RunningDemo("--zmq-port", "0", "--rate", "6000")
    demo.wait_for_records()
    yield demo
    demo.close()


def shmtel(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shmtelemetry.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def test_every_metric_of_the_catalogue_is_emitted_as_it_is_defined(demo: RunningDemo) -> None:
    definitions = Catalogue.packaged().definitions
    wanted = {name.removesuffix("_total") if one.type == "counter" else name for name, one in definitions.items()}
    wait_until(lambda: wanted <= {family.name for family in families(demo.metrics_url)}, "the catalogue is there")
    found = shmtel("generate", "--check-live", f"demo-{demo.process.pid}")
    assert (found.returncode, found.stdout) == (0, "")


def look(demo: RunningDemo, name: str, **labels: str) -> float:
    """The sum of what has that name and those labels."""
    return sum(
        sample.value
        for family in families(f"{demo.metrics_url}?name[]={name}")
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def grows(name: str, **labels: str) -> Callable[[Look], Callable[[], bool]]:
    """Whether a counter has grown since the cause began."""

    def shows(look: Look) -> Callable[[], bool]:
        before = look(name, **labels)
        return lambda: look(name, **labels) > before

    return shows


def mean_above(bound: float, name: str) -> Callable[[Look], Callable[[], bool]]:
    """Whether what was observed since the cause began is larger than a bound, on average."""

    def shows(look: Look) -> Callable[[], bool]:
        count, total = look(f"{name}_count"), look(f"{name}_sum")
        return lambda: look(f"{name}_sum") - total > bound * (look(f"{name}_count") - count) > 0

    return shows


def grows_above(bound: str, name: str) -> Callable[[Look], Callable[[], bool]]:
    """Whether anything larger than the bound of a bucket was observed since the cause began."""

    def shows(look: Look) -> Callable[[], bool]:
        def above() -> float:
            return look(f"{name}_bucket", le="+Inf") - look(f"{name}_bucket", le=bound)

        before = above()
        return lambda: above() > before

    return shows


def rests(name: str, **labels: str) -> Callable[[Look], Callable[[], bool]]:
    """Whether a counter that always grows has not since the last look."""

    def shows(look: Look) -> Callable[[], bool]:
        seen = [look(name, **labels)]

        def same() -> bool:
            seen.append(look(name, **labels))
            return seen[-1] == seen[-8:][0] and len(seen) > 8

        return same

    return shows


def is_value(value: float, name: str, **labels: str) -> Callable[[Look], Callable[[], bool]]:
    return lambda look: lambda: look(name, **labels) == value


def is_above(value: float, name: str, **labels: str) -> Callable[[Look], Callable[[], bool]]:
    return lambda look: lambda: look(name, **labels) > value


BREAKER = "risk_manager_circuit_breaker_active"
# Cause → what shows it, and what shows that it is over.
SHOWN = {
    "service-stopped": (
        rests("signal_bridge_quotes_total"),
        grows("signal_bridge_quotes_total"),
    ),
    "breaker": (
        is_value(1.0, BREAKER, breaker="rejections"),
        is_value(0.0, BREAKER, breaker="rejections"),
    ),
    "feed-lost": (
        is_value(0.0, "market_data_websocket_connected"),
        is_value(1.0, "market_data_websocket_connected"),
    ),
    "exchange-down": (is_value(0.0, "execution_engine_api_up"), is_value(1.0, "execution_engine_api_up")),
    "memory-held": (
        is_above(256 * 2**20, "service_resident_memory_bytes", service="risk-manager"),
        lambda look: lambda: look("service_resident_memory_bytes", service="risk-manager") < 256 * 2**20,
    ),
    "bots-paused": (
        is_value(4.0, "trading_bots_active_total", status="paused"),
        is_value(4.0, "trading_bots_active_total", status="running"),
    ),
    "slow-exchange": (
        mean_above(8_000.0, "execution_engine_order_submission_latency_us"),
        grows("execution_engine_fills_total"),
    ),
    "wide-market": (
        grows_above("0.005", "execution_engine_slippage_ratio"),
        lambda look: lambda: look("market_data_spread_usd") < 1.0,
    ),
    "model-broken": (grows("signal_bridge_inference_failures_total"), grows("signal_bridge_signals_total")),
    "tight-limits": (
        grows("risk_manager_risk_failures_total", check="price_band"),
        grows("risk_manager_orders_approved_total"),
    ),
    "thin-market": (
        lambda look: lambda: look("market_data_book_depth_shares") < 10 * look("market_data_book_orders"),
        lambda look: lambda: look("market_data_book_depth_shares") > 50 * look("market_data_book_orders"),
    ),
    "rate-limited": (
        grows("execution_engine_api_failures_total", reason="rate_limit"),
        grows("execution_engine_fills_total"),
    ),
    "feed-late": (mean_above(4.0, "market_data_lag_seconds"), grows("market_data_quotes_total")),
    "redis-killed": (grows("redis_connection_errors_total"), grows("redis_operations_total", status="success")),
    "market-crash": (
        is_value(1.0, BREAKER, breaker="daily_loss"),
        lambda look: lambda: look(BREAKER) == 0.0 and look("trading_bots_active_total", status="stopped") == 0.0,
    ),
}


def test_each_cause_is_tried() -> None:
    assert SHOWN.keys() == CAUSES.keys()


@pytest.mark.parametrize("cause", SHOWN)
def test_what_is_said_to_go_wrong_does_and_ends(demo: RunningDemo, cause: str) -> None:
    if cause == "redis-killed" and shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server: apt install redis-server")

    def see(name: str, **labels: str) -> float:
        return look(demo, name, **labels)

    pid = str(demo.process.pid)
    shows, is_over = SHOWN[cause]
    showing = shows(see)
    assert shmtel("demo", "--cause", cause, "--pid", pid).returncode == 0
    try:
        wait_until(showing, f"{cause} shows")
        over = is_over(see)
    finally:
        cured = shmtel("demo", "--cure", cause, "--pid", pid)
    assert cured.returncode == 0
    wait_until(over, f"{cause} is over")


def test_causes_are_listed_and_an_unknown_one_is_an_error(demo: RunningDemo) -> None:
    listed = json.loads(shmtel("demo", "--causes", "--json").stdout)
    assert [cause["name"] for cause in listed] == list(CAUSES)
    assert {cause["alert"] for cause in listed} <= Catalogue.packaged().alerts.keys()
    wrong = shmtel("demo", "--cause", "rain", "--pid", str(demo.process.pid))
    assert wrong.returncode == 1
    assert "no cause 'rain': expected one of service-stopped, " in wrong.stderr


def test_after_all_that_every_record_is_accounted_for(demo: RunningDemo) -> None:
    demo.process.terminate()
    code, result = demo.finish()
    assert result is not None
    wrong = [account for account in result["producers"] if not account["holds"]]
    assert (code, wrong) == (0, [])
