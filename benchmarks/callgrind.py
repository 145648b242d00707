"""Instructions of one call, counted by valgrind, which is repeatable where nanoseconds are not.

A subject runs n and n + 100,000 calls in two processes, and the difference is what the calls took. Only the
loop is counted: what an interpreter does until then differs by millions of instructions between starts.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.build import baseline
from shmtelemetry.cli.bench import resolve

WARM = 10_000
COUNTED = 100_000


def instructions(name: str) -> float:
    """Instructions of one call of the subject `module:function`, its loop included.

    Raises:
        RuntimeError: valgrind is missing, or the subject failed under it.
    """
    with ThreadPoolExecutor(2) as both:
        warm, all_calls = both.map(lambda calls: _total(name, calls), (WARM, WARM + COUNTED))
    return (all_calls - warm) / COUNTED


def _total(name: str, calls: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind.out")
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            "--toggle-collect=shmtel_counted",
        ]
        command += [sys.executable, "-m", "benchmarks.callgrind", name, str(calls)]
        # Hash seeds change how often dictionaries collide.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise RuntimeError("valgrind was not found: install it to count instructions") from None
        if done.returncode:
            raise RuntimeError(f"{name} failed under valgrind:\n{done.stderr}")
        total = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE)
        assert total is not None, "callgrind wrote no total"
        return int(total[1])


def _run(name: str, calls: int) -> None:
    with resolve(name)(calls=WARM + COUNTED) as timing:  # the same capacity, however many calls follow
        timer = timing.timer()
        baseline().counted(lambda: timer.timeit(calls))


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]))
