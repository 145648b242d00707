"""The demo as a user runs it: its command, its processes, its metrics page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from shmtelemetry.demo.accounts import settle_account
from shmtelemetry.demo.platform import Platform, together
from shmtelemetry.demo.services import PRODUCER_NAMES, PRODUCERS, SERVICE_NAMES
from shmtelemetry.sidecar import Sidecar
from shmtelemetry.trading.schemas import ORDER_STATUSES
from tests.demo import RunningDemo, records_of, scrape, total
from tests.processes import PATIENCE, wait_until


@pytest.fixture
def start() -> Iterator[Callable[..., RunningDemo]]:
    demos = []

    def start_demo(*arguments: str, **environment: str) -> RunningDemo:
        demos.append(RunningDemo(*arguments, **environment))
        return demos[-1]

    yield start_demo
    for demo in demos:
        demo.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> set[int]:
    """Processes that this one has started and that live."""
    found = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(child) for child in (thread / "children").read_text().split()}
    return found


def terms(account: dict[str, Any]) -> int:
    names = ("consumed", "in_ring", "coalesced", "dropped", "overwritten", "rejected", "aborted")
    return sum(account[name] for name in names)


def test_the_demo_accounts_for_every_record_and_its_counters_only_grow(
    start: Callable[..., RunningDemo],
) -> None:
    demo = start("--seconds", "2")
    scrapes = []
    while (totals := demo.scrape()) is not None:
        scrapes.append(totals)
        time.sleep(0.1)
    code, result = demo.finish()

    assert code == 0, demo.said
    assert result is not None
    assert result["metrics_urls"] == [demo.metrics_url]
    assert result["records_per_second"] > 0
    assert [account["name"] for account in result["producers"]] == list(PRODUCER_NAMES)
    for account in result["producers"]:
        assert account["attempted"] > 0
        assert account["attempted"] == terms(account)
        assert account["holds"] is True
        assert account["in_ring"] == 0
        assert account["name"] in demo.said
    assert demo.segments() == []

    for earlier, later in pairwise(scrapes):
        fallen = {series for series, value in earlier.items() if later.get(series, -1.0) < value}
        assert not fallen
    for account in result["producers"]:
        seen = total(scrapes[-1], "shmtel_records_total", producer=account["name"])
        assert 0 < seen <= account["consumed"]


def test_in_the_end_every_count_on_the_page_is_exact() -> None:
    namespace = f"demo-test-{os.getpid()}"
    with Sidecar(namespace, listen="127.0.0.1:0", ephemeral=True) as sidecar:
        with Platform(together(namespace), rate=5_000) as platform:
            platform.start()
            platform.go()
            url = f"{sidecar.url}/metrics"
            wait_until(lambda: total(scrape(url), "execution_engine_fills_total") > 20, "orders trade")
            reports = platform.stop()
            platform.join()
        assert sidecar.reader.settle(timeout=PATIENCE)
        page = scrape(f"{sidecar.url}/metrics")
        snapshot = sidecar.reader.snapshot()

    assert [report.name for report in reports] == list(PRODUCER_NAMES)
    for report in reports:
        account = settle_account(snapshot.producers[report.name], report)
        assert account.holds
        assert total(page, "shmtel_records_total", producer=report.name) == account.consumed
        assert total(page, "shmtel_coalesced_records_total", producer=report.name) == account.coalesced
        assert total(page, "shmtel_dropped_records_total", producer=report.name) == account.dropped

    # What one process counted as sent, the next counted as come: counters are never lost, so these are equal.
    messages = total(page, "market_data_messages_total")
    assert messages > 0
    assert total(page, "market_data_quotes_total") == total(page, "signal_bridge_quotes_total")
    assert total(page, "market_data_trades_total") == total(page, "signal_bridge_trades_total")
    assert total(page, "signal_bridge_signals_total") == total(page, "risk_manager_signals_total")
    approved = total(page, "risk_manager_orders_approved_total")
    failed = total(page, "risk_manager_risk_failures_total")
    assert approved + failed == total(page, "risk_manager_signals_total")
    assert approved == total(page, "execution_engine_orders_submitted_total") > 0
    assert total(page, "signal_bridge_sequence_gaps_total") == 0
    assert total(page, "market_data_updates_total") == total(page, "market_data_quotes_total")
    assert total(page, "market_data_lag_seconds_count") == total(page, "signal_bridge_quotes_total")
    # What the bots did is what the venue says they did.
    orders = {status: total(page, "trading_bot_orders_total", status=status) for status in ORDER_STATUSES.values()}
    assert orders["accepted"] + orders["rejected"] == approved
    assert orders["rejected"] == total(page, "execution_engine_api_failures_total")
    assert orders["accepted"] >= orders["filled"] + orders["expired"] > 0
    assert total(page, "trading_bot_trades_total") == total(page, "execution_engine_fills_total") > 0
    if not any(sum(report.stats.dropped.values()) for report in reports):
        assert total(page, "trading_bot_traded_quantity_total") == total(page, "execution_engine_filled_shares_total")
        assert 0 < total(page, "market_data_tick_trades_total") <= total(page, "market_data_trades_total")
        assert total(page, "orders_produced_total") == approved
        assert total(page, "orders_consumed_total") + total(page, "orders_dropped_total") == approved
    if not any(sum(report.stats.dropped.values()) for report in reports):
        assert total(page, "market_data_websocket_latency_us_count") == messages


def test_the_demo_shows_the_page_and_leaves_no_file(start: Callable[..., RunningDemo], tmp_path: Path) -> None:
    demo = start("--seconds", "3", TMPDIR=str(tmp_path))
    page = urllib.request.Request(demo.metrics_url.removesuffix("metrics"), headers={"Accept": "text/html"})
    with urllib.request.urlopen(page, timeout=PATIENCE) as response:
        assert "<title>" in response.read().decode()
    assert list(tmp_path.iterdir()) != []
    code, result = demo.finish()
    assert code == 0, demo.said
    assert result is not None
    assert result["page_url"] == page.full_url
    assert f"page: {page.full_url}" in demo.said
    assert list(tmp_path.iterdir()) == []


def test_without_the_service_the_demo_shows_its_metrics_and_says_what_the_page_needs() -> None:
    script = """
