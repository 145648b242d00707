"""Producers that are killed at random microseconds under load, and what they did by a tally of our own.

A tally lies in memory that outlives them. Each call is noted in it before and after, so a kill leaves one call in doubt
at most, and everything else is known exactly.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np

from shmtelemetry import Producer, Reader, Schema, Telemetry, telemetry
from shmtelemetry import field as schema_field
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.errors import SegmentSpaceError
from shmtelemetry.producer import Setup
from tests.processes import child, is_running
from tests.reading import read_until_killed

AT_ONCE = 4  # producers
CAPACITIES = (16, 256, 8192)  # records, so few that rings are often full
PAUSE = 0.004  # seconds between two kills at most
STARTS = (0, 2**32 - 3, 2**64 - 3)  # positions that rings begin with
STEP = 3.0  # of the counter
BATCH = 64  # records: what emit_many claims at a time
SCHEMA = Schema([("n", "<u8")], {"n": schema_field("counter", name="sent")})

Record = Callable[[str, object], None]  # pytest's record_property; the terminal's summary adds up what is recorded

COUNTED, OBSERVED, SENT, UNOPENED = range(4)  # rows of a tally
TRIED, ACCEPTED, REFUSED = range(3)  # and its columns


@dataclass
class Tally:
    """What producers did, by lane: at most one lives in a lane at a time."""

    lanes: np.ndarray = field(
        default_factory=lambda: np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.uint64)[: AT_ONCE * 12].reshape(-1, 4, 3)
    )
    kills: int = 0
    pids: set[int] = field(default_factory=set)

    def total(self, row: int, column: int) -> int:
        return int(self.lanes[:, row, column].sum())

    def doubt(self, row: int) -> int:
        """How many calls were begun of which nobody knows how they ended."""
        return self.total(row, TRIED) - self.total(row, ACCEPTED) - self.total(row, REFUSED)


def rage(namespace: str, turns: Iterable[object], chance: Random, next_pid: int | None = None) -> Tally:
    """Producers come, emit as fast as they can, and are killed, one in each turn, and all at the end.

    next_pid: the pid that each of them gets, or the next one that is free; so they get those of the dead, at once.
    """
    tally = Tally()
    works = (_instruments, partial(_records, "drop_newest"), partial(_records, "block"))

    def start(lane: int) -> tuple[int, ExitStack]:
        life = ExitStack()
        ring = namespace, chance.choice(CAPACITIES), chance.choice(STARTS)
        work = partial(chance.choice(works), *ring, lane, tally.lanes[lane])
        if next_pid is not None:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(next_pid - 1))
        pid = life.enter_context(child(partial(_unless_full, work, tally.lanes[lane])))
        tally.pids.add(pid)
        return pid, life

    def end(lane: int) -> None:
        pid, life = lives[lane]
        assert is_running(pid), "a producer ended by itself"
        life.close()
        tally.kills += 1

    lives = [start(lane) for lane in range(AT_ONCE)]
    try:
        for _ in turns:
            time.sleep(chance.uniform(0, PAUSE))
            lane = chance.randrange(AT_ONCE)
            end(lane)
            lives[lane] = start(lane)
        for lane in range(AT_ONCE):
            end(lane)
    finally:
        for _, life in lives:
            life.close()
    return tally


def _unless_full(work: Callable[[], None], tally: np.ndarray) -> None:
    """Do it, or wait for the end where /dev/shm has no room for one ring more."""
    try:
        work()
    except SegmentSpaceError:
        tally[UNOPENED, REFUSED] += 1
        signal.pause()


def _instruments(namespace: str, capacity: int, start: int, lane: int, tally: np.ndarray) -> None:
    with mock.patch.object(telemetry, "Setup", partial(Setup, start_position=start)):
        made = Telemetry(f"i{lane}", namespace, capacity)
    inc, observe = made.counter("counted").inc, made.histogram("observed", buckets=(1.0,)).observe
    counted, observed = tally[COUNTED], tally[OBSERVED]
    while True:
        counted[TRIED] += 1
        inc(STEP)
        counted[ACCEPTED] += 1
        observed[TRIED] += 1
        observed[ACCEPTED if observe(0.5) else REFUSED] += 1


def _records(policy: str, namespace: str, capacity: int, start: int, lane: int, tally: np.ndarray) -> None:
    setup = Setup(namespace, f"r{lane}", SCHEMA, capacity, policy, start_position=start)
    ring, batch, sent = Producer(setup.name, SCHEMA, setup=setup), np.ones(BATCH, SCHEMA.dtype), tally[SENT]
    while True:
        sent[TRIED] += BATCH
        accepted = ring.emit_many(batch)
        sent[ACCEPTED] += accepted
        sent[REFUSED] += BATCH - accepted


def killing_readers(namespace: str, kills: int, readers: int) -> Iterator[None]:
    """As many turns as `kills`, in the course of which as many readers are killed, some while they begin."""
    with ExitStack() as life:
        for turn in range(kills):
            if turn % (kills // readers) == 0:
                life.close()
                pid = life.enter_context(child(partial(read_until_killed, namespace)))
            yield
            assert is_running(pid), "the reader ended by itself"


def lasting(seconds: float) -> Iterator[None]:
    """Turns for so long, at a pace at which what is left for a stopped reader takes little room."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)


