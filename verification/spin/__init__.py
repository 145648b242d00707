"""Spin over ring.pml, exhaustively: what is right passes, and what is a little wrong is caught."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

MODEL = Path(__file__).parent / "ring.pml"
BROKEN = {
    "PUBLISH": "the publish is a relaxed store",
    "LIMIT": "the producer's cached limit moves by itself",
    "RELEASE": "records are released before they are read",
    "SEAL": "a step of the redo log is complete before its values are there",
    "REPLAY": "a reader that starts again does not replay the log",
}


def search(*definitions: str) -> tuple[int, str]:
    """States that were explored, and the error that was found, if any."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["spin", *definitions, "-a", str(MODEL)], cwd=folder, check=True, capture_output=True)
        subprocess.run(["cc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True)
        output = subprocess.run(["./pan", "-m100000"], cwd=folder, capture_output=True, text=True, timeout=120).stdout
    error = re.search(r"^pan:1: (.*?) \(at depth", output, re.MULTILINE)
    states = re.search(r"(\d+) states, stored", output)
    assert states, output
    assert "too small" not in output, output
    return int(states[1]), error[1] if error else ""


def verify() -> int:
    """States of the model as it is, none of which is wrong."""
    states, error = search()
    if error:
        raise SystemExit(f"spin: the model as it is fails: {error}")
    for name, what in BROKEN.items():
        if not search(f"-DBROKEN_{name}")[1]:
            raise SystemExit(f"spin: finds nothing when {what} (BROKEN_{name})")
    return states
