"""Producer and Drain: a thin wrap of include/shmtelemetry.h.

All arguments are converted before a record is claimed; between claim and publish runs nothing but the header's code. So
signal handlers, finalizers and `__float__` may emit in the middle of an emit.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject, PyTypeObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, nanosleep, timespec
from posix.unistd cimport getpid

import functools

import numpy as np

from . import layout
from ._clock cimport nanoseconds
from ._fields cimport Field
from ._mapping cimport Mapping
from .accounting import Stats, has_consumer, has_reader, no_stats, nobody_needs, segment_stats, total, with_no_ring
from .errors import SegmentError
from .producer import DEFAULT_CAPACITY, Setup, check_options, close_at_exit, warn_once
from .schema import Schema
from .segment import attach, check_group

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *address, size_t length, int advice)
    enum: MADV_WIPEONFORK

cdef extern from "Python.h":
    PyTypeObject *Py_TYPE(object value)

cdef extern from "numpy/ndarraytypes.h":
    pass

cdef extern from "numpy/arrayscalars.h":
    ctypedef struct PyVoidScalarObject:
        char *obval
        void *descr

cdef enum:
    PAGE = 4096
    STACK_RECORD = 512  # a record that emit_fields packs on the stack; a longer one takes malloc

cdef uint64_t LOOK_NS = 100000000  # between attempts to open a ring
cdef object void_scalar = np.void
cdef PyObject *void_type = <PyObject *>void_scalar
cdef object ndarray = np.ndarray


cdef inline bint is_void(object value) noexcept:
    return <void *>Py_TYPE(value) == <void *>void_type


cdef class Producer:
    """Writes records of one dtype into a ring of its own in shared memory.

    name, namespace: 1 to 64 of A-Z a-z 0-9 _ -. dtype: a structured numpy dtype, or a Schema. capacity: records, a
    power of two. policy: "drop_newest" (emit returns False when the ring is full) or "block" (it waits up to `timeout`
    seconds, None for ever). mode, group: access to the segment for others, 0600 by default.

    One ring serves all threads of a process that hold the GIL. A forked child opens its own at its first emit. Raises
    ValueError before anything is created, SegmentSpaceError where /dev/shm has no room.
    """

    def __cinit__(self, *args, **kwargs):
        cdef void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if page == MAP_FAILED:
            raise MemoryError("no page for a producer")
        if madvise(page, PAGE, MADV_WIPEONFORK):
            munmap(page, PAGE)
            raise OSError("MADV_WIPEONFORK is refused: Linux 4.14 or later is needed")
        self.ring = <shmtel_producer *>page
        self.timeout = -1.0
        self.former = []

    def __init__(self, name, dtype, namespace="default", capacity=DEFAULT_CAPACITY, policy="drop_newest", timeout=None,
                 *, mode=0o600, group=None, setup=None):
        check_options(policy, timeout)
        if setup is None:
            schema = dtype if isinstance(dtype, Schema) else Schema(dtype)
            schema.metrics(str(name))  # a metric that cannot be is an error here, not in the reader
            setup = Setup(namespace, name, schema, capacity, policy, mode, check_group(group))
        self.setup = setup
        self.timeout = -1.0 if timeout is None else timeout
        self.accepted = setup.schema.dtype
        self.descr = <void *>self.accepted
        self.fields = [Field(*self.accepted.fields[name][:2]) for name in self.accepted.names]
        self.pid = getpid()
        if setup.enabled():
            self._bind(setup.open())
            close_at_exit(self)

    def _bind(self, segment):
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
        ring.position = header.start_position
        ring.limit = ring.position + ring.capacity
        ring.records = mapping.base + <size_t>header.ring_offset
        self.segment, self.pid = segment, getpid()

    # ---- emit ----

    def emit(self, record) -> bool:
        """Write one record: an np.void, a 0-d or 1-element array of the dtype, or bytes of its size.

        Returns False when it was dropped. Raises TypeError or ValueError for anything else; nothing enters then.
        """
        cdef const char *data
        if is_void(record) and (<PyVoidScalarObject *>record).descr == self.descr:
            data = (<PyVoidScalarObject *>record).obval
        elif PyBytes_CheckExact(record) and <uint64_t>PyBytes_GET_SIZE(record) == self._record_size():
            data = PyBytes_AS_STRING(record)
        else:
            record = self._converted(record)
            data = PyBytes_AS_STRING(record)
        if shmtel_push(self.ring, data):
            return True
        return self.full(data)

    cdef uint64_t _record_size(self):
        # A forked child has no ring yet, so the ring's own figure may be 0.
        return self.ring.record_size or <uint64_t>self.accepted.itemsize

    cdef bytes _converted(self, record):
        """The bytes of a record that is not the plain case."""
        dtype = self.accepted
        try:
            if isinstance(record, (bytes, bytearray, memoryview)):
                data = bytes(record)
                if len(data) != dtype.itemsize:
                    raise ValueError(f"expected {dtype.itemsize} bytes, got {len(data)}")
                return data
            if not isinstance(record, (np.void, ndarray)):
                raise TypeError(f"expected a record of {dtype} or {dtype.itemsize} bytes, got {type(record).__name__}")
            if record.dtype != dtype:
                raise TypeError(f"expected dtype {dtype}, got {record.dtype}")
            if record.size != 1:
                raise ValueError(f"expected one record, got an array of {record.size}; use emit_many")
        except (TypeError, ValueError):
            self.reject()
            raise
        if is_void(record):  # an equal dtype: its next record passes by identity
            self.accepted, self.descr = record.dtype, <void *>record.dtype
        return record.tobytes()

    def emit_fields(self, *values) -> bool:
        """Write one record given as scalars, one for each field, in the order of the dtype.

        Integers must fit their field, strings (bytes, or str as UTF-8) must not be longer. Returns False when it was
        dropped. Raises TypeError or ValueError for anything else; nothing enters then.
        """
        cdef char scratch[STACK_RECORD]
        cdef char *data = scratch
        cdef size_t size = self._record_size()
        cdef Py_ssize_t index = -1
        if size > STACK_RECORD:
            data = <char *>malloc(size)
            if data == NULL:
                raise MemoryError()
        try:
            memset(data, 0, size)
            try:
                self._pack(data, values, &index)
            except Exception as error:  # __float__ and __index__ may raise anything
                self.reject()
                if index < 0 or not isinstance(error, (TypeError, ValueError, OverflowError)):
                    raise
                kind = TypeError if isinstance(error, TypeError) else ValueError
                name = self.accepted.names[index]
                raise kind(f"field {name!r}, {self.accepted[name]}: {error}") from error
            if shmtel_push(self.ring, data):
                return True
            return self.full(data)
        finally:
            if data != scratch:
                free(data)

    cdef int _pack(self, char *data, tuple values, Py_ssize_t *index) except -1:
        cdef list fields = self.fields
        cdef Field field
        if len(values) != len(fields):
            raise TypeError(f"expected {len(fields)} values for {self.accepted.names}, got {len(values)}")
        for index[0] in range(len(fields)):
            field = fields[index[0]]
            field.pack(data, values[index[0]])
        return 0

    def emit_many(self, records) -> int:
        """Write a 1-d array of records of the dtype; returns how many were accepted, from the front.

        Up to 64 are published at once. Raises TypeError or ValueError for anything else; nothing enters then.
        """
        cdef uint64_t count, done
        cdef size_t address
        try:
            if not isinstance(records, ndarray):
                raise TypeError(f"expected a 1-d array of {self.accepted}, got {type(records).__name__}")
            if records.dtype != self.accepted:
                raise TypeError(f"expected dtype {self.accepted}, got {records.dtype}")
            if records.ndim != 1:
                raise ValueError(f"expected a 1-d array, got {records.ndim} dimensions")
        except (TypeError, ValueError):
            self.reject()
            raise
        records = np.ascontiguousarray(records)
        count = len(records)
        address = records.ctypes.data
        done = shmtel_push_many(self.ring, <void *>address, count)
        if done < count:
            done += self._full_many(<char *>address, count, done)
        return done

    cdef uint64_t _full_many(self, const char *records, uint64_t count, uint64_t done) except? 0:
        """The rest of an emit_many that met a full ring; returns how many more were accepted."""
        cdef uint64_t more = 0
        cdef uint64_t size = self._record_size()
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

    cdef bint push(self, const void *record) noexcept nogil:
        """Write one record of the ring's size. Without the GIL, except where the ring is full or missing."""
        if shmtel_push(self.ring, record):
            return True
        with gil:
            return self.full(record)

    # ---- the full-ring path ----

    cdef bint full(self, const void *record) except -1:
        """A record that found no room: wait, open a ring, or count the loss. True if it was written after all."""
        if not self.just_looked(shmtel_ticks(self.ring.clock)):
            if not self.has_ring():
                self.dropped_no_ring += 1
                return False
            if shmtel_push(self.ring, record):
                return True
        if self.ring.policy == SHMTEL_BLOCK:
            return self._wait(record)
        shmtel_count(&self.ring.out.dropped_full, 1)
        return False

    cdef bint has_ring(self):
        """Make sure that there is a ring of this process under its name, at a bounded rate of trying."""
        cdef uint64_t now
        if self.ring.records == NULL:
            self._notice_fork()
        if self.setup is None or self.final is not None or not self.setup.enabled():
            return False
        if self.ring.records == NULL:
            self._open_further(nanoseconds(CLOCK_MONOTONIC))
        else:
            now = shmtel_ticks(self.ring.clock)
            if not self.just_looked(now):
                self.ring.checked = now
                self._look_around(self.segment)
        return self.ring.records != NULL  # another thread or a signal handler may have closed it meanwhile

    cdef int _look_around(self, segment) except -1:
        """Find out what a full ring may be due to."""
        if not segment.linked:
            self._replace_unlinked(segment)
        elif not has_consumer(segment) and not has_reader(self.setup.namespace):  # which may come to it any moment
            warn_once("no reader", f"producer {self.setup.name}: its ring is full and nobody reads it; "
                      f"start one: shmtel reader --namespace {self.setup.namespace}")
        return 0

    cdef int _notice_fork(self) except -1:
        """In a forked child, let go of what is the parent's: its segments and its figures."""
        if self.pid != getpid():
            self.former, self.segment, self.pid = [], None, getpid()
            self.dropped_no_ring = self.rejected_no_ring = self.no_ring_since = self.opening = 0
            if self.final is not None:
                self.final = no_stats(self.setup.capacity)
        return 0

    cdef int _open_further(self, uint64_t now) except -1:
        """The first emit of a forked child, or one after opening a ring failed."""
        cdef unsigned long me = PyThread_get_thread_ident()
        if now - self.no_ring_since < LOOK_NS or self.opening == me:  # a signal handler while this thread opens one
            return 0
        self.opening = me
        try:
            segment = self.setup.try_open(further=True)
            if segment is None:
                self.no_ring_since = now
            elif self._may_replace(segment, None):
                self._bind(segment)
                self._carry_over()
        finally:
            self.opening = 0
        return 0

    cdef void _carry_over(self):
        """What was counted in the process while there was no ring belongs into the segment, where it survives."""
        shmtel_count(&self.ring.out.dropped_no_ring, self.dropped_no_ring)
        shmtel_count(&self.ring.out.rejected, self.rejected_no_ring)
        self.dropped_no_ring = self.rejected_no_ring = 0

    cdef bint _may_replace(self, segment, old) except -1:
        """Whether a new segment can take the place of `old`; if not, it is removed.

        While it was made, other threads and signal handlers ran, and one of them may have been faster. From here to
        the caller's _bind nothing else runs.
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
        self._bind(segment)
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

    def define(self, bytes record) -> int:
        """Publish a catalogue record in this segment and in all later ones; returns its offset in the catalogue."""
        cdef Py_ssize_t begin = len(self.setup.catalogue)
        self.defining = True
        try:
            self._append(record)
            self.setup.catalogue += record
        finally:
            self.defining = False
        return begin

    cdef int _append(self, bytes record) except -1:
        segment = None
        while self.ring.records != NULL and self.segment is not segment:  # an emit may replace it meanwhile
            segment = self.segment
            try:
                segment.append_catalogue(record)
            except (SegmentError, OSError):
                if not segment.linked:
                    self._replace_unlinked(segment)
                if self.segment is segment:
                    raise
        return 0

    def retire(self, series, cell_offset):
        """Let a series of the catalogue go, in this segment and in all later ones."""
        payload = layout.RETIRE.pack(series)
        self.define(layout.CATALOGUE_RECORD.pack(layout.KIND_RETIRE, 0, len(payload)) + payload)
        begin = cell_offset - layout.CATALOGUE_RECORD.size
        _, _, length = layout.CATALOGUE_RECORD.unpack_from(self.setup.catalogue, begin)
        retired = layout.CATALOGUE_RECORD.pack(layout.KIND_SERIES, layout.FLAG_RETIRED, length)
        self.setup.catalogue[begin:cell_offset] = retired  # a later segment has had no record of it

    # ---- looks ----

    def last(self, n) -> np.ndarray:
        """The newest `n` records that are still in the ring, oldest first, as a copy; consumes nothing."""
        cdef uint64_t first, count, index, head
        if n < 0:
            raise ValueError(f"n {n}: expected 0 or more")
        if self.ring.records == NULL:
            return np.empty(0, self.setup.schema.dtype)
        count = min(n, self.ring.capacity, self.ring.position - <uint64_t>self.segment.header.start_position)
        found = np.empty(count, self.setup.schema.dtype)
        first = self.ring.position - count
        index = first & self.ring.mask
        head = min(count, self.ring.capacity - index)
        _copy_out(found, self.ring.records, self.ring.record_size, index, head, count)
        return found

    def stats(self) -> Stats:
        """The accounting of this process's records, over every segment that this producer has had."""
        self._notice_fork()
        stats = self.final
        if stats is None:
            stats = self._stats_of([self.segment, *self.former] if self.ring.records != NULL else [])
        return with_no_ring(stats, self.dropped_no_ring, self.rejected_no_ring)

    cdef _stats_of(self, segments):
        stats = [segment_stats(segment) for segment in segments]
        return functools.reduce(total, stats) if stats else no_stats(self.setup.capacity)

    @property
    def closed(self) -> bool:
        return self.final is not None

    def close(self):
        """End the producer. What is not drained yet is left to the reader; an emit from now on returns False."""
        self._notice_fork()
        if self.final is not None or self.setup is None:
            return
        segments = [self.segment, *self.former] if self.ring.records != NULL else []
        self.final = no_stats(self.setup.capacity)  # an emit from now on, even from a thread, finds no ring
        if segments:
            SHMTEL_STORE_RELEASE(&self.ring.out.closed, 1)
            memset(self.ring, 0, sizeof(shmtel_producer))
        self.final = self._stats_of(segments)
        self.segment, self.former = None, []
        if segments and nobody_needs(segments[0]):
            segments[0].unlink()
        for segment in segments:
            segment.close()

    def __del__(self):
        self.close()  # else its segment would count as a living producer's as long as the process lives

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        if self.ring != NULL:
            munmap(self.ring, PAGE)

    def __repr__(self):
        return f"<Producer {self.setup.namespace}.{self.setup.name} {'closed' if self.closed else 'open'}>"

    def __reduce__(self):
        raise TypeError("a Producer belongs to its process: open another one in the other process")


