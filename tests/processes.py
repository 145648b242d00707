"""Real processes for tests, and waiting for what they do."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from shmtelemetry import Consumer

T = TypeVar("T")
PATIENCE = 60.0  # seconds until a condition that never comes is a failure


def wait_until(condition: Callable[[], T], what: str) -> T:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain until {what}"
        time.sleep(0.0005)
    return value


def run_python(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program of its own; fails if it does."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def in_child(function: Callable[[], T]) -> T:
    """What the function returns in a forked child, which then ends without any clean-up."""
    pid, answer = _fork(function)
    with os.fdopen(answer, "rb") as pipe:
        answered, _, _ = select.select([pipe], [], [], PATIENCE)
        if not answered:
            kill(pid)
            raise AssertionError(f"the child did not answer for {PATIENCE:.0f} s")
        stored = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    result: T = pickle.loads(stored)
    return result


@contextmanager
def child(function: Callable[[], Any]) -> Iterator[int]:
    """A forked child that runs the function, and its pid; it is killed and waited for at the end."""
    pid, answer = _fork(function)
    try:
        yield pid
    finally:
        kill(pid)
        os.close(answer)


def is_running(pid: int) -> bool:
    """Whether a child of this process has not ended, however; waits for one that has."""
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process that was sent SIGSTOP stands still; one that sleeps goes on no more."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)


def kill(pid: int) -> None:
    """kill -9, and wait; nothing if it was waited for already."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def drained(consumer: Consumer, count: int) -> np.ndarray:
    """Exactly `count` records of the consumer, whenever they come."""
    batches: list[np.ndarray] = []

    def all_there() -> bool:
        batches.append(consumer.read(count - sum(map(len, batches))))
        return sum(map(len, batches)) == count

    wait_until(all_there, f"{count} records are there")
    return np.concatenate([batch for batch in batches if len(batch)] or batches[:1])


def _fork(function: Callable[[], Any]) -> tuple[int, int]:
    answer, question = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(question)
        return pid, answer
    try:
        os.close(answer)
        with os.fdopen(question, "wb") as pipe:
            pickle.dump(function(), pipe)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)
