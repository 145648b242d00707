"""What a type checker says to users' code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import shmtelemetry
from tests.processes import run_python

pytestmark = pytest.mark.slow

PRELUDE = """
import numpy as np
from typing import assert_type
from shmtelemetry import Consumer, Producer, Schema, Telemetry, field, get_include, trading
from shmtelemetry._instruments import Counter, Gauge, Histogram
from shmtelemetry.telemetry import Family
from shmtelemetry.accounting import Stats

dtype = np.dtype([("ts", "<u8"), ("qty", "<u4")])
tel = Telemetry("bot")
"""
GOOD = """
schema = Schema(dtype, {"ts": field("time", unit="ns"), "qty": field("counter", name="quantity_total")}, events=False)
with Producer("orders", schema, namespace="default", capacity=1024, policy="block", timeout=0.1) as ring:
    assert_type(ring.emit(np.zeros(1, dtype)[0]), bool)
    assert_type(ring.emit(b"x" * 12), bool)
    assert_type(ring.emit_fields(1, 2), bool)
    assert_type(ring.emit_many(np.zeros(5, dtype)), int)
    assert_type(ring.stats(), Stats)
    assert_type(ring.stats().holds, bool)
    last = ring.last(5)["qty"]
with Consumer("orders", namespace="default") as consumer:
    quantities = consumer.read(max_records=10)["qty"]
    names = consumer.dtype.names if consumer.dtype is not None else ()

assert_type(tel.counter("a"), Counter)
assert_type(tel.counter("b", "Help.", labels=("symbol",)), Family[Counter])
assert_type(tel.counter("b", "Help.", ("symbol",)).labels("AAPL"), Counter)
assert_type(tel.gauge("c", merge="max"), Gauge)
assert_type(tel.gauge("d", labels=("symbol",)).labels(symbol="AAPL"), Gauge)
assert_type(tel.histogram("e_seconds", buckets=(1, 2)), Histogram)
latency = tel.histogram("f_seconds", labels=["symbol"]).labels("AAPL")
assert_type(latency, Histogram)
assert_type(latency.observe(1), bool)
assert_type(latency.emit(1.5), bool)
assert_type(latency.stop(latency.start()), float)
with latency.time():
    pass

@latency.time()
def add(a: int, b: int = 2) -> int:
    return a + b

@latency.time()
async def wait(n: int) -> str:
    return str(n)

async def use() -> None:
    assert_type(add(1), int)
    assert_type(await wait(1), str)

assert_type(tel.counter("a").inc(), bool)
assert_type(tel.counter("a").inc(2), bool)
assert_type(tel.gauge("c").set(np.float64(1.0)), bool)
assert_type(get_include(), str)
assert_type(trading.ACTIVE_BOTS.labels(status="running"), Gauge)
assert_type(trading.PORTFOLIO_VALUE.set(1.0), bool)
assert_type(trading.TRADES.stats(), Stats)
with trading.time_database_query("select", "orders"):
    trading.record_trade("bot1", "AAPL", "buy", quantity=1, price=150.0, order_id=7)
"""
BAD = """
Producer("orders")  # no dtype
Producer("orders", dtype, capacity="big")
Producer("orders", dtype, 1024)
ring = Producer("orders", dtype)
ring.emit("text")
ring.emit_many([1, 2])
ring.last("all")
tel.counter("a", labels=5)
tel.counter("a").observe(1.0)
tel.counter("a").inc("1")
tel.gauge("b").inc()
tel.histogram("c").set(1.0)
tel.histogram("d").stop("now")
tel.gauge("e", buckets=(1, 2))
Consumer("orders").read("all")
ring.stats().attempted = 5
trading.PORTFOLIO_VALUE.labels("x")
trading.BOT_PNL.labels("bot1", "AAPL").inc()
"""


def check(folder: Path, source: str) -> list[int]:
    """The lines of `source` that mypy --strict objects to."""
    pytest.importorskip("mypy")
    file = folder / "user.py"
    file.write_text(PRELUDE + source)
    script = "import sys\nfrom mypy import api\nprint(api.run(sys.argv[1:])[0])"
    cache = Path(__file__).parents[2] / ".mypy_cache"
    options = ["--strict", "--no-error-summary", "--config-file=", "--cache-dir", str(cache)]
    said = run_python(script, *options, str(file), MYPYPATH=str(Path(shmtelemetry.__file__).parents[1])).stdout
    offset = PRELUDE.count("\n")
    return sorted({int(line) - offset for line in re.findall(r"user\.py:(\d+): error", said)})


def test_code_that_is_right_passes_strictly(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []


def test_each_misuse_is_an_error(tmp_path: Path) -> None:
    misuses = [number for number, line in enumerate(BAD.splitlines(), 1) if line and not line.startswith("ring = ")]
    assert check(tmp_path, BAD) == misuses
