"""Windows of 1, 10 and 60 s: rates, quantiles, maxima, and how much of what was attempted they saw."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, read_state
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.exporters.prometheus import expose, shown_grids
from shmtelemetry.exporters.protobuf import MetricFamilies
from tests.histograms import exponential_counts
from tests.metric_family import read_delimited
from tests.processes import in_child, is_stopped, kill, wait_until
from tests.readers import reader
from tests.reading import running_reader, shown_pid, state_of, talker, windows_of
from tests.windows import shown, window_with

LENGTHS = (1, 10, 60)
QUANTILES = (0.5, 0.9, 0.99, 0.999)
SAMPLES = 20_000
RNG = np.random.default_rng(20_261_120)


def within(values: np.ndarray) -> np.ndarray:
    """Seconds, from 1 ns to 1000 s."""
    return np.clip(values, 1e-9, 1e3)


DISTRIBUTIONS = {
    "normal of nanoseconds": within(RNG.normal(50e-9, 10e-9, SAMPLES)),
    "normal of milliseconds": within(RNG.normal(3e-3, 0.5e-3, SAMPLES)),
    "normal of minutes": within(RNG.normal(600, 100, SAMPLES)),
    "log-normal": within(RNG.lognormal(-9, 3, SAMPLES)),
    "bimodal": within(np.concatenate([RNG.normal(2e-6, 1e-7, SAMPLES // 2), RNG.normal(800, 10, SAMPLES // 2)])),
    "constant of a nanosecond": np.full(SAMPLES, 1e-9),
    "constant": np.full(SAMPLES, 0.0125),
    "constant of 1000 seconds": np.full(SAMPLES, 1e3),
}


def test_quantiles_of_all_distributions_are_within_1_1_percent_of_numpys(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as running, Telemetry("p", namespace, capacity=2**18) as telemetry:
        running.start()
        family = telemetry.histogram("latency_seconds", labels=("of",))
        for name, samples in DISTRIBUTIONS.items():
            observe = family.labels(name).observe
            assert all(observe(value) for value in samples.tolist())
        for look in (running.snapshot, partial(read_state, namespace)):
            for name, samples in DISTRIBUTIONS.items():
                window = window_with(look, 60, SAMPLES, "latency_seconds", of=name)
                histogram = window.histogram("latency_seconds", of=name)
                assert histogram.count == SAMPLES
                assert histogram.max == window.maximum("latency_seconds", of=name) == samples.max()
                assert histogram.sum == pytest.approx(samples.sum(), rel=1e-9)
                assert window.rate("latency_seconds", of=name) == pytest.approx(SAMPLES / window.seconds)
                assert window.coverage("latency_seconds", of=name) == 1
                exact = [float(np.quantile(samples, q, method="inverted_cdf")) for q in QUANTILES]
                assert [histogram.quantile(q) for q in QUANTILES] == pytest.approx(exact, rel=0.011), name
        assert_all_at_once_say_the_same(running.snapshot())


def assert_all_at_once_say_the_same(snapshot: Snapshot) -> None:
    """What exporters get, and what is asked for series by series."""
    for windows in snapshot.windows():
        name, names = windows.family.metric.name, windows.family.label_names
        assert windows.lengths == LENGTHS
        for row, series in enumerate(windows.series):
            labels = dict(zip(names, windows.family.labels[series], strict=True))
            for column, length in enumerate(LENGTHS):
                window = snapshot.window(length)
                assert windows.rates[row, column] == pytest.approx(window.rate(name, **labels), rel=1e-12)
                assert windows.coverages[row, column] == window.coverage(name, **labels)
                if windows.family.metric.kind == "histogram":
                    histogram = window.histogram(name, **labels)
                    assert windows.maxima[row, column] == pytest.approx(histogram.max, nan_ok=True)
                    exact = [histogram.quantile(q) for q in windows.wanted]
                    assert windows.quantiles[row, column] == pytest.approx(exact, rel=1e-12, nan_ok=True)


def test_a_counters_rate_is_what_it_gained_over_the_true_length(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        orders = telemetry.counter("orders", labels=("side",))
        orders.labels("buy").inc(1000)
        running.poll()
        begun = running.snapshot()
        assert [begun.window(length).seconds for length in LENGTHS] == [0, 0, 0]
        assert math.isnan(begun.window(10).rate("orders_total", side="buy"))
        assert math.isnan(begun.window(10).coverage("orders_total", side="buy"))
        second(running)
        orders.labels("buy").inc(20)
        orders.labels("sell").inc(0)
        second(running)
        snapshot = running.snapshot()
        one, ten = snapshot.window(1), snapshot.window(10)
        assert 1 <= one.seconds < ten.seconds == snapshot.window(60).seconds
        assert one.rate("orders_total", side="buy") == 20 / one.seconds
        assert ten.rate("orders_total", side="buy") == 1020 / ten.seconds
        assert one.rate("orders_total", side="sell") == 0
        assert one.coverage("orders_total", side="sell") == one.coverage("orders_total", side="buy") == 1
        assert_all_at_once_say_the_same(snapshot)


def end_second(running: Reader) -> None:
    """Drain, and end the running second early."""
    running.poll()
    role = running._role
    assert role is not None
    assert role._recorder is not None
    role._recorder.take(role._agent.losses())


def second(running: Reader) -> None:
    """Poll until a further second is complete."""
    before = running.snapshot().window(60).seconds
    wait_until(lambda: (running.poll(), running.snapshot().window(60).seconds > before)[1], "a second is over")


def test_windows_are_of_counters_and_histograms_and_of_at_most_a_minute(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        telemetry.gauge("depth").set(1)
        telemetry.counter("c").inc()
        running.poll()
        snapshot = running.snapshot()
        for wrong in (0, -1, 60.5, math.nan):
            with pytest.raises(ValueError, match="60"):
                snapshot.window(wrong)
        window = snapshot.window(10)
        for name in ("depth", "nothing", "shmtel_records_total"):
            labels = {"producer": "p"} if name.startswith("shmtel") else {}
            with pytest.raises(KeyError):
                window.rate(name, **labels)
        with pytest.raises(KeyError, match="use rate"):
            window.histogram("c_total")
        with pytest.raises(KeyError):
            window.maximum("depth")


def test_odd_observations_have_their_places(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        odd, low = telemetry.histogram("odd"), telemetry.histogram("low")
        for value in (0.0, 0.0, -3.0, math.inf, 2.0):
            odd.observe(value)
        low.observe(-5.0)
        low.observe(-7.0)
        end_second(running)
        window = running.snapshot().window(1)
        histogram = window.histogram("odd")
        assert (histogram.count, histogram.zeros, histogram.negatives, histogram.infinities) == (5, 2, 1, 1)
        assert histogram.quantile(0.6) == 0
        assert histogram.max == histogram.quantile(1.0) == math.inf
        assert window.maximum("low") == -5.0
        assert_all_at_once_say_the_same(running.snapshot())


def test_a_maximum_is_shown_at_once_and_goes_when_its_window_is_over(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        latency = telemetry.histogram("latency_seconds")
        latency.observe(0.001)
        second(running)
        latency.observe(7.25)
        running.poll()
        for look in (running.snapshot, partial(read_state, namespace)):
            assert [look().window(length).maximum("latency_seconds") for length in LENGTHS] == [7.25] * 3
        for _ in range(2):
            latency.observe(0.002)
            second(running)
        assert running.snapshot().window(1).maximum("latency_seconds") == 0.002
        assert running.snapshot().window(10).maximum("latency_seconds") == 7.25


class Scraper(threading.Thread):
    """Scrapes with an interval of its own, as Prometheus does, and keeps what a window's maximum was each time."""

    def __init__(self, get: Callable[[], str], interval: float, window: str) -> None:
        super().__init__()
        self._get, self._interval, self._window = get, interval, window
        self._done = threading.Event()
        self.maxima: list[tuple[float, float]] = []  # (when it was asked for, maximum)
        self.start()

    def run(self) -> None:
        while not self._done.wait(self._interval if self.maxima else 0):
            asked = time.monotonic()
            self.maxima.append((asked, shown(self._get(), "latency_seconds_window_max").get(self._window, math.nan)))

    def end(self) -> None:
        self._done.set()
        self.join()