cdef void _copy_out(found, const unsigned char *records, uint64_t size, uint64_t index, uint64_t head, uint64_t count):
    """Copy `count` records from the ring, `head` of them from `index` on and the rest from its beginning."""
    cdef size_t address = found.ctypes.data
    memcpy(<void *>address, records + index * size, head * size)
    memcpy(<char *>address + head * size, records, (count - head) * size)


# ---- the consumer ----

cdef class Drain:
    """The consumer of one segment: holds its lock, copies records out and gives their places back."""

    def __init__(self, name, allow_uids=()):
        cdef Mapping mapping
        segment = attach(name, layout.ROLE_CONSUMER, allow_uids)
        header, mapping = segment.header, segment.mapping
        self.segment = segment
        self.ring.mask = header.capacity - 1
        self.ring.capacity = header.capacity
        self.ring.record_size = header.record_size
        self.ring.records = mapping.base + <size_t>header.ring_offset
        self.ring.out = <const shmtel_producer_page *>(mapping.base + <size_t>header.producer_offset)
        self.ring.in_ = <shmtel_reader_page *>(mapping.base + <size_t>header.reader_offset)
        self.ring.position = SHMTEL_LOAD_RELAXED(&self.ring.in_.read_position)

    def available(self) -> int:
        """How many records can be read. Raises SegmentError for a segment whose positions cannot be."""
        cdef uint64_t count
        (<Mapping>self.segment.mapping).check()
        count = shmtel_drain(&self.ring)
        self.segment.check_whole()
        if count > self.ring.capacity:
            raise SegmentError(f"{self.segment.name}: {count:,} unread records in a ring of {self.ring.capacity:,}")
        return count

    def read(self, limit) -> np.ndarray:
        """Up to `limit` records, oldest first, as a copy: drained and released."""
        cdef uint64_t count = min(self.available(), limit)
        cdef uint64_t index = self.ring.position & self.ring.mask
        batch = np.empty(count, self.segment.schema.dtype)
        _copy_out(batch, self.ring.records, self.ring.record_size, index, min(count, self.ring.capacity - index), count)
        self.segment.check_whole()
        shmtel_release(&self.ring, count)
        return batch

    def close(self):
        """Give the segment back to whoever wants to consume it next."""
        cdef Mapping mapping = self.segment.mapping
        if mapping.base != NULL and mapping.pid == getpid():
            mapping.store(self.segment.header.reader_offset + layout.READER_ROLE, layout.ROLE_NOBODY)
        self.segment.close()
