"""Spin over the models, exhaustively: what is right passes, and what is a little wrong is caught."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
BROKEN = {  # model → what it has to find an error for
    "ring.pml": {
        "PUBLISH": "the publish is a relaxed store",
        "LIMIT": "the producer's cached limit moves by itself",
        "RELEASE": "records are released before they are read",
        "SEAL": "a step of the redo log is complete before its values are there",
        "REPLAY": "a reader that starts again does not replay the log",
    },
    "overwrite.pml": {
        "LAP": "a claim is seen before what was published before it",
        "CLAIM": "a word of a record is seen before its claim",
        "LOOK": "the reader looks at the claim before it copies",
        "PUBLISHED": "a lap is known by the publish only",
        "COUNT": "what is lost is counted apart from the position",
    },
}


def search(model: str, *definitions: str) -> tuple[int, str]:
    """States that were explored, and the error that was found, if any."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["spin", *definitions, "-a", str(HERE / model)], cwd=folder, check=True, capture_output=True)
        subprocess.run(["cc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], cwd=folder, check=True)
        output = subprocess.run(["./pan", "-m100000"], cwd=folder, capture_output=True, text=True, timeout=300).stdout
    error = re.search(r"^pan:1: (.*?) \(at depth", output, re.MULTILINE)
    states = re.search(r"(\d+) states, stored", output)
    assert states, output
    assert "too small" not in output, output
    return int(states[1]), error[1] if error else ""


def verify() -> tuple[int, int]:
    """States of the models as they are, none of which is wrong, and how many broken ones were caught."""
    explored = 0
    for model, ways in BROKEN.items():
        states, error = search(model)
        if error:
            raise SystemExit(f"spin: {model} as it is fails: {error}")
        explored += states
        for name, what in ways.items():
            if not search(model, f"-DBROKEN_{name}")[1]:
                raise SystemExit(f"spin: {model} finds nothing when {what} (BROKEN_{name})")
    return explored, sum(map(len, BROKEN.values()))
