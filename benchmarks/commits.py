"""What commits cost a drain: prefilled rings, drained with them and by a build of the same code without them.

python -m benchmarks.commits      prints the least nanoseconds a record of this process
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack

from benchmarks.build import without_commits
from shmtelemetry.cli.bench import BUCKETS, namespace

RINGS = 8
SERIES = 1_000
RECORDS = 16_384  # of each ring
ROUNDS = 60  # in one process, of two milliseconds: some of them are not disturbed
PROCESSES = 4  # of each build, by turns


def run_fresh() -> dict[str, float]:
    """Least nanoseconds a record, `with` commits and `without`."""
    builds = {"with": "", "without": str(without_commits())}
    taken: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(PROCESSES):
        for name, path in builds.items():
            taken[name].append(_run(path))
    return {name: min(values) for name, values in taken.items()}


def _run(path: str) -> float:
    command = [sys.executable, "-m", "benchmarks.commits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
    return float(done.stdout)


def drain() -> float:
    """Nanoseconds a record of the fastest round: 1,000 histogram series, each in all of the 8 rings."""
    import numpy as np

    from shmtelemetry import Reader, Telemetry

    random = np.random.default_rng(SERIES)
    values = random.lognormal(-8.0, 1.5, RECORDS).tolist()
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(namespace(), ephemeral=True))
        emits = []
        for number in range(RINGS):
            telemetry = stack.enter_context(Telemetry(f"p{number}", namespace(), capacity=RECORDS))
            histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
            handles = [histogram.labels(f"S{at}").emit for at in range(SERIES)]
            emits.append([handles[at] for at in random.integers(0, SERIES, RECORDS)])
        rounds = []
        for _ in range(ROUNDS + 1):
            for ring in emits:
                for emit, value in zip(ring, values, strict=True):
                    if not emit(value):
                        raise RuntimeError("a ring was full, so another path was timed")
            begin = time.perf_counter_ns()
            drained = reader.poll()
            rounds.append((time.perf_counter_ns() - begin) / drained)
            if drained != RINGS * RECORDS:
                raise RuntimeError(f"one turn took {drained} of {RINGS * RECORDS} records")
        counts = reader.snapshot().families["bench"].counts
        if counts is None or counts.sum() != len(rounds) * RINGS * RECORDS:
            raise RuntimeError("not all observations are in the state")
    return min(rounds[1:])  # the first found the series


if __name__ == "__main__":
    print(drain())
