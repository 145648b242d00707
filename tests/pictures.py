"""Pictures of the dashboards: what Grafana would show, drawn from a real Prometheus that watches a real demo.

python -m tests.pictures --out build/dashboards [--minutes 6] [NAME ...]

Where no Grafana runs, a person can judge by them whether queries, units and numbers make sense. The places, titles and
queries are those of deploy/monitoring/grafana; colours and axes are not Grafana's.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import matplotlib as mpl
import numpy as np

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import FuncFormatter

from tests.monitoring import as_asked, dashboards
from tests.processes import PATIENCE
from tests.prometheus import Prometheus
from tests.services import listener
from tests.stack import FREE, stack

INCHES: Final = 0.62, 0.34  # of a column, and of a line of the grid
DOTS: Final = 75  # an inch
STEP: Final = 5  # seconds between values
FASTER: Final = 5  # windows of rules are so many times shorter, so that minutes suffice
SCALES: Final = {"s": (1, "s"), "µs": (1e-6, "s"), "ms": (1e-3, "s"), "percentunit": (100, "%"), "percent": (1, "%")}
PREFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))

Values = Mapping[str, Any]  # one series, as Prometheus gives it


def number(value: float, unit: str) -> str:
    """As Grafana says it, more or less."""
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    factor, name = SCALES.get(unit, (1, {"cps": "/s", "Bps": "B/s", "bytes": "B"}.get(unit, "")))
    value *= factor
    if name == "%" or value == 0 or not math.isfinite(value):
        return f"{value:.3g}{name}"
    by, prefix = next((one for one in PREFIXES if abs(value) >= one[0]), PREFIXES[-1])
    return f"{value / by:.3g} {prefix}{name}".strip()


def legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).strip()


# ---- panels ----


def draw_lines(axes: Axes, panel: Any, ask: Callable[[str], list[Values]]) -> None:
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    for target in panel["targets"]:
        for one in ask(target["expr"]):
            if "values" in one:
                times, values = np.array(one["values"], dtype=float).T
                axes.plot(times, values, linewidth=1, label=legend(target["legendFormat"], one["metric"]))
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())[1:]:
        axes.axhline(step["value"], color="tab:red", linewidth=0.8, linestyle="--")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, unit)))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=5, ncols=3, loc="upper left", framealpha=0.5)


def draw_heat(axes: Axes, panel: Any, ask: Callable[[str], list[Values]]) -> None:
    """Native buckets where there are any, else classic ones, as rows."""
    unit = panel["options"]["yAxis"].get("unit", "")
    found = ask(panel["targets"][0]["expr"])
    native = [one for one in found if "histograms" in one]
    cells = native_cells(native[0]) if native else classic_cells(found)
    if not cells:
        return
    times, bounds = sorted({at for at, _, _ in cells}), sorted({bucket for _, bucket, _ in cells})
    heat = np.zeros((len(bounds), len(times)))
    column, row = {at: n for n, at in enumerate(times)}, {bucket: n for n, bucket in enumerate(bounds)}
    for at, bucket, count in cells:
        heat[row[bucket], column[at]] = count
    axes.pcolormesh(times, range(len(bounds)), heat, norm=PowerNorm(0.5), cmap="viridis", shading="nearest")
    shown = range(0, len(bounds), max(1, len(bounds) // 6))
    axes.set_yticks(shown, [number(bounds[n], unit) for n in shown])


def native_cells(one: Values) -> list[tuple[float, float, float]]:
    """(time, upper bound, count)"""
    return [
        (at, float(upper), float(count))
        for at, histogram in one["histograms"]
        for _, _, upper, count in histogram.get("buckets", ())
    ]


def classic_cells(found: list[Values]) -> list[tuple[float, float, float]]:
    """The same; buckets count what is below, too."""
    below: dict[float, float] = {}
    cells = []
    for one in sorted(found, key=lambda one: float(one["metric"]["le"])):
        for at, value in one["values"]:
            cells.append((at, float(one["metric"]["le"]), max(0.0, float(value) - below.get(at, 0.0))))
            below[at] = float(value)
    return cells


def draw_number(axes: Axes, panel: Any, ask: Callable[[str], list[Values]]) -> None:
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    target = panel["targets"][0]
    said = [
        f"{legend(target['legendFormat'], one['metric'])} {number(float(one['values'][-1][1]), unit)}".strip()
        for one in ask(target["expr"])
    ]
    axes.axis("off")
    axes.text(0.5, 0.45, "    ".join(said) or "no data", ha="center", va="center", fontsize=13)


def draw_alerts(axes: Axes, panel: Any, ask: Callable[[str], list[Values]]) -> None:
    axes.axis("off")
    hidden = {"__name__", "alertstate"}
    said = [{key: value for key, value in one["metric"].items() if key not in hidden}
            for one in ask(panel["targets"][0]["expr"])]  # fmt: skip
    lines = ["   ".join(f"{key}={value}" for key, value in one.items()) for one in said]
    axes.text(0.01, 0.95, "\n".join(lines) or "none", va="top", fontsize=7)


DRAW: Final = {"timeseries": draw_lines, "heatmap": draw_heat, "stat": draw_number, "table": draw_alerts}


# ---- a dashboard ----


def draw(dashboard: Any, prometheus: Prometheus, seconds: int, path: Path) -> None:
    end = time.time()

    def ask(query: str) -> list[Values]:
        found: list[Values] = prometheus.get(
            "/api/v1/query_range", query=as_asked(query), start=str(end - seconds), end=str(end), step=str(STEP)
        )["result"]
        return found

    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(24 * INCHES[0], height * INCHES[1]), dpi=DOTS)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - place["y"] / height
        if panel["type"] == "row":
            figure.text(left + 0.005, top - 0.5 / height, panel["title"], weight="bold", va="center")
            continue
        bottom = top - (place["h"] - 0.9) / height
        axes = figure.add_axes((left + 0.05, bottom, place["w"] / 24 - 0.06, (place["h"] - 1.9) / height))
        axes.set_title(panel["title"], fontsize=8, loc="left", pad=3)
        axes.tick_params(labelsize=6)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: time.strftime("%H:%M:%S", time.gmtime(at))))
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
        DRAW[panel["type"]](axes, panel, ask)
    figure.savefig(path)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="dashboards; all of them by default")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--minutes", type=float, default=6, help="for how long the demo runs before")
    said = parser.parse_args()
    said.out.mkdir(parents=True, exist_ok=True)
    wanted = {name: one for name, one in dashboards().items() if not said.names or name in said.names}
    seconds = int(said.minutes * 60)
    with (
        TemporaryDirectory(prefix="shmtel-pictures-") as folder,
        stack(Path(folder), FREE, FASTER) as running,
        listener(running.service, "/ws") as websocket,
    ):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            websocket.recv(timeout=PATIENCE)
        for name, dashboard in wanted.items():
            path = said.out / f"dashboard-{name}.png"
            draw(dashboard, running.prometheus, seconds, path)
            print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
