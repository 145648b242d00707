"""The generated files of the repository, and the runbooks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy/monitoring"
RUNBOOKS = ROOT / "docs/runbooks"


def queries(page: Path) -> list[str]:
    """The queries that a runbook asks Prometheus."""
    return re.findall(r"^promtool query instant http://127.0.0.1:9999 '(.*)'$", page.read_text(), re.MULTILINE)
