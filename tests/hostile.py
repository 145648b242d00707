"""A producer whose segment somebody changes, and a guarded reader that has to bear it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from shmtelemetry import Reader, Telemetry
from shmtelemetry.accounting import segment_stats
from shmtelemetry.segment import Segment, attach, segment_names
from tests.processes import wait_until
from tests.reading import SHM

LOOPS = 1500
EMITTED = 3 * LOOPS


def produce_and_wait(namespace: str) -> None:
    """A producer of which all areas are in use, and that does nothing more."""
    telemetry = Telemetry("bad", namespace, capacity=1024)
    latency = telemetry.histogram("bad_latency_seconds", labels=("a",), buckets=(1.0, 2.0))
    for value in range(LOOPS):
        latency.labels(str(value % 3)).observe(value, exemplar="abc")
        telemetry.counter("bad").inc()
        telemetry.gauge("bad_gauge").set(value)
    while True:
        signal.pause()


def segment_at_rest(namespace: str) -> Segment:
    """Its segment, when it has written everything: it would die of what is done to the pages that it writes to."""
    (name,) = wait_until(lambda: list(segment_names(namespace, "bad")), "the bad producer has a segment")
    segment = attach(name)
    wait_until(lambda: segment_stats(segment).attempted == EMITTED, "it has emitted everything")
    return segment


def store(segment: Segment, offset: int, value: int) -> None:
    """Write a word of a segment, as anybody of the same user can."""
    with (SHM / segment.name).open("r+b") as file:
        os.pwrite(file.fileno(), value.to_bytes(8, "little"), offset)


def read_guarded(namespace: str, asked: Callable[[], bool]) -> dict[str, float]:
    """What a guarded reader has when it is asked, and what it said."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("shmtelemetry").addHandler(handler)
    with Reader(namespace, ephemeral=True, guard=True) as reader:
        reader.start()
        while not asked():
            time.sleep(0.001)
        reader.catch_up(10.0)
        snapshot = reader.snapshot()
        figures = {name: snapshot.value(name) for name in ("good_total", "shmtel_quarantined_segments")}
    return figures | {"said": len(said), "cut": sum("cut short" in line for line in said)}


def anonymous_bytes(pid: int) -> int:
    resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def loop_seconds(pid: int) -> float:
    """CPU time of a reader's loop: it is the first thread that the process has made."""
    loop = sorted(map(int, os.listdir(f"/proc/{pid}/task")))[1]
    return int(Path(f"/proc/{pid}/task/{loop}/schedstat").read_text().split()[0]) / 1e9
