"""Readers and producers as processes of their own, and what they leave in /dev/shm."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shmtelemetry import Reader, layout
from shmtelemetry.aggregate.seconds import windows_path
from shmtelemetry.aggregate.state import state_path
from shmtelemetry.segment import Segment, attach, segment_names
from tests.processes import child, wait_until

SHM = Path("/dev/shm")


def state_of(namespace: str) -> Path:
    return state_path(str(SHM), namespace, os.geteuid())


def windows_of(namespace: str) -> Path:
    return windows_path(state_of(namespace))


def control_of(namespace: str) -> Path:
    return SHM / f"shmtel.{namespace}.@reader.{os.geteuid()}"


def shown_pid(namespace: str) -> int:
    """The reader's pid, as its control file shows it; 0 without a reader."""
    with suppress(FileNotFoundError, ValueError):
        return int(control_of(namespace).read_bytes()[:20])
    return 0


@contextmanager
def running_reader(namespace: str) -> Iterator[int]:
    """A process whose reader's loop runs, and its pid; it is killed at the end."""
    with child(partial(read_until_killed, namespace)) as pid:
        wait_until(lambda: shown_pid(namespace) == pid, "the reader has its namespace")
        wait_until(state_of(namespace).exists, "it has a state")
        yield pid


def read_until_killed(namespace: str) -> None:
    """What a reader's process does."""
    with Reader(namespace) as reader:
        reader.start()
        while True:
            signal.pause()


@dataclass(frozen=True)
class Talker:
    """A process that works until it is asked to finish, and then says what it did."""

    pid: int
    _ask: int
    _answer: int

    def ask(self) -> None:
        os.write(self._ask, b"!")

    def finish(self) -> Any:
        """What its function returned."""
        self.ask()
        with os.fdopen(os.dup(self._answer), "rb") as pipe:
            return pickle.load(pipe)


@contextmanager
def talker(work: Callable[[Callable[[], bool]], Any]) -> Iterator[Talker]:
    """A process that runs `work(asked)`, which returns soon after `asked()` is true."""
    asked, ask = os.pipe()
    answer, say = os.pipe()
    os.set_blocking(asked, False)

    def run() -> None:
        result = pickle.dumps(work(partial(_readable, asked)))
        with os.fdopen(say, "wb") as pipe:
            pipe.write(result)

    try:
        with child(run) as pid:
            yield Talker(pid, ask, answer)
    finally:
        for end in (asked, ask, answer, say):
            os.close(end)


def _readable(fd: int) -> bool:
    with suppress(BlockingIOError):
        return bool(os.read(fd, 1))
    return False


def the_segment(namespace: str) -> Segment:
    """The namespace's only segment, for looking at."""
    (name,) = wait_until(lambda: list(segment_names(namespace)), "there is a segment")
    return attach(name)


def read_position(segment: Segment) -> int:
    return segment.mapping.load(segment.header.reader_offset + layout.READ_POSITION)


def write_position(segment: Segment) -> int:
    return segment.mapping.load(segment.header.producer_offset + layout.WRITE_POSITION)
