"""The handles that a hot path holds: one series each, resolved once, whose emit writes one SAMPLE.

A counter's or gauge's step that finds the ring full goes into the series' cell, so it is never lost; a histogram's
observation that finds it full is dropped and counted in its cell.

The call of emit that is made most has an entry of its own, at the end of this file: see _entry.pxd.
"""

cimport cython
from cpython.object cimport PyObject
from libc.float cimport DBL_MAX
from libc.math cimport isnan
from libc.stdint cimport uint32_t, uint64_t

from ._clock cimport begin_measuring, seconds_per_tick
from ._entry cimport Entry, Py_True, double_of, is_plain, push_now, put_before, returned
from ._exemplars cimport Exemplars, Labels, encode
from ._header cimport (
    shmtel_cell, shmtel_cell_add, shmtel_cell_set, shmtel_count, shmtel_producer, shmtel_push_sample, shmtel_ticks,
)
from ._ring cimport Producer
from ._threads cimport shmtel_here
from ._writer cimport Writer, just_looked

from ._clock import clock_kind
from ._timer import timed
from .liveness import fork_lock
from .metric import SECONDS_PER


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

    cdef int encoded(self, object exemplar, Labels *labels) except -1:
        """An exemplar's labels; this may run any Python code, as `number`."""
        try:
            return encode(exemplar, labels)
        except Exception:
            self.producer.reject()
            raise

    cdef int keep(self, double value, const Labels *labels) except -1:
        """The exemplar of a value that was accepted."""
        if labels.length == 0:
            return 0
        if self.exemplars is None:
            with fork_lock():  # of several threads one makes them
                if self.exemplars is None:
                    self.exemplars = Exemplars(self.producer, self.series, self.metric.buckets)
        return self.exemplars.keep(value, labels)

    cdef shmtel_producer *ready(self) except? NULL:
        """The full-ring path: the ring of this process and thread; NULL, and the loss is counted, if there is none."""
        cdef Writer writer = self.producer.mine()
        if writer.has_ring():
            return writer.ring
        writer.dropped_no_ring += 1
        return NULL

    cdef shmtel_cell *cell(self, shmtel_producer *ring):
        return <shmtel_cell *>(ring.catalogue + self.cell_offset)

    def __repr__(self):
        labels = ", ".join(f"{name}={value!r}" for name, value in zip(self.metric.labels, self.values))
        return f"<{type(self).__name__} {self.metric.name}{{{labels}}}>"

    def __reduce__(self):
        raise TypeError("a handle belongs to its process: make it anew in the other process")


cdef class Counter(Handle):
    """A total that only grows."""

    def emit(self, amount, exemplar=None) -> bool:
        """Add a finite amount >= 0. Never lost to a full ring; False only where there is no ring at all.

        exemplar: what to look at for an example of it, the id of a trace as str, or a mapping of label names to str of
        at most 128 characters together; the newest is shown. Empty: none. Raises ValueError for a negative, infinite or
        NaN amount, and as well as TypeError for an exemplar that cannot be; nothing enters then.
        """
        return self.add_with(self.number(amount), exemplar)

    def inc(self, amount=1.0, exemplar=None) -> bool:
        """emit, with an amount of 1 if none is given."""
        return self.add_with(self.number(amount), exemplar)

    cdef bint add_with(self, double amount, object exemplar) except -1:
        cdef Labels labels
        if exemplar is None:
            return self.add(amount)
        self.encoded(exemplar, &labels)
        if not self.add(amount):
            return False
        self.keep(amount, &labels)
        return True

    cdef inline bint add(self, double amount) except -1:
        if not 0 <= amount <= DBL_MAX:
            self.producer.reject()
            raise ValueError(f"{self.metric.name}: a counter takes finite steps >= 0, got {amount}")
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        cdef uint64_t now = shmtel_ticks(ring.clock)
        if shmtel_push_sample(ring, self.series, now, amount):
            return True
        return self.full(now, amount)

    cdef bint push(self, double amount) noexcept nogil:
        """add, without the GIL except where the ring is full or missing, or the amount is wrong, which is counted."""
        if 0 <= amount <= DBL_MAX and push_now(shmtel_here(self.ring), self.series, amount):
            return True
        with gil:
            try:
                return self.add(amount)
            except ValueError:
                return False

    cdef bint full(self, uint64_t now, double amount):
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        if not just_looked(ring, now):
            ring = self.ready()
            if ring == NULL:
                return False
            now = shmtel_ticks(ring.clock)  # a ring that was opened now may have another clock
            if shmtel_push_sample(ring, self.series, now, amount):
                return True
        shmtel_cell_add(self.cell(ring), now, amount)
        shmtel_count(&ring.out.coalesced, 1)
        return True


