"""docs/deploy.md tells of every file that there is to deploy with, and of the names that are in them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deploy.md").read_text()
GENERATED = ROOT / "deploy/monitoring"  # of which docs/monitoring.md tells
FILES = [path for path in (ROOT / "deploy").rglob("*") if path.is_file() and GENERATED not in path.parents]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_told_of(path: Path) -> None:
    name = path.name.removesuffix(".dockerignore")
    assert f"deploy/{name}" in PAGE or f"deploy/systemd/{name}" in PAGE or f"`{path.stem}" in PAGE.replace(" ", "`")


def test_what_it_copies_is_there() -> None:
    copied = [word for line in PAGE.splitlines() if line.startswith("    cp ") for word in line.split() if "/" in word]
    ours = [word for word in copied if word.startswith("deploy/")]
    assert ours
    assert all(list(ROOT.glob(word)) for word in ours)
