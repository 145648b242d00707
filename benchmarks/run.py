"""`make bench`: measure everything, write bench_results/<date>-<commit>.json and the README's tables.

Takes some minutes. A figure that misses its limit is written down like all others: only `make gates` judges.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine, report
from benchmarks.figures import FIGURES, take

RESULTS = machine.ROOT / "bench_results"


def subjects() -> list[dict[str, Any]]:
    """Run pytest-benchmark; gives each subject's name, label, group, least nanoseconds, count of rounds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "benchmark.json")
        here = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-m", "pytest", "-q", here, f"--benchmark-json={out}"], check=True)
        measured = json.loads(out.read_text())["benchmarks"]
    return [
        {
            **one["extra_info"],
            "group": one["group"],
            "ns": one["stats"]["min"] * 1e9,
            "rounds": one["stats"]["rounds"],
        }
        for one in measured
    ]


def figures(readings: dict[str, float]) -> list[dict[str, Any]]:
    """Take the readings that are missing, and make the figures of all."""
    rows = []
    for figure in FIGURES:
        for name in (*figure.of, *figure.floor):
            if name not in readings:
                readings.update(take(name))
        value = figure.value(readings)
        row = {"what": figure.what, "figure": value, "unit": figure.unit, "limit": figure.bound}
        floor = figure.floor_value(readings) if figure.floor else None
        rows.append({**row, "gate": figure.gate, "met": figure.met(value), "floor": floor})
        print(f"{figure.what}: {value:.2f} {figure.unit} ({figure.bound})", flush=True)
    return rows


def main() -> int:
    """Measure, write, report; returns the exit code."""
    now = datetime.now(UTC)
    commit = machine.commit()
    load = os.getloadavg()[0]  # of others: drops between two processes may be theirs
    measured = subjects()
    readings = {f"ns {subject['subject']}": float(subject["ns"]) for subject in measured}
    result = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "modified": machine.modified(),
        "machine": machine.facts("prometheus-client", "opentelemetry-sdk", "pyzmq"),
        "load_before": load,
        "subjects": measured,
        "figures": figures(readings),
        "readings": {name: readings[name] for name in sorted(readings) if not name.startswith("ns ")},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{now:%Y-%m-%d}-{commit}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"wrote {path.relative_to(machine.ROOT)}")
    try:
        report.update_readme(path)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
