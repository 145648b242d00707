"""Rows are counted exactly across kill -9 of whoever takes them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.csv_kills import kill_ingesters


@pytest.mark.slow
def test_each_row_counts_once_across_kills_of_ingesters_and_readers(tmp_path: Path, namespace: str) -> None:
    assert kill_ingesters(tmp_path, namespace, 32, Random(1)) > 0
