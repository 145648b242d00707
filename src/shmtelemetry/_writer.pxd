from libc.stdint cimport uint64_t

from ._header cimport shmtel_producer


cdef class Writer:
    cdef shmtel_producer *ring          # in a page that a fork wipes
    cdef object setup                   # producer.Setup
    cdef object segment                 # the one that is written now; None when closed
    cdef object former                  # segments that somebody else unlinked
    cdef object final                   # Stats at close
    cdef double timeout                 # of policy block, in seconds; negative: none
    cdef int pid                        # the process that opened the segment
    cdef uint64_t dropped_no_ring       # in this process, since there was no ring to count in
    cdef uint64_t rejected_no_ring
    cdef uint64_t no_ring_since         # nanoseconds; when opening a ring failed last
    cdef bint ending                    # whether its thread shall close it at the next opportunity
    cdef bint opening                   # whether a ring is being opened just now

    cdef int bind(self, segment) except -1
    cdef bint has_ring(self)
    cdef bint full(self, const void *record) except -1
    cdef uint64_t full_many(self, const char *records, uint64_t count, uint64_t done) except? 0
    cdef int reject(self) except -1
    cdef int make_room(self, Py_ssize_t length) except -1
    cdef int append(self, bytes record) except -1
    cdef stats(self)
    cdef int close(self) except -1
    cdef int notice_fork(self) except -1
    cdef void _count_dropped(self, uint64_t amount)
    cdef int _look_around(self, segment) except -1
    cdef int _open_further(self, uint64_t now) except -1
    cdef bint _may_replace(self, segment, old) except -1
    cdef void _carry_over(self)
    cdef int _replace_unlinked(self, old) except -1
    cdef bint _wait(self, const void *record) except -1
    cdef _stats_of(self, segments)


cdef inline bint just_looked(const shmtel_producer *ring, uint64_t ticks) noexcept nogil:
    """Whether there is a ring, and why it is full was looked into a moment ago: then it is just full."""
    return ring.records != NULL and ticks - ring.checked < <uint64_t>1 << 28  # 0.1 s at 2.6 GHz
