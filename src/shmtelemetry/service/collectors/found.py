"""All collectors that there are: the package's own, those that were registered, and those of installed packages."""

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from ...errors import one_line
from .base import TAKEN, BaseCollector, History, registered
from .execution import ExecutionCollector
from .look import Look
from .market_data import MarketDataCollector
from .strategy import StrategyCollector
from .system import SystemCollector

GROUP: Final = "shmtelemetry.collectors"

logger = logging.getLogger("shmtelemetry")


def standard(look: Look, history: History | None = None) -> list[BaseCollector]:
    """One of each.

    look: gives the snapshot that the package's own compute from. An entry point of the group `shmtelemetry.collectors`
    names what makes a collector when it is called without arguments, such as its class; the entry point's name is the
    collector's.
    """
    own: list[BaseCollector] = [
        MarketDataCollector(look),
        StrategyCollector(look, history),
        ExecutionCollector(look, history),
        SystemCollector(look),
        *registered(),
    ]
    found = {collector.name: collector for collector in own}
    for entry in entry_points(group=GROUP):
        try:
            if entry.name in TAKEN or entry.name in found:
                raise ValueError(f"the name {entry.name!r} is taken")
            found[entry.name] = _Installed(entry)
        except ValueError as error:
            logger.error("the collector %s is left out: %s", entry.value, one_line(error))
    return list(found.values())


class _Installed(BaseCollector):
    """A collector of another package, which is imported in its own thread when it starts."""

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(entry.name)
        self._entry = entry

    async def _start_impl(self) -> None:
        made = self._entry.load()()
        if not isinstance(made, BaseCollector):
            raise TypeError(f"{self._entry.value} makes a {type(made).__name__}, expected a BaseCollector")
        await made.start()
        self._collector = made

    async def _stop_impl(self) -> None:
        await self._collector.stop()

    async def get_current_metrics(self) -> dict[str, Any]:
        return await self._collector.get_current_metrics()
