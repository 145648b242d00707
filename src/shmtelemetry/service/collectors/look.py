"""Where collectors that are used by themselves have their figures from."""

from collections.abc import Callable
from functools import partial

from ... import config
from ...aggregate.snapshot import Snapshot
from ...reader import Onlooker

Look = Callable[[], Snapshot]
"""Gives the snapshot to compute from. Raises StateError where there is no state."""


def onlooker(namespace: str | None = None) -> Look:
    """Looks at a namespace's state, by default at that of SHMTEL_NAMESPACE, else `default`."""
    return partial(Onlooker(namespace or config.namespace() or "default").snapshot, distributions=False)