def test_no_scraper_misses_a_spike_whatever_its_interval_and_however_many_there_are(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as running, Telemetry("p", namespace) as telemetry:
        latency = telemetry.histogram("latency_seconds")
        latency.observe(0.001)
        get = partial(running.get, "/metrics", Accept="text/plain")
        scrapers = [Scraper(get, *every) for every in ((0.1, "1s"), (0.37, "1s"), (0.9, "1s"), (1.3, "10s"))]
        spikes: list[tuple[float, float]] = []
        for height in (3.0, 8.125, 2.25):
            latency.observe(0.001)
            spikes.append((time.monotonic(), height))
            latency.observe(height)
            counts = [len(scraper.maxima) for scraper in scrapers]
            wait_until(
                lambda counts=counts: all(len(s.maxima) > n for s, n in zip(scrapers, counts, strict=True)),
                "each has scraped",
            )
        for scraper in scrapers:
            scraper.end()
        for scraper in scrapers:
            for when, height in spikes:
                after = [maximum for asked, maximum in scraper.maxima if asked > when]
                assert after[0] >= height, (scraper._interval, scraper._window, when, height)
            assert max(maximum for _, maximum in scraper.maxima) == 8.125


def test_loss_is_shown_by_coverage_exactly(namespace: str) -> None:
    """A reader that is stopped: its rings fill up, and what is lost is known of each series and of each producer."""
    schema = Schema([("who", "S4"), ("size", "<u4")], {"who": field("label"), "size": field("histogram", name="size")})

    def emit(_: Any) -> tuple[int, int, int]:
        ring = Producer("r", schema, namespace, capacity=64)
        with ring, Telemetry("p", namespace, capacity=256) as telemetry:
            histogram, counter = telemetry.histogram("h", labels=("k",)), telemetry.counter("n")
            a, b = histogram.labels("a"), histogram.labels("b")
            a.observe(1.0)
            ring.emit_fields(b"x", 1)
            pid = reader_of(namespace, "r")
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: is_stopped(pid), "all its threads stand still")
            in_a = sum([a.observe(1.0) for _ in range(300)])
            in_b = sum([b.observe(1.0) for _ in range(100)])
            written = sum([ring.emit_fields(b"x", 1) for _ in range(200)])
            for _ in range(50):
                counter.inc()
            os.kill(pid, signal.SIGCONT)
            return in_a, in_b, written

    with running_reader(namespace), talker(emit) as producer:
        in_a, in_b, written = producer.finish()
        assert (in_a < 300, in_b < 100, written < 200) == (True, True, True)
        look = partial(read_state, namespace)
        window_with(look, 60, written + 1, "size", who="x")
        window_with(look, 60, in_a + 1, "h", k="a")
        wait_until(lambda: look().window(60).rate("n_total") > 0, "the counter's cell is folded")
        wait_until(lambda: look().window(60).coverage("h", k="b") < 1, "cells are folded")
        window = look().window(60)
        assert window.coverage("h", k="a") == (in_a + 1) / 301
        assert window.coverage("h", k="b") == in_b / 100
        assert window.coverage("size", who="x") == (written + 1) / 201
        assert window.coverage("n_total") == 1
        assert window.rate("n_total") * window.seconds == pytest.approx(50)
        assert window.histogram("h", k="a").count == in_a + 1
        assert_all_at_once_say_the_same(look())
    forget(namespace)


