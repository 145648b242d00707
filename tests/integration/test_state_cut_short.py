"""The reader's own files, cut short while they are mapped: no process ends of it, and nothing wrong is shown."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry._mapping import install_guard
from shmtelemetry.aggregate import outside
from shmtelemetry.aggregate.outside import Published
from shmtelemetry.errors import StateError
from tests.processes import in_child, wait_until
from tests.readers import reader, shmtel
from tests.reading import control_of, state_of, talker

SERIES = 2000  # so many that the state has grown
SIZES: dict[str, Callable[[int], int]] = {
    "to nothing": lambda size: 0,
    "within the header": lambda size: 4096,
    "behind the tables": lambda size: 6 * 4096,
    "in the middle": lambda size: size // 2 // 4096 * 4096,
}


def emit(telemetry: Telemetry, step: int = 1) -> None:
    counter = telemetry.counter("c", labels=("n",))
    histogram = telemetry.histogram("h", labels=("n",), buckets=(1.0,))
    for number in range(SERIES):
        counter.labels(number).inc(step)
        histogram.labels(number).observe(2.0)


def cut(path: Path, size: Callable[[int], int]) -> None:
    os.truncate(path, size(path.stat().st_size))


def read(namespace: str, asked: Callable[[], bool]) -> list[str]:
    """What a guarded reader that is embedded in a program says after its state was cut short."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("shmtelemetry").addHandler(handler)
    running = Reader(namespace, guard=True)
    running.start()
    wait_until(lambda: said, "it notices")
    for look in (running.snapshot, running.scrape, running.catch_up, running.close):
        with pytest.raises(StateError, match=r"was cut short under its reader; .*--reset-state"):
            look()
    assert not running.turning
    return said


@pytest.mark.parametrize("where", SIZES)
def test_a_program_whose_readers_state_is_cut_short_goes_on_and_shows_nothing(namespace: str, where: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        with talker(partial(read, namespace)) as running:
            emit(telemetry)
            wait_until(lambda: telemetry.stats().in_ring == 0, "it is drained")
            cut(state_of(namespace), SIZES[where])
            emit(telemetry)
            said = running.finish()
        assert said == [f"the reader stands still: the state of namespace {namespace} was cut short"]
        with pytest.raises(StateError, match="--reset-state"):
            Reader(namespace)
        with Reader(namespace, ephemeral=True, reset_state=True) as after:
            emit(telemetry, 3)
            after.poll()
            assert after.snapshot().value("c_total", n="7") >= 3
    shmtel("gc", "--namespace", namespace, "--states")


def test_a_reader_of_the_command_line_says_that_it_is_not_healthy(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        with reader(namespace, "--ephemeral") as running:
            emit(telemetry)
            wait_until(lambda: 'c_total{n="1"} 1.0' in running.get("/metrics"), "it is read")
            cut(state_of(namespace), SIZES["in the middle"])
            emit(telemetry)
            wait_until(lambda: shmtel("probe", running.url).returncode, "it is not healthy")
            assert running.end(signal.SIGTERM) == 1
        with Reader(namespace, ephemeral=True) as last:
            last.poll()


@pytest.mark.parametrize("where", SIZES)
def test_who_looks_at_a_state_that_is_cut_short_meanwhile_is_told_so(namespace: str, where: str) -> None:
    def look() -> None:
        install_guard()
        path = state_of(namespace)
        published = Published(namespace, path)
        assert published.snapshot().value("c_total", n="7") == 1
        size = path.stat().st_size
        cut(path, SIZES[where])
        with (
            mock.patch.object(outside, "check_header", return_value=size),  # it was whole when it was looked at
            pytest.raises(StateError, match="was cut short while it was read"),
        ):
            published.snapshot()
        with pytest.raises(StateError, match=r"cut short|too short"):
            published.snapshot()

    with Telemetry("p", namespace) as telemetry:
        with Reader(namespace) as left:
            emit(telemetry)
            left.poll()
        in_child(look)
        state_of(namespace).unlink()


def test_a_reader_whose_control_file_is_cut_short_goes_on(namespace: str) -> None:
    def read_on() -> float:
        with (
            Telemetry("p", namespace) as telemetry,
            Reader(namespace, ephemeral=True, guard=True) as running,
        ):
            counter = telemetry.counter("c")
            running.start()
            counter.inc()
            assert running.catch_up(10.0)
            cut(control_of(namespace), lambda size: 0)
            counter.inc()
            assert running.catch_up(10.0)
            return running.snapshot().value("c_total")

    assert in_child(read_on) == 2
