"""`shmtel bench`: what this library costs on the machine at hand, every form of emit and the drain.

Each subject runs in a fresh interpreter, because CPython 3.11 and later specialise a loop for the callable
that it ran first, and then measure the next one wrong. The fastest round counts: disturbances only slow it.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

CALLS = 50_000  # of one round: below a ring's default capacity, so that no round meets a full ring
BATCH = 4096  # records of one emit_many; 16 of them fill a ring of the default capacity
BUCKETS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2)
RECORD = [("ts", "<u8"), ("symbol", "S8"), ("latency_ns", "<u4"), ("qty", "<u4")]


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Timing:
    """What a subject wants timed, once it is set up."""

    statement: str
    """Python source that is repeated."""
    names: Mapping[str, object]
    """The names that the statement uses; they become local variables of its loop."""
    calls: int
    """How often the statement is repeated in one round."""
    items: int = 1
    """How many items (records, calls of a C function) one statement handles."""
    before_round: Callable[[], object] = _nothing
    """Runs before each round, outside the measured time."""

    def timer(self) -> timeit.Timer:
        """A loop of its own around the statement."""
        setup = "\n".join(f"{name} = names[{name!r}]" for name in self.names) or "pass"
        return timeit.Timer(self.statement, setup, globals={"names": self.names})


Subject = Callable[..., AbstractContextManager[Timing]]
"""A function that sets something up and gives its `Timing`; its docstring is its label in tables."""


def measure(subject: Subject, at_least: float = 0.5, at_most: float = 3.0) -> list[float]:
    """Time a subject in this process, until its three fastest rounds agree within 1 %.

    Args:
        subject: what to time.
        at_least: seconds for which rounds are taken in any case.
        at_most: seconds after which no further round begins, although at least three are taken.

    Returns:
        Nanoseconds an item, for each round.
    """
    rounds: list[float] = []
    with subject() as timing:
        timer = timing.timer()
        begin = time.monotonic()
        while True:
            timing.before_round()
            rounds.append(timer.timeit(timing.calls) * 1e9 / (timing.calls * timing.items))
            elapsed = time.monotonic() - begin
            if len(rounds) < 3 or elapsed < at_least:
                continue
            fastest = sorted(rounds)[:3]
            if fastest[-1] <= fastest[0] * 1.01 or elapsed >= at_most:
                return rounds


def resolve(name: str) -> Subject:
    """The subject behind `module:function`."""
    module, _, function = name.partition(":")
    found: Subject = getattr(importlib.import_module(module), function)
    return found


def name_of(subject: Subject) -> str:
    """The `module:function` by which `resolve` finds the subject."""
    return f"{subject.__module__}:{subject.__name__}"


def label_of(subject: Subject) -> str:
    """How a table shows the subject: the first line of its docstring."""
    return (subject.__doc__ or "").partition("\n")[0]


def measure_fresh(name: str) -> list[float]:
    """`measure` the subject `module:function` in a fresh interpreter.

    Raises:
        RuntimeError: the subject failed; the message ends with what it wrote to stderr.
    """
    code = "import json, sys\nfrom shmtelemetry.cli.bench import measure, resolve\n"
    code += "print(json.dumps(measure(resolve(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended with exit code {done.returncode}:\n{done.stderr}")
    rounds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rounds


def namespace() -> str:
    """A namespace of this process, so that benchmarks disturb nobody's reader."""
    return f"bench-{os.getpid()}"


def _capacity(records: int) -> int:
    return 1 << (records - 1).bit_length()


def _prove_nothing_lost(stats: Any) -> None:
    lost = sum(stats.dropped.values()) + stats.coalesced + stats.rejected
    if lost:
        raise RuntimeError(f"{lost} records met a full ring, another path than the one to time: take fewer calls")


@contextmanager
def _instrument(kind: str, statement: str, calls: int, **options: object) -> Iterator[Timing]:
    from shmtelemetry import Consumer, Telemetry

    with (
        Telemetry("bench", namespace=namespace(), capacity=_capacity(calls)) as telemetry,
        Consumer("bench", namespace=namespace()) as consumer,
    ):
        define = getattr(telemetry, kind)
        handle = define("bench", "Of the benchmark.", labels=("symbol",), **options).labels("AAPL")
        yield Timing(statement, {"handle": handle}, calls, before_round=consumer.read)
        consumer.read()
        _prove_nothing_lost(telemetry.stats())


@contextmanager
def _producer(statement: str, make: Callable[[Any], object], calls: int, items: int = 1) -> Iterator[Timing]:
    import numpy as np

    from shmtelemetry import Consumer, Producer

    dtype = np.dtype(RECORD)
    record = np.array([(1, b"AAPL", 1250, 100)], dtype)[0]
    with (
        Producer("bench", dtype, namespace=namespace(), capacity=_capacity(calls * items)) as producer,
        Consumer("bench", namespace=namespace()) as consumer,
    ):
        yield Timing(statement, {"producer": producer, "record": make(record)}, calls, items, consumer.read)
        consumer.read()
        _prove_nothing_lost(producer.stats())


