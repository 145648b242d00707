"""Gauges that merge the values of several producers: each producer's own value is a series of its own, a part.

A part's labels end with its producer's name and uuid, which are not exposed as such. It retires when the producer ends,
unless its metric says that the values of ended producers still count.
"""

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ..metric import Metric

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
        self._rings: Counter[bytes] = Counter()  # uuid → how many, where each thread has one
        self._living: defaultdict[str, list[int]] = defaultdict(list)  # uuid → numbers of series

    def are_of(self, metric: int) -> bool:
        """Whether a metric's series are parts."""
        return has_parts(self._state.metrics[metric])

    def note(self, number: int) -> None:
        """Remember a living series, if it is a part."""
        metric, labels = self._state.series[number]
        if self.are_of(metric) and not self._state.metrics[metric].keep:
            self._living[labels[-1]].append(number)

    def keep_only(self, families: Collection[bytes]) -> None:
        """Retire the values of all other producers."""
        for uuid in set(self._living) - {family.hex() for family in families}:
            self.retire(bytes.fromhex(uuid))

    def join(self, uuid: bytes) -> None:
        """A ring of the producer is read from now on."""
        self._rings[uuid] += 1

    def leave(self, uuid: bytes) -> None:
        """One of them is not read any more."""
        self._rings[uuid] -= 1
        if not self._rings[uuid]:
            del self._rings[uuid]

    def retire(self, uuid: bytes) -> None:
        """The values of an ended producer count no longer, unless other threads of its process go on."""
        if uuid in self._rings:
            return
        for number in self._living.pop(uuid.hex(), ()):
            if self._state.known.get(self._state.series[number]) == number:
                self._state.lives.retire(number)
