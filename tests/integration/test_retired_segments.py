"""Segments that a reader has drained and may not remove, since they are another user's: their owner removes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from shmtelemetry import Reader, Telemetry, layout
from shmtelemetry.cli import main
from shmtelemetry.segment import attach, segment_names
from tests.processes import in_child
from tests.reading import SHM

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")

OWNER, READER = 65534, 65533
MODE = 0o666


def as_user(uid: int, function: Callable[[], object]) -> object:
    def dropped() -> object:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return function()

    return in_child(dropped)


def leave_segment(namespace: str) -> str:
    """Of a producer that ended without a farewell, and that has lost observations to a full ring."""
    telemetry = Telemetry("bot", namespace, capacity=16, mode=MODE)
    for _ in range(20):
        telemetry.histogram("h", buckets=(1.0,)).observe(0.5)
    return telemetry._producer.segment.name


@contextmanager
def retired(namespace: str) -> Iterator[str]:
    """The segment's name. A reader of another user has drained it, twice, and has left its state."""
    if not SHM.stat().st_mode & 0o1000:
        pytest.skip("/dev/shm is not sticky: everybody may remove everything")
    name = str(as_user(OWNER, lambda: leave_segment(namespace)))

    def read() -> tuple[float, float, float]:
        with Reader(namespace, allow_uids=[OWNER]) as reader:
            assert reader.poll() in (16, 0)
            reader.poll()
            snapshot = reader.snapshot()
            h = snapshot.histogram("h")
            return (
                h.count,
                snapshot.producers["bot"].dropped["full"],
                snapshot.value("shmtel_producers", state="retired"),
            )

    for _ in range(2):
        assert as_user(READER, read) == (16, 4, 1)
    assert (SHM / name).exists()
    segment = attach(name, allow_uids=[OWNER])
    assert segment.mapping.load(segment.header.reader_offset + layout.READER_ROLE) == layout.ROLE_RETIRED
    segment.close()
    yield name
    assert not (SHM / name).exists()

    def look() -> tuple[float, float]:
        with Reader(namespace, allow_uids=[OWNER], ephemeral=True) as reader:
            reader.poll()
            snapshot = reader.snapshot()
            return snapshot.histogram("h").count, snapshot.value("shmtel_producers", state="retired")

    assert as_user(READER, look) == (16, 0)


def test_its_owners_gc_removes_it(namespace: str) -> None:
    def collect() -> str:
        return CliRunner().invoke(main, ["gc", "--namespace", namespace]).output

    with retired(namespace) as name:
        assert name in str(as_user(OWNER, collect))


def test_its_owners_next_producer_removes_it(namespace: str) -> None:
    def begin_again() -> list[str]:
        with Telemetry("bot", namespace, capacity=16, mode=MODE) as telemetry:
            assert telemetry._producer.segment.linked
            return list(segment_names(namespace))

    with retired(namespace) as name:
        (now,) = as_user(OWNER, begin_again)  # type: ignore[misc, var-annotated]
        assert now != name


def test_the_owners_other_segments_stay(namespace: str) -> None:
    def begin_beside() -> list[str]:
        with (
            Telemetry("bot", namespace, capacity=16, mode=MODE),
            Telemetry("bot", namespace, capacity=16, mode=MODE),
            Telemetry("other", namespace, capacity=16, mode=MODE),
        ):
            return sorted(name.split(".")[2] for name in segment_names(namespace))

    with retired(namespace):
        assert as_user(OWNER, begin_beside) == ["bot", "bot", "other"]
