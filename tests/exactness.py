"""A reader that is killed at a chosen instruction or line, and the next one, who must find everything exactly once."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from unittest import mock

import numpy as np

from shmtelemetry import Producer, Reader, Telemetry, read_state
from shmtelemetry.aggregate import outside
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.segment import segment_names
from tests.kills import BOUNDS, RECORD, SCHEMA
from tests.reading import SHM, state_of
from tests.stepping import instants, lines_until_end


def _value(turn: int, step: int) -> float:
    return float(2.0 ** ((turn * 10 + step) % 30 - 15))


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
        self._exemplars: dict[tuple[str, int], tuple[float, str]] = {}  # (metric, bucket) → the newest

    def emit(self) -> None:
        """Counters, gauges and histograms of new octaves and extremes, some of them into a full ring."""
        turn = next(self._turn)
        counter, gauge = self.telemetry.counter("n", labels=("k",)), self.telemetry.gauge("g")
        histogram = self.telemetry.histogram("o", buckets=BOUNDS)
        for step in range(10):
            counter.labels(step % 3).inc(step)
            self._counted[str(step % 3)] += step
            value = _value(turn, step)
            exemplar = f"{turn}-{step}" * (step + 1)
            if histogram.observe(value, exemplar):
                self._observed.append(value)
                self._exemplars["o", sum(bound < value for bound in BOUNDS)] = value, exemplar
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
        shown = {("o", one.bucket): (one.value, one.labels[0][1]) for one in snapshot.families["o"].exemplars}
        assert shown == self._exemplars
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
            assert (totals.attempted, totals.in_ring) == (stats.attempted, 0)
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


def check_every_instant(made: Witness) -> int:
    """One round in which the reader's loop is looked at after each instruction that changes shared memory.

    What lies there at such an instant is what a kill would leave, so a copy of it is given to another reader, who must
    have everything exactly once. Returns how many such instants there were.
    """

    def prepare() -> Callable[[], object]:
        reader = Reader(made.namespace)
        reader.poll()  # learns every series, so that what follows needs no keeper
        return lambda: reader._role._agent.poll()

    def meanwhile() -> None:
        image.open()  # not before: to prepare may have made the state grow
        made.emit()

    instant = -1
    with _image(made) as image:
        made.emit()
        for instant, step in enumerate(instants(prepare, meanwhile, image.look)):
            try:
                with image.reader() as reader:
                    made.check(reader)
            except AssertionError as error:
                raise AssertionError(f"after instruction {step}, change {instant} of shared memory") from error
    with Reader(made.namespace) as reader:
        made.check(reader)
    return instant + 1


class Image:
    """The state and the segments of a namespace, as they are at one instant."""

    def __init__(self, namespace: str) -> None:
        self.copied = f"{namespace}-image"
        self._files = [state_of(namespace), *(SHM / name for name in segment_names(namespace))]
        self._maps: list[mmap.mmap] = []
        self._seen: list[bytes] = []
        self._changes = 0

    def open(self) -> None:
        """Look at the files as large as they are now."""
        for path in self._files:
            with path.open("rb") as file:
                self._maps.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        self._seen = [view[:] for view in self._maps]

    def look(self) -> int:
        """How many different contents there were so far."""
        for at, view in enumerate(self._maps):
            if view[:] != self._seen[at]:
                self._seen[at] = view[:]
                self._changes += 1
        return self._changes

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """A reader of a copy, which others have looked at before."""
        namespace = self._files[0].name.split(".")[1]
        for path, content in zip(self._files, self._seen, strict=True):
            (SHM / path.name.replace(f".{namespace}.", f".{self.copied}.")).write_bytes(content)
        with mock.patch.object(outside, "PATIENCE", 0.0):  # nobody will end what is half done
            assert_consistent(read_state(self.copied))
        with Reader(self.copied, ephemeral=True) as reader:
            yield reader

    def close(self) -> None:
        for view in self._maps:
            view.close()
        for path in SHM.glob(f"shmtel.{self.copied}.*"):
            path.unlink()


def assert_consistent(snapshot: Snapshot) -> None:
    """Each histogram counts every observation once in each of its two ways."""
    for name, family in snapshot.families.items():
        for labels in family.labels if family.counts is not None else ():
            histogram = snapshot.histogram(name, **dict(zip(family.label_names, labels, strict=True)))
            others = histogram.zeros + histogram.negatives + histogram.infinities
            assert int(histogram.exponential.sum()) + others == histogram.count
            assert (histogram.sum == 0) == (histogram.count == others)
        for one in family.exemplars:
            text = one.labels[0][1]
            turn, step = text.partition("-")[0], int(text[-1])
            assert text == f"{turn}-{step}" * (step + 1)
            assert one.value == _value(int(turn), step)
    assert all(producer.holds for producer in snapshot.producers.values())


@contextmanager
def _image(made: Witness) -> Iterator[Image]:
    with Reader(made.namespace) as reader:
        reader.poll()
    image = Image(made.namespace)
    try:
        yield image
    finally:
        image.close()


def kill_at_line(made: Witness, bound: int | None, module: str = "/shmtelemetry/") -> int:
    """One round in which the reader is killed at a line of its Python; returns how many it made.

    module: what the names of the modules have in them whose lines count.
    """

    def read() -> None:
        with Reader(made.namespace) as reader:
            reader.poll()

    made.emit()
    made.end_a_producer()
    lines = lines_until_end(read, module, bound)
    with Reader(made.namespace) as reader:
        made.check(reader)
    assert len(list(segment_names(made.namespace))) == 2
    return lines
