"""The reader as a role: of all processes that have a reader, one drains, the others look on and take over."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.errors import StateError
from shmtelemetry.reader.role import LoopThread
from tests.processes import PATIENCE, child, in_child, kill, wait_until
from tests.reading import SHM, control_of, shown_pid


def worker(namespace: str, emitted: int = 0) -> Callable[[], None]:
    """A process with an instrument and a reader of its own, until it is killed."""

    def work() -> None:
        telemetry = Telemetry("worker", namespace)
        counter = telemetry.counter("c")
        reader = Reader(namespace, standby=True)
        reader.start()
        for _ in range(emitted):
            counter.inc()
        signal.pause()

    return work


@contextmanager
def standby(namespace: str) -> Iterator[Reader]:
    with Reader(namespace, standby=True, ephemeral=True) as reader:
        reader.start()
        yield reader


def patient_scrape(reader: Reader) -> Snapshot:
    """A scrape on a machine so busy that 50 ms may pass without a turn."""
    wait_until(lambda: reader.catch_up(PATIENCE), "what was published is in the state")
    return reader.snapshot()


def total(reader: Reader) -> float:
    snapshot = patient_scrape(reader)
    return snapshot.value("c_total") if "c_total" in snapshot.families else 0


def test_the_first_takes_the_role_and_the_second_looks_on(namespace: str) -> None:
    with standby(namespace) as first, standby(namespace) as second, Telemetry("p", namespace) as telemetry:
        assert (first.holds, second.holds) == (True, False)
        counter = telemetry.counter("c")
        for number in range(1, 50):
            counter.inc()
            assert total(second) == number
            assert total(first) == number


def test_a_scrape_by_who_does_not_hold_the_role_sees_all_that_was_emitted_before_it(namespace: str) -> None:
    with child(worker(namespace)) as pid:
        wait_until(lambda: shown_pid(namespace) == pid, "the worker has the role")
        with standby(namespace) as reader, Telemetry("p", namespace, capacity=2) as telemetry:
            assert not reader.holds
            histogram, gauge = telemetry.histogram("h"), telemetry.gauge("g")
            for number in range(1, 100):
                gauge.set(number)
                if number % 2:
                    assert histogram.emit(1.0)
                snapshot = patient_scrape(reader)
                assert snapshot.value("g") == number
                assert snapshot.histogram("h").count == (number + 1) // 2
            assert telemetry.counter("later")
            assert patient_scrape(reader).value("later_total") == 0
            kill(pid)
            wait_until(lambda: reader.holds, "the role is taken over")


def test_when_the_holder_is_killed_another_takes_over_and_totals_go_on(namespace: str) -> None:
    with ExitStack() as stack:
        pids = {stack.enter_context(child(worker(namespace, emitted=100))) for _ in range(4)}
        with standby(namespace) as reader:
            wait_until(lambda: total(reader) == 400, "all have emitted")
            while pids:
                holder = wait_until(lambda: shown_pid(namespace), "somebody has the role")
                if holder == os.getpid():
                    break
                kill(holder)
                pids.discard(holder)
                wait_until(lambda gone=holder: shown_pid(namespace) != gone, "the role is taken over")
                assert wait_until(lambda: total(reader), "the totals are there") == 400
            for pid in pids:
                kill(pid)
            assert wait_until(lambda: reader.holds and total(reader), "it has the role itself") == 400
            assert reader.settle()


def test_a_holder_that_closes_hands_over(namespace: str) -> None:
    with standby(namespace) as second_to_last, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        for number in range(1, 6):
            with standby(namespace) as last:
                counter.inc()
                second_to_last.close()
                assert total(last) == number
                assert last.holds
                second_to_last = Reader(namespace, standby=True, ephemeral=True)
                second_to_last.start()
                assert total(second_to_last) == number
        second_to_last.close()


def test_a_stopped_holder_keeps_the_role_and_a_scrape_does_not_wait_for_it_for_ever(namespace: str) -> None:
    with child(worker(namespace, emitted=5)) as pid, Reader(namespace, standby=True, ephemeral=True) as reader:
        wait_until(lambda: shown_pid(namespace) == pid, "the worker has the role")
        wait_until(lambda: total(reader) == 5, "it has emitted")
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        assert not reader.catch_up()
        assert reader.snapshot().value("c_total") == 5
        assert not reader.holds
        kill(pid)
        assert total(reader) == 5
        assert reader.holds


def test_many_who_scrape_at_once_are_all_served(namespace: str) -> None:
    with child(worker(namespace)) as pid, ExitStack() as stack:
        wait_until(lambda: shown_pid(namespace) == pid, "the worker has the role")
        telemetry = stack.enter_context(Telemetry("p", namespace))
        counter = telemetry.counter("c")
        readers = [stack.enter_context(standby(namespace)) for _ in range(6)]
        wrong: list[float] = []

        def scrape(reader: Reader) -> None:
            for _ in range(50):
                counter.inc()
                emitted = telemetry.stats().attempted
                if (seen := total(reader)) < emitted:
                    wrong.append(emitted - seen)

        threads = [threading.Thread(target=scrape, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert total(readers[0]) == 300
        kill(pid)
        assert total(readers[0]) == 300


def test_the_last_one_to_leave_removes_the_state(namespace: str) -> None:
    with standby(namespace), standby(namespace) as second:
        with Telemetry("p", namespace) as telemetry:
            telemetry.counter("c").inc()
            assert in_child(lambda: _total_of_a_member(namespace)) == 1
        assert total(second) == 1
    assert not list(SHM.glob(f"shmtel.{namespace}.*"))


def _total_of_a_member(namespace: str) -> float:
    with standby(namespace) as reader:
        return total(reader)


def test_a_reader_that_looks_on_has_no_turns_and_a_forked_child_no_reader(namespace: str) -> None:
    with standby(namespace) as first, Reader(namespace, standby=True, ephemeral=True) as second:
        assert second.poll() == 0
        assert not second.turning
        with pytest.raises(RuntimeError, match="another process"):
            second.settle()
        with pytest.raises(RuntimeError, match="loop is running"):
            first.poll()

        def look() -> str:
            with pytest.raises(ValueError, match="belongs to process") as refused:
                first.scrape()
            first.stop()  # does nothing, nor does
            first.close()
            return str(refused.value)

        assert str(os.getpid()) in in_child(look)
        wait_until(lambda: first.turning, "its loop goes on")


def test_without_any_reader_there_is_nothing_to_look_at(namespace: str) -> None:
    with Reader(namespace, standby=True) as reader, pytest.raises(StateError, match="no state"):
        reader.snapshot()
    assert not control_of(namespace).exists()


def test_gauges_of_living_processes_stay_when_the_role_is_taken_over(namespace: str) -> None:
    def holder() -> None:
        reader = Reader(namespace, standby=True, ephemeral=True, gauge_ttl=0.0)
        reader.start()
        signal.pause()

    for _ in range(5):
        with child(holder) as pid, Telemetry("p", namespace) as telemetry:
            wait_until(lambda pid=pid: shown_pid(namespace) == pid, "the other has the role")
            telemetry.gauge("last").set(1)
            telemetry.gauge("sum", merge="sum").set(2)
            with Reader(namespace, standby=True, ephemeral=True, gauge_ttl=0.0) as reader:
                reader.start()
                wait_until(lambda reader=reader: "sum" in reader.scrape().families, "it is there")
                kill(pid)
                for _ in range(10):
                    snapshot = patient_scrape(reader)
                    assert (snapshot.value("last"), snapshot.value("sum")) == (1, 2)
                wait_until(lambda reader=reader: reader.holds, "the role is taken over")
                assert patient_scrape(reader).value("sum") == 2


def test_who_looks_on_waits_for_as_long_as_it_takes_and_is_not_told_that_all_is_there_before(namespace: str) -> None:
    with child(worker(namespace)) as pid:
        wait_until(lambda: shown_pid(namespace) == pid, "the worker has the role")
        with standby(namespace) as reader, Telemetry("p", namespace, capacity=2**20) as telemetry:
            counter, histogram = telemetry.counter("c"), telemetry.histogram("h")
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            for _ in range(500_000):
                histogram.observe(1e-3)
            counter.inc()
            os.kill(pid, signal.SIGCONT)
            assert reader.catch_up(60.0)
            assert reader.snapshot().value("c_total") == 1
            assert reader.snapshot().histogram("h").count == 500_000
            kill(pid)
            wait_until(lambda: reader.holds, "the role is taken over")


def test_many_threads_that_start_a_reader_start_one_loop(namespace: str) -> None:
    def loops() -> int:
        return [frame.f_code for frame in sys._current_frames().values()].count(LoopThread._run.__code__)

    before, others = sys.getswitchinterval(), loops()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            with Reader(namespace, standby=True, ephemeral=True) as reader:
                threads = [threading.Thread(target=reader.start) for _ in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                wait_until(lambda: loops() == others + 1, "there is a loop, and no other one")
    finally:
        sys.setswitchinterval(before)
