"""Series beyond the bound of a namespace: one overflow series a metric, and a count of the label sets that are in it.

The state remembers each of these label sets by a digest, so that it is counted once, whichever rings and readers ask.
"""

from typing import TYPE_CHECKING, Final

from ..errors import StateError
from .series import BEYOND, digest
from .view import encode_labels

if TYPE_CHECKING:
    from .state import State

OVERFLOW: Final = "overflow"


def overflow_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """The labels of the series that stands for all beyond the bound."""
    return (OVERFLOW,) * len(labels)


def is_overflow(labels: tuple[str, ...]) -> bool:
    return bool(labels) and labels == overflow_labels(labels)


class Beyond:
    """The label sets of a state that got no series of their own."""

    def __init__(self, state: "State") -> None:
        self._state = state
        self._digests: set[int] = set(state.entries(BEYOND).tolist())

    def add(self, metric: int, labels: tuple[str, ...], why: str) -> None:
        """Count a label set, if it is a new one, and say why in the log, once a metric."""
        one = digest(metric, encode_labels(labels))
        if one not in self._digests:
            self._remember(one)
        name = self._state.metrics[metric].name
        self._state.warn_once(
            f"overflow {metric}", f"{name}: {why}; further series are counted as {OVERFLOW}", metric=name
        )

    def _remember(self, one: int) -> None:
        if len(self._digests) < BEYOND.limit:  # from there on each ring and each reader counts it again
            self._digests.add(one)
        try:
            self._state.append(BEYOND, one.to_bytes(8, "little"))
        except StateError:  # no memory, or no room: the next reader will not know it
            self._state.count("overflowed")
