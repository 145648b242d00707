"""Recordings: ended segments that stay, the newest of each producer.

Those of overwrite_oldest are to be looked at; the last one of heirs says where the next one goes on.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from . import layout
from .accounting import has_reader, nobody_needs
from .errors import SegmentError
from .segment import DIRECTORY, Segment, attach, segment_names

KEPT: Final = 4  # of each producer with overwrite_oldest


def is_recording(segment: Segment) -> bool:
    """Whether the segment is to stay when it has ended, although it may be drained: it has records to look at."""
    header = segment.header
    written = segment.mapping.load(header.producer_offset + layout.WRITE_POSITION)
    stays = header.policy == layout.POLICIES["overwrite_oldest"] or header.flags & layout.FLAG_HEIR
    return bool(stays) and written != header.start_position


def end_of_life(segment: Segment) -> None:
    """Unlink a segment that its producer has ended and that nobody needs; of recordings the surplus."""
    if is_recording(segment):
        prune(segment.namespace, segment.producer)
    elif nobody_needs(segment):
        segment.unlink()


def prune(namespace: str, producer: str) -> None:
    """Unlink the recordings of a producer that are not among its newest, unless a reader does."""
    if not has_reader(namespace):
        unlink_surplus(namespace, producer)


def unlink_surplus(namespace: str, producer: str) -> None:
    """Unlink the recordings of a producer that are not among its newest; those of other users may stay."""
    _, surplus = _judged(namespace, producer)
    for name in surplus:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(DIRECTORY, name))


def is_kept(segment: Segment) -> bool:
    """Whether an ended segment is one of the newest recordings of its producer."""
    kept, _ = _judged(segment.namespace, segment.producer)
    return segment.name in kept


def _judged(namespace: str, producer: str) -> tuple[list[str], list[str]]:
    """The names of a producer's recordings that are to stay, and of the others."""
    newest_first = sorted(_recordings(namespace, producer), reverse=True)
    names = [name for *_, name in newest_first]
    count = 1 if newest_first and newest_first[0][1] else KEPT
    return names[:count], names[count:]


def _recordings(namespace: str, producer: str) -> Iterator[tuple[int, bool, str]]:
    """(time of its creation, whether it is an heir, name) of each ended one; of heirs those that nobody has to read."""
    for name in segment_names(namespace, producer):
        with contextlib.suppress(SegmentError):
            segment = attach(name)
            try:
                heir = bool(segment.header.flags & layout.FLAG_HEIR)
                if is_recording(segment) and not segment.alive() and (not heir or nobody_needs(segment)):
                    yield segment.header.created_ns, heir, name
            finally:
                segment.close()
