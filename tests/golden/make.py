"""Makes the golden segments of the present layout: python -m tests.golden.make

They are made once a layout version and then kept: what they hold must be read, or clearly refused, by all that follow.
"""

from __future__ import annotations

import gzip
import json
import secrets
from pathlib import Path

import numpy as np

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, layout
from shmtelemetry.segment import segment_names
from tests.golden.what import aggregated

HERE = Path(__file__).parent
DTYPE = np.dtype([("ts", "<u8"), ("symbol", "S8"), ("side", "u1"), ("latency_ns", "<u4"), ("qty", "<u4")])


def instruments(namespace: str) -> Telemetry:
    """Series, cells beside a full ring, exemplars and a retired series."""
    telemetry = Telemetry("bot", namespace, capacity=16)
    bounds = 0.001, 0.01, 0.1
    orders = telemetry.counter("orders_total", "Orders sent.", labels=("symbol", "side"))
    latency = telemetry.histogram("latency_seconds", "Until the answer.", labels=("symbol",), buckets=bounds)
    depth = telemetry.gauge("queue_depth", 'A "help"\nof two lines.', merge="sum")
    orders.labels("GONE", "buy").emit(7)
    orders.remove("GONE", "buy")
    orders.labels("AAPL", "buy").emit(2, exemplar="4bf92f3577b34da6")
    orders.labels('Ä \\ "', "sell").emit(3)
    for value in (0.0005, 0.002, 0.05, 0.5, 0.0):
        latency.labels("AAPL").emit(value, exemplar=f"t{value}")
    for step in range(1, 21):  # from the ninth on into the cell
        orders.labels("AAPL", "buy").emit(step)
    depth.emit(42.5)
    latency.labels("AAPL").emit(1.0)  # dropped, and counted
    return telemetry


def records(namespace: str) -> Producer:
    """Fields of every role that becomes a series."""
    roles = {
        "ts": field("time", unit="ns"),
        "symbol": field("label"),
        "side": field("label", values={0: "buy", 1: "sell"}),
        "latency_ns": field("histogram", name="order_latency_seconds", unit="ns"),
        "qty": field("counter", name="order_quantity_total"),
    }
    ring = Producer("orders", Schema(DTYPE, roles), namespace=namespace, capacity=8)
    for number in range(5):
        ring.emit_fields(1_700_000_000_000_000_000 + number, b"AAPL", number % 2, 1250 * (number + 1), 100)
    return ring


def main() -> None:
    for name, make in (("instruments", instruments), ("records", records)):
        namespace = f"golden-{secrets.token_hex(4)}"
        producer = make(namespace)
        (segment,) = segment_names(namespace)
        image = Path("/dev/shm", segment).read_bytes()
        with Reader(namespace, ephemeral=True, windows=False) as reader:
            producer.close()
            assert reader.settle()
            found = aggregated(reader.snapshot())
        kept = f"v{layout.LAYOUT_VERSION}-{name}"
        (HERE / f"{kept}.gz").write_bytes(gzip.compress(image, mtime=0))
        (HERE / f"{kept}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
