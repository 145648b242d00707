"""The reader's own figures, as families like any other, and gauges that merge the values of several producers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from ..layout import LAYOUT_VERSION
from ..metric import Metric
from ..version import VERSION
from .series import SLOT_ASIDE, SLOT_LIVE
from .snapshot import Counts, Family, Floats, Labels, ProducerTotals

REASONS = ("full", "timeout", "no_ring")
OWN = "shmtel_"  # what the names of the reader's own figures begin with
NOT_WRITTEN = ("coalesced", "rejected", *(f"dropped_{reason}" for reason in REASONS))
LAG = Metric(
    "shmtel_reader_lag_seconds",
    "histogram",
    "Age of the oldest record of each batch when the reader drained it.",
    buckets=(1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 1.0, 10.0),
    unit="seconds",
)


def producers(slots: np.ndarray, names: np.ndarray) -> dict[str, ProducerTotals]:
    """The accounting of each producer name: its ended segments' totals and its other segments' figures."""
    there: dict[int, list[np.void]] = defaultdict(list)
    for slot in slots[(slots["status"] == SLOT_LIVE) | (slots["status"] == SLOT_ASIDE)]:
        there[int(slot["name"])].append(slot)
    found = {}
    for number, name in enumerate(names):
        text = bytes(name["name"])[: int(name["length"])].decode("ascii", "replace")
        found[text] = _totals(text, name, there.get(number, []))
    return dict(sorted(found.items()))


def _totals(text: str, name: np.void, slots: list[np.void]) -> ProducerTotals:
    def total(field: str) -> int:
        return int(name[field]) + sum(int(slot[field]) for slot in slots)

    # The loop notes a producer's positions after it took the records, so they may be behind its own.
    read = [_since_start(slot, "position") for slot in slots]
    written = [max(_since_start(slot, "write_position"), at) for slot, at in zip(slots, read, strict=True)]
    claimed = [max(_since_start(slot, "claimed_position"), at) for slot, at in zip(slots, written, strict=True)]
    # Of an overwrite_oldest ring, what the reader will find overwritten; elsewhere no more is claimed than fits.
    gone = [
        min(written[at] - read[at], max(0, claimed[at] - read[at] - int(slot["capacity"])))
        for at, slot in enumerate(slots)
    ]
    dropped = {reason: total(f"dropped_{reason}") for reason in REASONS}
    live = [slot for slot in slots if slot["status"] == SLOT_LIVE]
    # What a living producer has claimed it is writing now; only of others it will never be written.
    aborted = sum(claimed[at] - written[at] for at, slot in enumerate(slots) if slot["status"] != SLOT_LIVE)
    not_written = [sum(int(slot[field]) for field in NOT_WRITTEN) for slot in slots]
    return ProducerTotals(
        name=text,
        live=len(live),
        attempted=int(name["attempted"]) + sum(claimed) + sum(not_written),
        consumed=int(name["consumed"]) + sum(read) - sum(int(slot["overwritten"]) for slot in slots),
        in_ring=sum(claimed) - aborted - sum(read) - sum(gone),
        coalesced=total("coalesced"),
        dropped=dropped,
        overwritten=total("overwritten") + sum(gone),
        rejected=total("rejected"),
        aborted=int(name["aborted"]) + aborted,
        invalid=total("invalid"),
        capacity=sum(int(slot["capacity"]) for slot in live),
    )


def _since_start(slot: np.void, field: str) -> int:
    return (int(slot[field]) - int(slot["start_position"])) % 2**64


def _family(
    kind: str, name: str, help: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float], unit: str = ""
) -> tuple[str, Family]:
    numbers = np.array(list(values.values()), np.float64)
    made = Family(Metric(name, kind, help, labels, unit=unit), labels, tuple(values), numbers, np.zeros(len(numbers)))
    return name, made


def families(header: np.void, found: Mapping[str, ProducerTotals]) -> Iterator[tuple[str, Family]]:
    """Own figures, in the state's words."""
    by_name: dict[tuple[str, ...], ProducerTotals] = {(name,): producer for name, producer in found.items()}
    yield _family(
        "counter",
        "shmtel_records_total",
        "Records that the reader took from rings.",
        ("producer",),
        {key: producer.consumed for key, producer in by_name.items()},
    )
    yield _family(
        "counter",
        "shmtel_dropped_records_total",
        "Records that were not written, by reason.",
        ("producer", "reason"),
        {(name, reason): count for name, producer in found.items() for reason, count in producer.dropped.items()},
    )
    yield _family(
        "counter",
        "shmtel_coalesced_records_total",
        "Steps of counters and gauges that met a full ring and were kept in cells.",
        ("producer",),
        {key: producer.coalesced for key, producer in by_name.items()},
    )
    yield _family(
        "counter",
        "shmtel_overwritten_records_total",
        "Records of overwrite_oldest rings that were replaced before the reader took them.",
        ("producer",),
        {key: producer.overwritten for key, producer in by_name.items()},
    )
    yield _family(
        "counter",
        "shmtel_rejected_records_total",
        "Emits that were refused, because of a value that cannot be.",
        ("producer",),
        {key: producer.rejected for key, producer in by_name.items()},
    )
    yield _family(
        "counter",
        "shmtel_aborted_records_total",
        "Records that their producer was writing when it was killed.",
        ("producer",),
        {key: producer.aborted for key, producer in by_name.items()},
    )
    yield _family(
        "counter",
        "shmtel_invalid_records_total",
        "Records whose value their metric does not take.",
        ("producer",),
        {key: producer.invalid for key, producer in by_name.items()},
    )
    live = {key: producer for key, producer in by_name.items() if producer.live}
    yield _family(
        "gauge",
        "shmtel_ring_capacity_records",
        "Capacity of the rings of living producers.",
        ("producer",),
        {key: producer.capacity for key, producer in live.items()},
    )
    yield _family(
        "gauge",
        "shmtel_ring_used_records",
        "Records in rings when the reader last looked.",
        ("producer",),
        {key: producer.in_ring for key, producer in live.items()},
    )
    states: dict[tuple[str, ...], float] = {
        ("live",): sum(producer.live for producer in found.values()),
        ("foreign",): int(header["foreign"]),
        ("quarantined",): int(header["quarantined"]),
        ("retired",): int(header["undeletable"]),
    }
    yield _family("gauge", "shmtel_producers", "Segments by state.", ("state",), states)
    yield _family(
        "gauge",
        "shmtel_quarantined_segments",
        "Segments that are left aside because they are not what they say; the log names each.",
        (),
        {(): int(header["quarantined"])},
    )
    yield _family("gauge", "shmtel_series", "Series in the state.", (), {(): int(header["series"]) % 2**32})
    yield _family(
        "counter",
        "shmtel_series_overflow_total",
        "Label sets beyond the bound, counted in overflow series.",
        (),
        {(): int(header["beyond"]) % 2**32 + int(header["overflowed"])},
    )
    yield _family(
        "counter",
        "shmtel_conflicting_metrics_total",
        "Definitions that disagree with an earlier one.",
        (),
        {(): int(header["invalid_metrics"])},
    )
    yield _family(
        "counter",
        "shmtel_events_total",
        "Records of rings with events that are in the event store.",
        (),
        {(): int(header["events"])},
    )
    yield _family(
        "counter",
        "shmtel_events_let_go_total",
        "Events that were written over before the event store came to them.",
        (),
        {(): int(header["events_let_go"])},
    )
    yield _family(
        "gauge",
        "shmtel_events_waiting",
        "Events that the event store has not taken yet.",
        (),
        {(): int(header["events_waiting"])},
    )
    yield _family("gauge", "shmtel_build_info", "Always 1.", ("version", "layout"), {(VERSION, str(LAYOUT_VERSION)): 1})


def _merge(how: str, values: Floats, times: Counts) -> float:
    if how == "sum":
        return float(values.sum())
    if how == "min":
        return float(values.min())
    if how == "max":
        return float(values.max())
    return float(values[int(np.argmax(times))])  # of several segments of one producer the newest


def merged_gauge(metric: Metric, labels: Labels, entries: np.ndarray, created: Floats) -> Family:
    """One value of the parts that each producer set: their last two labels are the producer's name and uuid."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for at, key in enumerate(labels):
        groups[key[:-1] if metric.merge == "all" else key[:-2]].append(at)
    values, times = entries["value"], entries["time_ns"]
    merged, newest = [], []
    for parts in groups.values():
        ever_set = [at for at in parts if times[at]] or parts
        merged.append(_merge(metric.merge, values[ever_set], times[ever_set]))
        newest.append(times[ever_set].max())
    names = (*metric.labels, "producer") if metric.merge == "all" else metric.labels
    began = np.array([created[parts].min() for parts in groups.values()], np.float64)
    set_last = np.array(newest, np.uint64)
    return Family(metric, names, tuple(groups), np.array(merged, np.float64), began, times=set_last)
