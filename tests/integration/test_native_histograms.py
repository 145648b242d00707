"""Real Prometheus servers of two generations ask a real reader for native histograms, and for what comes with them.

All tests look at the same servers: what they query never changes any more.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Exemplar, Snapshot
from shmtelemetry.exporters.http import Health, MetricsServer
from tests.peers import need, need_newest
from tests.processes import PATIENCE, wait_until
from tests.prometheus import Prometheus, prometheus
from tests.readers import reader

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SEEDS = (1, 2, 3)
COUNT = 4003  # observations of each producer
BUCKET = 2 ** (1 / 32) - 1  # the relative width of one
ALL_FEATURES = "native-histograms,exemplar-storage,created-timestamp-zero-ingestion"
NATIVE, PLAIN = ("stable native", "newest native"), ("stable plain", "newest plain")

PRODUCER = """
import sys
import numpy as np
from shmtelemetry import Telemetry

namespace, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
telemetry = Telemetry(f"bot-{seed}", namespace=namespace, capacity=16384)
latency = telemetry.histogram("order_latency_seconds", "Latency.", labels=("symbol",), buckets=(1e-5, 1e-4, 1e-3))
aapl, slippage = latency.labels("AAPL"), telemetry.histogram("slippage", buckets=(-1.0, 0.0, 1.0))
orders, depth = telemetry.counter("orders_total"), telemetry.gauge("queue_depth", merge="sum")
print("defined", flush=True)
sys.stdin.readline()
for value in np.random.default_rng(seed).lognormal(-9.0, 1.0, count):
    assert aapl.observe(value)
for value in (-2.0, 0.0, 3.0, 5.0, 7.0, float("inf")):
    assert slippage.observe(value)
