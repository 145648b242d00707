"""Heirs: segments whose cumulative columns go on where those of the one before them, of the same producer, ended."""

from collections.abc import Iterator

from .. import layout
from ..aggregate.series import SLOT_ENDED
from ..aggregate.state import State
from ..errors import SegmentError
from ..segment import Segment, attach, segment_names
from .discovery import Discovery


class TooEarlyError(Exception):
    """The segment before an heir has not ended, or is not all in the state."""


def elder_of(segment: Segment, state: State, discovery: Discovery) -> int | None:
    """The slot of the segment that this one goes on from; None if there is none. Raises TooEarlyError."""
    if not segment.header.flags & layout.FLAG_HEIR:
        return None
    slots = [state.segments.get(uuid) for _, uuid in sorted(_elders(segment, discovery))]
    if any(slot is None or state.slot_status(slot) != SLOT_ENDED for slot in slots):
        raise TooEarlyError
    return slots[-1] if slots else None


def _elders(segment: Segment, discovery: Discovery) -> Iterator[tuple[int, bytes]]:
    """(time of its creation, uuid) of the heirs before this one, of the same user, that are drained, or will be."""
    for name in segment_names(segment.namespace, segment.producer):
        if name == segment.name or discovery.is_aside(name):
            continue
        try:
            other = attach(name, allow_uids=(segment.owner,))
        except SegmentError:  # it has just been removed, or cannot be used
            continue
        header, owner = other.header, other.owner
        other.close()
        if owner == segment.owner and header.flags & layout.FLAG_HEIR and header.created_ns < segment.header.created_ns:
            yield header.created_ns, header.uuid
