"""Chaos: whatever happens to processes, pids, namespaces and memory, the accounts are exact and nothing is left.

Each test has a short form, which is part of the default run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.accounting import has_reader, segment_stats
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.segment import segment_names
from tests import kills
from tests.chaos import SENT, Record, Tally, assert_counted, assert_exact, killing_readers, lasting, rage
from tests.peers import own_pids, with_own_pids, with_small_shm
from tests.processes import in_child, is_stopped, wait_until
from tests.reading import running_reader, state_of, talker, the_segment, write_position
from tests.resources import Taken, assert_flat, taken

NOBODY = 65534


def lengths(short: object, long: object) -> pytest.MarkDecorator:
    """Run it short by default, and long by make stress."""
    return pytest.mark.parametrize(
        "length", [pytest.param(short, marks=pytest.mark.slow), pytest.param(long, marks=pytest.mark.stress)]
    )


def record(record_property: Record, tally: Tally, where: str = "under load") -> None:
    record_property(f"producers killed with kill -9 {where}: every total exact", tally.kills)


@lengths(200, 5_000)
def test_killed_producers_leave_exact_totals_and_a_reader_that_does_not_grow(
    namespace: str, length: int, record_property: Record
) -> None:
    looks: list[Taken] = []

    def turns(reader: int) -> Iterator[None]:
        for turn in range(length):
            if turn % (length // 20) == 0:
                looks.append(taken(reader, namespace))
            yield

    with running_reader(namespace) as reader:
        tally = rage(namespace, turns(reader), Random())
        wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
        looks.append(taken(reader, namespace))
    assert_flat(looks)
    assert_counted(namespace, tally)
    record(record_property, tally)


@lengths((200, 20), (5_000, 1_000))
def test_killed_producers_and_readers_leave_exact_totals(
    namespace: str, length: tuple[int, int], record_property: Record
) -> None:
    tally = rage(namespace, killing_readers(namespace, *length), Random())
    assert_counted(namespace, tally)
    record(record_property, tally)
    record_property("readers killed with kill -9 under load: every total exact", length[1])


@lengths(2, 60)
def test_a_reader_that_is_stopped_for_long_stops_nobody_and_catches_up(
    namespace: str, length: int, record_property: Record
) -> None:
    with running_reader(namespace) as reader:
        os.kill(reader, signal.SIGSTOP)
        wait_until(lambda: is_stopped(reader), "the reader stands still")
        tally = rage(namespace, lasting(length), Random())
        assert len(list(segment_names(namespace))) > length  # producers came and went all the time
        assert tally.total(SENT, 0) > 100_000 * length
        os.kill(reader, signal.SIGCONT)
        wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
    assert_counted(namespace, tally)
    record(record_property, tally, "beside a reader that SIGSTOP held")
    record_property("seconds for which SIGSTOP held a reader", length)


@lengths(2, 60)
def test_a_producer_that_is_stopped_for_long_is_alive_and_holds_up_nobody(
    namespace: str, length: int, record_property: Record
) -> None:
    chance = Random()
    with running_reader(namespace), talker(partial(kills.emit_instruments, namespace)) as producer:
        segment = the_segment(namespace)
        goal = chance.randrange(20_000)
        wait_until(lambda: write_position(segment) > goal, "the producer is at work")
        os.kill(producer.pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(producer.pid), "the producer stands still")
        tally = rage(namespace, lasting(length), chance)
        assert list(segment_names(namespace)).count(segment.name) == 1
        assert segment.alive()
        assert segment_stats(segment).in_ring == 0
        os.kill(producer.pid, signal.SIGCONT)
        before = write_position(segment)
        wait_until(lambda: write_position(segment) > before + 10_000, "it goes on")
        seen = producer.finish()
        segment.close()
    with Reader(namespace, ephemeral=True) as last:
        last.start()
        assert last.settle(60.0)
        kills.assert_counted(last.snapshot(), seen)
        assert_exact(last.snapshot(), tally)
    record_property("seconds for which SIGSTOP held a producer", length)


def script(body: str) -> str:
    return f"""
