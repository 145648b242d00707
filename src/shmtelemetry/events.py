"""Events: what a reader gives of its rings to whoever keeps their records, and what it expects of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .schema import Schema


@dataclass(frozen=True, slots=True)
class Ring:
    """One segment whose schema says events=True.

    uuid: 16 bytes, its own; a producer that starts again has another one. start: the position of its first record.
    """

    uuid: bytes
    producer: str
    schema: Schema
    start: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The next records of a ring.

    begin: the position of the ring before it. let_go: how many records from there on were written over before anybody
    took them. records: those that follow, shape (n,), of the schema's dtype.
    """

    ring: Ring
    begin: int
    let_go: int
    records: npt.NDArray[np.void]

    @property
    def end(self) -> int:
        """The position of the ring after it; positions wrap at 2**64."""
        return (self.begin + self.let_go + len(self.records)) % 2**64


@dataclass(frozen=True, slots=True)
class Totals:
    """How many records were ever stored, and how many were let go of."""

    stored: int
    let_go: int


class EventSink(Protocol):
    """Keeps events. One thread at a time calls it; whatever it raises is said once, and tried again."""

    def position(self, ring: Ring) -> int:
        """Up to where it has the ring: its start if it has nothing. Raises ValueError for one that it cannot take."""

    def store(self, batches: Sequence[Batch]) -> None:
        """Keep records, and how far they go, at once: all of them, or nothing at all if it raises."""

    def totals(self) -> Totals:
        """Of all times."""
