"""The reader's accounts hold whatever becomes of a segment: unlinked, forked, ended between two readers."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, layout, read_state
from shmtelemetry.aggregate.snapshot import ProducerTotals
from shmtelemetry.segment import segment_names
from tests.exactness import Image
from tests.hostile import store
from tests.processes import in_child, kill, wait_until
from tests.reading import read_position, running_reader, talker, the_segment, write_position

SCHEMA = Schema([("x", "<u8")], {"x": field("counter", name="m")})


def accounts(namespace: str) -> ProducerTotals:
    return read_state(namespace).producers["p"]


def unlink_all(namespace: str) -> None:
    for name in segment_names(namespace):
        Path("/dev/shm", name).unlink()


def test_a_segment_that_somebody_unlinks_is_drained_to_its_end_and_so_is_the_one_after_it(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Telemetry("p", namespace, capacity=64) as telemetry:
            counter = telemetry.counter("c")
            emitted = sum(counter.inc() for _ in range(10))
            reader.poll()
            unlink_all(namespace)
            while not list(segment_names(namespace)):  # the producer notices when its ring is full
                emitted += counter.inc()
            emitted += sum(counter.inc() for _ in range(20))
            reader.poll()
            assert reader.snapshot().value("c_total") == emitted
            totals, stats = reader.snapshot().producers["p"], telemetry.stats()
            assert totals.holds
            assert totals.attempted == stats.attempted == emitted
            assert totals.consumed + totals.coalesced == emitted
        reader.poll()
        assert reader.snapshot().value("c_total") == emitted
        assert reader.snapshot().producers["p"].live == 0


def test_a_killed_producers_segment_that_somebody_unlinked_is_folded(namespace: str) -> None:
    def emit(_: object) -> None:
        with Telemetry("p", namespace) as telemetry:
            counter = telemetry.counter("c")
            while True:
                counter.inc()

    with Reader(namespace, ephemeral=True) as reader, talker(emit) as producer:
        segment = the_segment(namespace)
        wait_until(lambda: write_position(segment) > 1000, "it emits")
        reader.poll()
        unlink_all(namespace)
        kill(producer.pid)
        reader.poll()
        reader.poll()
        totals = reader.snapshot().producers["p"]
        assert totals.live == 0
        assert totals.holds
        assert reader.snapshot().value("c_total") == totals.consumed + totals.coalesced
        unlink_all(namespace)
        segment.close()


def test_what_is_being_written_is_on_its_way_until_its_producer_has_ended(namespace: str) -> None:
    def shown() -> tuple[int, float, float]:
        reader.poll()
        snapshot = reader.snapshot()
        assert snapshot.producers["p"].holds
        name = "shmtel_{}_records_total".format
        rejected = snapshot.value(name("rejected"), producer="p")
        return snapshot.producers["p"].in_ring, snapshot.value(name("aborted"), producer="p"), rejected

    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        counter.inc()
        with pytest.raises(ValueError, match="got nan"):
            counter.emit(math.nan)
        segment = telemetry._producer.segment
        store(segment, segment.header.producer_offset + layout.CLAIMED_POSITION, 2)
        assert shown() == (1, 0, 1)
        telemetry.close()
        assert shown() == (0, 1, 1)


def test_a_producer_that_ends_while_there_is_no_reader_is_not_shown_as_living(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
        Reader(namespace).close()
    assert list(segment_names(namespace)) == []  # all of it was drained, so nobody needs it
    with Reader(namespace, ephemeral=True) as reader:
        totals = reader.snapshot().producers["p"]
        assert (totals.live, totals.attempted, totals.consumed, totals.aborted) == (0, 1, 1, 0)
        assert totals.holds
        assert reader.snapshot().value("c_total") == 1
        assert "p" not in [name for (name,) in reader.snapshot().families["shmtel_ring_used_records"].labels]


@pytest.mark.slow
def test_a_producer_that_ends_after_its_reader_was_killed_is_accounted_for_exactly(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=1024, policy="block") as ring, running_reader(namespace) as reader:
        ring.emit_many(np.ones(100_000, SCHEMA.dtype))
        wait_until(lambda: ring.stats().in_ring == 0, "all is drained")
        kill(reader)
    assert list(segment_names(namespace)) == []
    with Reader(namespace, ephemeral=True) as last:
        totals = last.snapshot().producers["p"]
        assert last.snapshot().value("m_total") == totals.attempted == totals.consumed == 100_000
        assert (totals.live, totals.aborted, totals.in_ring) == (0, 0, 0)


def test_a_segment_that_vanished_between_two_readers_loses_only_what_nobody_had_read(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=1024) as ring:
        ring.emit_many(np.ones(100, SCHEMA.dtype))
        Reader(namespace).close()
        ring.emit_many(np.ones(50, SCHEMA.dtype))
        unlink_all(namespace)
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            totals = reader.snapshot().producers["p"]
            assert reader.snapshot().value("m_total") == totals.consumed == 100
            assert totals.live == 0
            assert totals.holds


def test_what_a_live_ring_holds_is_shown_whenever_one_looks(namespace: str) -> None:
    with Producer("p", SCHEMA, namespace, capacity=64) as ring, Reader(namespace, ephemeral=True) as reader:
        for count in (0, 5, 64):
            ring.emit_many(np.ones(count, SCHEMA.dtype))
            reader.poll()
            totals = reader.snapshot().producers["p"]
            assert (totals.capacity, totals.in_ring, totals.live) == (64, 0, 1)
            assert totals.holds


@pytest.mark.slow
def test_a_child_forked_in_the_middle_of_emitting_and_its_parent_are_both_counted_exactly(namespace: str) -> None:
    def emit_and_fork(asked: Callable[[], bool]) -> int:
        with Telemetry("p", namespace, capacity=1024) as telemetry:
            counter, observe = telemetry.counter("c"), telemetry.histogram("h", buckets=(1.0,)).observe
            emitted = 0
            for _ in range(20):
                emitted += sum(counter.inc() for _ in range(500))
                emitted += in_child(lambda: _emit_and_close(telemetry))
                emitted += sum(counter.inc() for _ in range(500))
                observe(0.5)
            wait_until(asked, "the test is done")
            return emitted

    with running_reader(namespace) as reader, talker(emit_and_fork) as producer:
        emitted = producer.finish()
        wait_until(lambda: not list(segment_names(namespace)), "all producers have ended")
        snapshot = read_state(namespace)
        assert snapshot.value("c_total") == emitted == 20 * 2000
        totals = accounts(namespace)
        assert totals.holds
        assert (totals.live, totals.attempted) == (0, emitted + 20)
        kill(reader)
    Reader(namespace, ephemeral=True).close()


def _emit_and_close(telemetry: Telemetry) -> int:
    """What a forked child does with its parent's instruments."""
    counter = telemetry.counter("c")
    emitted = sum(counter.inc() for _ in range(1000))
    telemetry.close()
    return emitted


