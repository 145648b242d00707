"""The table of docs/service.md, between two markers, from a file of bench_results/.

python -m benchmarks.service.report [FILE]      the newest file, if none is named
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

PAGE = machine.ROOT / "docs" / "service.md"
BEGIN, END = "<!-- service-bench:begin -->", "<!-- service-bench:end -->"


def table(result: dict[str, Any], source: str) -> str:
    """The Markdown of one result, which stands in the file `source`."""
    facts, scenarios = result["machine"], result["scenarios"]
    modified = ", with uncommitted changes" if result["modified"] else ""
    drained = max(one["records_per_second"] for one in scenarios.values() if "records_per_second" in one)
    seconds, dropped = result["seconds"], result["dropped_records"]
    return "\n".join(
        (
            f"Measured {result['date'][:10]} at commit {result['commit']}{modified} on {facts['cpu']}, "
            f"{facts['cores']} cores (load {result['load_before']:.1f} before the run), {facts['python']}, uvicorn "
            f"{facts['uvicorn']}; everything in [`{source}`](../{source}). One worker, with the demo at its usual rate "
            f"and all clients on the same machine, {seconds:.0f} s each. A client's documented figure was 10 kB/s.",
            "",
            "| clients | updates/s | latency p50 / p99 ms | fan-out p99 ms | lost | kB/s a client | % of core | MiB |",
            "|" + " ---: |" * 8,
            *(_updates(one) for name, one in scenarios.items() if "clients" in name),
            "",
            "| asked beside 100 clients | requests/s | p50 / p95 / p99 ms | latency p99 of the clients, ms |",
            "| --- |" + " ---: |" * 3,
            *(_requests(name, one) for name, one in scenarios.items() if name.startswith("/")),
            "",
            "Latency is from the moment of the figures to the client, fan-out from the first client to the last. "
            f"Meanwhile up to {drained:,.0f} records/s were drained, and {dropped:,} dropped.",
        )
    )


def _updates(one: dict[str, Any]) -> str:
    stalled = f", {one['stalled']} more stalled" if one["stalled"] else ""
    latency = one["latency_ms"]
    cells = (
        f"{one['clients']}{stalled}",
        f"{one['messages_per_second']:,.0f}",
        f"{latency['p50']:.1f} / {latency['p99']:.1f}",
        f"{one['fan_out_ms']['p99']:.1f}",
        f"{one['gaps']}",
        f"{one['bytes_per_second_per_client'] / 1e3:.1f}",
        f"{one['cpu_percent_of_a_core']:.0f}",
        f"{one['memory_mib']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _requests(path: str, one: dict[str, Any]) -> str:
    latency, beside = one["latency_ms"], one["beside 100 clients"]["latency_ms"]
    return (
        f"| `{path}` | {one['requests_per_second']:,.0f} | {latency['p50']:.1f} / {latency['p95']:.1f} / "
        f"{latency['p99']:.1f} | {beside['p99']:.1f} |"
    )


def write(path: Path) -> None:
    """Put the table of a result into the page."""
    result = json.loads(path.read_text())
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    source = path.relative_to(machine.ROOT).as_posix()
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(result, source)}\n\n{END}{after}")


if __name__ == "__main__":
    results = sorted((machine.ROOT / "bench_results").glob("service-*.json"), key=lambda path: path.stat().st_mtime)
    write(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else results[-1])
