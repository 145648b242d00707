"""Writer: one ring, and whoever writes it; what happens where it is full, missing, unlinked or a parent's."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t
from libc.string cimport memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, nanosleep, timespec
from posix.unistd cimport getpid

import functools

from . import layout
from ._clock cimport nanoseconds
from ._header cimport (
    SHMTEL_BLOCK, SHMTEL_STORE_RELEASE, shmtel_count, shmtel_producer_page, shmtel_push, shmtel_push_many,
    shmtel_reader_page, shmtel_refresh, shmtel_ticks,
)
from ._mapping cimport Mapping
from ._threads cimport SHMTEL_FREE_THREADED
from .accounting import has_consumer, has_reader, no_stats, segment_stats, total, with_no_ring
from .errors import SegmentError
from .liveness import fork_lock
from .producer import warn_once
from .recordings import end_of_life

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *address, size_t length, int advice)
    enum: MADV_WIPEONFORK

cdef enum:
    PAGE = 4096

cdef uint64_t LOOK_NS = 100000000  # between attempts to open a ring


cdef class Writer:
    """The ring that all threads of a process write, or one of them where they run at once."""

    def __cinit__(self):
        cdef void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if page == MAP_FAILED:
            raise MemoryError("no page for a producer")
        if madvise(page, PAGE, MADV_WIPEONFORK):
            munmap(page, PAGE)
            raise OSError("MADV_WIPEONFORK is refused: Linux 4.14 or later is needed")
        self.ring = <shmtel_producer *>page
        self.timeout = -1.0
        self.former = []
        self.pid = getpid()

    cdef int bind(self, segment) except -1:
        """Let the ring's structure stand for this segment."""
        cdef Mapping mapping = segment.mapping
        header = segment.header
        cdef shmtel_producer *ring = self.ring
        memset(ring, 0, sizeof(shmtel_producer))
        ring.mask = header.capacity - 1
        ring.capacity = header.capacity
        ring.record_size = header.record_size
        ring.out = <shmtel_producer_page *>(mapping.base + <size_t>header.producer_offset)
        ring.in_ = <const shmtel_reader_page *>(mapping.base + <size_t>header.reader_offset)
        ring.catalogue = mapping.base + <size_t>header.catalogue_offset
        ring.clock = header.clock
        ring.policy = header.policy
        ring.position = ring.limit = header.start_position
        ring.records = mapping.base + <size_t>header.ring_offset
        shmtel_refresh(ring)
        self.segment, self.pid = segment, getpid()
        if SHMTEL_FREE_THREADED and self.setup.family is None:
            self.setup.family = header.uuid
        return 0

    cdef bint full(self, const void *record) except -1:
        """A record that found no room: wait, open a ring, or count the loss. True if it was written after all."""
        if not just_looked(self.ring, shmtel_ticks(self.ring.clock)):
            if not self.has_ring():
                self.dropped_no_ring += 1
                return False
            if shmtel_push(self.ring, record):
                return True
        if self.ring.policy == SHMTEL_BLOCK:
            return self._wait(record)
        shmtel_count(&self.ring.out.dropped_full, 1)
        return False

    cdef uint64_t full_many(self, const char *records, uint64_t count, uint64_t done) except? 0:
        """The rest of an emit_many that met a full ring; returns how many more were accepted."""
        cdef uint64_t more = 0
        cdef uint64_t size = self.setup.schema.dtype.itemsize  # the ring may be missing yet
        while done + more < count and self.full(records + (done + more) * size):
            more += 1
            more += shmtel_push_many(self.ring, records + (done + more) * size, count - done - more)
        if done + more < count:  # full() counted the first of them
            self._count_dropped(count - done - more - 1)
        return more

    cdef void _count_dropped(self, uint64_t amount):
        if self.ring.records == NULL:
            self.dropped_no_ring += amount
        elif self.ring.policy == SHMTEL_BLOCK:
            shmtel_count(&self.ring.out.dropped_timeout, amount)
        else:
            shmtel_count(&self.ring.out.dropped_full, amount)

    cdef bint has_ring(self):
        """Make sure that there is a ring of this process under its name, at a bounded rate of trying."""
        cdef uint64_t now
        if self.ring.records == NULL:
            self.notice_fork()
        if self.ending:
            self.close()
        if self.setup is None or self.final is not None or not self.setup.enabled():
            return False
        if self.ring.records == NULL:
            with fork_lock():
                self._open_further(nanoseconds(CLOCK_MONOTONIC))
        else:
            now = shmtel_ticks(self.ring.clock)
            if not just_looked(self.ring, now) and not shmtel_refresh(self.ring):
                self.ring.checked = now
                with fork_lock():
                    self._look_around(self.segment)
        return self.ring.records != NULL  # another thread or a signal handler may have closed it meanwhile

    cdef int _look_around(self, segment) except -1:
        """Find out what a full ring may be due to."""
        if segment is None:  # closed meanwhile
            return 0
        if not segment.linked:
            self._replace_unlinked(segment)
        elif not has_consumer(segment) and not has_reader(self.setup.namespace):  # which may come to it any moment
            warn_once("no reader", f"producer {self.setup.name}: its ring is full and nobody reads it; "
                      f"start one: shmtel reader --namespace {self.setup.namespace}")
        return 0

    cdef int notice_fork(self) except -1:
        """In a forked child, let go of what is the parent's: its segments and its figures."""
        if self.pid != getpid():
            self.former, self.segment, self.pid = [], None, getpid()
            self.dropped_no_ring = self.rejected_no_ring = self.no_ring_since = 0
            self.opening = False
            if self.final is not None:
                self.final = no_stats(self.setup.capacity)
        return 0

    cdef int _open_further(self, uint64_t now) except -1:
        """The first emit of a forked child or of a further thread, or one after opening a ring failed."""
        # opening: a signal handler, while this very thread opens one
        if now - self.no_ring_since < LOOK_NS or self.opening or self.ring.records != NULL:
            return 0
        self.opening = True
        try:
            segment = self.setup.try_open(further=True)
            if segment is None:
                self.no_ring_since = now
            elif self._may_replace(segment, None):
                self.bind(segment)
                self._carry_over()
        finally:
            self.opening = False
        return 0

    cdef void _carry_over(self):
        """What was counted in the process while there was no ring belongs into the segment, where it survives."""
        shmtel_count(&self.ring.out.dropped_no_ring, self.dropped_no_ring)
        shmtel_count(&self.ring.out.rejected, self.rejected_no_ring)
        self.dropped_no_ring = self.rejected_no_ring = 0

    cdef bint _may_replace(self, segment, old) except -1:
        """Whether a new segment can take the place of `old`; if not, it is removed.

        While it was made, signal handlers ran, and one of them may have been faster. From here to the caller's bind
        nothing else runs.
        """
        cdef Py_ssize_t have
        try:
            while self.final is None and self.segment is old:
                have = segment.mapping.load(segment.header.producer_offset + layout.CATALOGUE_LENGTH)
                if have == len(self.setup.catalogue):
                    return True
                segment.append_catalogue(bytes(self.setup.catalogue[have:]))  # defined meanwhile
        except (SegmentError, OSError) as error:
            warn_once("no_ring", f"producer {self.setup.name}: no further ring can be used: {error}")
        segment.mapping.store(segment.header.producer_offset + layout.CLOSED, 1)
        segment.unlink()
        segment.close()
        return False

    cdef int _replace_unlinked(self, old) except -1:
        """Somebody removed our segment's name: nobody new can find it. Go on in a new one."""
        cdef uint64_t reopened
        segment = self.setup.try_open(further=False)
        if segment is None or not self._may_replace(segment, old):
            return 0
        reopened = self.ring.out.reopened
        SHMTEL_STORE_RELEASE(&self.ring.out.closed, 1)
        self.former.append(old)
        self.bind(segment)
        shmtel_count(&self.ring.out.reopened, reopened + 1)
        warn_once("unlinked", f"producer {self.setup.name}: somebody removed {old.name}; going on in a new one")
        return 0

    cdef bint _wait(self, const void *record) except -1:
        """Policy block: until there is room, or the timeout."""
        cdef uint64_t begin = nanoseconds(CLOCK_MONOTONIC)
        cdef timespec nap
        nap.tv_sec, nap.tv_nsec = 0, 50000
        try:
            while not shmtel_push(self.ring, record):
                if self.timeout >= 0 and (nanoseconds(CLOCK_MONOTONIC) - begin) * 1e-9 >= self.timeout:
                    shmtel_count(&self.ring.out.dropped_timeout, 1)
                    return False
                with nogil:
                    nanosleep(&nap, NULL)
                PyErr_CheckSignals()
                if not self.has_ring():  # closed by another thread or by a signal handler meanwhile
                    self.dropped_no_ring += 1
                    return False
        except BaseException:  # Ctrl-C: the record is lost, and counted
            self._count_dropped(1)
            raise
        return True

    cdef int reject(self) except -1:
        if self.ring.records != NULL or self.has_ring():
            shmtel_count(&self.ring.out.rejected, 1)
        else:
            self.rejected_no_ring += 1
        return 0

    cdef int make_room(self, Py_ssize_t length) except -1:
        """Let so many bytes fit into the segment's catalogue. Raises SegmentSpaceError."""
        segment = None
        while self.ring.records != NULL and self.segment is not segment:  # a signal handler may replace it meanwhile
            segment = self.segment
            try:
                segment.reserve_catalogue(length)
            except (SegmentError, OSError):
                if not segment.linked:
                    self._replace_unlinked(segment)
                if self.segment is segment:
                    raise
        return 0

    cdef int append(self, bytes record) except -1:
        """Publish a catalogue record, for which there is room."""
        segment = None
        while self.ring.records != NULL and self.segment is not segment:  # a signal handler may replace it meanwhile
            segment = self.segment
            segment.append_catalogue(record)
        return 0

    cdef stats(self):
        """The accounting, over every segment that this writer has had."""
        self.notice_fork()
        stats = self.final
        if stats is None:
            stats = self._stats_of([self.segment, *self.former] if self.ring.records != NULL else [])
        return with_no_ring(stats, self.dropped_no_ring, self.rejected_no_ring)

    cdef _stats_of(self, segments):
        stats = [segment_stats(segment) for segment in segments]
        return functools.reduce(total, stats) if stats else no_stats(self.setup.capacity)

    cdef int close(self) except -1:
        """End. What is not drained yet is left to the reader."""
        self.notice_fork()
        if self.final is not None or self.setup is None:
            return 0
        segments = [self.segment, *self.former] if self.ring.records != NULL else []
        self.final = no_stats(self.setup.capacity)  # an emit from now on, even from a thread, finds no ring
        if segments:
            SHMTEL_STORE_RELEASE(&self.ring.out.closed, 1)
            memset(self.ring, 0, sizeof(shmtel_producer))
        self.final = self._stats_of(segments)
        self.segment, self.former = None, []
        if segments:
            end_of_life(segments[0])
        for segment in segments:
            segment.close()
        return 0

    def __dealloc__(self):
        if self.ring != NULL:
            munmap(self.ring, PAGE)
