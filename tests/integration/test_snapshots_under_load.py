"""While producers write at full speed, every snapshot is consistent in each series, from whichever process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from shmtelemetry import Reader, Telemetry, read_state
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import wait_until
from tests.reading import running_reader, state_of, talker

SNAPSHOTS = 300
OBSERVATIONS = 3_000_000


def observe_twos_and_bits(namespace: str, asked: Callable[[], bool]) -> None:
    """One histogram of twos; one of powers of two, so that the sum says which of them are in it."""
    with Telemetry("p", namespace, capacity=8192) as telemetry:
        twos = telemetry.histogram("twos", buckets=(1.0, 2.0, 3.0)).observe
        mixed = telemetry.histogram("mixed", buckets=(1.0, 1024.0)).observe
        while not asked():
            for _ in range(200):
                twos(2.0)
                mixed(1.0)
                twos(2.0)
                mixed(4096.0)


def assert_consistent(snapshot: Snapshot) -> int:
    """Returns how many observations there were."""
    if not all(name in snapshot.families and snapshot.families[name].labels for name in ("twos", "mixed")):
        return 0  # a metric is there a moment before its first series
    twos, mixed = snapshot.histogram("twos"), snapshot.histogram("mixed")
    assert twos.sum == 2.0 * twos.count == 2.0 * int(twos.exponential.sum())
    assert [count for _, count in twos.buckets] == [0, twos.count, twos.count, twos.count]
    small, large = mixed.buckets[0][1], mixed.count - mixed.buckets[1][1]
    assert mixed.sum == small + 4096.0 * large
    assert small + large == mixed.count == int(mixed.exponential.sum())
    assert [int(count) for count in mixed.exponential if count] == [count for count in (small, large) if count]
    producer = snapshot.producers["p"]
    assert producer.holds
    assert 0 <= producer.in_ring <= producer.capacity
    assert producer.aborted == 0
    return twos.count + mixed.count


def assert_all_consistent(look: Callable[[], Snapshot]) -> None:
    counts = [wait_until(lambda: assert_consistent(look()), "there is something to see")]
    while len(counts) < SNAPSHOTS or counts[-1] < counts[0] + OBSERVATIONS:
        counts.append(assert_consistent(look()))
    assert counts == sorted(counts)


@contextmanager
def producing(namespace: str) -> Iterator[None]:
    with talker(lambda asked: observe_twos_and_bits(namespace, asked)) as producer:
        yield
        producer.finish()


@pytest.mark.slow
def test_snapshots_of_the_reader_itself_are_consistent_and_only_grow(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, producing(namespace):
        reader.start()
        assert_all_consistent(reader.snapshot)


@pytest.mark.slow
def test_snapshots_from_another_process_are_consistent_and_only_grow(namespace: str) -> None:
    with running_reader(namespace), producing(namespace):
        assert_all_consistent(lambda: read_state(namespace))
    Reader(namespace, ephemeral=True).close()


@pytest.mark.slow
def test_snapshots_follow_a_state_that_grows_under_them(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        reader.start()
        family = telemetry.histogram("h", labels=("n",))
        done = threading.Event()

        def widen() -> None:
            for number in range(600):  # a page for each octave: 1 MB in all
                series = family.labels(number)
                assert all(series.observe(2.0**exponent) for exponent in range(8))
            done.set()

        thread = threading.Thread(target=widen)
        begin = state_of(namespace).stat().st_size
        thread.start()
        while not done.is_set():
            for snapshot in (reader.snapshot(), reader.snapshot(distributions=False), read_state(namespace)):
                if "h" in snapshot.families:
                    family_now = snapshot.families["h"]
                    assert family_now.counts is not None
                    assert len(family_now.labels) == len(family_now.values) == len(family_now.counts)
        thread.join()
        wait_until(lambda: telemetry.stats().in_ring == 0, "all is drained")
        assert state_of(namespace).stat().st_size > begin
        snapshot = reader.snapshot()
        assert [snapshot.histogram("h", n=str(n)).count for n in range(600)] == [8] * 600


@pytest.mark.slow
def test_totals_never_fall_while_producers_come_and_go(namespace: str) -> None:
    def come_and_go(asked: Callable[[], bool]) -> int:
        emitted = 0
        while not asked():
            with Telemetry("p", namespace, capacity=64) as telemetry:
                emitted += sum(telemetry.counter("c").inc() for _ in range(50))
        return emitted

    with Reader(namespace, ephemeral=True) as reader, talker(come_and_go) as producers:
        reader.start()
        seen, records = 0.0, 0.0
        for _ in range(3 * SNAPSHOTS):
            snapshot = reader.snapshot()
            if "p" in snapshot.producers:
                now = snapshot.producers["p"]
                assert now.holds
                assert records <= now.consumed
                records = now.consumed
            if "c_total" in snapshot.families:
                assert seen <= snapshot.value("c_total")
                seen = snapshot.value("c_total")
        emitted = producers.finish()
        assert reader.settle()
        assert reader.snapshot().value("c_total") == emitted
        totals = reader.snapshot().producers["p"]
        assert (totals.attempted, totals.live, totals.in_ring) == (emitted, 0, 0)
