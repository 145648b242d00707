"""The cimport door: `from shmtelemetry._ring cimport Producer` emits without the GIL.

A thread that emits without the GIL needs a Producer of its own.
"""

from libc.stdint cimport uint64_t, uintptr_t

from ._header cimport shmtel_producer
from ._threads cimport shmtel_seats
from ._writer cimport Writer


cdef class Producer:
    cdef shmtel_producer *ring          # of the first writer; shmtel_here(ring) is this thread's
    cdef public object setup            # producer.Setup
    cdef void *descr                    # the dtype that emit accepts at once, by identity
    cdef object accepted                # keeps that dtype alive
    cdef uint64_t record_size           # of that dtype
    cdef list fields                    # a Field for each of them
    cdef double timeout                 # of policy block, in seconds; negative: none
    cdef readonly bint closed
    cdef bint defining                  # whether a catalogue record is being published just now
    cdef Writer first                   # the only one where there is a GIL
    cdef bint first_is_taken            # by a thread
    cdef dict writers                   # by thread, where there is none
    cdef object ended                   # Stats of those whose threads have ended; None: there are none
    cdef shmtel_seats *seats
    cdef int pid
    cdef object __weakref__

    cdef bint push(self, const void *record) noexcept nogil
    cdef Writer mine(self)
    cdef int reject(self) except -1
    cdef bytes _converted(self, record)
    cdef int _pack(self, char *data, tuple values, Py_ssize_t *index) except -1
    cdef Writer _seated(self, uintptr_t thread)
    cdef Writer _free_writer(self)
    cdef int _end(self, Writer writer) except -1
    cdef int _notice_fork(self) except -1
    cdef list _all(self)
