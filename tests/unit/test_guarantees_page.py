"""Every promise of docs/guarantees.md can be shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_promise_names_what_shows_it(row: str) -> None:
    shown_by = row.rstrip("| ").rpartition(" | ")[2]
    files = re.findall(r"`((?:tests|benchmarks|verification)/[\w./]+)`", shown_by)
    targets = re.findall(r"`(?:sudo )?make ([a-z]+)", shown_by)
    assert files or targets
    assert all((ROOT / file).is_file() for file in files)
    assert set(targets) <= TARGETS
