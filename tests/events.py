"""A store of events that is in trouble, and what a reader says of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from shmtelemetry import Reader
from shmtelemetry.events import Batch, Ring, Totals


def figures(reader: Reader) -> tuple[float, float, float]:
    """Events that are stored, let go of, and waiting."""
    snapshot = reader.snapshot()
    stored, let_go = snapshot.value("shmtel_events_total"), snapshot.value("shmtel_events_let_go_total")
    return stored, let_go, snapshot.value("shmtel_events_waiting")


class Stuck:
    """A sink that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.works = False
        self.positions: dict[bytes, int] = {}
        self.records: list[np.ndarray] = []
        self.let_go = 0

    def position(self, ring: Ring) -> int:
        return self.positions.get(ring.uuid, ring.start)

    def store(self, batches: Any) -> None:
        if not self.works:
            raise OSError("No space left on device")
        for batch in batches:
            assert isinstance(batch, Batch)
            assert batch.begin == self.position(batch.ring)
            self.positions[batch.ring.uuid] = batch.end
            self.records.append(batch.records)
            self.let_go += batch.let_go

    def totals(self) -> Totals:
        return Totals(sum(map(len, self.records)), self.let_go)
