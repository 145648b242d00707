from libc.stdint cimport uint32_t, uint64_t

from ._exemplars cimport Exemplars, Labels
from ._header cimport shmtel_cell, shmtel_producer
from ._ring cimport Producer


cdef class Handle:
    cdef shmtel_producer *ring      # the producer's first, at hand; shmtel_here(ring) is this thread's
    cdef readonly uint32_t series   # its number in the segment's catalogue
    cdef readonly uint64_t cell_offset  # of its cell in the catalogue
    cdef Producer producer
    cdef readonly object metric     # schema.Metric
    cdef readonly tuple values      # of its labels
    cdef Exemplars exemplars        # None until the first

    cdef double number(self, object value) except? -1.0
    cdef int encoded(self, object exemplar, Labels *labels) except -1
    cdef int keep(self, double value, const Labels *labels) except -1
    cdef shmtel_producer *ready(self) except? NULL
    cdef shmtel_cell *cell(self, shmtel_producer *ring)


cdef class Counter(Handle):
    cdef bint add(self, double amount) except -1
    cdef bint push(self, double amount) noexcept nogil
    cdef bint add_with(self, double amount, object exemplar) except -1
    cdef bint full(self, uint64_t now, double amount)


cdef class Gauge(Handle):
    cdef bint put(self, double value)
    cdef bint push(self, double value) noexcept nogil
    cdef bint full(self, uint64_t now, double value)


cdef class Histogram(Handle):
    cdef double unit_seconds        # of one unit of the metric; 0 where it measures no time
    cdef uint32_t clock             # of start and stop: the one of every ring of this process
    cdef bint observed(self, double value) except -1
    cdef bint push(self, double value) noexcept nogil
    cdef int check_time(self) except -1
    cdef bint full(self, uint64_t now, double value)
