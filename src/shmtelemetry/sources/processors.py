"""Processors of messages that others install, as entry points of the group `shmtelemetry.processors`."""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Final

from ..telemetry import Telemetry
from .intake import Intake
from .messages import Message

GROUP: Final = "shmtelemetry.processors"

Processor = Callable[[Message], object]
"""Takes one message. An entry point is a function (telemetry, intake) that returns one: it defines metrics with
`telemetry`, and asks `intake.series` for series, whose number is bounded then."""


def load(names: Iterable[str], telemetry: Telemetry, intake: Intake) -> dict[str, Processor]:
    """Name → processor. Raises ValueError for a name that is not installed, and for one that cannot be made."""
    found = {}
    for name in names:
        installed = list(entry_points(group=GROUP, name=name))
        if not installed:
            known = ", ".join(sorted(entry.name for entry in entry_points(group=GROUP))) or "none"
            raise ValueError(f"no processor {name!r} is installed; those of {GROUP} are: {known}")
        try:
            found[name] = installed[0].load()(telemetry, intake)
        except Exception as error:  # it is anybody's code
            raise ValueError(f"processor {name!r} cannot be made: {error!r}") from error
    return found