def reader_of(namespace: str, producer: str) -> int:
    """The pid of a reader that has drained a record of that producer."""

    def drained() -> bool:
        producers = read_state(namespace).producers
        return producer in producers and producers[producer].consumed == 1

    wait_until(drained, "the reader has drained the ring")
    return shown_pid(namespace)


def forget(namespace: str) -> None:
    with Reader(namespace, ephemeral=True):
        pass


def test_no_observation_is_missed_or_counted_twice_while_seconds_are_taken(namespace: str) -> None:
    def emit(asked: Callable[[], bool]) -> tuple[int, float]:
        count, largest = 0, 0.0
        with Telemetry("p", namespace, capacity=2**20) as telemetry:
            handles = [telemetry.histogram("h", labels=("k",)).labels(key) for key in range(3)]
            while not asked():
                for step in range(3000):
                    value = 2.0 if step % 3 == 0 else 1.0 + (count * 7919 % 1_000_003) * 1e-3
                    count += handles[step % 3].observe(value)
                    largest = max(largest, value)
        return count, largest

    with Reader(namespace, ephemeral=True) as running:
        running.start()
        with talker(emit) as producer:
            while (window := running.snapshot().window(60)).seconds < 3:
                for length in (1, 60) if window.seconds else ():
                    one = running.snapshot().window(length).histogram("h", k="0")
                    assert one.sum == 2.0 * one.count  # each second is one moment's
            count, largest = producer.finish()
        assert running.settle()
        totals = [running.snapshot().histogram("h", k=str(key)) for key in range(3)]
        assert sum(total.count for total in totals) == count
        for key, total in enumerate(totals):
            histogram = window_with(running.snapshot, 60, total.count, "h", k=str(key)).histogram("h", k=str(key))
            assert histogram.count == total.count
            assert exponential_counts(histogram) == exponential_counts(total)
            assert histogram.sum == pytest.approx(total.sum, rel=1e-9)
            assert histogram.max == total.max
        assert max(total.max for total in totals) == largest


