"""The handles that a hot path holds: one series each, resolved once, whose emit writes one SAMPLE.

A counter's or gauge's step that finds the ring full goes into the series' cell, so it is never lost; a histogram's
observation that finds it full is dropped and counted in its cell.
"""

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from libc.float cimport DBL_MAX
from libc.math cimport isnan
from libc.stdint cimport uint32_t, uint64_t

from ._clock cimport begin_measuring, seconds_per_tick
from ._ring cimport (
    Producer, shmtel_cell, shmtel_cell_add, shmtel_cell_set, shmtel_count, shmtel_push_sample, shmtel_ticks,
)

from ._clock import clock_kind
from ._timer import timed
from .schema import SECONDS_PER


cdef class Handle:
    """One series of one metric. Made by Telemetry, and by `labels`."""

    def __init__(self, Producer producer, metric, tuple values, uint32_t series, uint64_t cell_offset):
        self.producer, self.metric, self.values = producer, metric, values
        self.series, self.cell_offset, self.ring = series, cell_offset, producer.ring

    cdef double number(self, object value) except? -1.0:
        """A value that is not a plain float; this may run any Python code, so it comes before everything else."""
        try:
            return <double>value
        except Exception:
            self.producer.reject()
            raise

    cdef bint ready(self):
        """The full-ring path: whether there is a ring of this process at all."""
        if self.producer.has_ring():
            return True
        self.producer.dropped_no_ring += 1
        return False

    cdef shmtel_cell *cell(self):
        return <shmtel_cell *>(self.ring.catalogue + self.cell_offset)

    def __repr__(self):
        labels = ", ".join(f"{name}={value!r}" for name, value in zip(self.metric.labels, self.values))
        return f"<{type(self).__name__} {self.metric.name}{{{labels}}}>"

    def __reduce__(self):
        raise TypeError("a handle belongs to its process: make it anew in the other process")


cdef class Counter(Handle):
    """A total that only grows."""

    def emit(self, amount) -> bool:
        """Add a finite amount >= 0. Never lost to a full ring; False only where there is no ring at all.

        Raises ValueError for a negative, infinite or NaN amount.
        """
        return self.add(PyFloat_AS_DOUBLE(amount) if PyFloat_CheckExact(amount) else self.number(amount))

    def inc(self, amount=1.0) -> bool:
        """emit, with an amount of 1 if none is given."""
        return self.add(PyFloat_AS_DOUBLE(amount) if PyFloat_CheckExact(amount) else self.number(amount))

    cdef inline bint add(self, double amount) except -1:
        if not 0 <= amount <= DBL_MAX:
            self.producer.reject()
            raise ValueError(f"{self.metric.name}: a counter takes finite steps >= 0, got {amount}")
        cdef uint64_t now = shmtel_ticks(self.ring.clock)
        if shmtel_push_sample(self.ring, self.series, now, amount):
            return True
        return self.full(now, amount)

    cdef bint full(self, uint64_t now, double amount):
        if not self.producer.just_looked(now):
            if not self.ready():
                return False
            now = shmtel_ticks(self.ring.clock)  # a ring that was opened now may have another clock
            if shmtel_push_sample(self.ring, self.series, now, amount):
                return True
        shmtel_cell_add(self.cell(), now, amount)
        shmtel_count(&self.ring.out.coalesced, 1)
        return True


cdef class Gauge(Handle):
    """A value that goes up and down."""

    def emit(self, value) -> bool:
        """Set the value; any float. Never lost to a full ring; False only where there is no ring at all."""
        cdef double number = PyFloat_AS_DOUBLE(value) if PyFloat_CheckExact(value) else self.number(value)
        cdef uint64_t now = shmtel_ticks(self.ring.clock)
        if shmtel_push_sample(self.ring, self.series, now, number):
            return True
        return self.full(now, number)

    set = emit

    cdef bint full(self, uint64_t now, double value):
        if not self.producer.just_looked(now):
            if not self.ready():
                return False
            now = shmtel_ticks(self.ring.clock)
            if shmtel_push_sample(self.ring, self.series, now, value):
                return True
        shmtel_cell_set(self.cell(), now, value)
        shmtel_count(&self.ring.out.coalesced, 1)
        return True


cdef class Histogram(Handle):
    """A distribution of values, in the metric's unit."""

    def __init__(self, Producer producer, metric, tuple values, uint32_t series, uint64_t cell_offset):
        Handle.__init__(self, producer, metric, values, series, cell_offset)
        self.unit_seconds = SECONDS_PER.get(metric.unit or "seconds", 0.0)
        self.clock = clock_kind()
        begin_measuring()

    def emit(self, value) -> bool:
        """Observe a value; infinity counts in the last bucket. False when it was dropped, which is counted.

        Raises ValueError for NaN.
        """
        return self.observed(PyFloat_AS_DOUBLE(value) if PyFloat_CheckExact(value) else self.number(value))

    observe = emit

    cdef inline bint observed(self, double value) except -1:
        if isnan(value):
            self.producer.reject()
            raise ValueError(f"{self.metric.name}: a histogram does not take NaN")
        cdef uint64_t now = shmtel_ticks(self.ring.clock)
        if shmtel_push_sample(self.ring, self.series, now, value):
            return True
        return self.full(now, value)

    cdef bint full(self, uint64_t now, double value):
        if not self.producer.just_looked(now):
            if not self.ready():
                return False
            if shmtel_push_sample(self.ring, self.series, shmtel_ticks(self.ring.clock), value):
                return True
        shmtel_count(&self.cell().dropped, 1)
        shmtel_count(&self.ring.out.dropped_full, 1)
        return False

    cdef int check_time(self) except -1:
        if self.unit_seconds == 0.0:
            raise ValueError(f"{self.metric.name} is in {self.metric.unit}, which is no unit of time")
        return 0

    def start(self) -> int:
        """The clock's reading, for `stop`."""
        return shmtel_ticks(self.clock)

    def stop(self, uint64_t start) -> float:
        """Observe the time since `start` in the metric's unit; returns it in seconds."""
        self.check_time()
        cdef uint64_t now = shmtel_ticks(self.clock)
        cdef double seconds = <double>(now - start) * seconds_per_tick(self.clock) if now > start else 0.0
        self.observed(seconds / self.unit_seconds)
        return seconds

    def time(self) -> Timer:
        """Observe how long a `with` block, a function or a coroutine function takes: with h.time(): …, @h.time()."""
        self.check_time()
        return Timer(self)


cdef class Timer:
    """Times a block, or decorates a function. Entered again before it is left, it keeps each entry's start."""

    cdef Histogram histogram
    cdef uint64_t begin
    cdef list outer         # starts of the entries around this one
    cdef bint running

    def __init__(self, Histogram histogram):
        self.histogram = histogram

    def __enter__(self):
        if self.running:
            self.outer = [*(self.outer or ()), self.begin]
        self.running, self.begin = True, self.histogram.start()
        return self

    def __exit__(self, kind, error, trace):
        cdef uint64_t begin = self.begin
        if self.outer:
            self.begin = self.outer.pop()
        else:
            self.running = False
        self.histogram.stop(begin)

    def __call__(self, function):
        return timed(self.histogram, function)
