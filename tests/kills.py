"""kill -9 of readers and producers at random moments under load; afterwards everything is counted exactly."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np

from shmtelemetry import Producer, Reader, Schema, Telemetry, field
from shmtelemetry.accounting import segment_stats
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.segment import segment_names
from tests.histograms import exponential_counts, histogram_of
from tests.processes import child, wait_until
from tests.reading import read_position, running_reader, talker, the_segment, write_position

SERIES = 7  # odd, so that each series gets each value
VALUES = (0.25, 1.0, 3.0, 2.0**20, 0.0, -1.0)  # their sums are exact
BOUNDS = (0.25, 2.0, 4.0)

Asked = Callable[[], bool]
Seen = dict[str, dict[str, Counter[float]]]  # metric → series → value → how often it was accepted

RECORD = np.dtype([("who", "S4"), ("value", "<f8"), ("seq", "<u8")])
SCHEMA = Schema(
    RECORD,
    {
        "who": field("label"),
        "value": field("histogram", name="h", buckets=BOUNDS),
        "seq": field("total", name="c"),
    },
)


def emit_instruments(namespace: str, asked: Asked, capacity: int = 8192) -> Seen:
    """Counters and histograms, one record after the other; what emit accepted is noted."""
    counted = {str(n): Counter[float]() for n in range(SERIES)}
    observed = {str(n): Counter[float]() for n in range(SERIES)}
    with Telemetry("p", namespace, capacity=capacity) as telemetry:
        counter, histogram = (
            telemetry.counter("c", labels=("who",)),
            telemetry.histogram("h", labels=("who",), buckets=BOUNDS),
        )
        handles = [(counter.labels(n).inc, counted[n], histogram.labels(n).observe, observed[n]) for n in counted]
        begin = 0
        while not asked():
            for turn in range(begin, begin + 100 * SERIES):
                inc, totals, observe, values = handles[turn % SERIES]
                value = VALUES[turn % len(VALUES)]
                inc(3.0)
                totals[3.0] += 1
                if observe(value):
                    values[value] += 1
            begin += 100 * SERIES
    return {"c": counted, "h": observed}


def emit_records(namespace: str, asked: Asked) -> Seen:
    """Records of a schema: a total and a histogram each; nothing is dropped, emit_many waits for room."""
    counted = {str(n): Counter[float]() for n in range(SERIES)}
    observed = {str(n): Counter[float]() for n in range(SERIES)}
    count = SERIES * len(VALUES)
    batch = np.zeros(count, RECORD)
    batch["who"] = [str(n % SERIES).encode() for n in range(count)]
    batch["value"] = [VALUES[n % len(VALUES)] for n in range(count)]
    runs = 0
    with Producer("p", SCHEMA, namespace, capacity=8192, policy="block", timeout=None) as ring:
        while not asked():
            runs += 1
            batch["seq"] = runs
            assert ring.emit_many(batch) == count
    for who, values in observed.items():
        values.update(dict.fromkeys(VALUES, runs))
        counted[who][1.0] = runs
    return {"c": counted, "h": observed}


def kill_readers(namespace: str, emit: Callable[[str, Asked], Seen], kills: int, chance: Random) -> None:
    """Each reader is killed after a random number of records; the last one says what all have counted."""
    with talker(lambda asked: emit(namespace, asked)) as producer:
        segment = the_segment(namespace)
        for _ in range(kills):
            with running_reader(namespace) as reader:
                goal = read_position(segment) + chance.randrange(1, 30_000)
                wait_until(lambda: read_position(segment) >= goal, "the reader has come that far")  # noqa: B023
                os.kill(reader, signal.SIGKILL)
        with Reader(namespace, ephemeral=True) as last:
            last.start()
            seen = producer.finish()
            assert last.settle(60.0)
            snapshot = last.snapshot()
            assert_counted(snapshot, seen)
            stats = segment_stats(segment)
            assert snapshot.producers["p"].consumed == stats.consumed == write_position(segment)
            assert snapshot.producers["p"].attempted == stats.attempted
        segment.close()


def assert_counted(snapshot: Snapshot, seen: Seen) -> None:
    for who, values in seen["c"].items():
        assert snapshot.value("c_total", who=who) == sum(value * times for value, times in values.items())
    for who, values in seen["h"].items():
        histogram, one = snapshot.histogram("h", who=who), histogram_of(VALUES, BOUNDS)
        assert set(exponential_counts(histogram)) == set(exponential_counts(one))
        for bound, count in histogram.buckets:
            assert count == sum(times for value, times in values.items() if value <= bound)
        assert sum(exponential_counts(histogram).values()) == sum(times for value, times in values.items() if value > 0)
        assert (histogram.zeros, histogram.negatives) == (values[0.0], values[-1.0])
        assert histogram.sum == sum(value * times for value, times in values.items())
        assert (histogram.min, histogram.max) == (-1.0, 2.0**20)
    totals = snapshot.producers["p"]
    assert totals.holds
    assert totals.invalid == 0


def kill_producers(namespace: str, kills: int, chance: Random) -> None:
    """Each producer is killed after a random number of records; what they had published is all there."""

    def emit() -> None:
        emit_instruments(namespace, lambda: False, capacity=1024)

    with running_reader(namespace) as reader:
        published = coalesced = dropped = aborted = 0
        for _ in range(kills):
            with child(emit) as pid:
                segment = the_segment(namespace)
                goal = chance.randrange(1, 5_000)
                wait_until(lambda: write_position(segment) >= goal, "the producer has come that far")  # noqa: B023
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not list(segment_names(namespace)), "its segment is drained and unlinked")
            stats = segment_stats(segment)
            assert stats.in_ring == 0
            assert 0 <= stats.aborted <= 1
            published, coalesced = published + stats.consumed, coalesced + stats.coalesced
            dropped, aborted = dropped + stats.dropped["full"], aborted + stats.aborted
            segment.close()
        os.kill(reader, signal.SIGKILL)
    with Reader(namespace, ephemeral=True) as last:
        snapshot = last.snapshot()
    totals = snapshot.producers["p"]
    assert totals.holds
    assert (totals.live, totals.in_ring) == (0, 0)
    assert (totals.consumed, totals.coalesced, totals.dropped["full"]) == (published, coalesced, dropped)
    assert totals.aborted == aborted
    observed = [snapshot.histogram("h", who=who).count for (who,) in snapshot.families["h"].labels]
    counted = snapshot.families["c_total"].values.sum() / 3.0
    # A kill between a cell and the counter that tells of it: the step is in, and in no account.
    assert published + coalesced <= counted + sum(observed) <= published + coalesced + kills
