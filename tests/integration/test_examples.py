"""What stands in examples/ does what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shmtelemetry import Consumer, Reader, get_include
from shmtelemetry.segment import segment_names
from tests.native import SANITIZED, compiled

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(program: Path, namespace: str) -> None:
    done = subprocess.run([program, namespace], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_orders_in_c(namespace: str, tmp_path: Path) -> None:
    run(compiled(EXAMPLES / "c/orders.c", tmp_path, *SANITIZED), namespace)
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("orders_total", symbol="AAPL", side="buy") == 1000
        assert snapshot.histogram("order_latency_us").count == 1000
        assert snapshot.producers["engine"].holds
    assert list(segment_names(namespace)) == []


def test_trades_of_four_threads_in_c(namespace: str, tmp_path: Path) -> None:
    run(compiled(EXAMPLES / "c/trades.c", tmp_path, *SANITIZED), namespace)
    assert len(list(segment_names(namespace))) == 4
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        snapshot = reader.snapshot()
        for side in ("buy", "sell"):
            assert snapshot.value("traded_quantity_total", symbol="AAPL", side=side) == 200_000
        latency = snapshot.histogram("trade_latency_seconds", symbol="AAPL", side="sell")
        assert (latency.count, latency.max) == (2000, 1799e-9)
        assert snapshot.producers["trades"].holds
    assert list(segment_names(namespace)) == []


def test_trades_in_c_are_numpy_records(namespace: str, tmp_path: Path) -> None:
    run(compiled(EXAMPLES / "c/trades.c", tmp_path, "-O2"), namespace)
    with Consumer("trades", namespace) as consumer:
        records = consumer.read()
    assert records.dtype.itemsize == 32
    assert records.dtype.names == ("ts", "symbol", "side", "latency_ns", "quantity")
    assert len(records) == 4000
    assert set(records["symbol"]) == {b"AAPL"}
    assert sorted(records["latency_ns"].tolist()) == sorted(4 * list(range(800, 1800)))
    assert list(segment_names(namespace)) == []


def test_an_engine_in_cpp(namespace: str, tmp_path: Path) -> None:
    run(compiled(EXAMPLES / "cpp/engine.cpp", tmp_path, *SANITIZED), namespace)
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.value("orders_total", symbol="AAPL") == 4000
        assert snapshot.histogram("order_latency_us").count == 4000
        for side in ("buy", "sell"):
            assert snapshot.value("traded_quantity_total", symbol="AAPL", side=side) == 200_000
        latency = snapshot.histogram("trade_latency_seconds", symbol="AAPL", side="sell")
        assert [count for _, count in latency.buckets] == [0, 400, 2000, 2000]
        assert snapshot.producers["engine"].holds
        assert snapshot.producers["trades"].holds
    assert list(segment_names(namespace)) == []


@pytest.mark.slow
@pytest.mark.unsanitized("the Rust compiler does not bear a preloaded AddressSanitizer")
def test_orders_in_rust(namespace: str, tmp_path: Path) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed")
    shutil.copytree(EXAMPLES / "rust", tmp_path / "rust", ignore=shutil.ignore_patterns("target"))
    flags = f"-I{get_include()} -D_GNU_SOURCE -pthread"
    built = subprocess.run(
        [cargo, "build", "--offline", "--quiet"], cwd=tmp_path / "rust", capture_output=True, text=True,
        env={**os.environ, "SHMTEL_CFLAGS": flags, "CARGO_TARGET_DIR": str(tmp_path / "target")},
    )  # fmt: skip
    assert (built.returncode, built.stderr) == (0, "")
    run(tmp_path / "target/debug/orders", namespace)
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().value("orders_total", symbol="AAPL") == 4000
        assert reader.snapshot().histogram("order_latency_us").count == 4000
        assert reader.snapshot().producers["engine"].holds
    assert list(segment_names(namespace)) == []
