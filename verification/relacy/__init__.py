"""Relacy Race Detector over the headers: what is right passes, and what is a little wrong is caught."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verification.mutants import CHANGES, Mutant, mutants

EXECUTIONS = 40000  # of each test
MUTANT_EXECUTIONS = 4000  # the most that a mutant needed is 200
HERE = Path(__file__).parent
Found = list[tuple[Mutant, tuple[str, str] | None]]


def build(folder: Path, changed: Mutant | None = None) -> Path:
    """The tests of main.cpp, compiled with the headers, or with one of them changed."""
    for header in CHANGES:
        text = changed.text if changed and changed.header == header else None
        (folder / header.name).write_text(text or header.read_text())
    program = folder / "tests"
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O0", "-w", "-I", str(folder)]
    subprocess.run([*command, str(HERE / "main.cpp"), "-o", str(program)], check=True)
    return program


def run(program: Path, *weakened: str) -> tuple[str, str] | None:
    """None if all tests pass; else the test that failed first, and what it found."""
    result = subprocess.run([program, str(MUTANT_EXECUTIONS), *weakened], capture_output=True, text=True, timeout=120)
    if result.returncode == 0:
        return None
    test = re.findall(r"^test (\w+):", result.stdout, re.MULTILINE)[-1]
    found = re.search(r"^([A-Z][A-Z -]+[A-Z])\b", result.stdout, re.MULTILINE)
    return test, found[1].lower() if found else f"exit code {result.returncode}"


def executions(program: Path) -> int:
    """How many were tried in all tests, every one of which passed."""
    result = subprocess.run([program, str(EXECUTIONS)], capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise SystemExit(f"relacy: the headers as they are fail:\n{result.stdout[:4000]}{result.stderr}")
    return sum(map(int, re.findall(r"^iterations: (\d+)", result.stdout, re.MULTILINE)))


def verify() -> tuple[int, Found]:
    """Executions of the headers as they are, and each mutant with the test that caught it and what that found."""
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(os.cpu_count()) as pool:
        program = build(Path(place))
        passed = executions(program)

        def caught(mutant: Mutant) -> tuple[str, str] | None:
            if mutant.text is None:
                return run(program, mutant.header.name, str(mutant.line))
            with tempfile.TemporaryDirectory() as folder:
                return run(build(Path(folder), mutant))

        found = mutants()
        return passed, list(zip(found, pool.map(caught, found), strict=True))
