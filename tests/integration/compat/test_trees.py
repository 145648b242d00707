"""The namespace of a process tree: the same in all its processes, in no other one, and gone when they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.integration.compat.trees import left_of, nothing_is_left_by
from tests.processes import PATIENCE, run_python, wait_until

TELL = "from shmtelemetry.compat.prometheus_client.tree import tree_namespace; print(tree_namespace(), flush=True)"


def test_a_program_that_is_started_is_the_root_of_a_tree_of_its_own() -> None:
    with subprocess.Popen([sys.executable, "-c", TELL], stdout=subprocess.PIPE, text=True) as program:
        said, _ = program.communicate(timeout=PATIENCE)
    assert said.split("-")[2] == str(program.pid)
    nested = f"import subprocess, sys; {TELL}; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    assert len(set(run_python(nested, TELL).stdout.split())) == 2


def test_forked_children_and_theirs_are_of_one_tree_also_when_they_change_user_or_name() -> None:
    change = "os.setgroups([]); os.setuid(65534)" if os.geteuid() == 0 else "pass"
    script = f"""
import os
from shmtelemetry.compat.prometheus_client.tree import tree_namespace
from setproctitle import setproctitle
def in_child(function):
    if not (pid := os.fork()):
        function()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
def tell(): print(tree_namespace(), flush=True)
def named(): setproctitle("other: worker"); tell()
def somebody(): {change}; tell()
tell()
in_child(tell)
in_child(lambda: in_child(tell))
in_child(named)
in_child(somebody)
"""
    told = run_python(script).stdout.split()
    assert len(told) == 5
    assert len(set(told)) == 1


def test_what_a_killed_tree_leaves_is_removed_by_the_next_one_but_not_while_a_process_of_it_lives() -> None:
    script = """
import os, sys, time
from shmtelemetry.compat.prometheus_client import Counter
counter = Counter("c", "x")
counter.inc()
child = os.fork()
counter.inc()
os.write(1, b"%d\\n" % os.getpid())  # in one piece, whoever else writes
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        pids = {int(program.stdout.readline()), int(program.stdout.readline())}
        (child,) = pids - {program.pid}
        program.kill()
        program.wait()
        begin_a_tree()
        assert any(".app." in name for name in left_of(program.pid))
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: has_ended(child), "the child is dead")
    assert left_of(program.pid)
    nothing_is_left_by(program.pid)


def has_ended(pid: int) -> bool:
    """Whether a process of others is no more, or waits for whoever started it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def begin_a_tree() -> None:
    run_python("from shmtelemetry.compat.prometheus_client import Counter; Counter('c', 'x')")


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "1 / 0", "os.kill(os.getpid(), signal.SIGINT)"])
def test_an_exit_leaves_nothing(end: str) -> None:
    script = f"""
import os, signal
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, Histogram
counter = Counter("c", "x")
if not os.fork():
    Histogram("h", "x").observe(1)
counter.inc()
{end}
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as program:
        program.wait(PATIENCE)
    wait_until(lambda: not left_of(program.pid), "nothing is left")


def test_what_is_counted_can_be_read_until_the_very_end() -> None:
    script = """
import atexit
def last():
    counter.inc()
    print(REGISTRY.get_sample_value("c_total"), b"c_total 3.0" in generate_latest())
atexit.register(last)
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, generate_latest
counter = Counter("c", "x")
counter.inc(3)
"""
    assert run_python(script).stdout == "3.0 True\n"