def test_windows_begin_empty_after_a_kill_and_say_so(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        histogram, counter = telemetry.histogram("h"), telemetry.counter("c")
        with running_reader(namespace) as pid:
            for _ in range(1000):
                histogram.observe(9.0)
                counter.inc()
            window_with(partial(read_state, namespace), 60, 1000, "h")
            kill(pid)
            assert read_state(namespace).window(60).histogram("h").count == 1000
            assert windows_of(namespace).exists()
        with Reader(namespace, ephemeral=True) as running:
            for look in (running.snapshot, partial(read_state, namespace)):
                window = look().window(60)
                assert (window.seconds, window.histogram("h").count) == (0, 0)
                assert math.isnan(window.maximum("h"))
            for _ in range(10):
                histogram.observe(2.0)
                counter.inc()
            second(running)
            window = running.snapshot().window(60)
            assert window.histogram("h").count == 10
            assert window.maximum("h") == 2.0
            assert window.rate("c_total") * window.seconds == pytest.approx(10)
            assert running.snapshot().histogram("h").count == 1010
        assert not windows_of(namespace).exists()


def test_a_series_that_was_removed_begins_anew(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        family = telemetry.histogram("h", labels=("k",))
        for count in (5, 2):
            for _ in range(count):
                family.labels("a").observe(4.0 / count)
            second(running)
            assert running.snapshot().window(1).histogram("h", k="a").count == count
            assert running.snapshot().window(1).maximum("h", k="a") == 4.0 / count
            family.remove("a")
            running.poll()
            assert running.snapshot().families["h"].labels == ()


def test_a_snapshot_keeps_its_windows_when_the_reader_is_gone(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        telemetry.histogram("h").observe(1.0)
        end_second(running)
        snapshots = running.snapshot(), in_child(lambda: read_state(namespace).window(10).histogram("h").count)
    assert snapshots[0].window(10).histogram("h").count == snapshots[1] == 1
    with pytest.raises(Exception, match="no state"):
        read_state(namespace)


# ---- what is exposed ----


def test_the_names_in_metrics_are_those_of_the_docs_and_parsers_take_them(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        telemetry.counter("orders", "Orders.", labels=("side",)).labels('b"uy').inc(3)
        latency = telemetry.histogram("latency_seconds", buckets=(1.0,))
        for value in (1.0, 2.0, 4.0):
            latency.observe(value)
        telemetry.histogram("idle").observe  # noqa: B018  # defined, and never used
        end_second(running)
        snapshot = running.snapshot(distributions=False)
        seconds = snapshot.window(1).seconds
        for families in (
            text_families(expose(snapshot).decode()),
            openmetrics_families(expose(snapshot, openmetrics=True).decode()),
        ):
            gauges = {f.name: f.samples for f in families if "_window_" in f.name and not f.name.startswith("shmtel_")}
            assert set(gauges) == {
                "orders_window_rate", "orders_window_coverage", "latency_seconds_window_rate",
                "latency_seconds_window_coverage", "latency_seconds_window_max", "latency_seconds_window_quantile",
            }  # fmt: skip
            rates = [(dict(sample.labels), sample.value) for sample in gauges["orders_window_rate"]]
            assert [labels for labels, _ in rates] == [{"side": 'b"uy', "window": f"{n}s"} for n in LENGTHS]
            assert [value for _, value in rates] == pytest.approx([3 / seconds] * 3, rel=1e-5)
            assert [sample.value for sample in gauges["latency_seconds_window_max"]] == [4.0] * 3
            quantiles = gauges["latency_seconds_window_quantile"]
            assert [sample.labels["quantile"] for sample in quantiles] == [f"{q:g}" for q in QUANTILES] * 3
            assert [sample.value for sample in quantiles] == pytest.approx([2.0, 4.0, 4.0, 4.0] * 3, rel=0.011)


def test_windows_stand_back_where_a_metric_has_their_name_or_label(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        telemetry.histogram("a").observe(1.0)
        telemetry.counter("a_window_max").inc(77)
        telemetry.gauge("a_window_rate").set(5.0)
        telemetry.counter("b", labels=("window",)).labels("w").inc()
        end_second(running)
        text = expose(running.snapshot()).decode()
        assert "\na_window_rate 5.0\n" in text
        assert "a_window_max{" not in text
        assert 'a_window_coverage{window="1s"} 1.0\n' in text
        assert "b_window" not in text
        assert running.snapshot().window(10).maximum("a") == 1.0


def test_windows_can_be_switched_off(namespace: str) -> None:
    with reader(namespace, "--ephemeral", "--no-windows") as running, Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        assert "c_total 1.0" in running.get("/metrics")
        assert not windows_of(namespace).exists()
    with Reader(namespace, ephemeral=True, windows=False) as reading, Telemetry("p", namespace) as telemetry:
        telemetry.histogram("h").observe(1.0)
        reading.poll()
        assert not windows_of(namespace).exists()
        snapshot = reading.snapshot()
        assert (snapshot.window(10).seconds, math.isnan(snapshot.window(10).maximum("h"))) == (0, True)
        assert "_window_" not in expose(snapshot).decode()


def test_the_exposition_says_the_same_in_every_format(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry, Reader(namespace, ephemeral=True) as running:
        family = telemetry.histogram("h", labels=("k",))
        for number in range(5):
            telemetry.histogram("h", labels=("k",)).labels(str(number))
        for number in (3, 1):
            family.labels(str(number)).observe(number + 0.125)
        end_second(running)
        snapshot = running.snapshot()
        text = expose(snapshot).decode()
        messages = {message.name: message for message in read_delimited(MetricFamilies().expose(snapshot))}
        for grid in shown_grids(snapshot, None):
            plain = grid.plain()
            lines = [line for line in text.splitlines() if line.startswith(f"{plain.metric.name}{{")]
            assert len(lines) == len(plain.labels) == len(plain.values)
            for line, labels, value in zip(lines, plain.labels, plain.values, strict=True):
                pairs = ",".join(f'{name}="{label}"' for name, label in zip(plain.label_names, labels, strict=True))
                assert line.startswith(f"{plain.metric.name}{{{pairs}}} ")
                assert float(line.split()[-1]) == pytest.approx(float(value), rel=1e-5)
            assert [metric.gauge.value for metric in messages[plain.metric.name].metric] == plain.values.tolist()
    assert {line.split("{")[0] for line in text.splitlines() if "window" in line and 'k="1"' in line} == {
        f"h_window_{what}" for what in ("rate", "coverage", "max", "quantile")
    }
    assert 'h_window_rate{k="2"' not in text


def test_a_reader_shares_the_namespace_and_takes_its_windows_with_it(namespace: str) -> None:
    """The file goes with the state, also where it was left by one that was killed."""
    with Telemetry("p", namespace) as telemetry:
        with Reader(namespace, standby=True, ephemeral=True) as last:
            telemetry.counter("c").inc()
            assert last.poll() >= 0
            windows = windows_of(namespace)
            stored = windows.read_bytes()
        assert not windows.exists()
        with running_reader(namespace) as pid, Reader(namespace, standby=True, ephemeral=True) as other:
            other.start()
            kill(pid)
            wait_until(lambda: other.holds, "the role is taken over")
        assert stored
    assert not windows.exists()
    assert not state_of(namespace).exists()
