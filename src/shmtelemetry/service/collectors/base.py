"""What a collector is, and how a user's own become known."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Protocol

from ...schema import Schema

OWN: Final = ("market_data", "strategy", "execution", "system")  # names of the package's collectors
TAKEN: Final = frozenset((*OWN, "type", "timestamp", "sequence", "previous", "namespace", "telemetry", "alerts"))

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class History(Protocol):
    """What collectors ask of a service's database."""

    def range(
        self, metric: str, labels: Mapping[str, str], start: float, end: float, step: float, figure: str = "value"
    ) -> list[tuple[float, float]]:
        """(seconds since the epoch, value) of one series from `start` to `end`, at most one every `step` seconds."""

    def events(
        self, schema: Schema, *, filters: Mapping[str, Any], before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest events of a schema, newest first: values by the names of its fields."""


class BaseCollector(ABC):
    """Says something of a running system whenever it is asked.

    name: the key under which others find what it says; 1 to 64 of A-Z a-z 0-9 _ -, ValueError for another one. A
    service calls a collector's methods in a thread and an event loop of its own, so they may block or wait.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"name of a collector {name!r}: expected 1 to 64 of A-Z a-z 0-9 _ -")
        self.name = name
        self.running = False

    async def start(self) -> None:
        """Begin, unless it has. Raises what `_start_impl` raises."""
        if not self.running:
            await self._start_impl()
            self.running = True

    async def stop(self) -> None:
        """End, if it has begun; it may begin again."""
        if self.running:
            self.running = False
            await self._stop_impl()

    async def _start_impl(self) -> None:  # noqa: B027, many need none
        """Open what `get_current_metrics` needs."""

    async def _stop_impl(self) -> None:  # noqa: B027
        """Close it."""

    @abstractmethod
    async def get_current_metrics(self) -> dict[str, Any]:
        """What there is to say now, in what JSON has words for: str keys; numbers, but no NaN and no infinity."""


_registered: dict[str, BaseCollector] = {}


def register(collector: BaseCollector) -> None:
    """Let every service of this process that starts from now on ask this collector as well.

    Raises ValueError for a name that is taken.
    """
    if not isinstance(collector, BaseCollector):
        name = getattr(collector, "__name__", "…")
        raise TypeError(f"expected a BaseCollector, got {collector!r}: say register({name}(…))")
    if collector.name in TAKEN or collector.name in _registered:
        raise ValueError(f"the name {collector.name!r} of a collector is taken: give it another one")
    _registered[collector.name] = collector


def registered() -> list[BaseCollector]:
    """In the order of their registration."""
    return list(_registered.values())
