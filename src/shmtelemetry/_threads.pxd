"""What stands in include/shmtelemetry_threads.h."""

from libc.stdint cimport uintptr_t

from ._header cimport shmtel_producer

cdef extern from "shmtelemetry_threads.h" nogil:
    enum: SHMTEL_FREE_THREADED

    ctypedef struct shmtel_seats:
        pass

    ctypedef struct shmtel_first:
        shmtel_producer ring

    shmtel_first shmtel_nowhere
    uintptr_t shmtel_this_thread()
    shmtel_producer *shmtel_here(shmtel_producer *first)
    bint shmtel_sit(shmtel_producer *first, shmtel_seats **all, shmtel_producer *ring)
    void shmtel_leave(shmtel_seats *seats, uintptr_t thread)
    void shmtel_clear(shmtel_producer *first)
    void shmtel_free_seats(shmtel_seats *seats)
