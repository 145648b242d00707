"""What every source has: series whose number is bounded, and counts of what came in and of what was refused."""

from typing import Any, Final

from ..errors import SegmentSpaceError
from ..metric import Metric, sample_names
from ..telemetry import Family, Telemetry

MAX_SERIES: Final = 10_000
OVERFLOW: Final = "overflow"  # as the reader names what is beyond its own bound
MAX_CATALOGUE: Final = 8 << 20  # bytes of definitions; the rest is room for metrics, and their overflow series
MAX_LABEL: Final = 256  # bytes of one label value from outside; longer ones are refused


class Refused(Exception):
    """An item cannot be taken; the argument is the reason that is counted."""


class Names:
    """The names of the samples of a source's metrics: a gauge a and a counter a_total cannot be told apart."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def other(self, metric: Metric) -> str | None:
        """Another metric that has one of a metric's samples."""
        holders = {self._taken.get(name, metric.name) for name in sample_names(metric)}
        return next(iter(holders - {metric.name}), None)

    def take(self, metric: Metric) -> None:
        self._taken.update(dict.fromkeys(sample_names(metric), metric.name))


class Intake:
    """One source's. What comes from outside may make at most `max_series` series: the rest goes to one series a metric
    whose label values are all `overflow`, and is counted.

    source: its kind, the value of the label `source` of its own figures. Exported:
    ingest_items_total{source}: rows, messages, lines that were taken.
    ingest_rejected_total{source,reason}: those that were refused.
    ingest_overflow_total{source}: items that went to an overflow series.
    """

    def __init__(self, telemetry: Telemetry, source: str, max_series: int = MAX_SERIES) -> None:
        self._telemetry, self._max_series, self._source = telemetry, max_series, source
        labels = ("source",)
        self._items = telemetry.counter("ingest_items_total", "Items that were taken.", labels).labels(source)
        self._overflow = telemetry.counter(
            "ingest_overflow_total", "Items whose label values were beyond the bound of series.", labels
        ).labels(source)
        self._refused = telemetry.counter("ingest_rejected_total", "Items that were refused.", ("source", "reason"))
        self._reasons: dict[str, Any] = {}
        self._series: dict[tuple[str, tuple[str, ...]], Any] = {}
        self.taken = self.overflowed = 0
        self.refused: dict[str, int] = {}  # by reason

    def take(self, count: int = 1) -> None:
        """So many items were taken."""
        self._items.emit(count)
        self.taken += count

    def reject(self, reason: str, count: int = 1) -> None:
        """So many items were refused. reason: one of a few words of the source's own, never text from outside."""
        counter = self._reasons.get(reason)
        if counter is None:
            counter = self._reasons[reason] = self._refused.labels(self._source, reason)
        counter.emit(count)
        self.refused[reason] = self.refused.get(reason, 0) + count

    def summary(self) -> dict[str, Any]:
        """What `--json` says at the end of a source."""
        return {"items": self.taken, "rejected": self.refused, "overflow": self.overflowed}

    def series(self, family: Family[Any], values: tuple[str, ...]) -> Any:
        """The handle of one series, or of the overflow series if there are too many.

        Raises ValueError for values that cannot be those of labels, and Refused if there is no room in /dev/shm.
        """
        key = family.metric.name, values
        handle = self._series.get(key)
        if handle is not None:
            return handle
        if any(len(value.encode()) > MAX_LABEL for value in values):
            raise ValueError(f"a label value of more than {MAX_LABEL} bytes")
        beyond = len(self._series) >= self._max_series or self._telemetry.catalogue_length >= MAX_CATALOGUE
        try:
            handle = family.labels(*((OVERFLOW for _ in values) if beyond else values))
        except SegmentSpaceError as error:
            raise Refused("space") from error
        if beyond:
            self._overflow.emit(1)
            self.overflowed += 1
        else:
            self._series[key] = handle
        return handle