depth.set(2.0)
orders.inc(count)
print("emitted", flush=True)
sys.stdin.read()
"""

NOW = time.time_ns() // 10**6 * 10**6  # Prometheus keeps milliseconds
FILLS = Exemplar(0, 0, (("trace_id", "o"), ("span", "é")), 1.0, NOW)
LATENCIES = [Exemplar(0, bucket, (("trace_id", f"t{bucket}"),), 2.0**bucket, NOW + bucket * 10**6) for bucket in (0, 1)]


@dataclass
class Stored:
    """What the producers observed, and the servers that scraped it, by name."""

    values: np.ndarray
    servers: dict[str, Prometheus]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder, namespace = tmp_path_factory.mktemp("prometheus"), f"test-{secrets.token_hex(6)}"
    programs = {"stable": need("prometheus"), "newest": need_newest("prometheus")}
    classic = "always_scrape_classic_histograms: true"
    with ExitStack() as stack:
        urls = [stack.enter_context(reader(namespace, "--ephemeral")).url, stack.enter_context(with_exemplars())]
        producers = [stack.enter_context(producer(namespace, seed)) for seed in SEEDS]
        servers = {}
        for name in (*NATIVE, *PLAIN):
            program = programs[name.split()[0]]
            options = (ALL_FEATURES, classic) if name == "newest native" else ("native-histograms",)
            start = partial(prometheus, urls, folder / name.replace(" ", "-"), program)
            servers[name] = stack.enter_context(start(*options) if name in NATIVE else start())
        for server in servers.values():  # a rate begins with the first scrape: nothing may have been observed before
            wait_until(lambda server=server: server.result("orders_total"), "the series are there")
        for process in producers:
            say(process, "go\n", "emitted\n")
        for server in servers.values():
            server.shows("orders_total", len(SEEDS) * COUNT)
        yield Stored(np.concatenate([observations(seed) for seed in SEEDS]), servers)
        for process in producers:
            process.communicate("", PATIENCE)
            assert process.returncode == 0


@contextmanager
def producer(namespace: str, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has defined its metrics, and emits when it is told to."""
    command = [sys.executable, "-c", PRODUCER, namespace, str(seed), str(COUNT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        say(process, "", "defined\n")
        yield process


def say(process: subprocess.Popen[str], word: str, answer: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(word)
    assert process.stdout.readline() == answer


def observations(seed: int) -> np.ndarray:
    """What a producer observes."""
    return np.random.default_rng(seed).lognormal(-9.0, 1.0, COUNT)


@contextmanager
def with_exemplars() -> Iterator[str]:
    """The URL of a server whose figures have exemplars."""
    namespace = f"test-{secrets.token_hex(6)}"
    with Telemetry("bot", namespace=namespace) as telemetry, Reader(namespace, ephemeral=True) as source:
        telemetry.histogram("fill_latency_seconds", buckets=(1.0,)).observe(0.5)
        telemetry.counter("fills_total").inc()

        def snapshot(distributions: bool) -> Snapshot:
            source.poll()
            taken = source.snapshot(distributions)
            found = {"fill_latency_seconds": tuple(LATENCIES), "fills_total": (FILLS,)}
            families = {name: replace(taken.families[name], exemplars=exemplars) for name, exemplars in found.items()}
            return replace(taken, families=families)

        with MetricsServer("127.0.0.1:0", snapshot, lambda: Health(True)) as server:
            yield server.url


def has_quantile(server: Prometheus, query: str, wanted: float) -> None:
    """Prometheus interpolates within the bucket that has the quantile, so it may be off by one bucket's width."""
    assert server.value(query) == pytest.approx(wanted, rel=BUCKET), query


@pytest.mark.parametrize("name", NATIVE)
def test_quantiles_of_native_histograms_are_those_of_what_was_emitted(stored: Stored, name: str) -> None:
    server = stored.servers[name]
    (series,) = server.result('order_latency_seconds{symbol="AAPL"}')
    assert "histogram" in series
    server.shows("histogram_count(order_latency_seconds)", len(stored.values))
    assert server.value("histogram_sum(order_latency_seconds)") == pytest.approx(stored.values.sum())
    for q in (0.5, 0.9, 0.99, 0.999):
        wanted = float(np.quantile(stored.values, q, method="inverted_cdf"))
        has_quantile(server, f"histogram_quantile({q}, rate(order_latency_seconds[1m]))", wanted)


@pytest.mark.parametrize("name", NATIVE)
def test_what_has_no_bucket_of_its_own_is_counted_all_the_same(stored: Stored, name: str) -> None:
    """-2, 0, 3, 5, 7 and infinity, each as often."""
    server = stored.servers[name]
    server.shows("histogram_count(slippage)", 6 * len(SEEDS))
    assert server.value("histogram_fraction(-Inf, -1, slippage)") == pytest.approx(1 / 6)
    for q, wanted in ((0.45, 3.0), (0.6, 5.0), (0.8, 7.0)):
        has_quantile(server, f"histogram_quantile({q}, slippage)", wanted)
    assert server.value("histogram_quantile(0.99, slippage)") == float("inf")
    lowest = server.value("histogram_quantile(0.01, slippage)")
    assert lowest == float("-inf") or np.isnan(lowest)  # Prometheus 2.42 interpolates, and cannot here


@pytest.mark.parametrize("name", ["newest native", *PLAIN])
def test_classic_buckets_are_there_for_those_who_want_them(stored: Stored, name: str) -> None:
    server = stored.servers[name]
    for bound, written in ((1e-5, "1e-05"), (1e-4, "0.0001"), (1e-3, "0.001"), (np.inf, "+Inf")):
        below = int(np.count_nonzero(stored.values <= bound))
        server.shows(f'order_latency_seconds_bucket{{le="{written}"}}', below)
    server.shows("order_latency_seconds_count", len(stored.values))
    assert bool(server.result("order_latency_seconds")) == (name in NATIVE)


@pytest.mark.parametrize("name", [*NATIVE, *PLAIN])
def test_counters_and_gauges_are_the_same_in_every_format(stored: Stored, name: str) -> None:
    server = stored.servers[name]
    server.shows("queue_depth", 2 * len(SEEDS))
    assert [entry["value"][1] for entry in server.result("up")] == ["1", "1"]
    types = {metric: told[0]["type"] for metric, told in server.get("/api/v1/metadata").items()}
    assert types["queue_depth"] == "gauge"
    assert types["order_latency_seconds"] == "histogram"
    assert "counter" in (types.get("orders"), types.get("orders_total"))


def test_counters_begin_at_zero_when_they_were_created(stored: Stored) -> None:
    (counter,) = stored.servers["newest native"].result("orders_total[5m]")
    (created, value), (first, _), *_ = counter["values"]
    assert value == "0"
    assert 0 < first - created < PATIENCE


@pytest.mark.parametrize(("metric", "wanted"), [("fill_latency_seconds", LATENCIES), ("fills_total", [FILLS])])
def test_exemplars_are_stored_with_labels_values_and_times(stored: Stored, metric: str, wanted: list[Exemplar]) -> None:
    parameters = {"query": metric, "start": str(NOW // 10**9 - 1), "end": str(time.time() + 60)}
    (series,) = wait_until(
        lambda: stored.servers["newest native"].get("/api/v1/query_exemplars", **parameters), "the exemplars are there"
    )
    found = [
        (one["labels"], float(one["value"]), round(float(one["timestamp"]) * 1000) * 10**6)
        for one in series["exemplars"]
    ]
    assert found == [(dict(one.labels), one.value, one.time_ns) for one in wanted]
