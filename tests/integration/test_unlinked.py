"""A segment that somebody else removes while it is in use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer, Reader, Schema, Telemetry, field, layout
from shmtelemetry.segment import segment_names
from tests.processes import drained, run_python, wait_until

DTYPE = np.dtype([("seq", "<u8")])


def remove(namespace: str) -> None:
    for name in segment_names(namespace):
        os.unlink(f"/dev/shm/{name}")


def numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def test_the_producer_goes_on_in_a_new_segment_and_counts_it(namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4) as ring:
        seq = numbers()
        attempts = 0
        for reopened in (1, 2):
            first = ring.segment
            remove(namespace)

            def moved(first: object = first) -> bool:
                nonlocal attempts
                attempts += 1
                ring.emit_fields(next(seq))
                return ring.segment is not first

            wait_until(moved, "the producer is in a new segment")
            assert ring.segment.linked
            assert ring.segment.mapping.load(ring.segment.header.producer_offset + layout.REOPENED) == reopened
            assert first.mapping.load(first.header.producer_offset + layout.CLOSED) == 1
        stats = ring.stats()
        assert stats.attempted == attempts
        assert stats.in_ring == 4 + 4 + 1  # two full segments that are lost, and the present one
        assert stats.dropped["full"] == attempts - 9
        assert stats.holds
        with Consumer("orders", namespace) as consumer:
            assert consumer.read()["seq"].tolist() == [attempts - 1]
    assert sum("somebody removed" in record.getMessage() for record in caplog.records) == 1
    assert ring.stats().attempted == attempts


def test_a_consumer_that_holds_it_loses_nothing(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4) as ring, Consumer("orders", namespace) as consumer:
        first, seq, accepted = ring.segment, numbers(), []
        remove(namespace)

        def moved() -> bool:
            number = next(seq)
            if ring.emit_fields(number):
                accepted.append(number)
            return ring.segment is not first

        wait_until(moved, "the producer is in a new segment")
        ring.emit_fields(accepted[-1] + 1)
        assert drained(consumer, len(accepted) + 1)["seq"].tolist() == [*accepted, accepted[-1] + 1]
        assert ring.stats().consumed == len(accepted) + 1


def test_a_reader_that_drains_it_lets_the_producer_notice_and_loses_nothing(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Telemetry("bot", namespace, capacity=16) as tel, Reader(namespace, ephemeral=True) as reader:
        observe, accepted = tel.histogram("h", buckets=(1.0,)).observe, 0
        for reopened in (1, 2):
            accepted += observe(0.5)
            reader.poll()
            first = tel._producer.segment
            remove(namespace)

            def moved(first: object = first) -> bool:
                nonlocal accepted
                accepted += observe(0.5)
                reader.poll()
                return tel._producer.segment is not first

            wait_until(moved, "the producer is in a new segment")
            assert tel._producer.segment.linked
            assert (
                sum("somebody removed" in message and "process" in message for message in caplog.messages) == reopened
            )
        reader.poll()
        assert reader.snapshot().histogram("h").count == accepted
        assert reader.snapshot().producers["bot"].holds
        assert tel.stats().holds


def test_a_flight_recorder_goes_on_in_it_and_the_reader_says_so(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    schema = Schema([("n", "<u8")], {"n": field("counter", name="n")})
    with (
        Producer("recorder", schema, namespace, capacity=16, policy="overwrite_oldest") as ring,
        Reader(namespace, ephemeral=True) as reader,
    ):
        ring.emit_fields(1)
        reader.poll()
        name = ring.segment.name
        reader.start()
        remove(namespace)
        wait_until(lambda: caplog.messages, "the reader has noticed")
        for _ in range(100):
            ring.emit_fields(1)
            reader.catch_up(10.0)
        reader.stop()
        assert reader.snapshot().value("n_total") == 101
        assert ring.segment.name == name
        assert caplog.messages == [f"somebody removed {name} under its producer, process {os.getpid()}: restart it"]


def test_definitions_and_cells_go_into_the_new_segment(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=2) as tel:
        orders = tel.counter("orders_total", labels=("symbol",))
        aapl = orders.labels("AAPL")
        first = tel._producer.segment
        remove(namespace)
        wait_until(lambda: aapl.inc() and tel._producer.segment is not first, "it is in a new segment")
        assert tel._producer.segment.catalogue() == first.catalogue()
        msft = orders.labels("MSFT")
        for _ in range(3):
            assert msft.inc(2.0)
        assert tel.stats().holds
        with Consumer("bot", namespace) as consumer:
            assert consumer.read()["series"].tolist() == [0, 1]


def test_a_catalogue_that_must_grow_moves_to_a_new_segment(namespace: str) -> None:
    with Telemetry("bot", namespace, capacity=2) as tel:
        orders = tel.counter("orders_total", labels=("symbol",))
        remove(namespace)
        handles = [orders.labels(f"symbol-{number}") for number in range(1000)]
        assert tel._producer.segment.linked
        catalogue = tel._producer.segment.catalogue()
        assert catalogue.count(b"symbol-") == 1000
        assert catalogue == bytes(tel._producer.setup.catalogue)
        assert handles[-1].inc()
        with Consumer("bot", namespace) as consumer:
            assert consumer.read()["series"].tolist() == [999]


def test_a_tracker_of_another_program_may_take_the_segment_away(namespace: str) -> None:
    """A plain SharedMemory(name) of Python < 3.13 removes what it merely attached to."""
    with Producer("orders", DTYPE, namespace, capacity=4) as ring:
        first = ring.segment
        script = "import sys; from multiprocessing.shared_memory import SharedMemory; SharedMemory(sys.argv[1])"
        run_python(script, first.name)
        wait_until(lambda: not first.linked, "the tracker removed it")
        wait_until(lambda: (ring.emit_fields(1), ring.segment is not first)[1], "the producer is in a new segment")
        with Consumer("orders", namespace) as consumer:
            assert len(consumer.read()) == 1
