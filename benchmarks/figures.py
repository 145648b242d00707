"""The figures that this library promises: of which readings each is made, and its limit.

A reading is one measurement in fresh processes, named by what takes it and of what: `ns module:function`,
`instructions module:function`, `throughput python dropped`, `drain with commits`, `reader memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import callgrind, commits, footprint, throughput
from benchmarks.subjects import compat, cpp, native, peers, scrape, web
from shmtelemetry.cli import bench
from shmtelemetry.cli.bench import Subject, measure_fresh, name_of


@dataclass(frozen=True)
class Figure:
    """One promise."""

    what: str
    unit: str
    limit: float
    of: tuple[str, ...]
    """The readings that the formula takes, in its order."""
    formula: Callable[..., float]
    at_least: bool = False
    """Whether the limit is the least that will do; otherwise it is the most."""
    gate: bool = False
    """Whether a miss fails `make gates`, as only a figure that compares within one run should."""
    floor: tuple[str, ...] = ()
    """Readings for the formula of what has to be done in any case, by whatever code: where the machine misses the limit
    with these alone, nobody's code can meet it there, and a miss fails nothing."""

    def value(self, readings: Mapping[str, float]) -> float:
        """The figure."""
        return self.formula(*(readings[name] for name in self.of))

    def met(self, value: float) -> bool:
        """Whether a value keeps the promise."""
        return value >= self.limit if self.at_least else value <= self.limit

    def floor_value(self, readings: Mapping[str, float]) -> float:
        """The figure of the floor."""
        return self.formula(*(readings[name] for name in self.floor))

    @property
    def bound(self) -> str:
        """The limit as a table shows it."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:,.10g} {self.unit}".rstrip()


def take(name: str) -> dict[str, float]:
    """Take the reading `name`, and whatever comes with it."""
    kind, what, *_ = name.split()
    match kind:
        case "ns":
            return {name: min(measure_fresh(what))}
        case "instructions":
            return {name: callgrind.instructions(what)}
        case "throughput":
            run = throughput.run_fresh(what)
            return {f"throughput {what} dropped": run.dropped, f"throughput {what} rate": run.rate}
        case "drain":
            return {f"drain {build} commits": taken for build, taken in commits.run_fresh().items()}
        case "reader":
            return {f"reader {figure}": number for figure, number in footprint.run_fresh(what.split("_")[0]).items()}
    raise ValueError(f"no reading begins with {kind!r}")


def ns(subject: Subject) -> str:
    """The reading of nanoseconds an item."""
    return f"ns {name_of(subject)}"


def instructions(subject: Subject) -> str:
    """The reading of instructions a call."""
    return f"instructions {name_of(subject)}"


def _ratio(above: float, below: float) -> float:
    return above / below


def _difference(whole: float, part: float) -> float:
    return whole - part


def _itself(value: float) -> float:
    return value


def _largest_ratio(below: float, *above: float) -> float:
    return max(above) / below


def _largest_difference(part: float, *whole: float) -> float:
    return max(whole) - part


def _ratio_beyond(floor: float, above: float, below: float) -> float:
    return (above - floor) / (below - floor)


def _microseconds_beyond(floor: float, whole: float) -> float:
    return (whole - floor) / 1e3


def _million_a_second(nanoseconds: float) -> float:
    return 1e3 / nanoseconds


HANDLES = (bench.counter_emit, bench.gauge_emit, bench.histogram_emit)

COMPAT = (
    ("prometheus_client Counter.inc", peers.prometheus_counter, compat.counter, 8),
    ("prometheus_client Histogram.observe", peers.prometheus_histogram, compat.histogram, 15),
    ("prometheus_client labels(a, b).inc", peers.prometheus_labels, compat.labels, 8),
    ("multiprocess mode: Counter.inc", peers.prometheus_multiprocess_counter, compat.counter, 25),
    ("multiprocess mode: Histogram.observe", peers.prometheus_multiprocess_histogram, compat.histogram, 45),
    ("multiprocess mode: scrape of 8 processes of 2,000 series", compat.prometheus_scrape, compat.scrape, 20),
)
"""What prometheus_client does, what this library does where its import line is changed, and their ratio."""

FIGURES = (
    Figure(
        "handle.emit(float), the slowest instrument ÷ an empty Cython method",
        "x",
        1.8,
        (ns(native.empty_float), *map(ns, HANDLES)),
        _largest_ratio,
        gate=True,
        floor=(ns(native.empty_float), ns(native.timed_float)),
    ),
    Figure(
        "handle.emit(float), the slowest instrument ÷ a Cython method that reads the clock",
        "x",
        1.25,
        (ns(native.timed_float), *map(ns, HANDLES)),
        _largest_ratio,
        gate=True,
    ),
    Figure(
        "what handle.emit(float) adds to the empty method, the longest instrument",
        "instructions",
        100,
        (instructions(native.empty_float), *map(instructions, HANDLES)),
        _largest_difference,
        gate=True,
    ),
    Figure(
        "prometheus_client Counter.inc ÷ emit",
        "x",
        10,
        (ns(peers.prometheus_counter), ns(bench.counter_emit)),
        _ratio,
        at_least=True,
        gate=True,
    ),
    Figure(
        "prometheus_client Histogram.observe ÷ emit",
        "x",
        20,
        (ns(peers.prometheus_histogram), ns(bench.histogram_emit)),
        _ratio,
        at_least=True,
        gate=True,
    ),
    Figure(
        "emit(np.void) of 24 bytes ÷ an empty Cython method",
        "x",
        2.0,
        (ns(bench.record_emit), ns(native.empty_object)),
        _ratio,
        gate=True,
    ),
    Figure(
        "emit_many, a 24-byte record ÷ memcpy of the same bytes",
        "x",
        3,
        (ns(bench.many_emit), ns(native.memcpy)),
        _ratio,
        gate=True,
    ),
    Figure(
        "C push with its time, less rdtsc",
        "ns",
        4,
        (ns(native.c_push), ns(native.rdtsc)),
        _difference,
        gate=True,
    ),
    Figure(
        "C++ Counter::emit with its time, less rdtsc",
        "ns",
        4,
        (ns(cpp.counter), ns(native.rdtsc)),
        _difference,
        gate=True,
    ),
    Figure(
        "scrape of 10,000 histogram series: prometheus_client ÷ this library",
        "x",
        20,
        (ns(scrape.prometheus_scrape), ns(scrape.scrape)),
        _ratio,
        at_least=True,
        gate=True,
    ),
    Figure(
        "scrape of 10,000 histogram series: protobuf with native histograms ÷ text",
        "x",
        1.5,
        (ns(scrape.protobuf_scrape), ns(scrape.scrape)),
        _ratio,
    ),
    *(
        Figure(f"{what} ÷ the same here", "x", limit, (ns(theirs), ns(ours)), _ratio, at_least=True, gate=True)
        for what, theirs, ours, limit in COMPAT
    ),
    *(
        Figure(
            f"{bench.label_of(subject)}, exponential and 14 classic buckets",
            "million records/s",
            limit,
            (ns(subject),),
            _million_a_second,
            at_least=True,
        )
        for subject, limit in zip(bench.DRAINS, (120, 80, 30), strict=True)
    ),
    Figure(
        "drain of 8 prefilled rings, 1,000 series: throughput with commits ÷ without",
        "x",
        0.75,
        ("drain without commits", "drain with commits"),
        _ratio,
        at_least=True,
        gate=True,
    ),
    Figure(
        "dropped of a Python producer at full speed for 10 s, a ring of 1,048,576",
        "records",
        0,
        ("throughput python dropped",),
        _itself,
    ),
    Figure(
        "dropped of 10 million records/s from C for 10 s, a ring of 65,536",
        "records",
        0,
        ("throughput c dropped",),
        _itself,
    ),
    Figure(
        "what counting adds to an ASGI request: prometheus-fastapi-instrumentator ÷ this library",
        "x",
        5,
        (ns(web.alone), ns(web.instrumentator), ns(web.counted)),
        _ratio_beyond,
        at_least=True,
    ),
    Figure("what counting adds to an ASGI request", "µs", 5, (ns(web.alone), ns(web.counted)), _microseconds_beyond),
    Figure("reader's own memory at 1,000 histogram series", "MiB", 60, ("reader memory",), _itself),
    Figure("reader with 1,000 idle rings", "% of a core", 1, ("reader idle",), _itself),
    Figure("scrape of 99,000 histogram series over HTTP", "s", 1, ("reader large_scrape",), _itself),
    Figure("reader's own memory and state at 99,000 histogram series", "MiB", 1024, ("reader large",), _itself),
)
