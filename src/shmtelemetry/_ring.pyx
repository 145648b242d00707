"""Producer: the face of a ring, or of one for each thread where threads run at once.

All arguments are converted before a record is claimed; between claim and publish runs nothing but the header's code. So
signal handlers, finalizers and `__float__` may emit in the middle of an emit.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.unistd cimport getpid

import functools
import sys

import numpy as np

from . import layout
from ._fields cimport Field
from ._header cimport shmtel_consumer, shmtel_copy, shmtel_producer, shmtel_push, shmtel_push_many
from ._threads cimport (
    SHMTEL_FREE_THREADED, shmtel_clear, shmtel_free_seats, shmtel_here, shmtel_leave, shmtel_sit, shmtel_this_thread,
)
from ._writer cimport Writer
from .accounting import Stats, total
from .liveness import fork_lock
from .producer import DEFAULT_CAPACITY, Setup, check_options, close_at_exit, leave_at_thread_end
from .schema import Schema
from .segment import check_group

cdef extern from "Python.h":
    PyTypeObject *Py_TYPE(object value)

cdef extern from "numpy/ndarraytypes.h":
    pass

cdef extern from "numpy/arrayscalars.h":
    ctypedef struct PyVoidScalarObject:
        char *obval
        void *descr

cdef enum:
    STACK_RECORD = 512  # a record that emit_fields packs on the stack; a longer one takes malloc

cdef object void_scalar = np.void
cdef PyObject *void_type = <PyObject *>void_scalar
cdef object ndarray = np.ndarray
cdef object ending = sys.is_finalizing


cdef inline bint is_void(object value) noexcept:
    return <void *>Py_TYPE(value) == <void *>void_type


cdef class Producer:
    """Writes records of one dtype into a ring of its own in shared memory.

    name, namespace: 1 to 64 of A-Z a-z 0-9 _ -. dtype: a structured numpy dtype, or a Schema. capacity: records, a
    power of two. policy: "drop_newest" (emit returns False when the ring is full), "block" (it waits up to `timeout`
    seconds, None for ever) or "overwrite_oldest" (the newest records replace the oldest, read or not; the newest four
    rings of ended producers of this name stay for a look at their last records). mode, group: access to the segment for
    others, 0600 by default.

    One ring serves all threads of a process that hold the GIL. Without a GIL each thread has a ring of its own from its
    first emit to its end; the first such thread has the one that was made with the Producer. A forked child opens its
    own at its first emit. Raises ValueError before anything is created, SegmentSpaceError where /dev/shm has no room.
    """

    def __cinit__(self, *args, **kwargs):
        self.first = Writer()
        self.ring = self.first.ring
        self.writers = {}

    def __init__(self, name, dtype, namespace="default", capacity=DEFAULT_CAPACITY, policy="drop_newest", timeout=None,
                 *, mode=0o600, group=None, setup=None):
        check_options(policy, timeout)
        if setup is None:
            schema = dtype if isinstance(dtype, Schema) else Schema(dtype)
            schema.metrics(str(name))  # a metric that cannot be is an error here, not in the reader
            setup = Setup(namespace, name, schema, capacity, policy, mode, check_group(group))
        self.setup = self.first.setup = setup
        self.timeout = self.first.timeout = -1.0 if timeout is None else timeout
        self.accepted = setup.schema.dtype
        self.record_size = self.accepted.itemsize
        self.descr = <void *>self.accepted
        self.fields = [Field(*self.accepted.fields[name][:2]) for name in self.accepted.names]
        self.pid = getpid()
        if setup.enabled():
            self.first.bind(setup.open())
            close_at_exit(self)

    # ---- emit ----

    def emit(self, record) -> bool:
        """Write one record: an np.void, a 0-d or 1-element array of the dtype, or bytes of its size.

        Returns False when it was dropped. Raises TypeError or ValueError for anything else; nothing enters then.
        """
        cdef const char *data
        if is_void(record) and (<PyVoidScalarObject *>record).descr == self.descr:
            data = (<PyVoidScalarObject *>record).obval
        elif PyBytes_CheckExact(record) and <uint64_t>PyBytes_GET_SIZE(record) == self.record_size:
            data = PyBytes_AS_STRING(record)
        else:
            record = self._converted(record)
            data = PyBytes_AS_STRING(record)
        if shmtel_push(shmtel_here(self.ring), data):
            return True
        return self.mine().full(data)

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
        if is_void(record) and not SHMTEL_FREE_THREADED:  # an equal dtype: its next record passes by identity
            self.accepted, self.descr = record.dtype, <void *>record.dtype
        return record.tobytes()

    def emit_fields(self, *values) -> bool:
        """Write one record given as scalars, one for each field, in the order of the dtype.

        Integers must fit their field, strings (bytes, or str as UTF-8) must not be longer. Returns False when it was
        dropped. Raises TypeError or ValueError for anything else; nothing enters then.
        """
        cdef char scratch[STACK_RECORD]
        cdef char *data = scratch
        cdef size_t size = self.record_size
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
            if shmtel_push(shmtel_here(self.ring), data):
                return True
            return self.mine().full(data)
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
        done = shmtel_push_many(shmtel_here(self.ring), <void *>address, count)
        if done < count:
            done += self.mine().full_many(<char *>address, count, done)
        return done

    cdef bint push(self, const void *record) noexcept nogil:
        """Write one record of the ring's size. Without the GIL, except where the ring is full or missing."""
        if shmtel_push(shmtel_here(self.ring), record):
            return True
        with gil:
            return self.mine().full(record)

    cdef int reject(self) except -1:
        return self.mine().reject()

    # ---- threads ----

    cdef Writer mine(self):
        """The writer of this thread; one for all of them where there is a GIL."""
        if not SHMTEL_FREE_THREADED:
            return self.first
        with fork_lock():
            return self._seated(shmtel_this_thread())

    cdef Writer _seated(self, uintptr_t thread):
        cdef Writer writer
        self._notice_fork()
        writer = self.writers.get(thread)
        if writer is None:
            writer = self._free_writer()
            if not self.closed and not shmtel_sit(self.ring, &self.seats, writer.ring):
                raise MemoryError("no room for the ring of a thread")
            self.writers[thread] = writer
            leave_at_thread_end(self, thread)
        if self.closed:
            writer.close()
        return writer

    cdef Writer _free_writer(self):
        """The first, if no thread has it."""
        cdef Writer writer
        if not self.first_is_taken:
            self.first_is_taken = True
            return self.first
        writer = Writer()
        writer.setup, writer.timeout = self.setup, self.timeout
        return writer

    def leave(self, thread):
        """A thread has ended: so has its ring, but for the first, which another one may take."""
        cdef Writer writer
        if thread != shmtel_this_thread():  # the interpreter ends, and that one stands still somewhere
            return
        with fork_lock():
            self._notice_fork()
            writer = self.writers.pop(thread, None)
            if writer is None:
                return
            shmtel_leave(self.seats, thread)
            if writer is self.first:
                self.first_is_taken = False
            if writer is not self.first or self.closed:
                self._end(writer)

    cdef int _end(self, Writer writer) except -1:
        writer.close()
        if writer is not self.first:
            self.ended = writer.stats() if self.ended is None else total(self.ended, writer.stats())
        return 0

    cdef int _notice_fork(self) except -1:
        """In a forked child there are no other threads, and all rings are the parent's."""
        if self.pid != getpid():
            self.pid = getpid()
            if SHMTEL_FREE_THREADED and self.setup is not None:
                self.setup.family = None
            self.writers, self.first_is_taken, self.ended = {}, False, None
            shmtel_free_seats(self.seats)
            self.seats = NULL
        return 0

    cdef list _all(self):
        """Every writer that there is, the first one first."""
        return [self.first, *(writer for writer in self.writers.values() if writer is not self.first)]

    # ---- definitions ----

    def define(self, bytes record) -> int:
        """Publish a catalogue record in all segments, also in later ones; returns its offset in the catalogue.

        Raises SegmentSpaceError when a segment cannot grow; nothing is defined then.
        """
        cdef Py_ssize_t begin
        cdef Writer writer
        with fork_lock():
            self._notice_fork()
            begin = len(self.setup.catalogue)
            self.defining = True
            try:
                for writer in self._all():
                    writer.make_room(len(record))
                for writer in self._all():
                    writer.append(record)
                self.setup.catalogue += record
            finally:
                self.defining = False
        return begin

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
        """The newest `n` records that are still in this thread's ring, oldest first, as a copy; consumes nothing."""
        cdef shmtel_consumer look
        cdef uint64_t count
        cdef size_t address
        if n < 0:
            raise ValueError(f"n {n}: expected 0 or more")
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        if ring.records == NULL:
            return np.empty(0, self.setup.schema.dtype)
        count = min(n, ring.capacity, ring.position - <uint64_t>self.setup.start_position)
        memset(&look, 0, sizeof(look))
        look.position, look.mask, look.capacity = ring.position - count, ring.mask, ring.capacity
        look.record_size, look.records, look.out = ring.record_size, ring.records, ring.out
        found = np.empty(count, self.setup.schema.dtype)
        address = found.ctypes.data
        shmtel_copy(&look, <void *>address, count)
        return found

    @property
    def segment(self):
        """The one that this thread writes, or the first; None when closed."""
        cdef Writer writer = self.writers.get(shmtel_this_thread(), self.first)
        return writer.segment

    def stats(self) -> Stats:
        """The accounting of this process's records, over every segment that this producer has had."""
        cdef Writer writer
        with fork_lock():
            self._notice_fork()
            stats = [writer.stats() for writer in self._all()]
            if self.ended is not None:
                stats.append(self.ended)
            return functools.reduce(total, stats)

    def close(self):
        """End the producer. What is not drained yet is left to the reader; an emit from now on returns False.

        Without a GIL the rings of other threads, which may be amid an emit, end at their next one or with them.
        """
        cdef Writer writer
        # Once closed it takes no lock: while the interpreter ends, a daemon thread may stand still that has it.
        if self.setup is None or self.closed:
            return
        with fork_lock():
            self._notice_fork()
            self.closed = True
            shmtel_clear(self.ring)
            for writer in self._all():
                writer.ending = True
            writer = self.writers.get(shmtel_this_thread())
            if writer is not None:
                writer.close()
            if not self.first_is_taken:
                self.first.close()

    def __del__(self):
        cdef Writer writer
        if ending():  # it was closed at exit, and what closing takes may have gone
            return
        self.close()  # else its segment would count as a living producer's as long as the process lives
        for writer in self._all():  # whose threads cannot emit here any more
            writer.close()

    def __dealloc__(self):
        shmtel_free_seats(self.seats)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __repr__(self):
        return f"<Producer {self.setup.namespace}.{self.setup.name} {'closed' if self.closed else 'open'}>"

    def __reduce__(self):
        raise TypeError("a Producer belongs to its process: open another one in the other process")