import json, sys
from pathlib import Path
from random import Random
from tests.chaos import *
from tests.reading import *
namespace, length = sys.argv[1], int(sys.argv[2])
{body}
print(json.dumps([tally.lanes.tolist(), tally.kills, sorted(tally.pids)]))
"""


def told(done: subprocess.CompletedProcess[str]) -> Tally:
    """The tally that such a script has printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    lanes, count, pids = json.loads(done.stdout)
    return Tally(np.array(lanes, np.uint64), count, set(pids))


@lengths(100, 1_000)
def test_producers_that_get_the_pids_of_the_dead_at_once_are_told_from_them(
    namespace: str, length: int, record_property: Record
) -> None:
    body = """
with running_reader(namespace):
    tally = rage(namespace, range(length), Random(), next_pid=1000)
    wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
assert_counted(namespace, tally)
"""
    tally = told(with_own_pids(script(body), namespace, str(length)))
    assert len(tally.pids) < 10
    record(record_property, tally, "whose pid the next one got")


@lengths(100, 1_000)
def test_a_reader_counts_exactly_what_producers_of_another_pid_namespace_did(
    namespace: str, length: int, record_property: Record
) -> None:
    with running_reader(namespace):
        body = "tally = rage(namespace, range(length), Random())"
        tally = told(with_own_pids(script(body), namespace, str(length)))
        wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
    assert_counted(namespace, tally)
    record(record_property, tally, "in another pid namespace than their reader")


@contextmanager
def reader_with_own_pids(namespace: str) -> Iterator[None]:
    run = f"from tests.reading import read_until_killed; read_until_killed({namespace!r})"
    with subprocess.Popen([*own_pids(), sys.executable, "-c", run]) as process:
        wait_until(state_of(namespace).exists, "the reader has a state")
        try:
            yield
        finally:
            process.kill()
            wait_until(lambda: not has_reader(namespace), "its child has gone with it")


@lengths(100, 1_000)
def test_a_reader_in_a_pid_namespace_of_its_own_counts_exactly(
    namespace: str, length: int, record_property: Record
) -> None:
    with reader_with_own_pids(namespace):
        tally = rage(namespace, range(length), Random())
        wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
    assert_counted(namespace, tally)
    record(record_property, tally, "in another pid namespace than their reader")


@lengths(100, 1_000)
def test_a_shm_that_fills_up_and_is_freed_again_and_again_costs_rings_and_no_count(
    namespace: str, length: int, record_property: Record
) -> None:
    body = """
with running_reader(namespace):
    with child(partial(filled_and_freed, SHM / "filler")):
        tally = rage(namespace, range(length), Random())
    (SHM / "filler").unlink()
    wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
assert_counted(namespace, tally)
assert not list(SHM.iterdir())
assert tally.total(UNOPENED, REFUSED) > length // 20
"""
    tally = told(with_small_shm("4m", script(body), namespace, str(length)))
    record(record_property, tally, "while /dev/shm filled up and was freed")


def as_nobody(work: Callable[[], Any]) -> Any:
    """What it returns in a child of that user."""

    def change_and_work() -> Any:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        return work()

    return in_child(change_and_work)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@lengths(50, 1_000)
def test_two_users_in_one_namespace_count_their_own_and_harm_nothing_of_the_other(
    namespace: str, length: int, record_property: Record
) -> None:
    def rage_beside_another_users_ring() -> int:
        with running_reader(namespace):
            tally = rage(namespace, range(length), Random())
        assert_counted(namespace, tally)
        return tally.kills

    with Telemetry("mine", namespace) as telemetry:
        mine = telemetry.counter("mine")
        assert mine.inc(5)
        (name,) = segment_names(namespace)
        killed = as_nobody(rage_beside_another_users_ring)
        assert list(segment_names(namespace)) == [name]
        assert mine.inc(5)
        with Reader(namespace, ephemeral=True) as reader:
            reader.poll()
            assert figures(reader.snapshot()) == {"mine_total": 10}
    record_property("producers of a user killed beside another user's ring: both exact", killed)


def figures(snapshot: Snapshot) -> dict[str, float]:
    return {
        name: float(family.values.sum()) for name, family in snapshot.families.items() if not name.startswith("shmtel_")
    }
