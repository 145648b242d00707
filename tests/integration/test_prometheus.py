"""A real Prometheus server scrapes a real reader, which drains real producers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shmtelemetry import Telemetry
from tests.peers import need
from tests.processes import PATIENCE, in_child, wait_until
from tests.prometheus import Prometheus, prometheus
from tests.readers import Running, reader, shmtel

pytestmark = [pytest.mark.peer, pytest.mark.slow]

PRODUCER = """
import json, sys
from shmtelemetry import Telemetry

name, namespace, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
telemetry = Telemetry(name, namespace=namespace, capacity=1024)
orders = telemetry.counter("orders_total", "Orders sent.", labels=("symbol", "side"))
latency = telemetry.histogram("order_latency_seconds", "Latency.", labels=("symbol",), buckets=(0.001, 0.01))
bots = telemetry.gauge("trading_bots_active_total", "Bots that run.", merge="sum")
series = [(symbol, side) for symbol in ("AAPL", "a\\\\b\\"c") for side in ("buy", "sell")]
handles = [(orders.labels(symbol, side), latency.labels(symbol)) for symbol, side in series]
observed = 0
for number in range(records):
    counter, histogram = handles[number % len(handles)]
    counter.inc()
    observed += histogram.observe(number % 20 / 1000)
bots.set(1.0)
stats = telemetry.stats()
print(json.dumps({
    "attempted": stats.attempted, "coalesced": stats.coalesced, "dropped": sum(stats.dropped.values()),
    "observed": observed,
}), flush=True)
sys.stdin.read()
"""


@contextmanager
def producer(name: str, namespace: str, records: int) -> Iterator[dict[str, int]]:
    """A process that emits, and its accounting when it has; it lives as long as the block."""
    command = [sys.executable, "-c", PRODUCER, name, namespace, str(records)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate("", PATIENCE)
        assert process.returncode == 0


@pytest.fixture
def scraped(namespace: str, tmp_path: Path) -> Iterator[tuple[Running, Prometheus]]:
    with reader(namespace, "--ephemeral") as running, prometheus([running.url], tmp_path) as server:
        yield running, server


def test_what_prometheus_stores_equals_the_accounting(namespace: str, scraped: tuple[Running, Prometheus]) -> None:
    _, server = scraped
    records = 20_000
    names = ("bot-a", "bot-b", "bot-c")
    with (
        producer(names[0], namespace, records) as first,
        producer(names[1], namespace, records) as second,
        producer(names[2], namespace, records) as third,
    ):
        accounts = dict(zip(names, (first, second, third), strict=True))
        observed = sum(account["observed"] for account in accounts.values())
        server.shows("sum(orders_total)", records * len(names))
        server.shows('orders_total{symbol="a\\\\b\\"c",side="sell"}', records / 4 * len(names))
        server.shows("sum(order_latency_seconds_count)", observed)
        server.shows('sum(order_latency_seconds_bucket{le="+Inf"})', observed)
        server.shows("trading_bots_active_total", len(names))
        for name, account in accounts.items():
            written = account["attempted"] - account["coalesced"] - account["dropped"]
            server.shows(f'shmtel_records_total{{producer="{name}"}}', written)
            server.shows(f'shmtel_coalesced_records_total{{producer="{name}"}}', account["coalesced"])
            server.shows(f'sum(shmtel_dropped_records_total{{producer="{name}"}})', account["dropped"])
    server.shows("sum(orders_total)", records * len(names))


def test_prometheus_knows_the_types_that_were_declared(namespace: str, scraped: tuple[Running, Prometheus]) -> None:
    _, server = scraped
    with producer("bot", namespace, 4):
        server.shows("trading_bots_active_total", 1)
        metadata = server.get("/api/v1/metadata")
    types = {name: told[0]["type"] for name, told in metadata.items()}
    assert types["trading_bots_active_total"] == "gauge"
    assert types["order_latency_seconds"] == "histogram"
    assert "counter" in (types.get("orders"), types.get("orders_total"))
    assert server.value('up{job="shmtel"}') == 1


def test_counters_never_fall_when_a_producer_ends_and_comes_back(
    namespace: str, scraped: tuple[Running, Prometheus]
) -> None:
    _, server = scraped
    for round_number in (1, 2, 3):
        with producer("bot", namespace, 400):
            server.shows("sum(orders_total)", 400 * round_number)
    assert server.value("sum(resets(orders_total[1h]))") == 0


def test_exemplars_of_two_processes_are_stored(namespace: str, tmp_path: Path) -> None:
    with (
        reader(namespace, "--ephemeral") as running,
        prometheus([running.url], tmp_path, features="exemplar-storage") as server,
        Telemetry("here", namespace=namespace) as here,
    ):
        family = here.histogram("order_latency_seconds", "Latency.", ("symbol",), buckets=(0.001, 0.01))
        orders = here.counter("orders_total", "Orders sent.")
        assert family.labels("AAPL").observe(0.0005, exemplar="4bf92f3577b34da6a3ce929d0e0e4736")
        assert orders.inc(2.0, exemplar={"trace_id": "ö", "span_id": "00f067aa0ba902b7"})
        assert in_child(lambda: family.labels("AAPL").observe(0.005, exemplar="of a child"))

        def stored(query: str) -> list[tuple[str, dict[str, str], float]]:
            now = time.time()
            found = server.get("/api/v1/query_exemplars", query=query, start=str(now - 600), end=str(now + 600))
            return [
                (series["seriesLabels"].get("le", ""), one["labels"], float(one["value"]))
                for series in found
                for one in series["exemplars"]
            ]

        wait_until(lambda: len(stored('order_latency_seconds_bucket{symbol="AAPL"}')) == 2, "both are stored")
        assert sorted(stored("order_latency_seconds_bucket")) == [
            ("0.001", {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, 0.0005),
            ("0.01", {"trace_id": "of a child"}, 0.005),
        ]
        assert stored("orders_total") == [("", {"trace_id": "ö", "span_id": "00f067aa0ba902b7"}, 2.0)]


def test_promtool_finds_nothing_to_complain_about(namespace: str) -> None:
    promtool = need("promtool")
    with Telemetry("bot", namespace=namespace) as telemetry:
        telemetry.counter("orders_total", "Orders sent.", labels=("symbol",)).labels('a\\b"c\n').inc()
        telemetry.gauge("queue_depth", 'A "depth",\nin records \\ bytes.').set(float("nan"))
        latency = telemetry.histogram("order_latency_seconds", "Latency.", labels=("venue",))
        for value in (1e-9, 0.5, float("inf"), 1e300):
            latency.labels("x").observe(value)
        text = shmtel("reader", "--namespace", namespace, "--once", "--ephemeral").stdout
    assert 'orders_total{symbol="a\\\\b\\"c\\n"} 1.0' in text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
