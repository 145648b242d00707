"""What is measured: each subject sets something up and gives its `Timing`."""

from __future__ import annotations

from benchmarks.subjects import compat, cpp, native, peers, scrape, web
from shmtelemetry.cli import bench
from shmtelemetry.cli.bench import Subject

EMIT = "emit"
COMPAT = "compat"
PEER = "peer"
FLOOR = "floor"
DRAIN = "drain"
SCRAPE = "scrape"
WEB = "web"

GROUPS: dict[str, tuple[Subject, ...]] = {
    EMIT: (*bench.EMITS, native.c_push, cpp.counter, cpp.records),
    COMPAT: (compat.counter, compat.gauge, compat.histogram, compat.labels),
    PEER: (
        peers.prometheus_counter,
        peers.prometheus_labels,
        peers.prometheus_histogram,
        peers.prometheus_multiprocess_counter,
        peers.prometheus_multiprocess_histogram,
        peers.opentelemetry_counter,
        peers.opentelemetry_attributes,
        peers.opentelemetry_histogram,
        peers.zeromq,
        peers.multiprocessing_queue,
        peers.struct_ring,
    ),
    FLOOR: (native.empty_float, native.timed_float, native.empty_object, native.rdtsc, native.memcpy),
    DRAIN: bench.DRAINS,
    SCRAPE: (
        scrape.scrape,
        scrape.protobuf_scrape,
        scrape.prometheus_scrape,
        compat.scrape,
        compat.prometheus_scrape,
    ),
    WEB: (web.alone, web.counted, web.instrumentator),
}
