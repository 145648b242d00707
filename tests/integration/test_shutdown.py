"""The end of a program: emit never crashes, and what was written stays until it is read."""

from __future__ import annotations

import numpy as np

from shmtelemetry import Consumer
from shmtelemetry.segment import segment_names
from tests.processes import run_python

PRELUDE = """
import atexit, os, sys, threading
import numpy as np
from shmtelemetry import Consumer, Producer, Telemetry
namespace = sys.argv[1]
DTYPE = np.dtype([("seq", "<u8")])
"""


def run(script: str, namespace: str) -> str:
    done = run_python(PRELUDE + script, namespace)
    assert "Exception ignored" not in done.stderr
    assert "Error" not in done.stderr
    return done.stdout


def consume(namespace: str) -> list[int]:
    with Consumer("orders", namespace) as consumer:
        return [int(seq) for seq in np.concatenate([consumer.read(), consumer.read()])["seq"]]


def test_records_of_a_program_that_ends_without_close_are_there(namespace: str) -> None:
    run('ring = Producer("orders", DTYPE, namespace, capacity=64); ring.emit_fields(1); ring.emit_fields(2)', namespace)
    assert consume(namespace) == [1, 2]


def test_a_program_whose_ring_is_drained_leaves_no_segment(namespace: str) -> None:
    script = """
started = threading.Event()
def work():  # holds the ring to the very end
    ring = Producer("orders", DTYPE, namespace, capacity=64)
    started.set()
    threading.Event().wait()
threading.Thread(target=work, daemon=True).start()
started.wait()
"""
    run(script, namespace)
    assert list(segment_names(namespace)) == []


def test_emit_during_interpreter_shutdown_is_false_and_does_not_crash(namespace: str) -> None:
    script = """
class Last:
    def __init__(self, ring, handle):
        self.ring, self.handle = ring, handle
    def __del__(self):
        said = [self.ring.emit_fields(9), self.ring.emit(b"x" * 8), self.handle.inc(), self.ring.stats().holds]
        os.write(1, repr(said).encode())
ring = Producer("orders", DTYPE, namespace, capacity=64)
tel = Telemetry("bot", namespace, capacity=64)
ring.emit_fields(1)
last = Last(ring, tel.counter("orders_total"))
sys.modules["kept.for.ever"] = last
"""
    assert run(script, namespace) == "[False, False, False, True]"
    assert consume(namespace) == [1]


def test_emit_in_an_exit_handler_that_was_registered_later_is_written(namespace: str) -> None:
    script = """
ring = Producer("orders", DTYPE, namespace, capacity=64)
atexit.register(lambda: ring.emit_fields(5))
"""
    run(script, namespace)
    assert consume(namespace) == [5]


def test_threads_that_emit_while_the_program_ends_do_not_crash_it(namespace: str) -> None:
    script = """
ring = Producer("orders", DTYPE, namespace, capacity=64)
def work():
    while True:
        ring.emit_fields(3)
started = [threading.Thread(target=work, daemon=True) for _ in range(4)]
for thread in started:
    thread.start()
while ring.stats().dropped["full"] < 1000:
    pass
"""
    for _ in range(5):
        run(script, namespace)
        assert set(consume(namespace)) == {3}


def test_a_program_that_makes_and_drops_many_producers_registers_one_exit_handler(namespace: str) -> None:
    script = """
before = atexit._ncallbacks()
for _ in range(50):
    Producer("orders", DTYPE, namespace, capacity=2).close()
assert atexit._ncallbacks() <= before + 1, atexit._ncallbacks()
"""
    run(script, namespace)


def test_a_producer_that_is_made_while_the_program_ends_is_ended_too(namespace: str) -> None:
    script = """
def late():
    global ring
    ring = Producer("orders", DTYPE, namespace, capacity=64)
    ring.emit_fields(4)
atexit.register(late)
"""
    run(script, namespace)
    assert consume(namespace) == [4]
