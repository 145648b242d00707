"""The generated files of the repository, and the runbooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy/monitoring"
RUNBOOKS = ROOT / "src/shmtelemetry/service/runbooks"
DASHBOARDS = DEPLOY / "grafana/dashboards"
CHOSEN = {"$__rate_interval": "1m", "$__range": "30m", "$namespace": ".*", "$symbol": ".*", "$producer": ".*"}


def queries(page: Path) -> list[str]:
    """The queries that a runbook asks Prometheus."""
    return re.findall(r"^promtool query instant http://127.0.0.1:9999 '(.*)'$", page.read_text(), re.MULTILINE)


def dashboards() -> dict[str, Any]:
    """Name of a file → what it has."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: Any) -> list[Any]:
    """Those with queries."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def as_asked(query: str) -> str:
    """A panel's query as Grafana sends it, when everything is chosen."""
    for variable, value in CHOSEN.items():
        query = query.replace(variable, value)
    return query


def asked_by_dashboards() -> Iterator[tuple[str, str]]:
    """Dashboard and title of a panel, and one of its queries."""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", as_asked(target["expr"])