def counter_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Counter: handle.emit(float)"""
    return _instrument("counter", "handle.emit(1.0)", calls)


def gauge_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Gauge: handle.emit(float)"""
    return _instrument("gauge", "handle.emit(3.0)", calls)


def histogram_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Histogram: handle.emit(float)"""
    return _instrument("histogram", "handle.emit(0.0125)", calls, buckets=BUCKETS)


def exemplar_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Histogram: handle.emit(float, exemplar=str)"""
    statement = "handle.emit(0.0125, exemplar='4bf92f3577b34da6a3ce929d0e0e4736')"
    return _instrument("histogram", statement, calls, buckets=BUCKETS)


def time_block(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Histogram: with handle.time(): pass"""
    return _instrument("histogram", "with handle.time(): pass", calls, buckets=BUCKETS)


def start_stop(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Histogram: handle.stop(handle.start())"""
    return _instrument("histogram", "handle.stop(handle.start())", calls, buckets=BUCKETS)


def record_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Producer.emit(np.void), 24 bytes"""
    return _producer("producer.emit(record)", lambda record: record, calls)


def bytes_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Producer.emit(bytes), 24 bytes"""
    return _producer("producer.emit(record)", lambda record: record.tobytes(), calls)


def fields_emit(calls: int = CALLS) -> AbstractContextManager[Timing]:
    """Producer.emit_fields(), 4 fields of 24 bytes"""
    return _producer("producer.emit_fields(1, b'AAPL', 1250, 100)", lambda record: record, calls)


def many_emit(calls: int = 16) -> AbstractContextManager[Timing]:
    """Producer.emit_many(), each 24-byte record"""
    return _producer("producer.emit_many(record)", lambda record: record.repeat(BATCH), calls, BATCH)


@contextmanager
def _drain(series: int, records: int = 1_000_000) -> Iterator[Timing]:
    import numpy as np

    from shmtelemetry import Reader, Telemetry

    random = np.random.default_rng(series)
    values = random.lognormal(-8.0, 1.5, records).tolist()
    with (
        Telemetry("bench", namespace=namespace(), capacity=_capacity(records)) as telemetry,
        Reader(namespace=namespace(), ephemeral=True) as reader,
    ):
        histogram = telemetry.histogram("bench", "Of the benchmark.", labels=("symbol",), buckets=BUCKETS)
        emits = [histogram.labels(f"S{number}").emit for number in range(series)]
        chosen = [emits[number] for number in random.integers(0, series, records)]

        def fill() -> None:
            for emit, value in zip(chosen, values, strict=True):
                emit(value)

        def empty() -> None:
            left = records
            while left > 0:
                left -= reader.poll()

        fill()
        empty()
        yield Timing("empty()", {"empty": empty}, 1, records, fill)
        stats = telemetry.stats()
        _prove_nothing_lost(stats)
        counts = reader.snapshot().families["bench"].counts
        if counts is None or counts.sum() != stats.attempted:
            raise RuntimeError(f"of {stats.attempted} observations not all are in the state")


def drain_1() -> AbstractContextManager[Timing]:
    """drain and aggregate, 1 series"""
    return _drain(1)


def drain_1000() -> AbstractContextManager[Timing]:
    """drain and aggregate, 1,000 series"""
    return _drain(1_000)


def drain_10000() -> AbstractContextManager[Timing]:
    """drain and aggregate, 10,000 series"""
    return _drain(10_000)


EMITS: tuple[Subject, ...] = (
    counter_emit, gauge_emit, histogram_emit, exemplar_emit, time_block, start_stop,
    record_emit, bytes_emit, fields_emit, many_emit,
)  # fmt: skip
DRAINS: tuple[Subject, ...] = (drain_1, drain_1000, drain_10000)


def run_bench() -> dict[str, Any]:
    """Time every form of emit and the drain, each in a fresh process.

    Returns:
        `machine` (facts), `emit` (label → nanoseconds a call) and `drain` (label → million records/s).
    """
    machine = {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}
    return {
        "machine": {"shmtelemetry": version("shmtelemetry"), **machine},
        "emit": {label_of(subject): min(measure_fresh(name_of(subject))) for subject in EMITS},
        "drain": {label_of(subject): 1e3 / min(measure_fresh(name_of(subject))) for subject in DRAINS},
    }


def bench(as_json: bool) -> int:
    """Run the benchmark and print it, for people or as JSON; returns the exit code."""
    results = run_bench()
    if as_json:
        print(json.dumps(results, indent=2))
        return 0
    print(", ".join(f"{fact} {value}" for fact, value in results["machine"].items()))
    for title, rows in (("ns a call", results["emit"]), ("million records/s", results["drain"])):
        width = max(map(len, rows))
        print(f"\n{'':{width}}  {title}")
        for label, value in rows.items():
            print(f"{label:{width}}  {value:{len(title)}.1f}")
    return 0
