"""A state in which a bit has changed is refused, or the bit does not matter: which it is, is said here for each place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate import series as layout
from shmtelemetry.aggregate.check import check_header, checked_view
from shmtelemetry.aggregate.series import HEADER, NAME, SERIES, SLOT, Table, field_offset
from shmtelemetry.aggregate.view import View
from shmtelemetry.errors import StateError
from tests.exactness import Witness, witness
from tests.processes import in_child
from tests.reading import state_of

Place = tuple[int, int]  # offset, length in bytes

FIGURES = ("retired", "overflowed", "foreign", "quarantined", "turn_ns", "reader_pid", "invalid_metrics")
NOTED = (  # a producer's own figures: the next look at its segment takes them again; and what did not fit a metric
    "write_position", "claimed_position", "coalesced", "dropped_full", "dropped_timeout", "dropped_no_ring", "rejected",
    "overwritten", "invalid", "mark", "reserved",
)  # fmt: skip
EXTREMES = ("minimum", "maximum", "value")  # of a histogram, whose buckets tell them to within a bucket or an octave


@contextmanager
def killed(namespace: str) -> Iterator[Path]:
    """What a reader that was killed leaves: all kinds of series, a full ring's cells, an ended producer."""
    with witness(namespace) as made:
        made.end_a_producer()

        def read_and_die() -> None:
            reader = Reader(namespace)
            for _ in range(3):
                made.emit()
                reader.poll()
            os.kill(os.getpid(), signal.SIGKILL)

        pid = os.fork()
        if pid == 0:
            read_and_die()
        os.waitpid(pid, 0)
        yield state_of(namespace)
