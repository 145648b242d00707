"""Waiting for completed seconds, and windows as a scrape shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from shmtelemetry.aggregate.snapshot import Snapshot
from shmtelemetry.aggregate.windows import Window
from shmtelemetry.errors import StateError
from tests.processes import wait_until

_LINE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)


def window_with(look: Callable[[], Snapshot], length: float, count: int, name: str, **labels: str) -> Window:
    """The first window of that length that has so many observations of a histogram."""

    def found() -> Window | None:
        with suppress(StateError, KeyError):  # there is no state yet, or no such series in it
            window = look().window(length)
            return window if window.histogram(name, **labels).count >= count else None
        return None

    return wait_until(found, f"{count} observations of {name} are in completed seconds")


def shown(text: str, name: str) -> dict[str, float]:
    """The values of a family of one series with windows, by what its labels say: `10s`, `10s 0.99`."""
    found = {}
    for family, labels, value in _LINE.findall(text):
        if family == name:
            pairs = dict(re.findall(r'(\w+)="(.*?)"', labels))
            found[" ".join(pairs[label] for label in ("window", "quantile") if label in pairs)] = float(value)
    return found
