"""Relacy Race Detector over shmtelemetry.h: what is right passes, and what is a little wrong is caught."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verification.mutants import HEADER, Mutant, mutants

EXECUTIONS = 40000  # of each test
MUTANT_EXECUTIONS = 4000  # the most that a mutant needed is 200
HERE = Path(__file__).parent


def build(folder: Path, header: str) -> Path:
    """The tests of main.cpp, compiled with this text of the header."""
    (folder / HEADER.name).write_text(header)
    program = folder / "tests"
    command = [os.environ.get("CXX", "c++"), "-std=c++17", "-O0", "-w", "-I", str(folder)]
    subprocess.run([*command, str(HERE / "main.cpp"), "-o", str(program)], check=True)
    return program


def run(program: Path, *line: str) -> tuple[str, str] | None:
    """None if all tests pass; else the test that failed first, and what it found."""
    result = subprocess.run([program, str(MUTANT_EXECUTIONS), *line], capture_output=True, text=True, timeout=120)
    if result.returncode == 0:
        return None
    test = re.findall(r"^test (\w+):", result.stdout, re.MULTILINE)[-1]
    found = re.search(r"^([A-Z][A-Z -]+[A-Z])\b", result.stdout, re.MULTILINE)
    return test, found[1].lower() if found else f"exit code {result.returncode}"


def executions(program: Path) -> int:
    """How many were tried in all tests, every one of which passed."""
    result = subprocess.run([program, str(EXECUTIONS)], capture_output=True, text=True, timeout=120)
    if result.returncode:
        raise SystemExit(f"relacy: the header as it is fails:\n{result.stdout[:4000]}{result.stderr}")
    return sum(map(int, re.findall(r"^iterations: (\d+)", result.stdout, re.MULTILINE)))


def verify() -> tuple[int, list[tuple[Mutant, tuple[str, str] | None]]]:
    """Executions of the header as it is, and each mutant with the test that caught it and what that found."""
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(os.cpu_count()) as pool:
        text = HEADER.read_text()
        program = build(Path(place), text)
        passed = executions(program)

        def caught(mutant: Mutant) -> tuple[str, str] | None:
            if mutant.text is None:
                return run(program, str(mutant.line))
            with tempfile.TemporaryDirectory() as folder:
                return run(build(Path(folder), mutant.text))

        found = mutants()
        return passed, list(zip(found, pool.map(caught, found), strict=True))
