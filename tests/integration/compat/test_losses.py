"""Observations that met a full ring: whoever looks is told."""

from __future__ import annotations

from tests.processes import run_python

LOSING = """
import os, signal
from tests.processes import is_stopped, wait_until
from shmtelemetry.compat.prometheus_client import Histogram, REGISTRY, generate_latest
seconds = Histogram("seconds", "x")
seconds.observe(1.0)
assert b"shmtel_" not in generate_latest()
told, tell = os.pipe()
observer, parent = os.fork(), os.getpid()
if observer == 0:
    os.read(told, 1)
    wait_until(lambda: is_stopped(os.getppid()), "the draining process is stopped")
    for _ in range(20_000):
        seconds.observe(1.0)
    os.kill(os.getppid(), signal.SIGCONT)
    os._exit(0)
os.write(tell, b"x")
os.kill(os.getpid(), signal.SIGSTOP)
os.waitpid(observer, 0)
counted = REGISTRY.get_sample_value("seconds_count")
text = generate_latest().decode()
lost = [line for line in text.splitlines() if line.startswith("shmtel_dropped_records_total{")]
assert lost == [f'shmtel_dropped_records_total{{producer="app",reason="full"}} {20_001 - counted}'], (lost, counted)
assert "# TYPE shmtel_dropped_records_total counter" in text
"""


def test_dropped_observations_are_told_in_the_log_once_and_in_the_exposition() -> None:
    said = run_python(LOSING).stderr
    assert said.count("observations were dropped") == 1
    assert "start one" not in said, "the namespace has a reader, which was stopped"
