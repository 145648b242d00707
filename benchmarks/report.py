"""Write the README's benchmark tables, between two markers, from a file of bench_results/.

python -m benchmarks.report [FILE]      the newest file, if none is named
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.subjects import COMPAT, EMIT, FLOOR, PEER

README = machine.ROOT / "README.md"
BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"


def tables(result: dict[str, Any], source: str) -> str:
    """The Markdown of one result, which stands in the file `source`."""
    facts = result["machine"]
    modified = ", with uncommitted changes" if result["modified"] else ""
    costs = [one for one in result["subjects"] if one["group"] in (EMIT, COMPAT, PEER, FLOOR)]
    unit = next(one["ns"] for one in costs if one["group"] == EMIT)
    return "\n\n".join(
        [
            f"Measured {result['date'][:10]} at commit {result['commit']}{modified} on {facts['cpu']}, "
            f"{facts['cores']} cores (load {result['load_before']:.1f} before the run), "
            f"Linux {facts['kernel']}, clock source {facts['clock source']}, "
            f"{facts['python']}, numpy {facts['numpy']}, {facts['compiler']}; everything in "
            f"[`{source}`]({source}). Each row ran in a process of its own, and its fastest round counts.",
            _table(
                ("one call, one thread", "ns", "x emit"),
                ((one["label"], _short(one["ns"]), _short(one["ns"] / unit)) for one in _sorted(costs)),
            ),
            _table(
                ("figure", "measured", "limit", "met"),
                (
                    (one["what"], f"{_short(one['figure'])} {one['unit']}", one["limit"], _verdict(one))
                    for one in result["figures"]
                ),
            ),
            f"At full speed the Python producer handed {result['readings']['throughput python rate']:.1f} "
            "million records/s to the reader process beside it.",
        ]
    )


def _sorted(costs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups = (EMIT, COMPAT, PEER, FLOOR)
    return sorted(costs, key=lambda one: (groups.index(one["group"]), one["ns"]))


def _verdict(figure: dict[str, Any]) -> str:
    if figure["met"]:
        return "yes"
    floor = figure.get("floor")
    return (
        "**no**" if floor is None else f"**no**; the least that this machine can do is {_short(floor)} {figure['unit']}"
    )


def _short(value: float) -> str:
    if value == int(value) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = ("---", *["---:"] * (len(head) - 1))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def update_readme(path: Path, readme: Path = README) -> None:
    """Replace what stands between the README's markers.

    Raises:
        ValueError: the README has not exactly one pair of markers.
    """
    text = readme.read_text() if readme.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{readme} needs one line {BEGIN!r} and below it one {END!r}: add them where tables go")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    source = path.resolve().relative_to(machine.ROOT).as_posix()
    readme.write_text(f"{before}{BEGIN}\n\n{tables(json.loads(path.read_text()), source)}\n\n{END}{after}")
    print(f"wrote the tables of {readme.name} from {source}")


def main() -> int:
    """Report the file that was named, or the newest; returns the exit code."""
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
    else:
        results = sorted((machine.ROOT / "bench_results").glob("[0-9]*.json"), key=lambda file: file.stat().st_mtime)
        if not results:
            print("bench_results/ holds no results: run make bench first", file=sys.stderr)
            return 1
        path = results[-1]
    update_readme(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
