"""docs/verification.md is about the headers that are here."""

from __future__ import annotations

import re

from verification.mutants import mutants
from verification.page import PAGE, place


def test_the_page_has_every_mutant_of_the_headers_in_its_lines_and_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \w+\.h:\d", line)]
    assert [row[: len(place(mutant))] for row, mutant in zip(rows, mutants(), strict=True)] == [
        place(mutant) for mutant in mutants()
    ], "make verify ARGS=--write"


def test_every_mutant_is_caught() -> None:
    assert "**nothing**" not in PAGE.read_text()
