"""Whoever can write, at once, some of them killed: C, C++, Cython, Python, a log, bots, StatsD clients."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
import zmq
from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry import Telemetry
from tests.csv_log import HEADER, append, forget, ingesting, lines
from tests.ingesters import Ingester, ingester
from tests.integration.test_cimport import pusher
from tests.native import HERE, compiled, driver
from tests.processes import PATIENCE, in_child, kill, run_python, wait_until
from tests.readers import Running, reader

__all__ = ["pusher"]  # the compiled module of test_cimport

ROOT = Path(__file__).parents[2]
ROWS = 200  # of the log, before and after its ingester is killed
MESSAGES = 500  # of each bot and client, likewise

CYTHON = """
import importlib.util, sys
from shmtelemetry import Producer, Schema, field
spec = importlib.util.spec_from_file_location("pusher", sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
schema = Schema([("seq", "<u8")], {"seq": field("counter", name="cython_steps_total")})
with Producer("cython", schema, sys.argv[1]) as ring:
    assert module.push_range(ring, 0, 1001) == 1001
"""


class Shown:
    """What a reader's /metrics says."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def values(self) -> dict[str, float]:
        """Name of a sample → the sum over its labels."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self._running.get("/metrics")):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def await_value(self, name: str, value: float) -> None:
        wait_until(lambda: self.values().get(name) == value, f"{name} is {value}")


def killed_in_python(namespace: str) -> None:
    def emit() -> None:
        steps = Telemetry("python", namespace, capacity=64).counter("python_steps_total")
        for _ in range(1000):
            assert steps.emit(1.0)
        os._exit(9)

    with pytest.raises(AssertionError, match="status"):
        in_child(emit)


def killed_in_c(program: Path, namespace: str) -> None:
    with driver(program) as engine:
        engine.open(namespace, capacity=64, name="c-engine")
        steps = engine.add("counter", "c_steps_total")
        assert engine.emit(steps, 1.0, 1000) == 1000
        kill(engine.pid)


def send_bots(sidecar: Ingester) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 10_000)
        push.connect(sidecar.address)
        for _ in range(MESSAGES):
            push.send_string("order_placed:AAPL:145.50")


def send_datagrams(sidecar: Ingester) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", urlsplit(sidecar.address).port or 0))
        for _ in range(MESSAGES):
            client.send(b"statsd.steps:1|c")


def twice(
    source: str, namespace: str, folder: Path, send: Callable[[Ingester], None], come: Callable[[int], None]
) -> None:
    """Through an ingester that is killed when all has come, and through the next one."""
    options = ("--udp", "127.0.0.1:0") if source == "statsd" else ()
    for life in (1, 2):
        with ingester(source, namespace, *options, folder=folder) as sidecar:
            send(sidecar)
            come(life * MESSAGES)
            kill(sidecar.process.pid)


@pytest.mark.slow
def test_one_reader_shows_what_each_has_sent(namespace: str, tmp_path: Path, pusher: ModuleType) -> None:
    log, engine = tmp_path / "telemetry.log", compiled(ROOT / "examples/cpp/engine.cpp", tmp_path, "-O2")
    program = compiled(HERE / "driver.c", tmp_path, "-O2")
    log.write_text(HEADER + "\n" + lines(1, ROWS))
    with reader(namespace, "--ephemeral") as running, ExitStack() as sources:
        shown = Shown(running)
        with ingesting(log, namespace, "--from-start"):  # killed at the end of the block
            shown.await_value("orders_produced_total", 10.0 * ROWS)
        append(log, lines(ROWS + 1, 2 * ROWS))
        sources.enter_context(ingesting(log, namespace, "--from-start"))
        for _ in range(2):
            killed_in_python(namespace)
            killed_in_c(program, namespace)
            subprocess.run([engine, namespace], check=True, timeout=PATIENCE)
        run_python(CYTHON, namespace, str(pusher.__file__))
        twice("zmq", namespace, tmp_path, send_bots, lambda count: shown.await_value("orders_total", 8000.0 + count))
        twice(
            "statsd", namespace, tmp_path, send_datagrams, lambda count: shown.await_value("statsd_steps_total", count)
        )
        shown.await_value("orders_produced_total", 20.0 * ROWS)
        values = shown.values()
    forget(namespace)
    sent = {
        "python_steps_total": 2000, "c_steps_total": 2000, "cython_steps_total": sum(range(1001)),
        "orders_total": 2 * 4000 + 2 * MESSAGES, "order_latency_us_count": 2 * 4000,
        "traded_quantity_total": 2 * 400_000, "statsd_steps_total": 2 * MESSAGES,
        "orders_produced_total": 20 * ROWS, "orders_consumed_total": 18 * ROWS,
        "batches_sent_total": 6 * ROWS, "batch_latency_seconds_count": 6 * ROWS,
    }  # fmt: skip
    assert {name: values[name] for name in sent} == sent
    assert values["shmtel_dropped_records_total"] == 0
    assert "ingest_rejected_total" not in values
