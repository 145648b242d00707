"""Recordings: ended segments of overwrite_oldest, which stay to be looked at, the newest few of each producer."""

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from . import layout
from .accounting import has_reader, nobody_needs
from .errors import SegmentError
from .segment import DIRECTORY, Segment, attach, segment_names

KEPT: Final = 4  # of each producer


def is_recording(segment: Segment) -> bool:
    """Whether the segment is to stay when it has ended, although it may be drained: it has records to look at."""
    header = segment.header
    written = segment.mapping.load(header.producer_offset + layout.WRITE_POSITION)
    return header.policy == layout.POLICIES["overwrite_oldest"] and written != header.start_position


def end_of_life(segment: Segment) -> None:
    """Unlink a segment that its producer has ended and that nobody needs; of recordings the oldest beyond KEPT."""
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
    for name in _newest_first(namespace, producer)[KEPT:]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(DIRECTORY, name))


def is_kept(segment: Segment) -> bool:
    """Whether an ended segment is one of the newest recordings of its producer."""
    return segment.name in _newest_first(segment.namespace, segment.producer)[:KEPT]


def _newest_first(namespace: str, producer: str) -> list[str]:
    """The names of all recordings of a producer."""
    return [name for _, name in sorted(_recordings(namespace, producer), reverse=True)]


def _recordings(namespace: str, producer: str) -> Iterator[tuple[int, str]]:
    """(time of its creation, name) of each ended one."""
    for name in segment_names(namespace, producer):
        with contextlib.suppress(SegmentError):
            segment = attach(name)
            try:
                if is_recording(segment) and not segment.alive():
                    yield segment.header.created_ns, name
            finally:
                segment.close()
