"""What a reader process takes: memory at 1,000 series, and processor time while 1,000 rings are idle.

python -m benchmarks.footprint memory|idle      prints one JSON number
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.reader import reader_process
from shmtelemetry.cli.bench import BUCKETS, RECORD, namespace

SERIES = 1_000
RINGS = 1_000
IDLE_SECONDS = 10.0


def run_fresh(figure: str) -> float:
    """Take the figure `memory` or `idle` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.footprint", figure]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def memory() -> float:
    """MiB of RssAnon and RssFile of a reader with 1,000 histogram series, after a scrape."""
    from shmtelemetry import Telemetry

    with (
        reader_process(namespace()) as reader,
        Telemetry("bench", namespace=namespace()) as telemetry,
    ):
        histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
        for number in range(SERIES):
            handle = histogram.labels(f"S{number}")
            for value in BUCKETS:
                handle.emit(value)
        _await(reader.scrape, f'bench_count{{symbol="S{SERIES - 1}"}}')
        return reader.own_bytes() / 2**20


def idle() -> float:
    """Percent of a core that a reader takes while it has 1,000 rings and nothing is emitted."""
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
        return (reader.cpu_seconds() - before) / (time.monotonic() - begin) * 100


def _await(scrape: Callable[[], str], line: str) -> None:
    deadline = time.monotonic() + 30
    while line not in scrape():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the reader has not exported {line} within 30 s")
        time.sleep(0.1)


if __name__ == "__main__":
    print(json.dumps({"memory": memory, "idle": idle}[sys.argv[1]]()))
