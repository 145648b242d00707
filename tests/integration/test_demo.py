"""The demo as a user runs it: its command, its processes, its metrics page."""

from __future__ import annotations

import json
import os
import re
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
from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry.demo.accounts import settle_account
from shmtelemetry.demo.platform import Platform, together
from shmtelemetry.demo.services import PRODUCER_NAMES, PRODUCERS, SERVICE_NAMES
from shmtelemetry.sidecar import Sidecar
from shmtelemetry.trading.schemas import ORDER_STATUSES
from tests.processes import PATIENCE, wait_until

# Metric name → labels → value, of everything that may only grow.
Totals = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RunningDemo:
    """The demo's command, and what it has said so far."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "shmtelemetry.cli", "demo", "--json", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # a process group of its own, as in a terminal
        )
        self.said = ""
        self.metrics_url = self.next_url()

    def scrape(self) -> Totals | None:
        """The page's totals; None once the server is gone."""
        try:
            return scrape(self.metrics_url)
        except OSError:
            return None

    def wait_for_records(self) -> None:
        """Returns when records of all services have been read."""
        wait_until(lambda: set(SERVICE_NAMES) <= self._producers_with_records(), "records of all services are read")

    def services(self) -> dict[str, int]:
        """Name → pid of the four services."""
        return {name: int(pid) for name, pid in re.findall(r"([a-z]+-[a-z]+) (\d+)", self.said)}

    def finish(self) -> tuple[int, dict[str, Any] | None]:
        """Waits for the end; the exit code, and the JSON object on the last line of stdout, if any."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self.said += err
        return self.process.returncode, json.loads(out.splitlines()[-1]) if out else None

    def segments(self) -> list[str]:
        """What there is in /dev/shm of the demo's namespaces."""
        return [path.name for path in Path("/dev/shm").glob(f"shmtel.demo-{self.process.pid}[.-]*")]

    def close(self) -> None:
        """Leaves nothing behind, however the test ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        for name in self.segments():
            Path("/dev/shm", name).unlink(missing_ok=True)

    def next_url(self) -> str:
        """The next URL of metrics that it says."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            found = re.search(r"http://127\.0\.0\.1:\d+/metrics", line)
            if found:
                return found.group()
        raise AssertionError(f"the demo ended before it printed its URL:\n{self.said}")

    def _producers_with_records(self) -> set[str]:
        return records_of(self.scrape() or {})


@pytest.fixture
def start() -> Iterator[Callable[..., RunningDemo]]:
    demos = []

    def start_demo(*arguments: str, **environment: str) -> RunningDemo:
        demos.append(RunningDemo(*arguments, **environment))
        return demos[-1]

    yield start_demo
    for demo in demos:
        demo.close()


def scrape(url: str) -> Totals:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        text = response.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.type == "counter" or (family.type == "histogram" and not sample.name.endswith("_sum"))
    }


def records_of(totals: Totals) -> set[str]:
    """The producers of which records were read."""
    return {dict(labels)["producer"] for (name, labels), n in totals.items() if name == "shmtel_records_total" and n}


def total(totals: Totals, name: str, **labels: str) -> float:
    """The sum over all series of that name with those labels."""
    wanted = labels.items()
    return sum(value for (other, has), value in totals.items() if other == name and wanted <= dict(has).items())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
            wait_until(
                lambda: "execution-engine" in sidecar.reader.snapshot().producers, "the execution engine is heard of"
            )
            time.sleep(1.0)
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
    wanted = [set(PRODUCERS[service]) for service in SERVICE_NAMES]
    wait_until(lambda: [records_of(scrape(url)) for url in urls] == wanted, "each reader has its service's records")
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
    services = demo.services()
    demo.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in services.values()), "all services have ended")
