"""The accounting of a producer: what became of every record that was attempted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from . import layout
from .files import open_file
from .liveness import is_locked
from .segment import DIRECTORY, Segment, reader_file

_WORD = 2**64 - 1  # positions wrap


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures in records. At every quiescent point `holds`:

    attempted = consumed + in_ring + coalesced + dropped + overwritten + rejected + aborted

    dropped is by reason: full, timeout, no_ring.
    """

    attempted: int
    consumed: int
    in_ring: int
    coalesced: int
    dropped: Mapping[str, int]
    overwritten: int
    rejected: int
    aborted: int
    capacity: int
    reader_attached: bool

    @property
    def holds(self) -> bool:
        lost = sum(self.dropped.values()) + self.overwritten + self.rejected + self.aborted
        return self.attempted == self.consumed + self.in_ring + self.coalesced + lost


def segment_stats(segment: Segment) -> Stats:
    """The accounting of one segment, from what is stored in it."""
    header, load = segment.header, segment.mapping.load
    out, into, start = header.producer_offset, header.reader_offset, header.start_position
    # In this order none is ahead of the next, even while both sides go on.
    overwritten = load(into + layout.OVERWRITTEN)
    read = load(into + layout.READ_POSITION)
    written = load(out + layout.WRITE_POSITION)
    claimed = load(out + layout.CLAIMED_POSITION)
    unread = written - read - overwritten & _WORD
    in_ring = unread - overtaken(unread, claimed - read - overwritten & _WORD, header.capacity)
    coalesced, rejected = load(out + layout.COALESCED), load(out + layout.REJECTED)
    dropped = {
        "full": load(out + layout.DROPPED_FULL),
        "timeout": load(out + layout.DROPPED_TIMEOUT),
        "no_ring": load(out + layout.DROPPED_NO_RING),
    }
    return Stats(
        attempted=(claimed - start & _WORD) + coalesced + rejected + sum(dropped.values()),
        consumed=read - start & _WORD,
        in_ring=in_ring,
        coalesced=coalesced,
        dropped=dropped,
        overwritten=overwritten + unread - in_ring,
        rejected=rejected,
        aborted=claimed - written & _WORD,
        capacity=header.capacity,
        reader_attached=has_consumer(segment),
    )


def overtaken(unread: int, claimed: int, capacity: int) -> int:
    """Of so many unread records those that are overwritten; claimed: records from the reader on."""
    return min(unread, max(0, claimed - capacity))


def has_consumer(segment: Segment) -> bool:
    """Whether a living process consumes the segment: a pid that a killed reader left in it says nothing."""
    return _is_locked(segment.name, layout.LOCK_CONSUMER)


def has_reader(namespace: str) -> bool:
    """Whether a living process of this user reads the namespace; it may not have come to every segment yet."""
    return _is_locked(reader_file(namespace), layout.LOCK_READER)


def _is_locked(name: str, byte: int) -> bool:
    try:
        fd = open_file(os.path.join(DIRECTORY, name), os.O_RDONLY)
    except OSError:
        return False
    try:
        return is_locked(fd, byte)
    finally:
        os.close(fd)


def nobody_needs(segment: Segment) -> bool:
    """Whether an ended segment holds nothing more that a reader would want."""
    stats = segment_stats(segment)
    role = segment.mapping.load(segment.header.reader_offset + layout.READER_ROLE)
    reader_owes = role == layout.ROLE_READER and stats.attempted != stats.consumed
    return stats.in_ring == 0 and not reader_owes


def no_stats(capacity: int) -> Stats:
    """Of a producer that has done nothing yet."""
    return Stats(0, 0, 0, 0, {"full": 0, "timeout": 0, "no_ring": 0}, 0, 0, 0, capacity, False)


def total(a: Stats, b: Stats) -> Stats:
    """Both together; capacity and reader are the first one's."""
    return Stats(
        attempted=a.attempted + b.attempted,
        consumed=a.consumed + b.consumed,
        in_ring=a.in_ring + b.in_ring,
        coalesced=a.coalesced + b.coalesced,
        dropped={reason: a.dropped[reason] + b.dropped[reason] for reason in a.dropped},
        overwritten=a.overwritten + b.overwritten,
        rejected=a.rejected + b.rejected,
        aborted=a.aborted + b.aborted,
        capacity=a.capacity,
        reader_attached=a.reader_attached,
    )


def with_no_ring(stats: Stats, dropped: int, rejected: int) -> Stats:
    """With what a process counted while it had no ring to count in."""
    lost = {"full": 0, "timeout": 0, "no_ring": dropped}
    return total(stats, Stats(dropped + rejected, 0, 0, 0, lost, 0, rejected, 0, 0, False))
