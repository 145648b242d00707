"""Short-lived producers that come and go beside a running reader, and what must hold meanwhile and afterwards."""

from __future__ import annotations

import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from shmtelemetry import Telemetry
from tests.processes import wait_until
from tests.reading import SHM
from tests.resources import resident_kib

AT_ONCE = 8  # producers
LOOKS = 20  # scrapes in the course of a run


@dataclass(frozen=True)
class Look:
    """What a scrape said, and what it took."""

    samples: dict[tuple[str, str], float]  # (name, value of its first label)
    length: int
    seconds: float
    files: int
    resident_kib: int


def _job(namespace: str, number: int, inherited: Callable[[], None]) -> None:
    """What a short-lived process does: work of its own, and with what it inherited; then one of three ends."""
    telemetry = Telemetry(f"job-{number % 3}", namespace, capacity=256)
    for _ in range(10):
        telemetry.counter("jobs_total").inc()
        telemetry.histogram("job_seconds").observe(1e-3)
        inherited()
    telemetry.gauge("job_depth", merge="sum").set(1)
    telemetry.gauge("job_last").set(number)
    end = number % 3
    if end == 0:
        telemetry.close()
    elif end == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _start(namespace: str, number: int, inherited: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _job(namespace, number, inherited)
    finally:
        os._exit(0)


def _look(url: str, pid: int, namespace: str) -> Look:
    begin = time.perf_counter()
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as response:
        text = response.read().decode()
    seconds = time.perf_counter() - begin
    samples = {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.removesuffix("_total") in ("jobs", "inherited", "job_seconds_count", "job_depth", "job_last")
        or sample.name in ("shmtel_producers", "shmtel_records_total")
    }
    length = sum(len(line) for line in text.splitlines() if "_window_" not in line)  # these come and go
    return Look(samples, length, seconds, len(list(SHM.glob(f"shmtel.{namespace}.*"))), resident_kib(pid))


def churn(namespace: str, url: str, reader_pid: int, count: int) -> list[Look]:
    """Let `count` producers come and go, and look at the reader's web page now and then, and at the end."""
    looks = []
    chance = random.Random(7)
    running: list[int] = []
    with Telemetry("parent", namespace) as telemetry:
        inherited = telemetry.counter("inherited_total")
        for number in range(count):
            running.append(_start(namespace, number, inherited.inc))
            if len(running) == AT_ONCE:
                os.waitpid(running.pop(chance.randrange(AT_ONCE)), 0)
            if number % max(1, count // LOOKS) == 0:
                looks.append(_look(url, reader_pid, namespace))
        for pid in running:
            os.waitpid(pid, 0)
        wait_until(
            lambda: _look(url, reader_pid, namespace).samples[("shmtel_producers", "live")] == 1,
            "all but the parent are gone",
        )
        looks.append(_look(url, reader_pid, namespace))
    return looks


def assert_nothing_was_lost(looks: list[Look], count: int) -> None:
    """Totals are exact at the end and never fall, and nothing grows."""
    for name in (("jobs_total", ""), ("inherited_total", ""), ("job_seconds_count", "")):
        totals = [look.samples.get(name, 0) for look in looks]
        assert totals == sorted(totals), name
        assert totals[-1] == 10 * count, name
    last = looks[-1].samples
    assert ("job_depth", "") not in last
    for state in ("foreign", "quarantined", "retired"):
        assert not any(look.samples["shmtel_producers", state] for look in looks), state
    taken = sum(value for (name, _), value in last.items() if name == "shmtel_records_total")
    assert taken == count * 32  # three times ten, and the two gauges
    assert looks[-1].files <= 4  # the reader's three, and the parent's
    warm = looks[len(looks) // 4 :]
    assert max(look.length for look in warm) < min(look.length for look in warm) + 500
    assert warm[-1].resident_kib < warm[0].resident_kib + 4096
    fastest = [min(look.seconds for look in part) for part in (warm[:5], warm[-6:-1])]
    assert fastest[1] < 2 * fastest[0] + 0.02
