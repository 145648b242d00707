"""Pools of workers as applications use them: nothing to configure, every count exact."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from shmtelemetry import Reader, Telemetry
from shmtelemetry.aggregate.snapshot import Snapshot
from tests.processes import wait_until

WORKERS, TASKS, STEPS = 4, 40, 250


def task(namespace: str) -> int:
    """What an application's module does: its instruments once a process, then work with them."""
    instruments = _instruments(namespace)
    for _ in range(STEPS):
        instruments["counter"].labels("x").inc()
        instruments["histogram"].observe(1e-3)
    instruments["inflight"].set(1)
    return os.getpid()


_made: dict[str, dict[str, Any]] = {}


def _instruments(namespace: str) -> dict[str, Any]:
    if namespace not in _made:
        telemetry = Telemetry("worker", namespace)
        _made[namespace] = {
            "telemetry": telemetry,
            "counter": telemetry.counter("steps_total", labels=("l",)),
            "histogram": telemetry.histogram("step_seconds"),
            "inflight": telemetry.gauge("inflight", merge="sum"),
        }
    return _made[namespace]


@contextmanager
def counted(namespace: str) -> Iterator[None]:
    """A reader beside the block; at its end every task's counts are there."""
    with Reader(namespace, ephemeral=True) as reader:
        reader.start()
        yield
        made = _made.pop(namespace, None)
        if made:
            made["telemetry"].close()
        wait_until(lambda: live(reader.scrape()) == 0, "the workers have ended")
        snapshot = reader.snapshot()
        assert snapshot.value("steps_total", l="x") == TASKS * STEPS
        worker = snapshot.producers["worker"]
        assert snapshot.histogram("step_seconds").count + worker.dropped["full"] == TASKS * STEPS
        assert worker.holds
        assert snapshot.families["inflight"].labels == ()


def live(snapshot: Snapshot) -> int:
    return sum(producer.live for producer in snapshot.producers.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "inherits"), [("fork", True), ("fork", False), ("spawn", True), ("forkserver", True)]
)
def test_process_pools_of_every_start_method(namespace: str, method: str, inherits: bool) -> None:
    with counted(namespace):
        if inherits:
            _instruments(namespace)["counter"].labels("x").inc(0)
        with ProcessPoolExecutor(WORKERS, multiprocessing.get_context(method)) as pool:
            futures: list[Future[int]] = [pool.submit(task, namespace) for _ in range(TASKS)]
            assert os.getpid() not in {future.result() for future in futures}


def test_a_pool_of_multiprocessing_whose_workers_are_replaced(namespace: str) -> None:
    with counted(namespace), multiprocessing.get_context("fork").Pool(WORKERS, maxtasksperchild=3) as pool:
        pids = pool.map(task, [namespace] * TASKS, chunksize=1)
        pool.close()
        pool.join()
        assert len(set(pids)) > WORKERS


def test_threads_share_a_ring(namespace: str) -> None:
    with counted(namespace), ThreadPoolExecutor(WORKERS) as pool:
        _instruments(namespace)
        assert {future.result() for future in [pool.submit(task, namespace) for _ in range(TASKS)]} == {os.getpid()}


def test_a_worker_that_is_killed_loses_nothing_that_it_emitted(namespace: str) -> None:
    told, tell = os.pipe()
    with Reader(namespace, ephemeral=True) as reader, Telemetry("parent", namespace) as telemetry:
        reader.start()
        counter, depth = telemetry.counter("c"), telemetry.gauge("g", merge="sum")
        children = []
        for _ in range(6):
            pid = os.fork()
            if not pid:
                depth.set(1)
                for _ in range(1000):
                    counter.inc()
                os.write(tell, b"!")
                signal.pause()
            children.append(pid)
        for _ in children:
            assert os.read(told, 1)
        assert (reader.scrape().value("c_total"), reader.scrape().value("g")) == (6000, 6)
        for left, pid in zip(range(5, -1, -1), children, strict=True):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            wait_until(lambda left=left: reader.scrape().value("g") == left, "its gauge has gone")
            assert reader.scrape().value("c_total") == 6000
            counter.inc(0)
            depth.set(0)
    os.close(told)
    os.close(tell)


def forks_amid_emitting(namespace: str, forks: int) -> None:
    """A process forks again and again while it emits; each child emits, too, and ends in one way or another."""
    with Reader(namespace, ephemeral=True) as reader, Telemetry("parent", namespace) as telemetry:
        reader.start()
        counter, histogram = telemetry.counter("c"), telemetry.histogram("h")
        going_on = threading.Event()
        emitted = [0]

        def emit() -> None:
            while not going_on.is_set():
                assert histogram.observe(1e-6)
                emitted[0] += 1
                if emitted[0] % 100 == 0:
                    going_on.wait(0.001)

        thread = threading.Thread(target=emit)
        thread.start()
        try:
            for number in range(forks):
                assert counter.inc()
                pid = os.fork()
                if not pid:
                    if number % 10 == 0:  # most children never emit, and must leave no trace at all
                        counter.inc()
                    os.kill(os.getpid(), signal.SIGKILL) if number % 3 == 0 else os._exit(0)
                os.waitpid(pid, 0)
        finally:
            going_on.set()
            thread.join()
        wait_until(lambda: live(reader.scrape()) == 1, "all children have ended")
        snapshot = reader.snapshot()
        assert snapshot.value("c_total") == forks + -(-forks // 10)
        assert snapshot.histogram("h").count == emitted[0]
        assert telemetry.stats().holds
        assert snapshot.producers["parent"].holds


def test_hundreds_of_forks_amid_emitting_leave_every_count_exact(namespace: str) -> None:
    forks_amid_emitting(namespace, 300)


@pytest.mark.stress
def test_ten_thousand_forks_amid_emitting_leave_every_count_exact(namespace: str) -> None:
    forks_amid_emitting(namespace, 10_000)
