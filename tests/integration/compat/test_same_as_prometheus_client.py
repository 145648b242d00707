"""The same calls on both modules give the same results, errors and bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.differential import CASES
from tests.processes import PATIENCE

OURS = "shmtelemetry.compat.prometheus_client"


def run(module: str, folder: Path) -> Any:
    command = [sys.executable, "-W", "error", "-m", "tests.differential", module, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Of prometheus_client and of ours; each in one process."""
    return run("prometheus_client", tmp_path_factory.mktemp("theirs")), run(OURS, tmp_path_factory.mktemp("ours"))


@pytest.mark.parametrize("name", CASES)
def test_an_application_sees_what_prometheus_client_shows(outcomes: tuple[Any, Any], name: str) -> None:
    theirs, ours = (outcome[name] for outcome in outcomes)
    assert not isinstance(theirs, str) or name == "asgi", "the case itself failed"
    assert ours == theirs
