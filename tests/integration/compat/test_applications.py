"""What applications do beyond what one process of prometheus_client shows."""

from __future__ import annotations

from tests.processes import run_python


def test_coroutine_functions_are_waited_for() -> None:
    script = """
import asyncio
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, Gauge, Histogram, Summary
failed, busy = Counter("failed", "x"), Gauge("busy", "x")
took, too, last = Histogram("took", "x"), Summary("too", "x"), Gauge("last", "x")
read = REGISTRY.get_sample_value
@failed.count_exceptions(ValueError)
@busy.track_inprogress()
@took.time()
@too.time()
@last.time()
async def work(error=None):
    "Doc."
    seen = read("busy")
    await asyncio.sleep(0.02)
    if error:
        raise error("x")
    return seen
async def main():
    assert asyncio.iscoroutinefunction(work) and work.__doc__ == "Doc."
    assert sorted(await asyncio.gather(work(), work(), work())) == [1, 2, 3]
    for error in (ValueError, KeyError):
        try:
            await work(error)
        except error:
            pass
asyncio.run(main())
assert [read("failed_total"), read("busy"), read("took_count"), read("too_count")] == [1, 0, 5, 5]
assert read("took_sum") >= 0.1 and read("too_sum") >= 0.1 and read("last") >= 0.02
"""
    run_python(script)


def test_metrics_are_prometheus_clients_own_and_may_be_collected_by_it() -> None:
    script = """
import prometheus_client as theirs
from shmtelemetry.compat import prometheus_client as ours
for name in ("Counter", "Gauge", "Histogram", "Summary", "Info", "Enum", "CollectorRegistry"):
    assert issubclass(getattr(ours, name), getattr(theirs, name))
counter = ours.Counter("c", "x", registry=None)
counter.inc(3)
registry = theirs.CollectorRegistry()
registry.register(counter)
assert b"c_total 3.0" in theirs.generate_latest(registry)
assert ours.REGISTRY is not theirs.REGISTRY
assert theirs.REGISTRY.get_sample_value("c_total") is None
"""
    run_python(script)


def test_tests_of_applications_may_replace_methods() -> None:
    script = """
from unittest import mock
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter
counter = Counter("c", "x", ["l"])
with mock.patch.object(Counter, "inc") as replaced:
    counter.labels("a").inc(2)
    replaced.assert_called_once_with(2)
counter.labels("a").inc()
with mock.patch.object(counter, "labels") as replaced:
    counter.labels("b").inc()
assert REGISTRY.get_sample_value("c_total", {"l": "a"}) == 1
"""
    run_python(script)


def test_a_metric_that_is_gone_gives_its_place_back() -> None:
    script = """
import gc, os
from shmtelemetry.compat.prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
import shmtelemetry.compat.prometheus_client.store as module
kept = Counter("kept", "x")
kept.inc()
store = module.store
def job(number):
    registry = CollectorRegistry()
    counter = Counter("rows", "Rows.", ["table"], registry=registry)
    plain = Gauge("last_success", "When.", registry=registry)
    took = Histogram("took", "Time.", registry=registry)
    for table in "ab":
        counter.labels(table).inc(number)
    plain.set(number)
    took.observe(number)
    read = registry.get_sample_value
    assert [read("rows_total", {"table": "a"}), read("last_success"), read("took_count")] == [number, number, 1]
module.FULL = 10_000  # bytes, so that it is reached
for number in range(1, 100):
    job(number)
    gc.collect()
names = [name for name in store().snapshot().families if not name.startswith("shmtel_")]
assert len(names) <= 1 + 2 * 3, names
kept.inc()
assert kept._value.get() == 2
segments = [name for name in os.listdir("/dev/shm") if name.startswith(f"shmtel.{store().namespace}.app.")]
assert 2 <= len(segments) <= 4, segments  # the one with `kept`, and the newest
"""
    run_python(script)


def test_configurations_for_the_multiprocess_mode_go_on_working() -> None:
    script = """
import os
from shmtelemetry.compat.prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess
counter, gauge = Counter("c", "x", ["l"]), Gauge("g", "x", registry=None)
Counter("own", "x", registry=CollectorRegistry())
def child():
    counter.labels("a").inc()
    gauge.set(4)
    os._exit(0)
for _ in range(3):
    pid = os.fork() or child()
    os.waitpid(pid, 0)
    multiprocess.mark_process_dead(pid)
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
text = generate_latest(registry).decode()
assert 'c_total{l="a"} 3.0\\n' in text and "\\ng 4.0\\n" in text and "python_info" not in text, text
assert registry.get_sample_value("c_total", {"l": "a"}) == 3
"""
    run_python(script)
