"""What `shmtel doctor` finds of a namespace: its segments, its reader, and what the reader has aggregated."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from .. import layout
from ..accounting import has_consumer, has_reader, nobody_needs, segment_stats
from ..aggregate.aside import kept_names
from ..aggregate.by_producer import by_producer
from ..aggregate.outside import last_turn
from ..aggregate.snapshot import Snapshot
from ..aggregate.state import state_path
from ..errors import SegmentError, StateError
from ..liveness import Process
from ..metric import Metric
from ..reader import read_state
from ..reader.control import control_path
from ..reader.definitions import definitions
from ..segment import DIRECTORY, Segment, attach, segment_names
from .findings import Finding

TURNING: Final = 2.0  # seconds without a turn after which a reader stands still


class Namespace:
    """One look at a namespace, which changes nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.read = has_reader(name)
        self._metrics: dict[str, tuple[Metric, str]] = {}  # name → its first definition, and whose it is

    def findings(self) -> Iterator[Finding]:
        yield self._reader()
        yield from self._state()
        for name in sorted(segment_names(self.name)):
            yield from self._segment(name)
        for name, _ in sorted(kept_names(DIRECTORY, self.name)):
            size = os.stat(os.path.join(DIRECTORY, name)).st_size
            advice = "look into it if totals are missed; then shmtel gc --states"
            yield self._finding("note", "state", f"{name}, {size:,} bytes, was kept aside by --reset-state", advice)

    def _finding(self, severity: str, topic: str, found: str, advice: str = "") -> Finding:
        return Finding(severity, topic, found, advice, self.name)

    # ---- the reader and its state ----

    def _reader(self) -> Finding:
        start = f"start one: shmtel reader --namespace {self.name}"
        if not self.read:
            rings = sum(1 for _ in segment_names(self.name))
            if rings:
                return self._finding("problem", "reader", f"nobody reads these {rings} rings", start)
            return self._finding("note", "reader", "nobody reads this namespace", f"if it is still used, {start}")
        pid = _shown_pid(self.name)
        age = self._age()
        if age is None or age > TURNING:
            since = "never turned" if age is None else f"made its last turn {age:.1f} s ago"
            advice = f"see what process {pid} does (stopped? without CPU? its log), and restart it: nothing is lost"
            return self._finding("problem", "reader", f"process {pid} has the role and {since}", advice)
        return self._finding("ok", "reader", f"process {pid} reads it; its last turn was {age * 1e3:.0f} ms ago")

    def _age(self) -> float | None:
        """Seconds since the reader's last turn; None if it has made none."""
        _, turn_ns = last_turn(state_path(DIRECTORY, self.name, os.geteuid()))
        return max(0.0, time.time() - turn_ns / 1e9) if turn_ns else None

    def _state(self) -> Iterator[Finding]:
        if not os.path.lexists(state_path(DIRECTORY, self.name, os.geteuid())):
            return
        try:
            snapshot = read_state(self.name)
        except StateError as error:
            yield self._finding("problem", "state", str(error), "nothing was changed; do what it says")
            return
        owner = "the state"
        self._metrics = {name: (family.metric, owner) for name, family in snapshot.families.items()}
        yield from self._aggregated(snapshot)
        for producer in snapshot.producers.values():
            yield from self._lost(producer.name, sum(producer.dropped.values()), producer.attempted, producer.invalid)

    def _aggregated(self, snapshot: Snapshot) -> Iterator[Finding]:
        series, beyond = snapshot.value("shmtel_series"), snapshot.value("shmtel_series_overflow_total")
        if beyond:
            advice = "use labels with fewer values, or raise --max-series, for label sets that are new then"
            found = f"{beyond:,.0f} label sets are counted together as overflow, beside {series:,.0f} series"
            yield self._finding("problem", "series", found, advice)
        else:
            yield self._finding("ok", "series", f"{series:,.0f} series, none beyond the bound")
        if retired := snapshot.value("shmtel_producers", state="retired"):
            advice = "their owners run shmtel gc"
            found = f"{retired:,.0f} drained segments of other users cannot be removed"
            yield self._finding("note", "segments", found, advice)
        if conflicts := snapshot.value("shmtel_conflicting_metrics_total"):
            advice = "those of producers that are there are named here, others in the reader's log"
            found = f"{conflicts:,.0f} definitions disagreed with an earlier one"
            yield self._finding("note", "metrics", found, advice)

    def _lost(self, producer: str, dropped: int, attempted: int, invalid: int) -> Iterator[Finding]:
        if dropped:
            found = f"{producer} dropped {dropped:,} of {attempted:,} records since its totals began"
            advice = "give its ring a larger capacity, emit less, or give the reader more CPU"
            yield self._finding("note", "drops", found, advice)
        if invalid:
            advice = "its metric takes no such values: negative counter steps or NaN; mend the producer"
            yield self._finding("note", "drops", f"{producer} wrote {invalid:,} records that do not count", advice)

    # ---- segments ----

    def _segment(self, name: str) -> Iterator[Finding]:
        path = os.path.join(DIRECTORY, name)
        try:
            segment = attach(name)
        except SegmentError as error:
            if os.path.lexists(path):
                advice = f"stop what wrote it; if nobody needs it: rm {path}"
                yield self._finding("problem", "segments", f"cannot be read: {error}", advice)
            return
        try:
            yield from self._lives(segment)
            yield from self._defines(segment)
        finally:
            segment.close()

    def _lives(self, segment: Segment) -> Iterator[Finding]:
        name, stats, process = segment.name, segment_stats(segment), segment.header.process
        if segment.owner != os.geteuid():
            advice = f"a reader of user {segment.owner} takes it"
            yield self._finding("note", "segments", f"{name} belongs to user {segment.owner}", advice)
            return
        if has_consumer(segment) and segment.mapping.load(segment.header.reader_offset + layout.READER_ROLE) == (
            layout.ROLE_CONSUMER
        ):
            pid = segment.mapping.load(segment.header.reader_offset + layout.READER_PID)
            advice = "its records are in no metric; that is right if the consumer is meant"
            yield self._finding("note", "segments", f"{name} is read by a Consumer, process {pid}", advice)
        if segment.alive():
            if process.pid_namespace != Process.current().pid_namespace:
                advice = "nothing, as long as both share /dev/shm: its end is seen by its lock"
                yield self._finding("note", "segments", f"{name} is of another pid namespace", advice)
            full = stats.in_ring >= stats.capacity
            found = f"{name} of process {process.pid}: {stats.in_ring:,} of {stats.capacity:,} records wait"
            advice = "see the reader above; a larger capacity bridges longer pauses" if full else ""
            yield self._finding("problem" if full else "ok", "segments", found, advice)
            if not self.read:
                yield from self._lost(segment.producer, sum(stats.dropped.values()), stats.attempted, 0)
        elif not self.read:
            if nobody_needs(segment):
                yield self._finding("note", "segments", f"{name}: its producer has ended, all is read", "shmtel gc")
            else:
                found = f"{name}: its producer has ended, and its totals or {stats.in_ring:,} records are not taken"
                advice = f"shmtel reader --namespace {self.name} --once takes them; shmtel gc --undrained gives them up"
                yield self._finding("problem", "segments", found, advice)

    def _defines(self, segment: Segment) -> Iterator[Finding]:
        try:
            metrics = definitions(segment)
        except SegmentError as error:
            advice = "stop what wrote it, or update this release"
            yield self._finding("problem", "metrics", f"definitions cannot be read: {error}", advice)
            return
        for metric in metrics:
            first, owner = self._metrics.setdefault(metric.name, (metric, segment.producer))
            if not first.agrees(metric) and not first.agrees(by_producer(metric)):
                found = f"{metric.name} of {segment.producer} is not counted: it is {_told(metric)}, "
                found += f"that of {owner} {_told(first)}"
                advice = "rename one of them, or restart what runs the older release"
                yield self._finding("problem", "metrics", found, advice)


def _told(metric: Metric) -> str:
    merge = f", merge {metric.merge}" if metric.kind == "gauge" else ""
    unit = f", in {metric.unit}" if metric.unit else ""
    return f"a {metric.kind} by ({', '.join(metric.labels)}){merge}{unit}"


def _shown_pid(namespace: str) -> int:
    """The reader's pid, as it wrote it; 0 where none can be read."""
    with suppress(OSError, ValueError), open(control_path(namespace), "rb") as file:
        return int(file.read(20))
    return 0
