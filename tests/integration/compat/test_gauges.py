"""What several processes' gauges become, by multiprocess_mode."""

from __future__ import annotations

from tests.processes import run_python

FAMILY = """
import os
from shmtelemetry.compat.prometheus_client import REGISTRY, Gauge, generate_latest
read = REGISTRY.get_sample_value
def in_child(function, stay=False):
    done, go = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        function()
        os.write(done[1], b"x")
        if stay:
            os.close(go[1])
            os.read(go[0], 1)
        os._exit(0)
    os.read(done[0], 1)
    if stay:
        return pid, go[1]
    os.waitpid(pid, 0)
    return pid, None
"""


def test_modes_of_living_and_ended_processes() -> None:
    script = (
        FAMILY
        + """
modes = ("min", "max", "sum", "mostrecent", "all")
gauges = {prefix + mode: Gauge(prefix + mode, "x", multiprocess_mode=prefix + mode)
          for mode in modes for prefix in ("", "live")}
def set_all(value):
    for gauge in gauges.values():
        gauge.set(value)
set_all(5)
living, _ = in_child(lambda: set_all(2), stay=True)
ended, _ = in_child(lambda: set_all(9))
me = os.getpid()
assert {name: read(name) for name in ("min", "max", "sum", "mostrecent")} == dict(min=2, max=9, sum=16, mostrecent=9)
assert [read("livemin"), read("livemax"), read("livesum")] == [2, 5, 7]
assert [read("all", {"pid": str(pid)}) for pid in (me, living, ended)] == [5, 2, 9]
assert [read("liveall", {"pid": str(pid)}) for pid in (me, living, ended)] == [5, 2, None]
assert f'all{{pid="{living}"}} 2.0' in generate_latest().decode()
"""
    )
    run_python(script)


def test_without_a_mode_inc_and_dec_make_a_sum_and_set_makes_the_last_value() -> None:
    script = (
        FAMILY
        + """
busy, depth, seen = Gauge("busy", "x"), Gauge("depth", "x", ["l"]), Gauge("seen", "x")
busy.set(0)  # says nothing
busy.inc(2)
in_child(lambda: (busy.inc(3), depth.labels("a").set(1), seen.set(8)), stay=True)
in_child(lambda: (busy.inc(100), depth.labels("a").set(4), depth.labels("b").set(6)))
assert read("busy") == 5, read("busy")
assert [read("depth", {"l": l}) for l in "ab"] == [4, 6]
assert read("seen") == 8
seen.inc()  # of a gauge that others set: this process's value is the last one
assert read("seen") == 1
"""
    )
    run_python(script)


def test_two_uses_that_begin_at_the_same_moment_become_the_one_that_was_first() -> None:
    script = (
        FAMILY
        + """
from multiprocessing import get_context
from shmtelemetry.compat.prometheus_client.store import store
fork = get_context("fork")
both, depth = fork.Barrier(2), Gauge("depth", "x")
def work(first, again, expected, before):
    look = store().snapshot
    def looks_together():
        found = look()
        both.wait(10)
        return found
    store().snapshot = looks_together
    first()
    store().snapshot = look
    both.wait(10)
    generate_latest(), generate_latest()
    both.wait(10)
    if before: both.wait(10)
    again()
    assert read("depth") in expected, read("depth")
    if not before: both.wait(10)
    both.wait(10)
works = [fork.Process(target=work, args=(lambda: depth.set(5), lambda: depth.set(50), (50, 52), False)),
         fork.Process(target=work, args=(lambda: depth.inc(2), lambda: depth.inc(3), (5, 55), True))]
for each in works: each.start()
for each in works: each.join()
assert [each.exitcode for each in works] == [0, 0]
"""
    )
    run_python(script)


def test_the_first_use_asks_others_while_threads_may_fork_and_segments_be_found() -> None:
    script = """
from shmtelemetry.compat.prometheus_client import Gauge
from shmtelemetry.compat.prometheus_client.store import Store
from shmtelemetry.liveness import fork_lock
asked, snapshot = [], Store.snapshot
Store.snapshot = lambda self: asked.append(fork_lock()._is_owned()) or snapshot(self)
Gauge("busy", "x").inc()
Gauge("seen", "x").set(1)
assert asked == [False, False], asked
"""
    run_python(script)
