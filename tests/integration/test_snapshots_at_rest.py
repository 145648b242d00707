"""A reader that is stopped between any two instructions: what others see of it is consistent all the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from shmtelemetry import Producer, Reader, Schema, field, read_state
from shmtelemetry.aggregate import outside
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.exactness import assert_consistent
from tests.reading import state_of
from tests.stepping import instants

SCHEMA = Schema(
    [("value", "<f8"), ("who", "<u4")],
    {"value": field("histogram", name="h", buckets=(1.0, 4.0)), "who": field("label")},
)
VALUES = ((2.0, 0), (2.0**20, 1))  # one for each series, so that its count says its sum
MORE = 5  # records at each instant: more than one may be claimed and not written
PAGE = 4096


def emit(ring: Producer, count: int = MORE) -> None:
    for turn in range(count):
        assert ring.emit_fields(*VALUES[turn % len(VALUES)])


def instants_of_a_turn(namespace: str, ring: Producer, records: int) -> Iterator[int]:
    """One turn of the loop, stopped after each instruction that changes the state."""

    def prepare() -> Callable[[], object]:
        reader = Reader(namespace)
        reader.poll()  # learns every series, so that what follows needs no keeper
        return lambda: reader._role._agent.poll()

    Reader(namespace).close()
    emit(ring)
    path = state_of(namespace)
    return instants(prepare, lambda: emit(ring, records), path.read_bytes)


def assert_holds(snapshot: Snapshot, seen: int) -> int:
    """Returns how many records are in."""
    assert_consistent(snapshot)
    for value, who in VALUES:
        histogram = snapshot.histogram("h", who=str(who))
        assert histogram.sum == value * histogram.count
    producer = snapshot.producers["p"]
    assert producer.aborted == 0  # its producer is between two emits
    assert 0 <= producer.in_ring <= producer.capacity
    assert seen <= producer.consumed
    return producer.consumed


@pytest.mark.unsanitized(reason="a sanitizer makes a hundred instructions of each, and this stops after every one")
def test_a_stopped_readers_accounts_hold_while_its_producer_goes_on(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=4096) as ring:
        seen = 0
        for _ in instants_of_a_turn(namespace, ring, MORE):
            emit(ring)
            seen = assert_holds(read_state(namespace), seen)
    Reader(namespace, ephemeral=True).close()


@pytest.mark.unsanitized(reason="a sanitizer makes a hundred instructions of each, and this stops after every one")
def test_a_copy_of_a_reader_that_goes_on_meanwhile_is_of_one_moment_or_none(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader goes on, by some changes, between some pages of the copy."""
    copy_page, pages = os.sendfile, 0

    def copy_and_go_on(to: int, fd: int, offset: int, count: int) -> int:
        nonlocal pages
        pages += 1
        if pages % 17 == 0:
            list(islice(turn, pages % 41))
        return copy_page(to, fd, offset, min(count, PAGE))

    monkeypatch.setattr(outside, "PATIENCE", 0.0)  # a copy is made as soon as a series is being changed
    monkeypatch.setattr(os, "sendfile", copy_and_go_on)
    with Producer("p", SCHEMA, namespace, capacity=4096) as ring:
        seen = 0
        turn = instants_of_a_turn(namespace, ring, 60)
        for _ in turn:
            seen = assert_holds(read_state(namespace), seen)
        assert pages > 100
    Reader(namespace, ephemeral=True).close()
