"""A look shows who lived when it began."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

from shmtelemetry import Reader, Telemetry
from tests.processes import child, in_child, kill, wait_until

ENOUGH = 60.0
MANY = 25  # more than the keeper looks at in one of its own rounds


def living(reader: Reader) -> float:
    assert reader.catch_up(ENOUGH)
    return reader.snapshot().value("shmtel_producers", state="live")


def emitting(namespace: str, then: Callable[[], object]) -> Callable[[], None]:
    def emit() -> None:
        telemetry = Telemetry("p", namespace, capacity=64)
        telemetry.gauge("g").set(1.0)
        then()

    return emit


def test_who_is_killed_is_gone_in_the_next_look(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, ExitStack() as children:
        reader.start()
        pids = [children.enter_context(child(emitting(namespace, signal.pause))) for _ in range(MANY)]
        wait_until(lambda: living(reader) == MANY, "all live")
        for left, pid in enumerate(pids[::-1], start=1):
            kill(pid)
            assert living(reader) == MANY - left


def test_who_began_and_ended_since_the_last_look_is_not_taken_for_living(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        for _ in range(MANY):
            in_child(emitting(namespace, os.getpid))
            assert living(reader) == 0
