"""Which series are alive: those that a living producer has, and all totals; others retire and are used again.

A gauge that no living producer has any more retires after a while; a series of any kind does when the last producer
that had it removed it. A retired series is not exposed. Its place is used again for the same labels, from zero.
"""

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from .overflow import is_overflow
from .parts import UUID_LENGTH
from .series import (
    BLOCK,
    EMPTY_COUNTER,
    EXEMPLAR,
    KINDS,
    PAGE_BUCKETS,
    RETIRED,
    SERIES,
    SERIES_TABLE,
    field_offset,
    first_time,
)

if TYPE_CHECKING:
    from .state import State

LENGTH = field_offset(EXEMPLAR, "length")

Key = tuple[int, tuple[str, ...]]  # metric, labels but a part's uuid


class Lives:
    """The living and the retired series of a state."""

    def __init__(self, state: "State") -> None:
        self._state = state
        self.gathering = True  # who lives is not known yet: nothing retires
        self._users: Counter[int] = Counter()  # number → how many living producers have the series
        self._fields: Counter[int] = Counter()  # metric → how many living producers' records have it
        self._abandoned: dict[int, float] = {}  # gauges without users → since when
        self._retired: defaultdict[Key, list[int]] = defaultdict(list)

    def note(self, number: int, retired: bool = False) -> None:
        """Remember a series that is in the state."""
        metric, labels = self._state.series[number]
        if retired:
            self._retired[self._key(metric, labels)].append(number)
            return
        self._state.parts.note(number)
        self._abandon(number)

    def _key(self, metric: int, labels: tuple[str, ...]) -> Key:
        return metric, labels[:-1] if self._state.parts.are_of(metric) else labels

    # ---- users ----

    def use(self, number: int) -> None:
        """A living producer has the series."""
        self._users[number] += 1
        self._abandoned.pop(number, None)

    def leave(self, number: int) -> None:
        """A producer that had it has ended."""
        self._users[number] -= 1
        self._abandon(number)

    def remove(self, number: int) -> None:
        """A producer that had it removed it."""
        self._users[number] -= 1
        if is_overflow(self._state.series[number][1]):  # it has the totals of others, who may have ended
            return
        if self._users[number] <= 0 and not self._is_retired(number):
            self.retire(number)

    def use_metric(self, metric: int) -> None:
        """A living producer's records have the metric; which of its series, they tell one by one."""
        self._fields[metric] += 1

    def leave_metric(self, metric: int) -> None:
        """A producer whose records had it has ended."""
        self._fields[metric] -= 1

    def gathered(self) -> None:
        """All producers that there are have been found."""
        if self.gathering:
            self.gathering = False
            self._abandoned = dict.fromkeys(self._abandoned, time.monotonic())

    def _abandon(self, number: int) -> None:
        metric = self._state.metrics[self._state.series[number][0]]
        if self._users[number] <= 0 and metric.kind == "gauge" and not metric.keep:
            self._abandoned[number] = time.monotonic()

    def expire(self) -> None:
        """Retire the gauges that nobody has had for gauge_ttl."""
        now = time.monotonic()
        while self._abandoned and not self.gathering:
            number, since = next(iter(self._abandoned.items()))  # the first that was abandoned
            if since > now - self._state.gauge_ttl:
                return
            if self._fields[self._state.series[number][0]] > 0:
                del self._abandoned[number]
                self._abandoned[number] = now
                return
            self.retire(number)

    # ---- retired and back ----

    def retire(self, number: int) -> None:
        """Expose a series no longer."""
        self._abandoned.pop(number, None)
        key = self._state.series[number]
        if self._state.known.get(key) == number:
            del self._state.known[key]
        self._set(number, "retired", RETIRED)
        self._state.count("retired")
        self.note(number, retired=True)

    def _is_retired(self, number: int) -> bool:
        return bool(self._state.entry(SERIES_TABLE, number)["retired"])

    def revive(self, metric: int, labels: tuple[str, ...]) -> int | None:
        """A retired series with these labels, begun anew; None if there is none."""
        numbers = self._retired.get(self._key(metric, labels))
        if not numbers:
            return None
        number = numbers.pop()
        self._clear(number)
        if self._state.parts.are_of(metric):
            self._rename_part(number, labels)
        self._set(number, "retired", 0)
        self._state.count("retired")  # the exposed series are others now
        self._state.series[number] = metric, labels
        self._state.known[metric, labels] = number
        self.note(number)
        return number

    def _clear(self, number: int) -> None:
        """All that a series has counted. It is not exposed meanwhile, and stays so if a kill interrupts this."""
        entry = self._state.entry(SERIES_TABLE, number)
        mark = int(entry["mark"])
        self._set(number, "mark", mark + 1)  # whoever began to copy it while it was exposed must not get a part
        for at in self._pages(entry):
            self._state.write(at, bytes(8 * PAGE_BUCKETS))
        if length := self._state.classic_length(int(entry["metric"])):
            self._state.write(int(entry["classic"]), bytes(8 * length))
        for at in self._exemplars(entry):
            self._state.mapping.store(at, 0)
            self._state.write(at + LENGTH, bytes(4))  # its room stays
        for field in ("value", "zeros", "negatives", "infinities", "dropped"):
            self._set(number, field, 0)
        self._set(number, "time_ns", first_time(int(entry["kind"])))
        for field, value in (("minimum", np.inf), ("maximum", -np.inf)):
            self._set(number, field, int(np.float64(value).view(np.uint64)))
        if entry["kind"] == KINDS["counter"]:
            self._set(number, "minimum", EMPTY_COUNTER)
        self._set(number, "created_ns", time.time_ns())
        self._set(number, "mark", mark + 2)

    def _pages(self, entry: np.void) -> list[int]:
        packed = int(entry["directory"])
        directory = self._state.block((packed & 0xFFFFFFFF) * BLOCK, 4 * (packed >> 48))
        return [int(page) * BLOCK for page in np.frombuffer(directory, np.uint32) if page]

    def _exemplars(self, entry: np.void) -> list[int]:
        if not entry["exemplars"]:
            return []
        table = self._state.block(int(entry["exemplars"]), 8 * max(1, self._state.classic_length(int(entry["metric"]))))
        return [int(at) for at in np.frombuffer(table, np.uint64) if at]

    def _rename_part(self, number: int, labels: tuple[str, ...]) -> None:
        definition = int(self._state.entry(SERIES_TABLE, number)["definition"])
        length = len(self._state.definition(definition))
        self._state.write(definition + 8 + length - UUID_LENGTH, labels[-1].encode())

    def _set(self, number: int, field: str, value: int) -> None:
        self._state.mapping.store(self._state.place(SERIES_TABLE, number) + field_offset(SERIES, field), value)
