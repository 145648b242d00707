"""A reader that is killed at a chosen instruction or line, and the next one, who must find everything exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import numpy as np

from shmtelemetry import Producer, Reader, Telemetry
from tests.kills import BOUNDS, RECORD, SCHEMA
from tests.stepping import lines_until_end, steps_until_end


class Witness:
    """Producers that emit a little in each round, and what their reader must have then."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.telemetry = Telemetry("p", namespace, capacity=16)
        self.ring = Producer("r", SCHEMA, namespace, capacity=16)
        self._turn = count()
        self._counted: Counter[str] = Counter()
        self._observed: list[float] = []
        self._of_records: list[float] = []
        self._dropped = 0
        self._gauge = 0.0

    def emit(self) -> None:
        """Counters, gauges and histograms of new octaves and extremes, some of them into a full ring."""
        turn = next(self._turn)
        counter, gauge = self.telemetry.counter("n", labels=("k",)), self.telemetry.gauge("g")
        histogram = self.telemetry.histogram("o", buckets=BOUNDS)
        for step in range(10):
            counter.labels(step % 3).inc(step)
            self._counted[str(step % 3)] += step
            value = 2.0 ** ((turn * 10 + step) % 30 - 15)
            if histogram.observe(value):
                self._observed.append(value)
            else:
                self._dropped += 1
            self._gauge = float(turn * 10 + step)
            gauge.set(self._gauge)
        batch = np.array([(b"%d" % who, 2.0 ** ((turn + who) % 30 - 15), turn) for who in range(5)], RECORD)
        assert self.ring.emit_many(batch) == len(batch)
        self._of_records += batch["value"].tolist()

    def end_a_producer(self) -> None:
        """One more producer, which has ended before its reader sees it."""
        with Telemetry("short", self.namespace, capacity=16) as telemetry:
            telemetry.counter("n", labels=("k",)).labels("short").inc(5)
            telemetry.gauge("part", merge="sum").set(1.0)
        self._counted["short"] += 5

    def check(self, reader: Reader) -> None:
        reader.poll()
        snapshot = reader.snapshot()
        family = snapshot.families["n_total"]
        assert dict(zip([k for (k,) in family.labels], family.values.tolist(), strict=True)) == dict(self._counted)
        assert snapshot.value("g") == self._gauge
        ours = snapshot.histogram("o")
        assert (ours.count, ours.sum) == (len(self._observed), sum(self._observed))
        assert int(ours.exponential.sum()) == len(self._observed)
        assert (ours.min, ours.max) == (min(self._observed), max(self._observed))
        theirs = [snapshot.histogram("h", who=who) for (who,) in snapshot.families["h"].labels]
        assert sum(histogram.count for histogram in theirs) == len(self._of_records)
        assert sum(histogram.sum for histogram in theirs) == sum(self._of_records)
        assert sum(int(histogram.exponential.sum()) for histogram in theirs) == len(self._of_records)
        for producer, stats in (("p", self.telemetry.stats()), ("r", self.ring.stats())):
            totals = snapshot.producers[producer]
            assert totals.holds
            assert (totals.attempted, totals.consumed) == (stats.attempted, stats.consumed)
        assert snapshot.producers["p"].dropped["full"] == self._dropped
        assert snapshot.producers["p"].live == snapshot.producers["r"].live == 1
        if "short" in snapshot.producers:
            assert snapshot.producers["short"].live == 0
            assert snapshot.producers["short"].consumed == 2 * self._counted["short"] // 5
            assert len(snapshot.families["part"].values) == 0

    def close(self) -> None:
        self.telemetry.close()
        self.ring.close()
        Reader(self.namespace, ephemeral=True).close()


@contextmanager
def witness(namespace: str) -> Iterator[Witness]:
    made = Witness(namespace)
    try:
        yield made
    finally:
        made.close()


def kill_after_instructions(made: Witness, bound: int | None) -> int:
    """One round in which the reader's loop is killed after so many instructions; returns how many it made."""

    def prepare() -> Callable[[], object]:
        reader = Reader(made.namespace)
        reader.poll()  # so that what follows needs no keeper
        return lambda: reader._agent.poll()

    made.emit()
    steps = steps_until_end(prepare, made.emit, bound)
    with Reader(made.namespace) as reader:
        made.check(reader)
    return steps


def kill_at_line(made: Witness, bound: int | None) -> int:
    """One round in which the reader is killed at a line of its Python; returns how many it made."""

    def read() -> None:
        with Reader(made.namespace) as reader:
            reader.poll()

    made.emit()
    made.end_a_producer()
    lines = lines_until_end(read, "/shmtelemetry/", bound)
    with Reader(made.namespace) as reader:
        made.check(reader)
    return lines
