"""Forks, multiprocessing's children, pools and threads: nothing to configure, and every step is counted once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.applications.pools import HOW
from tests.integration.compat.trees import left_of
from tests.processes import PATIENCE, run_python


@pytest.mark.parametrize("how", HOW)
def test_the_main_process_shows_what_all_its_children_counted(how: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.applications.pools", how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        said, _ = program.communicate(timeout=PATIENCE)
    assert program.returncode == 0, said
    assert left_of(program.pid) == []


@pytest.mark.parametrize("forks", [200, pytest.param(10_000, marks=pytest.mark.stress)])
def test_forks_in_the_middle_of_counting_leave_every_count_exact(forks: int) -> None:
    script = """
import os, sys
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter
forks = int(sys.argv[1])
counter = Counter("steps", "Steps.")
counted = 0
for fork in range(forks):
    counter.inc()
    pid = os.fork()
    if not pid:
        if fork % 10 == 0:
            counter.inc(100)
        os._exit(0)
    counter.inc()
    os.waitpid(pid, 0)
print(REGISTRY.get_sample_value("steps_total"))
"""
    program = subprocess.run([sys.executable, "-c", script, str(forks)], capture_output=True, text=True, check=True)
    assert float(program.stdout) == 2 * forks + 100 * forks / 10


def test_a_childs_gauge_begins_anew_and_its_inherited_children_are_its_own() -> None:
    script = """
import os
from shmtelemetry.compat.prometheus_client import REGISTRY, Gauge, Counter
busy, info = Gauge("busy", "x"), Gauge("info", "x", ["l"], multiprocess_mode="all")
info.labels("a").set(3)
busy.inc(5)
child = os.fork()
if not child:
    busy.inc(2)
    info.labels("a").inc(4)
    assert REGISTRY.get_sample_value("busy") == 7, REGISTRY.get_sample_value("busy")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
read = REGISTRY.get_sample_value
found = [read("busy"), read("info", {"l": "a"})]
found += [read("info", {"l": "a", "pid": str(pid)}) for pid in (os.getpid(), child)]
assert found == [5, 3, 3, 4], found
"""
    run_python(script)
