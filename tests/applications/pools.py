"""Children of every kind count; the main process shows the sum: python -m tests.applications.pools HOW."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
import threading

from shmtelemetry.compat.prometheus_client import REGISTRY, Counter, Gauge, Histogram

steps = Counter("steps", "Steps.", ["kind"])
plain = Counter("plain", "Steps.")
sizes = Histogram("sizes", "Sizes.", buckets=[1, 2])
busy = Gauge("busy", "Children at work.")

CHILDREN = 4
STEPS = 1000


def work(kind: str = "child") -> None:
    with busy.track_inprogress():
        for _ in range(STEPS):
            steps.labels(kind).inc()
            plain.inc()
            sizes.observe(1.5)


def nest() -> None:
    """A child that starts another one."""
    work()
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()


def processes(method: str) -> int:
    context = multiprocessing.get_context(method)
    children = [context.Process(target=work) for _ in range(CHILDREN)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return CHILDREN


def pool(method: str) -> int:
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(CHILDREN, mp_context=context) as executor:
        list(executor.map(work, ["child"] * CHILDREN))
    return CHILDREN


def nested() -> int:
    child = multiprocessing.get_context("spawn").Process(target=nest)
    child.start()
    child.join()
    return 2


def threads() -> int:
    started = [threading.Thread(target=work) for _ in range(CHILDREN)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    return CHILDREN


def forks() -> int:
    """Children that end without any clean-up."""
    for _ in range(CHILDREN):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        os.waitpid(pid, 0)
    return CHILDREN


HOW = {
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
    "forkserver": lambda: processes("forkserver"),
    "pool-fork": lambda: pool("fork"),
    "pool-spawn": lambda: pool("spawn"),
    "nested": nested,
    "threads": threads,
    "forks": forks,
}


def main() -> None:
    work("main")
    many = HOW[sys.argv[1]]()
    found = [
        REGISTRY.get_sample_value(name, labels)
        for name, labels in (
            ("steps_total", {"kind": "child"}),
            ("steps_total", {"kind": "main"}),
            ("plain_total", {}),
            ("sizes_count", {}),
            ("sizes_sum", {}),
            ("sizes_bucket", {"le": "1.0"}),
            ("busy", {}),
        )
    ]
    every = (many + 1) * STEPS
    assert found == [many * STEPS, STEPS, every, every, 1.5 * every, 0, 0], found


if __name__ == "__main__":
    main()
