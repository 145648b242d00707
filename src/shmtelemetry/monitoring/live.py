"""What running producers have registered: as a catalogue, and compared with one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ..aggregate.snapshot import Family, Snapshot
from ..metric import SECONDS_PER, Metric
from .catalogue import Catalogue
from .entries import Category, Definition

LIVE: Final = "live"  # the service of metrics that no file tells of
UNKNOWN, OTHERWISE, LABEL, VALUE, BOUND, MISSING = "unknown", "otherwise", "label", "value", "bound", "missing"

_OWN: Final = "shmtel_"
_ANY: Final = 2**32  # label values: nobody has said how many there may be
_TROUBLE: Final = re.compile(r"(error|fail|drop|reject|lost|retr|invalid)")


@dataclass(frozen=True, slots=True)
class Difference:
    """Between a namespace and the catalogue. kind: one of the words above. metric: its name. found: what is so."""

    kind: str
    metric: str
    found: str


def definitions(snapshot: Snapshot) -> list[Definition]:
    """Of all metrics of a namespace but the reader's own, by name; the package's, where it has such a metric."""
    packaged = Catalogue.packaged().definitions
    mine = (family.metric for name, family in sorted(snapshot.families.items()) if not name.startswith(_OWN))
    return [_definition(metric, packaged) for metric in mine]


def _definition(metric: Metric, packaged: Mapping[str, Definition]) -> Definition:
    name = f"{metric.name.removesuffix('_total')}_total" if metric.kind == "counter" else metric.name  # as exposed
    known = packaged.get(name)
    if known is not None and _shape(known.metric) == _shape(metric):
        return known
    return Definition(
        name=name,
        type=metric.kind,  # type: ignore[arg-type]
        service=LIVE,
        help=metric.help or metric.name,
        question=metric.help or metric.name,
        category=_category(metric),
        labels=dict.fromkeys(metric.labels, _ANY),
        buckets=metric.buckets if metric.kind == "histogram" else None,
        unit=metric.unit,
        merge=metric.merge,
        keep=metric.keep,
        documented=True,  # others chose the name
    )


def _shape(metric: Metric) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
    return metric.kind, metric.labels, metric.buckets


def _category(metric: Metric) -> Category:
    """By what the name and unit suggest."""
    if metric.kind == "histogram" and metric.unit in SECONDS_PER:
        return "latency"
    if _TROUBLE.search(metric.name):
        return "errors"
    if metric.kind == "counter":
        return "throughput"
    return "business" if metric.unit == "usd" else "system"


def differences(catalogue: Catalogue, snapshot: Snapshot) -> Iterator[Difference]:
    """What is in the namespace and not as the catalogue has it, and what is missing beside others of its emitter."""
    emitters = set()
    for name, family in snapshot.families.items():
        definition = catalogue.definitions.get(name)
        if definition is None:
            yield Difference(UNKNOWN, name, f"a {family.metric.kind} that the catalogue does not have")
            continue
        emitters.add((definition.service, definition.emitter))
        yield from _of_one(definition, family)
    for definition in catalogue.definitions.values():
        is_there = (definition.service, definition.emitter) in emitters
        if is_there and definition.name not in snapshot.families:
            yield Difference(
                MISSING, definition.name, f"nobody emits it, though others of {definition.service} are there"
            )


def _of_one(definition: Definition, family: Family) -> Iterator[Difference]:
    name, metric = definition.name, family.metric
    if metric.kind != definition.type:
        yield Difference(OTHERWISE, name, f"a {metric.kind}, in the catalogue a {definition.type}")
    if metric.kind == "histogram" and metric.buckets != definition.metric.buckets:
        yield Difference(OTHERWISE, name, "its buckets are not those of the catalogue")
    for at, label in enumerate(metric.labels):
        allowed = definition.labels.get(label)
        if allowed is None:
            yield Difference(LABEL, name, f"label {label} is not in the catalogue")
            continue
        values = {labels[at] for labels in family.labels}
        if isinstance(allowed, int):
            if len(values) > allowed:
                yield Difference(BOUND, name, f"label {label} has {len(values):,} values, and may have {allowed:,}")
        elif others := sorted(values - set(allowed)):
            yield Difference(VALUE, name, f"label {label} is {', '.join(others[:3])}, expected {', '.join(allowed)}")
