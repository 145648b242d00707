"""Sources of the command line as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shmtelemetry import Reader
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import PATIENCE, wait_until
from tests.readers import SHMTEL


@dataclass(frozen=True)
class Ingester:
    """A `shmtel ingest …` that listens at `address`."""

    process: subprocess.Popen[str]
    address: str

    def end(self, signal_number: int = signal.SIGTERM) -> dict[str, Any]:
        """Send a signal, wait for an end without an error, and return what --json said."""
        self.process.send_signal(signal_number)
        said, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, said
        summary: dict[str, Any] = json.loads(said)
        return summary


@contextmanager
def ingester(
    source: str, namespace: str, *options: str, folder: Path, said: Path | None = None, **environment: str
) -> Iterator[Ingester]:
    """`shmtel ingest SOURCE --json`, ended with the block. folder: where it works. said: where its stderr goes."""
    command = [*SHMTEL, "ingest", source, "--namespace", namespace, "--json", *options]
    with (
        said.open("w") if said else nullcontext() as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env={**os.environ, **environment}
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on "), line
            yield Ingester(process, line.split()[-1])
        finally:
            process.kill()


def shown(reader: Reader, wanted: Callable[[Snapshot], bool], what: str) -> Snapshot:
    """What the reader has as soon as it is as it should be."""

    def polled() -> list[Snapshot]:
        reader.poll()
        snapshot = reader.snapshot()
        return [snapshot] if wanted(snapshot) else []

    return wait_until(polled, what)[0]


def total(snapshot: Snapshot, name: str) -> float:
    """Of all series of a counter."""
    family = snapshot.families.get(name)
    return float(family.values.sum()) if family is not None else 0.0


def come(reader: Reader, count: int) -> Snapshot:
    """What the reader has as soon as so many items were taken or refused."""
    return shown(
        reader,
        lambda snapshot: total(snapshot, "ingest_items_total") + total(snapshot, "ingest_rejected_total") >= count,
        f"{count} items have come",
    )


def rejected(snapshot: Snapshot) -> dict[str, int]:
    """Reason → items."""
    family = snapshot.families.get("ingest_rejected_total")
    if family is None:
        return {}
    return {labels[-1]: int(value) for labels, value in zip(family.labels, family.values, strict=True)}
