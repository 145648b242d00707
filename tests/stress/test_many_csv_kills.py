"""Hundreds of kill -9 of those who follow a log, with a seed that is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.csv_kills import kill_ingesters


@pytest.mark.stress
def test_hundreds_of_kills_of_csv_ingesters(
    tmp_path: Path, namespace: str, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("SHMTEL_SEED", "0")) or Random().randrange(1, 2**31)
    print(f"SHMTEL_SEED={seed}")
    record_property("kills of CSV ingesters", 300)
    record_property("rows, each counted once", kill_ingesters(tmp_path, namespace, 300, Random(seed)))
