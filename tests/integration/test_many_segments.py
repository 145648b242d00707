"""Thousands of segments, in other namespaces and in one's own, and producers that come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.aggregate.series import SERIES_TABLE, SLOTS
from shmtelemetry.reader import discovery
from shmtelemetry.segment import create, segment_names
from tests.processes import wait_until
from tests.reading import talker

SCHEMA = Schema([("x", "<u8")], {"x": field("counter", name="m")})
OTHERS = 10_000
OURS = 2_000
ENOUGH = 60.0
ROOM = 256 * 2**20
KILLED = 300
PAGES_OF_LAG = 40 * 256  # bytes: the reader's own histogram has a page for each octave that its lag was in


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def segments_of_others(namespace: str, count: int) -> Iterator[None]:
    """Segments in ten other namespaces, whose producers are gone."""
    space = os.statvfs("/dev/shm")
    if space.f_blocks and space.f_bavail * space.f_frsize < ROOM:
        pytest.skip("/dev/shm has no room for ten thousand segments")
    try:
        for number in range(count):
            create(f"{namespace}-{number % 10}", "p", SCHEMA, capacity=2, policy="drop_newest", clock=0).close()
        yield
    finally:
        for path in Path("/dev/shm").glob(f"shmtel.{namespace}-?.*"):
            path.unlink()


@pytest.mark.slow
def test_ten_thousand_segments_of_other_namespaces_are_nobodys_business(namespace: str) -> None:
    with segments_of_others(namespace, OTHERS), Reader(namespace, ephemeral=True) as reader:
        before = descriptors()
        reader.start()
        for total in range(1, 11):
            with Telemetry("p", namespace, capacity=64) as telemetry:
                telemetry.counter("c").inc()
                assert reader.catch_up(ENOUGH)
                assert reader.snapshot().value("c_total") == total
        assert reader.settle(ENOUGH)
        assert descriptors() == before
        producers = reader.snapshot().producers
        assert set(producers) == {"p"}
        assert len(list(segment_names(namespace + "-3"))) == OTHERS // 10


@pytest.mark.slow
def test_two_thousand_producers_are_drained_with_no_descriptor_more(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, ExitStack() as producers:
        before = descriptors()
        rings = [producers.enter_context(Producer(f"p{n % 7}", SCHEMA, namespace, capacity=2)) for n in range(OURS)]
        open_for_producers = descriptors() - before
        for turn in range(1, 4):
            assert all(ring.emit_fields(turn) for ring in rings)
            reader.poll()
            snapshot = reader.snapshot()
            assert snapshot.value("m_total") == OURS * turn * (turn + 1) // 2
            assert snapshot.value("shmtel_producers", state="live") == OURS
            assert descriptors() - before == open_for_producers
        assert all(producer.holds for producer in snapshot.producers.values())
        assert sum(producer.consumed for producer in snapshot.producers.values()) == 3 * OURS
        producers.close()
        reader.poll()
        assert list(segment_names(namespace)) == []
        assert reader.snapshot().value("shmtel_producers", state="live") == 0
        assert reader.snapshot().value("m_total") == 6 * OURS
        assert descriptors() == before


@pytest.mark.slow
def test_the_running_loop_ends_killed_producers_and_unmaps_their_segments(namespace: str) -> None:
    def mappings() -> int:
        return sum(namespace in line for line in Path("/proc/self/maps").read_text().splitlines())

    def die(_asked: object) -> None:
        for _ in range(KILLED):
            ring = Producer("p", SCHEMA, namespace, capacity=2)
            ring.emit_fields(1)
            rings.append(ring)
        os._exit(0)

    rings: list[Producer] = []
    with talker(die) as producer:
        os.waitpid(producer.pid, 0)
    assert len(list(segment_names(namespace))) == KILLED
    with Reader(namespace, ephemeral=True) as reader:
        empty = mappings()
        reader.start()
        assert reader.settle(ENOUGH)
        assert reader.snapshot().value("m_total") == KILLED
        assert list(segment_names(namespace)) == []
        assert mappings() <= empty


@pytest.mark.slow
def test_three_hundred_short_lives_give_exact_totals_that_never_fall(namespace: str) -> None:
    def live_and_die(asked: Callable[[], bool]) -> int:
        for number in range(300):
            with Telemetry(f"p{number % 3}", namespace, capacity=64) as telemetry:
                telemetry.counter("c").inc(number)
                telemetry.gauge("g", merge="sum").set(1)
                telemetry.histogram("h", buckets=(100.0,)).observe(number)
        wait_until(asked, "the test is done")
        return sum(range(300))

    with Reader(namespace, ephemeral=True) as reader, talker(live_and_die) as lives:
        reader.start()
        seen = [0.0]
        while seen[-1] < sum(range(300)):
            snapshot = reader.snapshot()
            if "c_total" in snapshot.families:
                seen.append(snapshot.value("c_total"))
        assert seen == sorted(seen)
        assert reader.settle(ENOUGH)
        assert seen[-1] == reader.snapshot().value("c_total") == lives.finish()
        snapshot = reader.snapshot()
        assert snapshot.histogram("h").buckets == ((100.0, 101), (float("inf"), 300))
        assert len(snapshot.families["g"].values) == 0
        assert sum(producer.attempted for producer in snapshot.producers.values()) == 900
        assert all(producer.holds and producer.live == 0 for producer in snapshot.producers.values())
        assert list(segment_names(namespace)) == []


def test_slots_and_series_of_the_ended_are_used_again(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        sizes = []
        for number in range(60):
            with Telemetry("p", namespace, capacity=64) as telemetry:
                for metric in range(20):
                    telemetry.counter(f"c{metric}").inc()
                telemetry.gauge("g", merge="max").set(number)
            reader.poll()
            state = reader._role._state
            sizes.append((state.length(SLOTS), state.length(SERIES_TABLE), state.get("allocated")))
        slots, series, allocated = zip(*sizes, strict=True)
        assert set(slots) == {1}
        assert set(series) == {series[0]}
        assert allocated[-1] - allocated[0] <= PAGES_OF_LAG


def test_a_look_that_was_held_up_does_not_put_off_the_next_one(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def held_up(namespace: str) -> Iterator[str]:
        time.sleep(0.5)  # as when another program has the core, or another thread the GIL
        return segment_names(namespace)

    monkeypatch.setattr(discovery, "segment_names", held_up)
    looks = discovery.Discovery(namespace)
    assert looks.new_names() == []
    with Telemetry("p", namespace) as telemetry:
        name = telemetry._producer.segment.name
        assert wait_until(looks.new_names, "it is found") == [name]
