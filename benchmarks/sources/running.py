"""An ingester of the command line, a reader beside it, and what it takes from one sender in another process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.reader import reader_process
from shmtelemetry import read_state

Sender = Callable[[str, str, float, Any, Any], None]
"""Sends one kind of messages to an address for some seconds, puts how many, and since when, into a queue, and stays
until an event."""


def measure(source: str, options: list[str], sender: Sender, kind: str, seconds: float) -> tuple[float, float]:
    """Items a second until the last one is taken, and items a second of the ingester's processor time."""
    namespace = f"bench-{source}-{os.getpid()}"
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, reader_process(namespace):
        command = [sys.executable, "-m", "shmtelemetry.cli", "ingest", source, "--namespace", namespace, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) as ingester:
            assert ingester.stdout is not None
            address = ingester.stdout.readline().decode().split()[-1]
            before = cpu_seconds(ingester.pid)
            answer, taken = spawn.Queue(), spawn.Event()
            process = spawn.Process(target=sender, args=(address, kind, seconds, answer, taken))
            process.start()
            sent, begin = answer.get()
            while read_state(namespace).value("ingest_items_total", source=source) != sent:
                time.sleep(0.02)
            end, cpu = time.monotonic(), cpu_seconds(ingester.pid) - before
            taken.set()
            process.join()
            ingester.send_signal(signal.SIGTERM)
    return sent / (end - begin), sent / cpu


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its threads included."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) gives


def report(source: str, options: list[str], sender: Sender, kinds: list[str]) -> None:
    """Print a line for each kind."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    for kind in kinds:
        wall, core = measure(source, options, sender, kind, seconds)
        load = os.getloadavg()[0]
        print(f"{kind:32} {wall:>12,.0f}/s, {core:>12,.0f} a second of processor time, load {load:.1f}", flush=True)
