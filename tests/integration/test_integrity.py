"""A state in which a bit has changed is refused, or the bit does not matter: which it is, is said for each place."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from shmtelemetry import Reader
from tests.exactness import witness
from tests.flips import LEGAL, Flips
from tests.processes import in_child
from tests.reading import state_of


@contextmanager
def left_behind(namespace: str, killed: bool) -> Iterator[Path]:
    """The state of a reader that has seen all kinds of series, a full ring's cells and an ended producer."""

    def read() -> None:
        reader = Reader(namespace)
        for _ in range(3):
            made.emit()
            reader.poll()
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        reader.close()
        os._exit(0)

    with witness(namespace) as made:
        made.end_a_producer()
        pid = os.fork()
        if pid == 0:
            read()
        os.waitpid(pid, 0)
        yield state_of(namespace)


def undetected(path: Path, bits: int, chance: Random, part: slice) -> tuple[Counter[str], Counter[str]]:
    """Of how many changed bits of each kind of place, and how many of them were not found; `bits` of each place."""
    flips = Flips(path)
    tried, missed = Counter[str](), Counter[str]()
    for what, first, count in list(flips.places())[part]:
        for bit in chance.sample(range(count), min(bits, count)):
            tried[what] += 1
            missed[what] += not flips.is_found(first + bit)
    return tried, missed


def assert_all_found(path: Path, bits: int, chance: Random, parts: int = 1) -> None:
    tried, missed = Counter[str](), Counter[str]()
    for part in range(parts):
        # In a child: no changed bit may crash it.
        more, more_missed = in_child(lambda: undetected(path, bits, chance, slice(part, None, parts)))  # noqa: B023
        tried, missed = tried + more, missed + more_missed
    assert {what for what, count in missed.items() if count} <= LEGAL
    assert set(tried) >= LEGAL - {"beyond"}


def test_a_changed_bit_of_a_killed_readers_state_is_found_where_it_matters(namespace: str) -> None:
    with left_behind(namespace, killed=True) as path:
        assert_all_found(path, 1, Random())


@pytest.mark.stress
def test_every_changed_bit_of_a_killed_readers_state_is_found_where_it_matters(namespace: str) -> None:
    with left_behind(namespace, killed=True) as path:
        assert_all_found(path, 2**20, Random(), parts=100)


def test_any_changed_bit_of_a_state_that_was_left_cleanly_is_found(namespace: str) -> None:
    with left_behind(namespace, killed=False) as path:
        flips = Flips(path)
        used = 8 * flips.view.get("allocated")
        size = 8 * 40, 8 * 48  # what lies beyond the end of what is in use is nobody's
        for bit in Random().sample(range(used), 300):
            assert flips.is_found(bit) or size[0] <= bit < size[1], f"bit {bit % 8} of byte {bit // 8}"
