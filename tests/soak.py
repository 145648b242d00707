"""`make soak`: a steady producer, a reader, scrapers and chaos together; fails if anything grows.

python -m tests.soak [--minutes 60]       after a warm-up of 75 seconds

Chaos is what tests/chaos.py does: producers killed at random microseconds, and now and then a reader that is stopped
for a second. The reader is never killed: it is its memory that must not grow. At the end every total is compared with
the producers' own tallies. Writes bench_results/soak-<date>-<commit>.json and .png.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from random import Random

import numpy as np

from benchmarks import machine
from shmtelemetry import Telemetry, read_state
from shmtelemetry.segment import segment_names
from tests.chaos import Tally, assert_exact, rage
from tests.processes import is_running, wait_until
from tests.readers import Running, reader
from tests.reading import SHM, Talker, talker
from tests.resources import shared_bytes, taken
from tests.slopes import Level, plot

WARM = 75.0  # seconds before the run, in which the windows of 60 s fill up, and whatever else comes into use
SAMPLES = 600  # in a run, but at most one a second
SCRAPES = 3  # of a sample, whose fastest counts: it waited least for chaos and for other programs
PAUSE = 0.05  # seconds between two kills, about
STOP_EVERY = 20.0  # seconds
STOPPED = 1.0  # seconds
SERIES = 200
MIB = 2**20
LIMITS = {  # what → its unit, and by how much it may grow in a run
    "reader's private memory": ("MiB", 2.0),
    "reader's descriptors": ("files", 0.5),
    "reader's files in /dev/shm": ("MiB", 0.5),
    "the namespace in /dev/shm": ("MiB", 1.0),
    "producer's private memory": ("MiB", 0.5),
    "producer's descriptors": ("files", 0.5),
    "a scrape": ("ms", 10.0),
    "its length": ("KiB", 2.0),
}

Samples = list[tuple[float, dict[str, float]]]  # seconds since the begin, and what → value


def emit_steadily(namespace: str, asked: Callable[[], bool]) -> Counter[str]:
    """What a service does: counters, gauges and histograms of many series, thousands of times a second."""
    with Telemetry("steady", namespace) as telemetry:
        counter = telemetry.counter("steps", labels=("n",))
        gauge = telemetry.gauge("depth")
        histogram = telemetry.histogram("seconds", labels=("n",), buckets=(0.001, 0.01, 0.1, 1.0))
        handles = [(counter.labels(n), histogram.labels(n)) for n in range(SERIES)]
        emitted: Counter[str] = Counter()
        chance = Random(3)
        while not asked():
            for step, seconds in handles:
                emitted["steps"] += step.inc()
                emitted["seconds"] += seconds.observe(chance.lognormvariate(-6, 1))
                gauge.set(chance.random())
            time.sleep(0.005)
        return emitted


def scrape_steadily(running: Running, asked: Callable[[], bool]) -> int:
    """A second scraper, which now and then comes at the same time as the first one. Returns how often it came."""
    scrapes = 0
    while not asked():
        assert running.get("/metrics", accept="application/openmetrics-text").endswith("# EOF\n")
        scrapes += 1
        time.sleep(0.3)
    return scrapes


def timed_scrape(running: Running) -> tuple[float, str]:
    before = time.perf_counter()
    text = running.get("/metrics")
    return time.perf_counter() - before, text


def sample(running: Running, producer: Talker, namespace: str) -> dict[str, float]:
    seconds, text = min(timed_scrape(running) for _ in range(SCRAPES))
    theirs, ours = taken(running.process.pid, namespace), taken(producer.pid, namespace)
    figures = (
        theirs.resident_kib / 1024,
        theirs.files,
        theirs.shared / MIB,
        shared_bytes(f"shmtel.{namespace}.*") / MIB,
        ours.resident_kib / 1024,
        ours.files,
        seconds * 1e3,
        sum(len(line) for line in text.splitlines() if "_window_" not in line) / 1024,  # these come and go
    )
    return dict(zip(LIMITS, figures, strict=True))


def turns(
    running: Running, producer: Talker, namespace: str, seconds: float, samples: Samples, chance: Random
) -> Iterator[None]:
    """Turns for so long, in whose course samples are taken and the reader is stopped now and then."""
    begin = time.monotonic() + WARM
    next_sample, next_stop = -WARM, STOP_EVERY
    while (now := time.monotonic() - begin) < seconds:
        if now >= next_stop:
            running.process.send_signal(signal.SIGSTOP)
            time.sleep(STOPPED)
            running.process.send_signal(signal.SIGCONT)
            next_stop += STOP_EVERY
        if now >= next_sample:
            figures = sample(running, producer, namespace)
            if now >= 0:
                samples.append((now, figures))
            next_sample += max(1.0, seconds / SAMPLES)
        time.sleep(chance.uniform(0, 2 * PAUSE))
        yield


def soak(namespace: str, seconds: float) -> tuple[Samples, Tally, Counter[str]]:
    """Run everything, and compare the totals with what was emitted, of which the counts are returned."""
    samples: Samples = []
    chance = Random()
    with (
        reader(namespace, "--ephemeral") as running,
        talker(partial(emit_steadily, namespace)) as producer,
        talker(partial(scrape_steadily, running)) as scraper,
    ):
        tally = rage(namespace, turns(running, producer, namespace, seconds, samples, chance), chance)
        assert is_running(producer.pid)
        assert is_running(scraper.pid)
        emitted = producer.finish()
        emitted["scrapes"] = scraper.finish()
        wait_until(lambda: not list(segment_names(namespace)), "all is drained and unlinked")
        running.get("/metrics")
        snapshot = read_state(namespace)
        assert_exact(snapshot, tally)
        assert snapshot.families["steps_total"].values.sum() == emitted["steps"]
        counts = snapshot.families["seconds"].counts
        assert counts is not None
        assert counts.sum() == emitted["seconds"]
        assert running.end(signal.SIGTERM) == 0
    left = [path.name for path in SHM.glob(f"shmtel.{namespace}.*")]
    assert not left, f"left behind: {', '.join(left)}"
    return samples, tally, emitted


def levels(samples: Samples) -> list[Level]:
    times = np.array([seconds for seconds, _ in samples])
    return [
        Level(what, unit, times, np.array([figures[what] for _, figures in samples]), limit)
        for what, (unit, limit) in LIMITS.items()
    ]


def main() -> int:
    """Soak, write, judge; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description="Run everything together; fail if anything grows.")
    parser.add_argument(
        "--minutes", type=float, default=60.0, metavar="N", help="how long, after a warm-up of 75 seconds (default: 60)"
    )
    minutes = parser.parse_args().minutes
    now, commit = datetime.now(UTC), machine.commit()
    samples, tally, emitted = soak(f"soak-{secrets.token_hex(4)}", minutes * 60)
    found = levels(samples)
    path = machine.ROOT / f"bench_results/soak-{now:%Y-%m-%d}-{commit}.json"
    path.parent.mkdir(exist_ok=True)
    result = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "modified": machine.modified(),
        "machine": machine.facts(),
        "minutes": minutes,
        "kills": tally.kills,
        "counts": emitted,
        "level": {level.what: level.is_level for level in found},
        "growth": {level.what: level.growth for level in found},
        "samples": [{"seconds": round(seconds, 3), **figures} for seconds, figures in samples],
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    title = f"{minutes:g} minutes, {tally.kills:,} producers killed, {emitted['steps']:,} steady steps; {commit}"
    plot(found, title, path.with_suffix(".png"))
    print(f"{title}: every total exact", *found, f"wrote {path.relative_to(machine.ROOT)} and .png", sep="\n")
    return 0 if all(level.is_level for level in found) else 1


if __name__ == "__main__":
    sys.exit(main())