import sys
sys.modules["uvicorn"] = None
from shmtelemetry.cli import main
main(["demo", "--json", "--seconds", "1", "--listen", "127.0.0.1:0"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "page: none without uvicorn: pip install 'shmtelemetry[service]'" in done.stderr
    assert json.loads(done.stdout)["page_url"] is None


def test_an_interrupt_ends_the_demo_well(start: Callable[..., RunningDemo]) -> None:
    demo = start()
    demo.wait_for_records()
    services = demo.services()
    assert list(services) == list(SERVICE_NAMES)
    os.killpg(demo.process.pid, signal.SIGINT)  # everybody gets it, as from a terminal
    code, result = demo.finish()
    assert code == 0, demo.said
    assert result is not None
    assert [account["name"] for account in result["producers"] if account["holds"]] == list(PRODUCER_NAMES)
    assert "Traceback" not in demo.said
    assert demo.segments() == []
    assert not any(alive(pid) for pid in services.values())


def test_sigterm_ends_the_demo_well(start: Callable[..., RunningDemo]) -> None:
    demo = start()
    demo.wait_for_records()
    demo.process.terminate()
    code, result = demo.finish()
    assert code == 0, demo.said
    assert result is not None
    assert [account["name"] for account in result["producers"] if account["holds"]] == list(PRODUCER_NAMES)
    assert demo.segments() == []


def test_a_service_that_is_killed_ends_the_demo_with_an_error_that_names_it(
    start: Callable[..., RunningDemo],
) -> None:
    demo = start()
    demo.wait_for_records()
    os.kill(demo.services()["risk-manager"], signal.SIGKILL)
    code, result = demo.finish()
    assert code == 1
    assert "the service risk-manager did not come to its regular end" in demo.said
    assert result is not None
    assert [account["name"] for account in result["producers"] if account["holds"]] == list(PRODUCER_NAMES)
    assert demo.segments() == []


def test_each_service_of_a_platform_has_a_reader_and_a_port_of_its_own(start: Callable[..., RunningDemo]) -> None:
    demo = start("--platform", "--metrics-port", "0")
    urls = [demo.metrics_url, *(demo.next_url() for _ in SERVICE_NAMES[1:])]

    def each_has_its_own() -> bool:
        found = [records_of(scrape(url)) & set(PRODUCER_NAMES) for url in urls]
        return found == [set(PRODUCERS[service]) for service in SERVICE_NAMES]

    wait_until(each_has_its_own, "each reader has its service's records, and no other's")
    demo.process.terminate()
    code, result = demo.finish()
    assert code == 0, demo.said
    assert result is not None
    assert result["metrics_urls"] == urls
    assert [account["name"] for account in result["producers"] if account["holds"]] == list(PRODUCER_NAMES)
    assert demo.segments() == []


def test_no_service_outlives_the_demo(start: Callable[..., RunningDemo], tmp_path: Path) -> None:
    demo = start(TMPDIR=str(tmp_path))
    demo.wait_for_records()
    below = children(demo.process.pid)
    assert set(demo.services().values()) < below
    demo.process.kill()
    wait_until(lambda: not any(map(alive, below)), "all processes have ended")
