"""policy="block": a producer that waits for room."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from shmtelemetry import Consumer, Producer
from tests.processes import child, drained, wait_until

DTYPE = np.dtype([("seq", "<u8")])


def numbered(*numbers: int) -> np.ndarray:
    return np.array([(number,) for number in numbers], DTYPE)


def test_without_a_timeout_it_waits_until_there_is_room(namespace: str) -> None:
    def produce() -> None:
        with Producer("orders", DTYPE, namespace, capacity=4, policy="block") as ring:
            for number in range(50):
                assert ring.emit_fields(number)
            assert ring.emit_many(numbered(*range(50, 100))) == 50

    with Consumer("orders", namespace) as consumer, child(produce):
        for number in range(0, 100, 2):
            assert drained(consumer, 2)["seq"].tolist() == [number, number + 1]


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_after_the_timeout_the_record_is_dropped_and_counted_as_that(namespace: str, timeout: float) -> None:
    with Producer("orders", DTYPE, namespace, capacity=2, policy="block", timeout=timeout) as ring:
        begin = time.monotonic()
        assert [ring.emit_fields(number) for number in range(4)] == [True, True, False, False]
        assert time.monotonic() - begin >= 2 * timeout
        assert ring.emit_many(numbered(4, 5, 6)) == 0
        stats = ring.stats()
        assert stats.dropped == {"full": 0, "timeout": 5, "no_ring": 0}
        assert (stats.attempted, stats.in_ring) == (7, 2)
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == [0, 1]


def test_a_batch_that_times_out_says_how_many_entered(namespace: str) -> None:
    with Producer("orders", DTYPE, namespace, capacity=4, policy="block", timeout=0.01) as ring:
        assert ring.emit_many(numbered(*range(10))) == 4
        assert ring.stats().dropped["timeout"] == 6
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == [0, 1, 2, 3]


def test_a_waiting_thread_lets_the_consumer_of_its_own_process_run(namespace: str) -> None:
    with (
        Producer("orders", DTYPE, namespace, capacity=2, policy="block") as ring,
        Consumer("orders", namespace) as consumer,
    ):
        thread = threading.Thread(target=lambda: ring.emit_many(numbered(*range(500))))
        thread.start()
        assert drained(consumer, 500)["seq"].tolist() == list(range(500))
        thread.join()


def test_closing_ends_the_wait_of_another_thread(namespace: str) -> None:
    ring = Producer("orders", DTYPE, namespace, capacity=2, policy="block")
    answers: list[bool] = []

    def emit() -> None:
        ring.emit_many(numbered(0, 1))
        answers.append(ring.emit_fields(2))

    thread = threading.Thread(target=emit)
    thread.start()
    wait_until(lambda: ring.stats().in_ring == 2, "the ring is full")
    ring.close()
    thread.join()
    assert answers == [False]
    assert ring.stats().dropped["no_ring"] == 1
    with Consumer("orders", namespace) as consumer:
        assert consumer.read()["seq"].tolist() == [0, 1]


def test_a_consumer_that_is_killed_does_not_break_the_waiting_producer(namespace: str) -> None:
    def consume() -> None:
        with Consumer("orders", namespace) as consumer:
            drained(consumer, 3)
            while True:
                time.sleep(1)

    with Producer("orders", DTYPE, namespace, capacity=2, policy="block") as ring:
        thread = threading.Thread(target=lambda: ring.emit_many(numbered(*range(10))))
        with child(consume):
            thread.start()
            wait_until(lambda: ring.stats().consumed >= 3, "the first consumer read three records")
        with Consumer("orders", namespace) as consumer:
            assert drained(consumer, 7)["seq"].tolist() == [3, 4, 5, 6, 7, 8, 9]
            thread.join()
