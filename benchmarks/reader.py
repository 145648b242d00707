"""A reader process of its own, as users start it, for what is measured between processes."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReaderProcess:
    """A running `shmtel reader`."""

    pid: int
    address: str

    def scrape(self) -> str:
        """What Prometheus would get."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=30) as response:
            text: str = response.read().decode()
        return text

    def own_bytes(self) -> int:
        """Resident bytes, private and of files; shared memory, the rings and the state, is not among them."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        sizes = dict(line.split(":", 1) for line in status.splitlines())
        return sum(int(sizes[key].split()[0]) for key in ("RssAnon", "RssFile")) * 1024

    def cpu_seconds(self) -> float:
        """Processor time that the process has used, to the nanosecond."""
        # What clock_getcpuclockid(3) gives for a process id; the ticks of /proc/PID/stat are too coarse.
        return time.clock_gettime((~self.pid << 3) | 2)


@contextmanager
def reader_process(namespace: str) -> Iterator[ReaderProcess]:
    """Start `shmtel reader` for a namespace; end it, and expect it to end well, at the end."""
    command = [sys.executable, "-m", "shmtelemetry.cli", "reader", "--ephemeral"]
    command += ["--namespace", namespace, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("listening on "):
                    yield ReaderProcess(process.pid, line.split()[2].rstrip("/").removesuffix("/metrics"))
                    break
            else:
                raise RuntimeError(f"{' '.join(command)} ended with exit code {process.wait()}")
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
