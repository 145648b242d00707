"""What is measured: each subject sets something up and gives its `Timing`."""

from __future__ import annotations

from benchmarks.subjects import native, peers, scrape
from shmtelemetry.cli import bench
from shmtelemetry.cli.bench import Subject

EMIT = "emit"
PEER = "peer"
FLOOR = "floor"
DRAIN = "drain"
SCRAPE = "scrape"

GROUPS: dict[str, tuple[Subject, ...]] = {
    EMIT: (*bench.EMITS, native.c_push),
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
    FLOOR: (native.empty_float, native.empty_object, native.rdtsc, native.memcpy),
    DRAIN: bench.DRAINS,
    SCRAPE: (scrape.scrape, scrape.protobuf_scrape, scrape.prometheus_scrape),
}
