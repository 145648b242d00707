"""SHMTEL_NAMESPACE, SHMTEL_DISABLED, and machines without room."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shmtelemetry import Reader, read_state
from tests.processes import PATIENCE, run_python
from tests.readers import reader

COUNTS = """
from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, Gauge, Histogram, Summary, generate_latest
counter, histogram = Counter("requests", "Requests.", ["path"]), Histogram("seconds", "Time.", buckets=[1, 2])
gauge, summary = Gauge("depth", "Depth."), Summary("sizes", "Sizes.")
counter.labels("/").inc(2)
histogram.observe(1.5)
gauge.set(7)
summary.observe(4)
found = [REGISTRY.get_sample_value(*of) for of in
         (("requests_total", {"path": "/"}), ("seconds_sum",), ("depth",), ("sizes_sum",))]
"""


def test_a_reader_of_the_named_namespace_serves_it(namespace: str) -> None:
    with reader(namespace, "--ephemeral") as sidecar:
        assert "[2.0, 1.5, 7.0, 4.0]" in run_python(COUNTS + "print(found)", SHMTEL_NAMESPACE=namespace).stdout
        assert "[4.0, 3.0, 7.0, 8.0]" in run_python(COUNTS + "print(found)", SHMTEL_NAMESPACE=namespace).stdout
        text = sidecar.get("/metrics")
    for line in ('requests_total{path="/"} 4.0', 'seconds_bucket{le="2.0"} 2.0', "depth 7.0", "sizes_sum 8.0"):
        assert f"\n{line}\n" in text


def test_without_a_reader_a_look_drains_the_named_namespace_and_leaves_it_free(namespace: str) -> None:
    script = COUNTS + "print(found, flush=True); input(); counter.labels('/').inc(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SHMTEL_NAMESPACE": namespace},
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "[2.0, 1.5, 7.0, 4.0]\n"
        with Reader(namespace, ephemeral=True) as ours:  # nobody holds it
            ours.poll()
            assert read_state(namespace).value("requests_total", path="/") == 2
            program.communicate("\n\n", PATIENCE)
            assert ours.settle()
            assert ours.snapshot().value("requests_total", path="/") == 3


def test_nothing_is_done_and_shown_as_zero_where_it_is_switched_off() -> None:
    done = run_python(COUNTS + "print(found); print(generate_latest().decode())", SHMTEL_DISABLED="1")
    assert done.stdout.startswith("[0.0, 0.0, 0.0, 0.0]\n")
    assert '\nrequests_total{path="/"} 0.0\n' in done.stdout
    assert done.stderr.count("\n") == 1
    assert "SHMTEL_DISABLED" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small /dev/shm, which only root may")
def test_an_application_goes_on_without_its_metrics_where_there_is_no_room() -> None:
    command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$0" "$@"']
    done = subprocess.run(
        [*command, sys.executable, "-c", COUNTS + "print(found)"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.0, 0.0, 0.0, 0.0]\n"
    assert "no room" in done.stderr
