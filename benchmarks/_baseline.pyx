"""What the figures of shmtelemetry are divided by, and its C face in a loop. Built by build.py, never installed."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from shmtelemetry._header cimport shmtel_producer, shmtel_push_sample
from shmtelemetry._ring cimport Producer

cdef extern from "shmtelemetry.h" nogil:
    ctypedef struct shmtel_sample:
        uint64_t time
        uint32_t series
        uint32_t flags
        double value
    uint64_t shmtel_ticks(uint32_t clock)
    enum: TSC "SHMTEL_CLOCK_TSC"

cdef extern from *:
    """
    /* callgrind collects while this function runs; inlined or left by a jump it would have no name to go by. */
    __attribute__((noinline)) static PyObject *shmtel_counted(PyObject *function) {
        PyObject *result = PyObject_CallObject(function, NULL);
        __asm__ volatile("" ::: "memory");
        return result;
    }
    """
    object shmtel_counted(object function)


cdef class Empty:
    """The least that a compiled method can do: convert its argument and return."""

    cdef uint64_t ticks

    @cython.binding(False)
    def emit(self, double value):
        return True

    @cython.binding(False)
    def emit_time(self, double value):
        """The least that one with a timestamp can do."""
        self.ticks = shmtel_ticks(TSC)
        return True

    @cython.binding(False)
    def emit_object(self, record):
        return True


def counted(function):
    """Call `function`; callgrind.py counts the instructions between here and its return, and no others."""
    return shmtel_counted(function)


def read_clock(uint32_t clock, uint64_t count):
    """Read the clock `count` times; returns the last ticks, so that nothing is optimised away."""
    cdef uint64_t ticks = 0
    cdef uint64_t _number
    with nogil:
        for _number in range(count):
            ticks = shmtel_ticks(clock)
    return ticks


def push(Producer producer, uint64_t count):
    """Push `count` samples, each with its time, as a C program does; returns how many were accepted."""
    cdef uint64_t accepted = 0
    cdef uint64_t _number
    cdef shmtel_producer *ring = producer.ring
    with nogil:
        for _number in range(count):
            accepted += shmtel_push_sample(ring, 7, shmtel_ticks(TSC), 0.0125)
    return accepted


def push_paced(Producer producer, uint32_t clock, double ticks_a_record, uint64_t count):
    """Push `count` records of 24 bytes, none before its time is due; returns how many were accepted."""
    cdef uint64_t accepted = 0
    cdef uint64_t number
    cdef uint64_t begin, due
    cdef shmtel_sample sample
    sample.series, sample.flags, sample.value = 7, 0, 0.0125
    with nogil:
        begin = shmtel_ticks(clock)
        for number in range(count):
            due = begin + <uint64_t>(number * ticks_a_record)
            sample.time = shmtel_ticks(clock)
            while sample.time < due:
                sample.time = shmtel_ticks(clock)
            accepted += producer.push(&sample)
    return accepted


def copy_around(uint8_t[::1] target, const uint8_t[::1] source, uint64_t count):
    """Copy `source` to `target` `count` times, each behind the one before, as a ring would."""
    cdef Py_ssize_t size = source.shape[0]
    cdef Py_ssize_t offset = 0
    cdef uint64_t _number
    if size == 0 or target.shape[0] < size:
        raise ValueError(f"a target of at least {size} bytes, and a source that is not empty, are needed")
    with nogil:
        for _number in range(count):
            memcpy(&target[offset], &source[0], size)
            offset += size
            if offset + size > target.shape[0]:
                offset = 0
