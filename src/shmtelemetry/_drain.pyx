"""Drain: copies the records of one segment out, as its consumer or as a tap that leaves no trace."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memmove, memset
from posix.unistd cimport getpid

import numpy as np

from . import layout
from ._mapping cimport Mapping
from ._header cimport (
    SHMTEL_LOAD_RELAXED, SHMTEL_OVERWRITE_OLDEST, shmtel_consumer, shmtel_copy, shmtel_drain, shmtel_lost,
    shmtel_producer_page, shmtel_reader_page, shmtel_release, shmtel_skip,
)
from .errors import SegmentError
from .segment import attach

cdef enum:
    SPARE = 256    # records copied beyond those that are wanted, where a producer overwrites the oldest meanwhile
    CHUNK = 65536  # bytes between two looks at what it has overwritten


cdef class Drain:
    """Copies records out of one segment, the oldest first.

    role: ROLE_CONSUMER holds the segment's lock, and gives the places of records back. ROLE_NOBODY is a tap: how far it
    is it keeps to itself.
    """

    cdef shmtel_consumer ring
    cdef shmtel_reader_page page        # of a tap
    cdef bint consumes
    cdef bint loses                     # whether the producer may overwrite what was not read
    cdef readonly object segment

    def __init__(self, name, role, allow_uids=()):
        cdef Mapping mapping
        segment = attach(name, role, allow_uids)
        header, mapping = segment.header, segment.mapping
        self.segment, self.consumes = segment, role == layout.ROLE_CONSUMER
        self.loses = not self.consumes or <int>header.policy == SHMTEL_OVERWRITE_OLDEST
        self.ring.mask = header.capacity - 1
        self.ring.capacity = header.capacity
        self.ring.record_size = header.record_size
        self.ring.records = mapping.base + <size_t>header.ring_offset
        self.ring.out = <const shmtel_producer_page *>(mapping.base + <size_t>header.producer_offset)
        self.ring.in_ = &self.page
        self.ring.position = header.start_position
        if self.consumes:
            self.ring.in_ = <shmtel_reader_page *>(mapping.base + <size_t>header.reader_offset)
            self.ring.overwritten = SHMTEL_LOAD_RELAXED(&self.ring.in_.overwritten) if self.loses else 0
            self.ring.position = SHMTEL_LOAD_RELAXED(&self.ring.in_.read_position) + self.ring.overwritten

    @property
    def lost(self) -> int:
        """Records that the producer overwrote before they were read."""
        return self.ring.overwritten

    @property
    def position(self) -> int:
        """Of the next record."""
        return self.ring.position

    def available(self) -> int:
        """How many records can be read. Raises SegmentError for a segment whose positions cannot be."""
        cdef uint64_t count
        (<Mapping>self.segment.mapping).check()
        count = shmtel_drain(&self.ring)
        self.segment.check_whole()
        if self.loses and <int64_t>count >= 0:
            return min(count, self.ring.capacity)
        if count > self.ring.capacity:
            raise SegmentError(f"{self.segment.name}: {count:,} unread records in a ring of {self.ring.capacity:,}")
        return count

    def begin_with(self, n) -> int:
        """Let the newest `n` records, or as many as there are, be the next; returns how many. Of a tap."""
        cdef uint64_t count = self.available()
        self.ring.position += shmtel_lost(&self.ring)
        count = self.available()
        if count > n:
            self.ring.position += count - <uint64_t>n
        return min(count, n)

    def begin_at(self, uint64_t position):
        """Let the record at a position be the next, or of those behind it the first that is whole. Of a tap."""
        self.ring.position = position

    def read(self, limit) -> np.ndarray:
        """Up to `limit` records, as a copy; the next begin behind them."""
        cdef uint64_t count = self.available(), wanted = min(limit, count)
        cdef size_t address
        records = np.empty(min(count, wanted + SPARE) if self.loses else wanted, self.segment.schema.dtype)
        address = records.ctypes.data
        if self.loses:
            memset(<void *>address, 0, records.nbytes)  # no page faults while the producer overwrites the oldest
            count = self._copy_whole(<unsigned char *>address, len(records), wanted)
            self.segment.check_whole()
            return records[:count]
        shmtel_copy(&self.ring, <void *>address, wanted)
        self.segment.check_whole()
        shmtel_release(&self.ring, wanted)
        return records

    cdef uint64_t _copy_whole(self, unsigned char *to, uint64_t room, uint64_t wanted) noexcept:
        """Copy up to `wanted` records that are whole, and pass over those that are lost; returns how many."""
        cdef uint64_t end = self.ring.position + shmtel_drain(&self.ring), done = 0, count, lost
        cdef uint64_t size = self.ring.record_size, most = min(max(SPARE, CHUNK // size), self.ring.capacity)
        shmtel_skip(&self.ring, shmtel_lost(&self.ring))
        if end - self.ring.position > self.ring.capacity:  # a producer that lies; no more work than a ring is worth
            end = self.ring.position + self.ring.capacity
        while done < wanted and <int64_t>(end - self.ring.position) > 0:
            count = min(end - self.ring.position, room - done, most)
            lost = shmtel_copy(&self.ring, to + done * size, count)
            shmtel_skip(&self.ring, lost)
            if lost >= count:
                continue
            if lost:
                memmove(to + done * size, to + (done + lost) * size, (count - lost) * size)
            count = min(count - lost, wanted - done)
            shmtel_release(&self.ring, count)
            done += count
        return done

    def close(self):
        """Give the segment back to whoever wants to consume it next."""
        cdef Mapping mapping = self.segment.mapping
        if self.consumes and mapping.base != NULL and mapping.pid == getpid():
            mapping.store(self.segment.header.reader_offset + layout.READER_ROLE, layout.ROLE_NOBODY)
        self.segment.close()
