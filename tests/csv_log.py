"""Telemetry logs for tests: rows whose totals say how many of them were taken."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from shmtelemetry import read_state
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.sources.csv.columns import telemetry_log
from shmtelemetry.sources.csv.ingest import Settings, Summary, ingest
from shmtelemetry.trading.schemas import SYSTEM_SAMPLE
from tests.processes import PATIENCE, child, wait_until
from tests.readers import SHMTEL

HEADER = ",".join(SYSTEM_SAMPLE.roles)
START_NS = 1_703_123_456_789_000_000
LATENCY_NS = 250_000  # of every row: in seconds a double whose sums are compared closely enough


def line(number: int) -> str:
    """Row `number`, from 1: each brings 10 orders, 9 of them consumed, and 3 batches."""
    return (
        f"{START_NS + number},{10 * number},{9 * number},{number},{number % 1024},1024,"
        f"8500.5,{LATENCY_NS},375000,500000,{2 * number},{3 * number}\n"
    )


def lines(first: int, last: int) -> str:
    """Rows from first to last, both included."""
    return "".join(map(line, range(first, last + 1)))


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@contextmanager
def ingesting(path: Path, namespace: str, *options: str, said: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """`shmtel ingest csv PATH --follow`, which is killed at the end. said: where its stderr goes."""
    command = [*SHMTEL, "ingest", "csv", str(path), "--follow", "--namespace", namespace, *options]
    with (said or Path(os.devnull)).open("a") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> str:
    """What an ingester prints when it is asked to end; it exits 0."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    return output


def total(snapshot: Snapshot, name: str) -> float:
    family = snapshot.families.get(name)
    return 0.0 if family is None else float(family.values.sum())


def never(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def take(path: Path, namespace: str, said: list[str] | None = None, **settings: Any) -> Summary:
    """Take a file up to its end, or with `follow` for ever. said: what there is to tell."""
    settings = {"columns": telemetry_log("engine", "desk", "multicast"), **settings}
    return ingest(
        Settings(str(path), namespace=namespace, **settings), never, [].append if said is None else said.append
    )


@contextmanager
def following(path: Path, namespace: str, from_start: bool = True) -> Iterator[int]:
    """The pid of an ingester, which is killed at the end."""
    with child(partial(take, path, namespace, follow=True, from_start=from_start)) as pid:
        yield pid


def await_rows(namespace: str, count: int) -> Snapshot:
    """A snapshot of the time when the totals are those of row `count`."""
    wait_until(
        lambda: total(read_state(namespace), "orders_produced_total") >= 10 * count, f"{count} rows are in the state"
    )
    return read_state(namespace)  # anew: a look may know fewer series than its newest values need


def assert_rows(snapshot: Snapshot, count: int, records: int | None = None, producer: str = "csv") -> None:
    """Each of rows 1 to count was taken once. records: how many there were, by default `count`."""
    assert snapshot.producers[producer].consumed == (count if records is None else records)
    assert total(snapshot, "orders_produced_total") == 10 * count
    assert total(snapshot, "orders_consumed_total") == 9 * count
    assert total(snapshot, "orders_dropped_total") == count
    assert total(snapshot, "network_dropped_packets_total") == 2 * count
    assert total(snapshot, "batches_sent_total") == 3 * count
    assert snapshot.histogram("batch_latency_seconds").count == 3 * count
    assert sum(snapshot.producers[producer].dropped.values()) == 0


def forget(namespace: str) -> None:
    """Remove what an ingester that has ended leaves for the next one."""
    for file in Path("/dev/shm").glob(f"shmtel.{namespace}.*"):
        file.unlink(missing_ok=True)
