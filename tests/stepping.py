"""Stopping a process after each of its instructions, and killing it before any of its Python lines."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any

import pytest

TRACEME, SINGLESTEP = 0, 9  # ptrace(2)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def instants(
    prepare: Callable[[], Callable[[], object]], meanwhile: Callable[[], object], look: Callable[[], object]
) -> Iterator[int]:
    """Runs `prepare()()` in a forked child, the second call instruction by instruction.

    Stops at each instruction after which `look()` gives something else, and yields how many were made. meanwhile: what
    this process does between the two calls.
    """
    pid = os.fork()
    if pid == 0:
        _run_stopped(prepare)
    try:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            pytest.skip("this system does not permit ptrace")
        meanwhile()
        seen = look()
        for step in count(1):
            _libc.ptrace(SINGLESTEP, pid, None, None)
            _, status = os.waitpid(pid, 0)
            if not os.WIFSTOPPED(status):
                break
            if (now := look()) != seen:
                seen = now
                yield step
        assert status == 0, f"the child ended with status {status}"
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _run_stopped(prepare: Callable[[], Callable[[], object]]) -> None:
    try:
        work = prepare()
        if _libc.ptrace(TRACEME, 0, None, None) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def lines_until_end(work: Callable[[], object], module_part: str, bound: int | None = None) -> int:
    """Runs `work()` in a forked child that kills itself before the `bound`-th line of modules named like that.

    Returns how many lines it made: fewer than `bound` if it came to its end.
    """
    answer, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run_traced(work, module_part, bound, say)
    os.close(say)
    with os.fdopen(answer, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert bound is not None
        return bound
    assert status == 0, f"the child ended with status {status}"
    return int(said)


def _run_traced(work: Callable[[], object], module_part: str, bound: int | None, say: int) -> None:
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if module_part not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == bound:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        sys.settrace(trace)
        work()
        sys.settrace(None)
        os.write(say, str(lines).encode())
        os._exit(0)
    except BaseException:
        sys.settrace(None)
        traceback.print_exc()
    finally:
        os._exit(1)
