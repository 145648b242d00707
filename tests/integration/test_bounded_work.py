"""However much one producer asks of the reader, the others are served meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.reader.attachment import SHARE
from shmtelemetry.segment import segment_names
from tests.hostile import anonymous_bytes
from tests.processes import in_child, wait_until

HUGE = 1 << 20  # records
SERIES = 20_000
WIDE = Schema([(f"f{n}", "f8") for n in range(16)], {f"f{n}": field("histogram") for n in range(16)})


def test_a_huge_ring_that_is_full_holds_up_no_other(namespace: str) -> None:
    with (
        Producer("huge", WIDE, namespace, capacity=HUGE) as huge,
        Telemetry("good", namespace) as good,
        Reader(namespace, ephemeral=True, windows=False) as reader,
    ):
        counter = good.counter("good")
        counter.inc()
        reader.poll()
        huge.emit_many(np.ones(HUGE, WIDE.dtype))
        reader.start()
        served = 0
        while huge.stats().in_ring:
            counter.inc()
            wait_until(lambda: good.stats().in_ring == 0, "the other ring is drained")
            served += 1
        reader.stop()
        assert served > 10


@pytest.fixture
def huge(namespace: str) -> Iterator[Telemetry]:
    """A producer that has defined many series, and emits nothing."""
    with Telemetry("huge", namespace) as telemetry:
        counter = telemetry.counter("huge", labels=("n",))
        for number in range(SERIES):
            counter.labels(number)
        yield telemetry


def shown(reader: Reader) -> int:
    """Series of the huge producer that the reader has so far."""
    family = reader.snapshot(distributions=False).families.get("huge_total")
    return len(family.labels) if family else 0


def test_after_each_share_of_a_huge_catalogue_new_series_of_others_are_served(namespace: str, huge: Telemetry) -> None:
    with Telemetry("good", namespace) as good, Reader(namespace, ephemeral=True, windows=False) as reader:
        new, role, before, rounds = good.counter("good", labels=("n",)), reader._role, 0, 0
        assert role is not None
        while before < SERIES:
            new.labels(rounds).inc()
            role._keeper.attend()  # what the reader's threads do by turns
            role._agent.poll()
            assert before < shown(reader) <= before + SHARE
            before = shown(reader)
            rounds += 1
            if rounds > 1:  # it waited for its turn once at most
                assert reader.snapshot().value("good_total", n=str(rounds - 2)) == 1
        assert rounds >= SERIES / SHARE


def test_a_huge_catalogue_of_a_dead_producer_holds_up_nobody_either(namespace: str) -> None:
    def define() -> None:
        counter = Telemetry("huge", namespace).counter("huge", labels=("n",))
        for number in range(SERIES):
            counter.labels(number)

    in_child(define)
    with Telemetry("good", namespace) as good, Reader(namespace, ephemeral=True, windows=False) as reader:
        new, role, rounds = good.counter("good", labels=("n",)), reader._role, 0
        assert role is not None
        while list(segment_names(namespace, "huge")):
            new.labels(rounds).inc()
            role._keeper.attend()
            role._keeper.check_all()
            role._agent.poll()
            rounds += 1
            assert shown(reader) <= rounds * SHARE
            if rounds > 1:
                assert reader.snapshot().value("good_total", n=str(rounds - 2)) == 1
        assert shown(reader) == SERIES


def test_a_huge_catalogue_is_learned_to_its_end_without_a_record(namespace: str, huge: Telemetry) -> None:
    with Reader(namespace, ephemeral=True, windows=False) as reader:
        reader.start()
        wait_until(lambda: shown(reader) == SERIES, "all of its series are there")


@pytest.mark.slow
@pytest.mark.unsanitized(reason="a sanitizer keeps memory that was freed")
def test_ever_new_label_values_take_a_bounded_memory(namespace: str) -> None:
    schema = Schema([("who", "S4096"), ("n", "<u8")], {"who": field("label"), "n": field("counter", name="n")})
    records = np.zeros(256, schema.dtype)
    records["n"] = 1
    with (
        Producer("liar", schema, namespace, capacity=256) as liar,
        Reader(namespace, ephemeral=True, max_series=10, windows=False) as reader,
    ):
        before = anonymous_bytes(os.getpid())
        for begin in range(0, 48 * 1024, 256):
            records["who"] = [b"%04095d" % number for number in range(begin, begin + 256)]
            assert liar.emit_many(records) == 256
            while reader.poll():
                pass
        assert reader.snapshot().value("n_total", who="overflow") >= 48 * 1024 - 10
        assert anonymous_bytes(os.getpid()) - before < 110 * 2**20  # all of them would be 192 MiB