def test_a_stranger_cannot_keep_the_reader_from_ending_a_segment_whose_producer_is_gone(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Telemetry("p", namespace) as telemetry:
            telemetry.counter("c").inc()
            stranger = the_segment(namespace)
        assert read_position(stranger) == 0
        reader.poll()
        assert list(segment_names(namespace)) == []
        assert read_position(stranger) == 1
        stranger.close()


def test_a_segment_that_cannot_be_removed_is_drained_once_and_logged_once(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with Telemetry("p", namespace, capacity=2) as telemetry:
        for _ in range(10):
            telemetry.counter("c").inc()
    (name,) = segment_names(namespace)
    with monkeypatch.context() as patched:
        patched.setattr("shmtelemetry.segment.Segment.unlink", refuse)
        for _ in range(2):
            with Reader(namespace) as reader:
                for _ in range(3):
                    reader.poll()
                assert reader.snapshot().value("c_total") == 10
                totals = reader.snapshot().producers["p"]
                assert (totals.live, totals.attempted, totals.coalesced) == (0, 10, 8)
                assert totals.holds
    assert sum(name in line for line in caplog.messages) == 2  # once a reader
    with Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        assert reader.snapshot().value("c_total") == 10
        assert not os.path.exists(f"/dev/shm/{name}")


def test_a_slot_that_is_used_again_does_not_inherit_the_end_of_the_segment_before(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Telemetry("first", namespace) as telemetry:
            telemetry.counter("c").inc()
        reader.poll()
        with Producer("second", [("x", "<u8")], namespace, capacity=4) as ring:
            ring.emit_fields(1)
            reader.poll()  # records without roles change nothing but their own position
            image = Image(namespace)
            image.open()
            with image.reader() as next_one:
                next_one.poll()
                totals = next_one.snapshot().producers
                assert (totals["second"].live, totals["second"].consumed) == (1, 1)
                assert (totals["first"].live, totals["first"].consumed) == (0, 1)
            image.close()


def test_a_step_that_a_killed_producer_kept_but_could_not_count_any_more_is_in(namespace: str) -> None:
    def emit_and_die(asked: Callable[[], bool]) -> None:
        telemetry = Telemetry("p", namespace, capacity=2)
        telemetry.counter("c").inc()
        wait_until(asked, "the reader knows the series")
        segment = telemetry._producer.segment
        mapping, head = segment.mapping, layout.CATALOGUE_RECORD
        _, _, metric = head.unpack_from(segment.catalogue())
        cell = segment.header.catalogue_offset + head.size + metric + head.size
        with memoryview(mapping) as buffer:
            buffer[cell + 40 : cell + 48] = struct.pack("=d", 5.0)  # slot[1].value
        mapping.store(cell, 1)  # steps
        os._exit(0)

    with Reader(namespace, ephemeral=True) as reader, talker(emit_and_die) as producer:
        segment = the_segment(namespace)
        wait_until(lambda: write_position(segment) == 1, "it emits")
        segment.close()
        reader.poll()
        assert reader.snapshot().value("c_total") == 1
        producer.ask()
        os.waitpid(producer.pid, 0)
        reader.poll()
        assert reader.snapshot().value("c_total") == 6
        assert list(segment_names(namespace)) == []