cdef class Gauge(Handle):
    """A value that goes up and down."""

    def emit(self, value) -> bool:
        """Set the value; any float. Never lost to a full ring; False only where there is no ring at all."""
        return self.put(self.number(value))

    set = emit

    cdef inline bint put(self, double value):
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        cdef uint64_t now = shmtel_ticks(ring.clock)
        if shmtel_push_sample(ring, self.series, now, value):
            return True
        return self.full(now, value)

    cdef bint push(self, double value) noexcept nogil:
        """put, without the GIL except where the ring is full or missing."""
        if push_now(shmtel_here(self.ring), self.series, value):
            return True
        with gil:
            return self.put(value)

    cdef bint full(self, uint64_t now, double value):
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        if not just_looked(ring, now):
            ring = self.ready()
            if ring == NULL:
                return False
            now = shmtel_ticks(ring.clock)
            if shmtel_push_sample(ring, self.series, now, value):
                return True
        shmtel_cell_set(self.cell(ring), now, value)
        shmtel_count(&ring.out.coalesced, 1)
        return True


cdef class Histogram(Handle):
    """A distribution of values, in the metric's unit."""

    def __init__(self, Producer producer, metric, tuple values, uint32_t series, uint64_t cell_offset):
        Handle.__init__(self, producer, metric, values, series, cell_offset)
        self.unit_seconds = SECONDS_PER.get(metric.unit or "seconds", 0.0)
        self.clock = clock_kind()
        begin_measuring()

    def emit(self, value, exemplar=None) -> bool:
        """Observe a value; infinity counts in the last bucket. False when it was dropped, which is counted.

        exemplar: what to look at for an example of such a value, the id of a trace as str, or a mapping of label names
        to str of at most 128 characters together; the newest of each classic bucket is shown. Empty: none. Raises
        ValueError for NaN, and as well as TypeError for an exemplar that cannot be; nothing enters then.
        """
        cdef double number = self.number(value)
        cdef Labels labels
        if exemplar is None:
            return self.observed(number)
        self.encoded(exemplar, &labels)
        if not self.observed(number):
            return False
        self.keep(number, &labels)
        return True

    observe = emit

    cdef inline bint observed(self, double value) except -1:
        if isnan(value):
            self.producer.reject()
            raise ValueError(f"{self.metric.name}: a histogram does not take NaN")
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        cdef uint64_t now = shmtel_ticks(ring.clock)
        if shmtel_push_sample(ring, self.series, now, value):
            return True
        return self.full(now, value)

    cdef bint push(self, double value) noexcept nogil:
        """observed, without the GIL except where the ring is full or missing, or the value is NaN, which is counted."""
        if not isnan(value) and push_now(shmtel_here(self.ring), self.series, value):
            return True
        with gil:
            try:
                return self.observed(value)
            except ValueError:
                return False

    cdef bint full(self, uint64_t now, double value):
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        if not just_looked(ring, now):
            ring = self.ready()
            if ring == NULL:
                return False
            if shmtel_push_sample(ring, self.series, shmtel_ticks(ring.clock), value):
                return True
        shmtel_count(&self.cell(ring).dropped, 1)
        shmtel_count(&ring.out.dropped_full, 1)
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
        with cython.critical_section(self):
            if self.running:
                self.outer = [*(self.outer or ()), self.begin]
            self.running, self.begin = True, self.histogram.start()
        return self

    def __exit__(self, kind, error, trace):
        cdef uint64_t begin
        with cython.critical_section(self):
            begin = self.begin
            if self.outer:
                self.begin = self.outer.pop()
            else:
                self.running = False
        self.histogram.stop(begin)

    def __call__(self, function):
        return timed(self.histogram, function)


# ---- the plain call ----

cdef Entry parse_counter_emit = NULL, parse_counter_inc = NULL, parse_gauge_emit = NULL, parse_histogram_emit = NULL


cdef inline bint push_plain(PyObject *handle, double value) noexcept:
    return push_now(shmtel_here((<Handle>handle).ring), (<Handle>handle).series, value)


cdef PyObject *counter_emit(PyObject *handle, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if is_plain(arguments, count, names) and 0 <= double_of(arguments[0]) <= DBL_MAX:
        if push_plain(handle, double_of(arguments[0])):
            return returned(Py_True)
    return parse_counter_emit(handle, arguments, count, names)


cdef PyObject *counter_inc(PyObject *handle, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if count == 0 and names == NULL and push_plain(handle, 1.0):
        return returned(Py_True)
    if is_plain(arguments, count, names) and 0 <= double_of(arguments[0]) <= DBL_MAX:
        if push_plain(handle, double_of(arguments[0])):
            return returned(Py_True)
    return parse_counter_inc(handle, arguments, count, names)


cdef PyObject *gauge_emit(PyObject *handle, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if is_plain(arguments, count, names) and push_plain(handle, double_of(arguments[0])):
        return returned(Py_True)
    return parse_gauge_emit(handle, arguments, count, names)


cdef PyObject *histogram_emit(PyObject *handle, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if is_plain(arguments, count, names) and not isnan(double_of(arguments[0])):
        if push_plain(handle, double_of(arguments[0])):
            return returned(Py_True)
    return parse_histogram_emit(handle, arguments, count, names)


if parse_histogram_emit == NULL:  # a second interpreter of this process has the same definitions
    parse_counter_emit = put_before(Counter.emit, counter_emit)
    parse_counter_inc = put_before(Counter.inc, counter_inc)
    parse_gauge_emit = put_before(Gauge.emit, gauge_emit)
    parse_histogram_emit = put_before(Histogram.emit, histogram_emit)
