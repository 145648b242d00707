"""Gauges that merge the values of several producers: each producer's own value is a series of its own, a part.

A part's labels end with its producer's name and uuid, which are not exposed as such. It retires when the producer ends
and is used again when a producer of that name sets the same gauge, so that restarts do not fill the state.
"""

import time
from typing import TYPE_CHECKING, Final

from ..schema import Metric
from .series import SERIES, SERIES_TABLE, field_offset

if TYPE_CHECKING:
    from .state import State

MERGES: Final = ("sum", "min", "max", "all")
UUID_LENGTH: Final = 32  # bytes of a uuid in hexadecimal, with which a part's definition ends


def has_parts(metric: Metric) -> bool:
    return metric.kind == "gauge" and metric.merge in MERGES


def lasting(metric: Metric, stored: bytes) -> bytes:
    """What of the stored labels of a metric's series never changes."""
    return stored[:-UUID_LENGTH] if has_parts(metric) else stored


class Parts:
    """The parts in a state."""

    def __init__(self, state: "State") -> None:
        self._state = state
        self._living: dict[str, list[int]] = {}  # uuid → numbers of series
        self._retired: dict[tuple[int, tuple[str, ...]], list[int]] = {}  # (metric, labels but the uuid) → the same

    def are_of(self, metric: int) -> bool:
        """Whether a metric's series are parts."""
        return has_parts(self._state.metrics[metric])

    def note(self, number: int, retired: bool = False) -> None:
        """Remember a series, if it is a part."""
        metric, labels = self._state.series[number]
        if not self.are_of(metric):
            return
        if retired:
            self._retired.setdefault((metric, labels[:-1]), []).append(number)
        else:
            self._living.setdefault(labels[-1], []).append(number)

    def retire(self, uuid: bytes) -> None:
        """The values of an ended producer count no longer."""
        for number in self._living.pop(uuid.hex(), ()):
            self._set(number, "retired", 1)
            self._state.count("retired")
            del self._state.known[self._state.series[number]]
            self.note(number, retired=True)

    def revive(self, metric: int, labels: tuple[str, ...]) -> int | None:
        """A retired part as that of another producer with the same name; None if there is none."""
        numbers = self._retired.get((metric, labels[:-1])) if self.are_of(metric) else None
        if not numbers:
            return None
        number = numbers.pop()
        entry = self._state.entry(SERIES_TABLE, number)
        definition = int(entry["definition"])
        length = len(self._state.definition(definition))
        self._state.write(definition + 8 + length - UUID_LENGTH, labels[-1].encode())
        for field in ("value", "time_ns"):
            self._set(number, field, 0)
        self._set(number, "created_ns", time.time_ns())
        self._set(number, "retired", 0)
        self._state.count("retired")  # the exposed series are others now
        self._state.series[number] = metric, labels
        self._state.known[metric, labels] = number
        self.note(number)
        return number

    def _set(self, number: int, field: str, value: int) -> None:
        self._state.mapping.store(self._state.place(SERIES_TABLE, number) + field_offset(SERIES, field), value)
