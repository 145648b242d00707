"""What keeping history costs once a second, where all, some or none of 10,000 series changed, and how many events are
stored in a second.

python -m benchmarks.history [SERIES]      prints one JSON object
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from shmtelemetry.cli.bench import namespace


def measure(series: int = 10_000, seconds: int = 5) -> dict[str, Any]:
    """Milliseconds of HistoryWriter.record, the least of some times, and bytes of a second's rows, by what changed."""
    from shmtelemetry import Reader, Telemetry
    from shmtelemetry.service.history import HistoryWriter

    found: dict[str, Any] = {"series": series}
    now = 1_700_000_000
    with (
        tempfile.TemporaryDirectory() as folder,
        Reader(namespace(), ephemeral=True) as reader,
        Telemetry("bench", namespace(), capacity=2**18) as telemetry,
        HistoryWriter(Path(folder) / "history.sqlite", namespace()) as writer,
    ):
        counters = telemetry.counter("steps", labels=("n",))
        histograms = telemetry.histogram("waits_seconds", labels=("n",))
        half = range(series // 2)
        emits = [counters.labels(n).inc for n in half], [histograms.labels(n).observe for n in half]
        waits = np.random.default_rng(1).lognormal(-9, 1, (20, series // 2)).tolist()
        for round_of_waits in waits:
            _emit(emits, round_of_waits, 1.0, reader)
        writer.record(reader.snapshot(), now)
        for name, share in (("all", 1.0), ("a tenth", 0.1), ("none", 0.0)):
            taken = []
            for at in range(seconds):
                _emit(emits, waits[at], share, reader)
                snapshot = reader.snapshot()
                now += 1
                begin = time.perf_counter()
                writer.record(snapshot, now)
                taken.append(time.perf_counter() - begin)
            found[f"record, {name} changed, ms"] = round(min(taken) * 1e3, 2)
        found["size, MB"] = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        found["lost"] = writer.lost
    return found


def _emit(emits: tuple[list[Any], list[Any]], waits: list[float], share: float, reader: Any) -> None:
    count = int(share * len(waits))
    for inc, observe, wait in zip(emits[0][:count], emits[1], waits, strict=False):
        inc(1.0)
        observe(wait)
    reader.poll()


def measure_events(count: int = 200_000, batch: int = 10_000) -> dict[str, Any]:
    """Thousand events a second that one EventStore takes: trades of 64 bytes with two indexes."""
    from shmtelemetry import Schema, field
    from shmtelemetry.events import Batch, Ring
    from shmtelemetry.service.events import EventStore

    dtype = np.dtype(
        [("ts", "<u8"), ("trade_id", "<u8"), ("symbol", "S16"), ("side", "<u4"), ("qty", "<u4"), ("price", "<f8")]
    )
    roles = {"trade_id": field("attribute"), "symbol": field("label"), "side": field("label", values={0: "buy"})}
    ring = Ring(b"u" * 16, "bench", Schema(dtype, roles, events=True), 0)
    records = np.zeros(batch, dtype)
    records["symbol"] = [f"S{at % 100}".encode() for at in range(batch)]
    with tempfile.TemporaryDirectory() as folder:
        store = EventStore(Path(folder) / "events.sqlite")
        rates = []
        for begin in range(0, count, batch):
            records["trade_id"] = np.arange(begin, begin + batch)
            started = time.perf_counter()
            store.store([Batch(ring, begin, 0, records)])
            rates.append(batch / (time.perf_counter() - started))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        store.close()
    return {"events, thousand/s": round(max(rates) / 1e3, 1), "bytes an event": round(size / count, 1)}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000) | measure_events()))