def filled_and_freed(path: Path) -> None:
    """Take all the room that is left on a file system, and give it back, over and over."""
    while True:
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(2**16)):
                pass
        time.sleep(PAUSE)
        os.truncate(path, 0)
        time.sleep(PAUSE)


def assert_counted(namespace: str, tally: Tally) -> None:
    """What producers did is in the state, but for what a kill left in doubt; the last reader removes everything."""
    with Reader(namespace, ephemeral=True) as last:
        last.start()
        assert last.settle(60.0)
        assert_exact(last.snapshot(), tally)


def assert_exact(snapshot: Snapshot, tally: Tally) -> None:
    """The accounting identity and every total hold against the tally."""
    counted = round(snapshot.value("counted_total") / STEP)
    observed = snapshot.histogram("observed")
    sent = round(snapshot.value("sent_total"))
    for row, found in ((COUNTED, counted), (OBSERVED, observed.count), (SENT, sent)):
        assert 0 <= found - tally.total(row, ACCEPTED) <= tally.doubt(row)
    assert tally.doubt(COUNTED) + tally.doubt(OBSERVED) <= tally.kills
    assert tally.doubt(SENT) <= BATCH * tally.kills
    assert observed.count == observed.exponential.sum() == dict(observed.buckets)[1.0]
    assert observed.sum == observed.count / 2
    instruments = _account(snapshot, "i", tally.kills)
    # A kill between a cell and the counter that tells of it: the step is in, and in no account.
    assert 0 <= counted + observed.count - instruments.consumed - instruments.coalesced <= tally.kills
    assert 0 <= instruments.dropped - tally.total(OBSERVED, REFUSED) <= tally.doubt(OBSERVED)
    assert (
        0
        <= instruments.attempted
        - sum(tally.total(row, column) for row in (COUNTED, OBSERVED) for column in (ACCEPTED, REFUSED))
        <= tally.doubt(COUNTED) + tally.doubt(OBSERVED)
    )
    records = _account(snapshot, "r", BATCH * tally.kills)
    assert records.consumed == sent
    assert 0 <= records.dropped - tally.total(SENT, REFUSED) <= tally.doubt(SENT)
    assert 0 <= records.attempted - tally.total(SENT, ACCEPTED) - tally.total(SENT, REFUSED) <= tally.doubt(SENT)


@dataclass(frozen=True)
class _Account:
    attempted: int
    consumed: int
    coalesced: int
    dropped: int


def _account(snapshot: Snapshot, kind: str, most_aborted: int) -> _Account:
    """Of all lanes of one kind."""
    lanes = [totals for name, totals in snapshot.producers.items() if name.startswith(kind)]
    for totals in lanes:
        assert totals.holds
        assert (totals.live, totals.in_ring, totals.overwritten, totals.rejected, totals.invalid) == (0, 0, 0, 0, 0)
    assert sum(totals.aborted for totals in lanes) <= most_aborted
    return _Account(
        sum(totals.attempted for totals in lanes),
        sum(totals.consumed for totals in lanes),
        sum(totals.coalesced for totals in lanes),
        sum(totals.dropped["full"] for totals in lanes),
    )
