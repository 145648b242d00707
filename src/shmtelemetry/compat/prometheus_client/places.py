"""Where metrics have their values: names in the namespace.

In the private namespace of a process tree a name ends in a digest of the definition, so that two definitions of one
name never meet, whichever process comes first. In a namespace that the operator names, the first definition has the
plain name, which others know; only what disagrees with it has a digest.

The n-th living metric of a definition in one process shares its values with the n-th in every other one. So an
application with one metric of a name, in whatever registry, has that metric in all its processes; and the metrics that
tests make anew in registries of their own have nothing in common.
"""

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from prometheus_client.openmetrics.exposition import VALUES, escape_label_name, escape_metric_name

from ...aggregate.by_producer import by_producer
from ...aggregate.figures import OWN
from ...liveness import fork_lock
from ...metric import Metric, sample_names
from ...telemetry import Telemetry
from .store import store

Labels = tuple[str, ...]

# By prometheus_client's mode: how the values of processes become one, and whether those of ended processes count on.
MODES: Final = {
    "all": ("last", True),  # of one process's series
    "liveall": ("sum", False),
    "min": ("min", True),
    "livemin": ("min", False),
    "max": ("max", True),
    "livemax": ("max", False),
    "sum": ("sum", True),
    "livesum": ("sum", False),
    "mostrecent": ("last", True),
    "livemostrecent": ("last", False),
}


@dataclass(frozen=True, slots=True)
class Definition:
    """What two metrics must have in common to use one name. bounds: of the buckets of a histogram."""

    kind: str
    help: str
    labels: Labels
    bounds: tuple[float, ...] = ()
    mode: str = ""

    @property
    def exposed_labels(self) -> Labels:
        return tuple(escape_label_name(label, VALUES) for label in self.labels)

    @property
    def digest(self) -> str:
        """Tells it from others of its name; the help does not matter."""
        said = repr((self.kind, self.labels, self.bounds, self.mode))
        return hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=4).hexdigest()

    def agrees(self, metric: Metric) -> bool:
        """Whether the reader's metric counts as this one asks for; it may tell producers apart."""
        own = self.exposed_labels
        labelled = metric.labels in (own, by_producer(Metric("x", "counter", labels=own)).labels)
        merged = not self.mode or (metric.merge, metric.keep) == MODES[self.mode]
        return labelled and merged and (metric.kind, metric.buckets) == (self.kind, self.bounds)


@dataclass(slots=True, eq=False)
class Place:
    """A name in the namespace, and Telemetry's instruments under it, by suffix."""

    name: str
    definition: Definition
    taken: bool = True
    instruments: dict[str, Any] = field(default_factory=dict)
    telemetry: Telemetry | None = None  # whose they are
    former: Telemetry | None = None  # whose they were when the place was taken before

    def exposed(self, suffix: str = "") -> str:
        """The name under which the reader has an instrument."""
        if suffix:
            return f"{self.name}:{suffix}_total"
        return f"{self.name}_total" if self.definition.kind == "counter" else self.name

    @property
    def samples(self) -> tuple[str, ...]:
        """All names that it takes in the reader's exposition."""
        return sample_names(Metric(self.exposed(), self.definition.kind))

    def is_free(self, others: Iterable[Metric]) -> bool:
        """Whether none of the names is another place's of this process, or of a metric of others that disagrees."""
        samples = set(self.samples)
        return samples.isdisjoint(_names) and all(
            (other.name == self.exposed() and self.definition.agrees(other)) or samples.isdisjoint(sample_names(other))
            for other in others
        )

    def move(self) -> None:
        """Out of the way of another process that has defined the name otherwise."""
        for suffix in list(self.instruments):
            undefine(self, suffix)
        if not self.name.endswith(self.definition.digest):
            self.name = f"{self.name}:{self.definition.digest}"
            _names.update(self.samples)


_places: dict[str, list[Place]] = {}  # by the metric's name, in order
_names: set[str] = set()  # of all samples of all places
left: "deque[Place]" = deque()  # of metrics that are gone; a finalizer must take no lock


def check_free(name: str) -> None:
    """Raises ValueError for a name that is the reader's."""
    if name.startswith(OWN):
        raise ValueError(
            f"metric name {name!r}: the prefix {OWN} is reserved for shmtelemetry's own figures; choose another"
        )


def place_of(name: str, definition: Definition) -> Place:
    """One that no living metric of this process has. Raises ValueError for a name that is the reader's."""
    check_free(name)
    legal = escape_metric_name(name, VALUES)
    with fork_lock():
        while left:
            _vacate(left.popleft())
        places = _places.setdefault(name, [])
        for place in places:
            if not place.taken and place.definition == definition:
                place.taken = True
                return place
        place = _new_place(legal, definition, places)
        _names.update(place.samples)
        places.append(place)
        return place


def _new_place(legal: str, definition: Definition, places: list[Place]) -> Place:
    same = {place.name for place in places if place.definition.digest == definition.digest}
    metrics = store().metrics()
    for number in count(1):
        plain = legal if number == 1 else f"{legal}:{number}"
        apart = f"{plain}:{definition.digest}"
        if plain in same or apart in same:
            continue
        for name in (apart,) if store().private else (plain, apart):
            place = Place(name, definition)
            if place.is_free(metrics):
                return place
    raise AssertionError("there is always another number")


def _vacate(place: Place) -> None:
    for suffix in list(place.instruments):
        undefine(place, suffix)
    place.taken = False
    if place.telemetry is not None:
        store().give_back(place.telemetry)
        place.former, place.telemetry = place.telemetry, None


def undefine(place: Place, suffix: str) -> None:
    if place.instruments.pop(suffix, None) is not None and place.telemetry is not None:
        place.telemetry.remove(place.exposed(suffix))
