"""A reader's life: poll, start, stop, close."""

from __future__ import annotations

import os
import resource
import threading

import pytest

from shmtelemetry import Producer, Reader, Telemetry
from shmtelemetry.segment import segment_names
from tests.processes import wait_until


def test_poll_takes_what_is_published_and_says_how_many_records(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        assert reader.poll() == 0
        for _ in range(3):
            counter.inc()
        assert reader.poll() == 3
        assert reader.poll() == 0
        assert reader.records == 3
        assert reader.snapshot().value("c_total") == 3


def test_one_poll_takes_series_that_are_new_with_every_record(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        family = telemetry.counter("c", labels=("n",))
        reader.poll()
        for number in range(50):
            family.labels(number).inc()
        assert reader.poll() == 50


def test_one_poll_ends_a_producer_that_has_ended(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        with Telemetry("p", namespace) as telemetry:
            telemetry.counter("c").inc()
        assert list(segment_names(namespace)) != []
        reader.poll()
        assert list(segment_names(namespace)) == []
        assert reader.snapshot().producers["p"].live == 0


def test_the_loop_takes_records_until_stop_which_takes_the_rest(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        for round_ in range(1, 21):
            reader.start()
            for _ in range(1000):
                counter.inc()
            reader.stop()
            assert reader.records == 1000 * round_


def test_start_and_stop_twice_are_like_once(namespace: str) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        reader.start()
        assert threads() == before + 2
        reader.stop()
        reader.stop()
        wait_until(lambda: threads() == before, "both threads have ended")


def test_poll_is_refused_while_the_loop_runs(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        with pytest.raises(RuntimeError, match="catch_up"):
            reader.poll()


def test_a_reader_says_whether_its_loop_turns(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader:
        assert not reader.turning
        reader.start()
        wait_until(lambda: reader.turning, "the loop turns")
        reader.stop()
        assert not reader.turning


def test_close_takes_what_is_published_and_keeps_it_for_the_next_reader(namespace: str) -> None:
    with Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        with Reader(namespace):
            counter.inc(5)
        with Reader(namespace, ephemeral=True) as reader:
            assert reader.snapshot().value("c_total") == 5


def test_a_closed_reader_refuses_everything_but_its_count_and_close(namespace: str) -> None:
    reader = Reader(namespace, ephemeral=True)
    with Telemetry("p", namespace) as telemetry:
        telemetry.counter("c").inc()
    reader.close()
    reader.close()
    assert reader.records == 1
    assert not reader.turning
    for refused in (reader.poll, reader.start, reader.snapshot, reader.catch_up, reader.settle):
        with pytest.raises(ValueError, match="closed"):
            refused()


def test_two_threads_that_poll_do_not_count_twice(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Telemetry("p", namespace) as telemetry:
        counter = telemetry.counter("c")
        done = threading.Event()

        def poll() -> None:
            while not done.is_set():
                reader.poll()

        threads = [threading.Thread(target=poll) for _ in range(3)]
        for thread in threads:
            thread.start()
        emitted = sum(counter.inc() for _ in range(100_000))
        done.set()
        for thread in threads:
            thread.join()
        reader.poll()
        assert reader.snapshot().value("c_total") == emitted


@pytest.mark.parametrize("interval", [0.0, -1.0, 1.0, float("nan")])
def test_an_interval_that_cannot_be_is_refused_before_anything_is_opened(namespace: str, interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        Reader(namespace, interval=interval)


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "ä", "x" * 65])
def test_a_namespace_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Reader(name)


def test_records_without_roles_are_drained_and_counted(namespace: str) -> None:
    with Reader(namespace, ephemeral=True) as reader, Producer("p", [("x", "<u8")], namespace) as ring:
        ring.emit_fields(1)
        ring.emit_fields(2)
        assert reader.poll() == 2
        assert ring.stats().consumed == 2
        assert reader.snapshot().value("shmtel_records_total", producer="p") == 2


def test_the_loop_runs_in_a_process_with_thousands_of_descriptors(namespace: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("no more descriptors are permitted here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        with Reader(namespace, ephemeral=True) as reader:
            reader.start()
            for number in range(3):
                with Telemetry(f"p{number}", namespace, capacity=64) as telemetry:
                    telemetry.counter("c").inc()
                    assert reader.catch_up(60.0)
            assert reader.snapshot().value("c_total") == 3
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
