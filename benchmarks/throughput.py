"""Records that one producer hands to a reader process beside it, and whether any was dropped.

python -m benchmarks.throughput python|c [SECONDS]      prints one JSON object
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import Any

from benchmarks.build import baseline
from benchmarks.reader import reader_process
from benchmarks.subjects.native import TSC
from shmtelemetry.cli.bench import BUCKETS, namespace

PYTHON_CAPACITY = 1_048_576
C_CAPACITY = 65_536
C_RATE = 10_000_000


@dataclass(frozen=True)
class Throughput:
    """One run."""

    attempted: int
    dropped: int
    seconds: float

    @property
    def rate(self) -> float:
        """Million records/s."""
        return self.attempted / self.seconds / 1e6


def run_fresh(producer: str, seconds: float = 10.0) -> Throughput:
    """Run `python` or `c` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.throughput", producer, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    return Throughput(**json.loads(done.stdout.splitlines()[-1]))


def python_producer(seconds: float) -> Throughput:
    """One Python producer at full speed: a histogram handle in a loop."""
    from shmtelemetry import Telemetry

    with (
        reader_process(namespace()),
        Telemetry("bench", namespace=namespace(), capacity=PYTHON_CAPACITY) as telemetry,
    ):
        histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
        handle = histogram.labels("AAPL")
        _wake(lambda: handle.emit(0.0125), telemetry)
        before = telemetry.stats()
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            for _ in repeat(None, 1_000_000):
                handle.emit(0.0125)
        return _result(before, telemetry, time.monotonic() - begin)


def c_producer(seconds: float) -> Throughput:
    """One C producer, paced."""
    import numpy as np

    from shmtelemetry import Producer, Schema, field

    native = baseline()
    dtype = np.dtype([("time", "<u8"), ("venue", "<u4"), ("flags", "<u4"), ("latency", "<f8")])
    roles = {
        "venue": field("label", values={7: "XNAS"}),
        "latency": field("histogram", name="bench", buckets=BUCKETS),
    }
    schema = Schema(dtype, roles)
    with (
        reader_process(namespace()),
        Producer("bench", schema, namespace=namespace(), capacity=C_CAPACITY) as producer,
    ):
        ticks_a_second = _ticks_a_second(native)
        _wake(lambda: native.push(producer, 1), producer)
        before = producer.stats()
        begin = time.monotonic()
        native.push_paced(producer, TSC, ticks_a_second / C_RATE, int(C_RATE * seconds))
        return _result(before, producer, time.monotonic() - begin)


def _ticks_a_second(native: Any) -> float:
    ticks, begin = native.read_clock(TSC, 1), time.monotonic()
    time.sleep(0.2)
    return float((native.read_clock(TSC, 1) - ticks) / (time.monotonic() - begin))


def _wake(emit: Callable[[], object], producer: Any) -> None:
    """Emit a little until the reader has found the ring, and a little more: it then sleeps at most 1 ms."""
    deadline = time.monotonic() + 10
    while not producer.stats().reader_attached or producer.stats().in_ring:
        if time.monotonic() > deadline:
            raise RuntimeError("the reader has not drained the ring within 10 s")
        emit()
        time.sleep(0.01)
    for _ in range(500):
        emit()
        time.sleep(0.001)


def _result(before: Any, producer: Any, seconds: float) -> Throughput:
    after = producer.stats()
    lost = sum(after.dropped.values()) + after.coalesced - sum(before.dropped.values()) - before.coalesced
    return Throughput(after.attempted - before.attempted, lost, seconds)


if __name__ == "__main__":
    produce = {"python": python_producer, "c": c_producer}[sys.argv[1]]
    print(json.dumps(asdict(produce(float(sys.argv[2]) if len(sys.argv) > 2 else 10.0))))
