"""prometheus_client's face over shared memory, and a scrape of eight processes beside its multiprocess mode."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shmtelemetry.cli.bench import CALLS, Timing

PROCESSES = 8
SERIES = 2_000
"""Counters of each process."""


def _drained() -> None:
    """No round meets a full ring: the embedded reader has all of the one before."""
    from shmtelemetry.compat.prometheus_client.store import store

    store().snapshot()


@contextmanager
def counter(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client's face: Counter.inc()"""
    from shmtelemetry.compat.prometheus_client import Counter

    yield Timing("counter.inc(1.0)", {"counter": Counter("orders", "Orders sent.")}, calls, before_round=_drained)


@contextmanager
def labels(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client's face: Counter.labels().inc()"""
    from shmtelemetry.compat.prometheus_client import Counter

    metric = Counter("orders", "Orders sent.", ["symbol", "side"])
    yield Timing('counter.labels("AAPL", "buy").inc(1.0)', {"counter": metric}, calls, before_round=_drained)


@contextmanager
def gauge(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client's face: Gauge.set()"""
    from shmtelemetry.compat.prometheus_client import Gauge

    yield Timing("gauge.set(12.5)", {"gauge": Gauge("depth", "Depth.")}, calls, before_round=_drained)


@contextmanager
def histogram(calls: int = CALLS) -> Iterator[Timing]:
    """prometheus_client's face: Histogram.observe()"""
    from shmtelemetry.compat.prometheus_client import Histogram

    metric = Histogram("latency_seconds", "Latency.")
    yield Timing("histogram.observe(0.0125)", {"histogram": metric}, calls, before_round=_drained)


def _count(module: str, ready: Any, end: Any) -> None:
    """A worker with its series, until it may end."""
    metric = importlib.import_module(module).Counter("requests", "Requests.", ["path"])
    for number in range(SERIES):
        metric.labels(f"/path/{number}").inc()
    ready.release()
    end.wait()


@contextmanager
def _workers(module: str) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    ready, end = context.Semaphore(0), context.Event()
    workers = [context.Process(target=_count, args=(module, ready, end)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    try:
        yield
    finally:
        end.set()
        for worker in workers:
            worker.join()


def _check(text: bytes) -> None:
    lines = text.count(b"requests_total{")
    if lines != SERIES or text.count(b"} %d.0\n" % PROCESSES) < SERIES:
        raise RuntimeError(f"a scrape has {lines} counters: expected {SERIES} of {PROCESSES} each")


@contextmanager
def scrape() -> Iterator[Timing]:
    """prometheus_client's face: a scrape of 8 processes with 2,000 series each"""
    from shmtelemetry.compat.prometheus_client import CollectorRegistry, Counter, generate_latest

    with _workers("shmtelemetry.compat.prometheus_client"):
        registry = CollectorRegistry()  # as the other: without the collectors of this process's own figures
        Counter("requests", "Requests.", ["path"], registry=registry)
        _check(generate_latest(registry))
        yield Timing("generate(registry)", {"generate": generate_latest, "registry": registry}, 1)


@contextmanager
def prometheus_scrape() -> Iterator[Timing]:
    """prometheus_client, multiprocess mode: a scrape of 8 processes with 2,000 series each"""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        with _workers("prometheus_client"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
            _check(generate_latest(registry))
            yield Timing("generate(registry)", {"generate": generate_latest, "registry": registry}, 1)
