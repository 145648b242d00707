"""What a reader process takes: memory at 1,000 series, and processor time while 1,000 rings are idle.

python -m benchmarks.footprint memory|idle|large      prints one JSON object of numbers
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.reader import reader_process
from shmtelemetry.cli.bench import BUCKETS, RECORD, namespace

if TYPE_CHECKING:
    from shmtelemetry import Telemetry

SERIES = 1_000
LARGE = 99_000  # within the bound on series, which counts the reader's own
RINGS = 1_000
IDLE_SECONDS = 10.0


def run_fresh(figure: str) -> dict[str, float]:
    """Take the figures `memory`, `idle` or `large` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.footprint", figure]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def memory() -> dict[str, float]:
    """memory: MiB of RssAnon and RssFile of a reader with 1,000 histogram series, after a scrape."""
    from shmtelemetry import Telemetry

    with (
        reader_process(namespace()) as reader,
        Telemetry("bench", namespace=namespace()) as telemetry,
    ):
        _emit_histograms(telemetry, SERIES)
        _await(reader.scrape, f'bench_count{{symbol="S{SERIES - 1}"}}')
        return {"memory": reader.own_bytes() / 2**20}


def large() -> dict[str, float]:
    """Of a reader with 100,000 histogram series: MiB with its state, and seconds of a scrape, the least of five."""
    from shmtelemetry import Telemetry

    with (
        reader_process(namespace()) as reader,
        Telemetry("bench", namespace=namespace()) as telemetry,
    ):
        _emit_histograms(telemetry, LARGE)
        _await(reader.scrape, f'bench_count{{symbol="S{LARGE - 1}"}}')
        scrapes = []
        for _ in range(5):
            begin = time.perf_counter()
            reader.scrape()
            scrapes.append(time.perf_counter() - begin)
        state = Path("/dev/shm", f"shmtel.{namespace()}.@state.{os.geteuid()}").stat().st_size
        return {"large": (reader.own_bytes() + state) / 2**20, "large_scrape": min(scrapes)}


def _emit_histograms(telemetry: Telemetry, count: int) -> None:
    histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
    for number in range(count):
        handle = histogram.labels(f"S{number}")
        for value in BUCKETS:
            while not handle.emit(value):
                time.sleep(0.001)  # the reader is making places for new series


def idle() -> dict[str, float]:
    """idle: percent of a core that a reader takes while it has 1,000 rings and nothing is emitted."""
    import numpy as np

    from shmtelemetry import Producer

    with reader_process(namespace()) as reader, ExitStack() as producers:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # after the reader began with the usual limit
        dtype = np.dtype(RECORD)
        for number in range(RINGS):
            name = f"bench-{number}"
            producers.enter_context(Producer(name, dtype, namespace=namespace(), capacity=64))
        _await(reader.scrape, f'shmtel_ring_capacity_records{{producer="bench-{RINGS - 1}"}}')
        time.sleep(3)  # until its sleeps are the long ones
        before, begin = reader.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        return {"idle": (reader.cpu_seconds() - before) / (time.monotonic() - begin) * 100}


def _await(scrape: Callable[[], str], line: str) -> None:
    deadline = time.monotonic() + 120
    while line not in scrape():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the reader has not exported {line} within 120 s")
        time.sleep(0.1)


if __name__ == "__main__":
    print(json.dumps({"memory": memory, "idle": idle, "large": large}[sys.argv[1]]()))
