"""A full ring loses no counter and no gauge, and every observation that it lost is counted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field, read_state
from shmtelemetry.accounting import segment_stats
from tests.processes import kill, wait_until
from tests.reading import running_reader, talker, the_segment, write_position


def fill(telemetry: Telemetry) -> None:
    filler = telemetry.counter("filler")
    while telemetry.stats().coalesced == 0:
        filler.inc()


def test_counters_and_gauges_are_exact_when_a_reader_comes_to_a_ring_that_was_full(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry:
        counter, gauge = telemetry.counter("c", labels=("n",)), telemetry.gauge("g")
        fill(telemetry)
        for number in range(100):
            assert counter.labels(number % 3).inc(number)
            assert gauge.set(number)
        late = telemetry.counter("defined_while_full")
        assert late.inc(5)
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            snapshot = reader.snapshot()
            assert [snapshot.value("c_total", n=str(n)) for n in range(3)] == [sum(range(n, 100, 3)) for n in range(3)]
            assert snapshot.value("g") == 99
            assert snapshot.value("defined_while_full_total") == 5
            stats = telemetry.stats()
            assert stats.holds
            assert stats.dropped["full"] == 0
            assert snapshot.value("shmtel_coalesced_records_total", producer="p") == stats.coalesced


def test_what_is_defined_and_emitted_while_the_ring_of_a_known_producer_is_full_is_seen_in_the_next_poll(
    namespace: str,
) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry, Reader(namespace, ephemeral=True) as reader:
        reader.poll()
        for number in range(1, 4):
            telemetry.counter("filler").inc(0)
            before = telemetry.stats().coalesced
            while telemetry.stats().coalesced == before:
                telemetry.counter("filler").inc()
            assert telemetry.counter(f"late_{number}").inc(number)
            reader.poll()
            assert reader.snapshot().value(f"late_{number}_total") == number


def test_what_was_only_ever_in_cells_is_folded_when_its_producer_ends(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Telemetry("p", namespace, capacity=64) as telemetry:
            reader.poll()
            fill(telemetry)
            telemetry.counter("late").inc(7)
            telemetry.gauge("late_gauge").set(8)
        reader.poll()
        assert reader.snapshot().value("late_total") == 7
        assert reader.snapshot().value("late_gauge") == 8
        assert reader.snapshot().producers["p"].live == 0


def test_cells_are_added_once_however_often_readers_change(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry:
        counter = telemetry.counter("c")
        emitted = 0
        for run in range(5):
            emitted += sum(counter.inc() for _ in range(200))
            with Reader(namespace, ephemeral=run == 4) as reader:
                reader.poll()
                reader.poll()
                assert reader.snapshot().value("c_total") == emitted


def test_each_segments_cells_begin_at_nothing_although_its_slot_was_used_before(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        for run in range(1, 6):
            with Telemetry("p", namespace, capacity=2) as telemetry:
                counter, gauge = telemetry.counter("c"), telemetry.gauge("g")
                assert all(counter.inc() for _ in range(20))
                assert gauge.set(run)
            reader.poll()
            assert reader.snapshot().value("c_total") == 20 * run
            assert reader.snapshot().value("g") == run


def test_an_older_value_in_a_cell_does_not_replace_a_newer_one_from_the_ring(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry, Reader(namespace, ephemeral=True) as reader:
        gauge = telemetry.gauge("g")
        fill(telemetry)
        gauge.set(1.0)
        reader.poll()
        assert reader.snapshot().value("g") == 1.0
        gauge.set(2.0)
        reader.poll()
        assert reader.snapshot().value("g") == 2.0
        fill_again = telemetry.counter("filler")
        before = telemetry.stats().coalesced
        while telemetry.stats().coalesced == before:
            fill_again.inc()
        reader.poll()
        assert reader.snapshot().value("g") == 2.0


def test_dropped_observations_are_counted_exactly(namespace: str) -> None:
    with Telemetry("p", namespace, capacity=64) as telemetry, Reader(namespace, ephemeral=True) as reader:
        histogram = telemetry.histogram("h", buckets=(1.0,))
        accepted = refused = 0
        for run in range(1, 4):
            for _ in range(100):
                taken = histogram.observe(0.5)
                accepted, refused = accepted + taken, refused + (not taken)
            reader.poll()
            snapshot = reader.snapshot()
            assert snapshot.histogram("h").count == accepted
            assert refused == 36 * run
            assert snapshot.value("shmtel_dropped_records_total", producer="p", reason="full") == refused
            assert snapshot.producers["p"].holds
            assert snapshot.producers["p"].attempted == telemetry.stats().attempted == 100 * run


def test_dropped_records_of_a_schema_are_counted_exactly(namespace: str) -> None:
    schema = Schema([("x", "<u8")], {"x": field("counter", name="m")})
    with Producer("p", schema, namespace, capacity=64) as ring, Reader(namespace, ephemeral=True) as reader:
        accepted = sum(ring.emit_fields(1) for _ in range(100))
        reader.poll()
        assert reader.snapshot().value("m_total") == accepted == 64
        assert reader.snapshot().producers["p"].dropped == {"full": 36, "timeout": 0, "no_ring": 0}


def test_rejected_and_timed_out_records_are_in_the_readers_accounts(namespace: str) -> None:
    dtype = [("x", "<u8")]
    with (
        Producer("p", dtype, namespace, capacity=2, policy="block", timeout=0.0) as ring,
        Reader(namespace, ephemeral=True) as reader,
    ):
        with pytest.raises(ValueError, match="negative"):
            ring.emit_fields(-1)
        assert [ring.emit_fields(1) for _ in range(4)] == [True, True, False, False]
        reader.poll()
        totals = reader.snapshot().producers["p"]
        assert (totals.attempted, totals.consumed, totals.rejected) == (5, 2, 1)
        assert totals.dropped == {"full": 0, "timeout": 2, "no_ring": 0}
        assert totals.holds


@pytest.mark.slow
def test_a_stopped_reader_stops_nobody_and_all_is_exact_when_it_goes_on(namespace: str) -> None:
    def produce(asked: Callable[[], bool]) -> tuple[int, int, int, int]:
        counted = accepted = dropped = 0
        with Telemetry("p", namespace, capacity=1024) as telemetry:
            counter, gauge = telemetry.counter("c"), telemetry.gauge("g")
            observe = telemetry.histogram("h", buckets=(1.0,)).observe
            while not asked():
                for _ in range(100):
                    counted += counter.inc()
                    gauge.set(counted)
                    taken = observe(0.5)
                    accepted, dropped = accepted + taken, dropped + (not taken)
            return counted, accepted, dropped, telemetry.stats().coalesced

    with running_reader(namespace) as reader, talker(produce) as producer:
        segment = the_segment(namespace)
        wait_until(lambda: write_position(segment) > 100_000, "the reader is at work")
        os.kill(reader, signal.SIGSTOP)
        wait_until(
            lambda: segment_stats(segment).coalesced > 100_000, "the ring has been full for long, and emit goes on"
        )
        os.kill(reader, signal.SIGCONT)
        now = write_position(segment)
        wait_until(lambda: write_position(segment) > now + 10_000, "the ring is drained again")
        counted, accepted, dropped, in_cells = producer.finish()
        segment.close()
        assert in_cells > 100_000
        wait_until(lambda: read_state(namespace).producers["p"].live == 0, "the producer has ended")
        snapshot = read_state(namespace)
        assert snapshot.value("c_total") == snapshot.value("g") == counted
        assert snapshot.histogram("h").count == accepted
        assert snapshot.producers["p"].dropped["full"] == dropped
        assert snapshot.producers["p"].attempted == 2 * counted + accepted + dropped
        assert snapshot.producers["p"].holds
        kill(reader)
    Reader(namespace, ephemeral=True).close()
