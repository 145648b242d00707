"""A demo as its command runs it, and what it shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry.demo.services import SERVICE_NAMES
from tests.processes import PATIENCE, wait_until

# Metric name → labels → value, of everything that may only grow.
Totals = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class RunningDemo:
    """The demo's command, and what it has said so far."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "shmtelemetry.cli", "demo", "--json", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,  # a process group of its own, as in a terminal
        )
        self.said = ""
        self.metrics_url = self.next_url()

    def scrape(self) -> Totals | None:
        """The page's totals; None once the server is gone."""
        try:
            return scrape(self.metrics_url)
        except OSError:
            return None

    def wait_for_records(self) -> None:
        """Returns when records of all services have been read."""
        wait_until(lambda: set(SERVICE_NAMES) <= self._producers_with_records(), "records of all services are read")

    def services(self) -> dict[str, int]:
        """Name → pid of the four services."""
        return {name: int(pid) for name, pid in re.findall(r"([a-z]+-[a-z]+) (\d+)", self.said)}

    def finish(self) -> tuple[int, dict[str, Any] | None]:
        """Waits for the end; the exit code, and the JSON object on the last line of stdout, if any."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self.said += err
        return self.process.returncode, json.loads(out.splitlines()[-1]) if out else None

    def segments(self) -> list[str]:
        """What there is in /dev/shm of the demo's namespaces."""
        return [path.name for path in Path("/dev/shm").glob(f"shmtel.demo-{self.process.pid}[.-]*")]

    def close(self) -> None:
        """Leaves nothing behind, however the test ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()
        for name in self.segments():
            Path("/dev/shm", name).unlink(missing_ok=True)

    def next_url(self) -> str:
        """The next URL of metrics that it says."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            found = re.search(r"http://127\.0\.0\.1:\d+/metrics", line)
            if found:
                return found.group()
        raise AssertionError(f"the demo ended before it printed its URL:\n{self.said}")

    def _producers_with_records(self) -> set[str]:
        return records_of(self.scrape() or {})


def families(url: str) -> list[Metric]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return list(text_string_to_metric_families(response.read().decode()))


def scrape(url: str) -> Totals:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(url)
        for sample in family.samples
        if family.type == "counter" or (family.type == "histogram" and not sample.name.endswith("_sum"))
    }


def records_of(totals: Totals) -> set[str]:
    """The producers of which records were read."""
    return {dict(labels)["producer"] for (name, labels), n in totals.items() if name == "shmtel_records_total" and n}


def total(totals: Totals, name: str, **labels: str) -> float:
    """The sum over all series of that name with those labels."""
    wanted = labels.items()
    return sum(value for (other, has), value in totals.items() if other == name and wanted <= dict(has).items())
