"""A segment that a lone Consumer holds is not the reader's, until the Consumer lets go of it."""

from __future__ import annotations

import numpy as np

from shmtelemetry import Consumer, Producer, Reader, Schema, Telemetry, field
from tests.processes import child, kill, wait_until

SCHEMA = Schema([("x", "<u8")], {"x": field("counter", name="m")})


def ones(count: int) -> np.ndarray:
    return np.ones(count, SCHEMA.dtype)


def foreign(reader: Reader) -> float:
    """How many segments the reader shows as foreign, after a round that has seen them all."""
    reader.poll()
    return reader.snapshot().value("shmtel_producers", state="foreign")


def test_a_consumers_segment_is_shown_as_foreign_and_taken_over_when_it_lets_go(namespace: str) -> None:
    with (
        Reader(namespace, ephemeral=True) as reader,
        Producer("held", SCHEMA, namespace) as held,
        Telemetry("free", namespace) as free,
    ):
        with Consumer("held", namespace) as consumer:
            held.emit_many(ones(5))
            free.counter("c").inc()
            assert foreign(reader) == 1
            snapshot = reader.snapshot()
            assert snapshot.value("c_total") == 1
            assert "m_total" not in snapshot.families
            assert len(consumer.read()) == 5
            held.emit_many(ones(3))
        wait_until(lambda: foreign(reader) == 0, "the reader has taken it over")
        reader.poll()
        assert reader.snapshot().value("m_total") == 3
        totals = reader.snapshot().producers["held"]
        assert (totals.consumed, totals.in_ring, totals.live) == (8, 0, 1)
        assert totals.holds
        assert held.stats().consumed == 8


def test_what_a_consumer_has_read_between_two_readers_is_not_read_again(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=8) as ring:
        for run in range(1, 5):
            assert ring.emit_many(ones(8)) == 8
            with Reader(namespace) as reader:
                reader.poll()
                assert reader.snapshot().value("m_total") == 8 * run
            for _ in range(3):
                assert ring.emit_many(ones(8)) == 8
                with Consumer("p", namespace) as consumer:
                    assert len(consumer.read()) == 8
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert reader.snapshot().value("m_total") == 32
            assert reader.snapshot().producers["p"].consumed == ring.stats().consumed == 128
            assert reader.snapshot().value("shmtel_producers", state="quarantined") == 0


def test_a_reader_with_a_fresh_state_goes_on_where_the_ring_was_left(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=8) as ring:
        for _ in range(5):
            assert ring.emit_many(ones(8)) == 8
            with Reader(namespace, ephemeral=True) as reader:
                reader.poll()
                assert reader.snapshot().value("m_total") == 8
                assert reader.snapshot().value("shmtel_producers", state="quarantined") == 0


def test_a_killed_consumer_is_followed_by_the_reader(namespace: str) -> None:
    def hold() -> None:
        with Consumer("p", namespace) as consumer:
            while True:
                consumer.read(1)

    with Producer("p", SCHEMA, namespace) as ring:
        ring.emit_many(ones(10_000))
        with child(hold) as pid, Reader(namespace, ephemeral=True) as reader:
            wait_until(lambda: ring.stats().consumed > 10, "the consumer is at work")
            assert foreign(reader) == 1
            kill(pid)
            read = ring.stats().consumed
            wait_until(lambda: foreign(reader) == 0, "the reader has taken it over")
            assert reader.snapshot().value("m_total") == 10_000 - read
            assert reader.snapshot().producers["p"].holds


def test_a_foreign_segment_that_ends_is_shown_no_longer(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Consumer("p", namespace) as consumer, Producer("p", SCHEMA, namespace) as ring:
            ring.emit_many(ones(1))
            consumer.read()
            assert foreign(reader) == 1
        wait_until(lambda: foreign(reader) == 0, "it is gone")


def test_a_consumer_is_told_that_a_reader_has_its_segment(namespace: str) -> None:
    import os

    import pytest

    from shmtelemetry.errors import ReaderBusyError

    with Reader(namespace, ephemeral=True) as reader, Producer("p", SCHEMA, namespace):
        reader.poll()
        with pytest.raises(ReaderBusyError) as refused:
            Consumer("p", namespace)
        assert refused.value.pid == os.getpid()
