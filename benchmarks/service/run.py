"""`python -m benchmarks.service.run [SECONDS]`: the service under load, beside the demo at its usual rate.

Writes bench_results/service-<date>-<commit>.json and the table of docs/service.md. Takes some minutes.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.service import report
from shmtelemetry import read_state
from shmtelemetry.demo import DEFAULT_RATE
from shmtelemetry.demo.platform import Platform, together

CLIENTS = [sys.executable, "-m", "benchmarks.service.clients"]


class Serving:
    """A running `shmtel serve` with one worker."""

    def __init__(self, namespace: str, process: subprocess.Popen[str], url: str) -> None:
        self.namespace, self.pid, self.url = namespace, process.pid, url

    @property
    def updates(self) -> str:
        return f"{self.url}/ws/metrics"

    def cpu_seconds(self) -> float:
        # What clock_getcpuclockid(3) gives for a process id.
        return time.clock_gettime((~self.pid << 3) | 2)

    def own_mib(self) -> float:
        """Resident MiB, private and of files: without rings and state."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        sizes = dict(line.split(":", 1) for line in status.splitlines())
        return sum(int(sizes[key].split()[0]) for key in ("RssAnon", "RssFile")) / 1024

    def totals(self) -> tuple[int, int]:
        """Records drained, and records dropped."""
        producers = read_state(self.namespace).producers.values()
        return sum(one.consumed for one in producers), sum(sum(one.dropped.values()) for one in producers)


@contextmanager
def serving() -> Iterator[Serving]:
    namespace = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "shmtelemetry.cli", "serve", "--ephemeral", "--namespace", namespace]
        command += ["--listen", "127.0.0.1:0", "--state-dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Serving(namespace, process, process.stdout.readline().split()[-1])
            finally:
                process.terminate()
                process.wait(60)


def measured(of: Serving, *commands: list[str]) -> list[dict[str, Any]]:
    """Run clients at the same time; what each says, and what the service took meanwhile in the first one's answer."""
    cpu, begin, records = of.cpu_seconds(), time.monotonic(), of.totals()[0]
    processes = [subprocess.Popen([*CLIENTS, *command], stdout=subprocess.PIPE, text=True) for command in commands]
    told = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{process.args} ended with exit code {process.returncode}")
        told.append(json.loads(output))
    took = time.monotonic() - begin
    told[0] |= {
        "cpu_percent_of_a_core": (of.cpu_seconds() - cpu) / took * 100,
        "memory_mib": of.own_mib(),
        "records_per_second": (of.totals()[0] - records) / took,
    }
    return told


def scenarios(of: Serving, seconds: float) -> dict[str, Any]:
    listeners = ["listen", of.updates, "100", "0", f"{seconds + 12}"]
    found: dict[str, Any] = {}
    for clients, stalled in ((100, 0), (80, 20), (500, 0)):
        name = f"{clients} clients" + (f", {stalled} stalled" if stalled else "")
        (found[name],) = measured(of, ["listen", of.updates, str(clients), str(stalled), str(seconds)])
        print(name, json.dumps(found[name]), flush=True)
    for path in ("/latest", "/api/metrics/current"):
        beside, found[path] = measured(of, listeners, ["ask", f"{of.url}{path}", "32", str(seconds)])
        found[path]["beside 100 clients"] = beside
        print(path, json.dumps(found[path]), flush=True)
    return found


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    load = os.getloadavg()[0]
    with serving() as of, Platform(together(of.namespace), DEFAULT_RATE) as platform:
        platform.start()
        platform.go()
        found = scenarios(of, seconds)
        dropped = of.totals()[1]
        platform.stop()
        platform.join()
    now, commit = datetime.now(UTC), machine.commit()
    result = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "modified": machine.modified(),
        "load_before": load,
        "machine": machine.facts("fastapi", "uvicorn", "uvloop", "websockets", "msgspec"),
        "seconds": seconds,
        "scenarios": found,
        "dropped_records": dropped,
    }
    path = machine.ROOT / "bench_results" / f"service-{now:%Y-%m-%d}-{commit}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    report.write(path)
    print(f"{path.name}: {dropped} records dropped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
