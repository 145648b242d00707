"""Every promise of docs/guarantees.md names the command that shows it, and that command shows something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
COMMAND = re.compile(r'`(?:sudo )?make ([a-z]+)(?: ARGS="([^"]+)")?`')
STRESS = {path.stem for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.stress" in path.read_text()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_promise_names_the_command_that_shows_it(row: str) -> None:
    promise, shown_by = row.strip("| ").split(" | ")
    commands = COMMAND.findall(shown_by)
    assert promise
    assert commands
    for target, arguments in commands:
        assert target in TARGETS
        if arguments.startswith("-k "):
            assert any(arguments[3:] in name for name in names_of_tests(target))
            continue
        for file in arguments.split():
            assert (ROOT / file).is_file(), file
            assert target != "stress" or Path(file).stem in STRESS, f"{file} has no stress test"


def names_of_tests(target: str) -> list[str]:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if target != "stress" or path.stem in STRESS]
    return [name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)]
