"""Threads, with a GIL and without."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from shmtelemetry.segment import segment_names
from tests.processes import PATIENCE

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

free_threaded = pytest.mark.skipif(GIL, reason="this CPython has a GIL: one ring serves all threads")


def at_once(*works: Callable[[], Any]) -> None:
    """Run each in a thread of its own, all beginning together; raises what one of them raised."""
    gate = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            gate.wait(PATIENCE)
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def ring_count(namespace: str) -> int:
    return sum(1 for _ in segment_names(namespace))
