# cython: embedsignature.format=clinic
"""The hot path of the metrics that stand in for prometheus_client's.

A core comes first among the bases of its metric, before prometheus_client's own class. Its methods push one SAMPLE.
What they cannot do in that one step (other types, NaN, exemplars, no labels yet, a forked child's first emit) goes to a
method of prometheus_client, which checks and raises as ever and ends in a Value.
"""

cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_CheckExact
from libc.float cimport DBL_MAX
from libc.math cimport NAN, isnan
from libc.stdint cimport uint32_t, uint64_t

from .._entry cimport (
    Entry, Py_None, PyMethodDef, PyMethodDescrObject, double_of, is_plain, push_now, put_before, returned,
)
from .._exemplars cimport Labels
from .._instruments cimport Counter, Gauge, Handle, Histogram
from .._header cimport shmtel_producer, shmtel_push_sample, shmtel_ticks
from .._threads cimport shmtel_here, shmtel_nowhere

from ..liveness import fork_lock

cdef extern from "Python.h":
    object PyDescr_NewMethod(PyTypeObject *owner, PyMethodDef *method)
    double PyLong_AsDouble(object value) except? -1.0

cdef uint64_t generation = 1  # of this process among its forked ancestors


def count_fork() -> None:
    """In a forked child: what gauges remember is the parent's."""
    global generation
    generation += 1


def specialise(owner, *names) -> None:
    """Make compiled methods that a class inherits its own.

    CPython 3.11 and later call a method descriptor fast only on objects of exactly its class: 24 ns instead of 33.
    """
    for name in names:
        inherited = getattr(owner, name)
        setattr(owner, name, PyDescr_NewMethod(<PyTypeObject *>owner, (<PyMethodDescrObject *>inherited).d_method))


cdef inline double quick(object value) noexcept:
    """A float or an int as a double; NaN for whatever needs a closer look."""
    if PyFloat_CheckExact(value):
        return PyFloat_AS_DOUBLE(value)
    if PyLong_CheckExact(value):
        try:
            return PyLong_AsDouble(value)
        except OverflowError:
            return NAN
    return NAN


# ---- values ----

cdef class Value:
    """One series as this process writes it; named after prometheus_client's values, and used by its metrics as one.

    values: prometheus_client.values.Values. labels: their values.
    """

    cdef shmtel_producer *ring      # as a handle's; nowhere: every step takes the long way
    cdef uint32_t series
    cdef Handle handle
    cdef readonly object values
    cdef readonly tuple labels
    cdef readonly bint released

    def __init__(self, values, tuple labels):
        self.ring = &shmtel_nowhere.ring
        self.values, self.labels = values, labels

    cdef int bind(self, Handle handle) except -1:
        self.handle = handle
        if handle is None:
            self.ring = &shmtel_nowhere.ring
        else:
            self.ring, self.series = handle.ring, handle.series
        return 0

    def release(self):
        """The series has been removed: nothing that is done to it shows any more."""
        self.released = True
        self.bind(None)

    def reopen(self):
        """Go on where `values` has the series now."""
        if not self.released:
            self.bind(self.values.handle(self.labels))

    cdef bint ready(self) except -1:
        """Whether there is somewhere to write to; the first emit of a forked child begins there."""
        if self.handle is None:
            return False
        if shmtel_here(self.ring).records == NULL:
            self.values.emitting()
        return True

    def set_exemplar(self, exemplar):
        """Keep prometheus_client's Exemplar, which has been checked, of a step that has been made."""
        cdef Labels labels
        if self.ready():
            self.handle.encoded(exemplar.labels, &labels)
            self.handle.keep(exemplar.value, &labels)

    def get(self):
        """The value over all processes, everything included that was emitted before the call."""
        return self.values.read(self.labels)

    def __reduce__(self):
        raise TypeError("a metric belongs to its process: make it anew in the other process")


cdef class CounterValue(Value):
    """A total that only grows."""

    def __init__(self, values, tuple labels):
        Value.__init__(self, values, labels)
        self.bind(values.handle(labels))

    cdef inline bint add(self, double amount) except -1:
        """False for what takes the long way."""
        cdef uint64_t now
        cdef shmtel_producer *ring
        if not 0 <= amount <= DBL_MAX:
            return False
        ring = shmtel_here(self.ring)
        now = shmtel_ticks(ring.clock)
        if shmtel_push_sample(ring, self.series, now, amount):
            return True
        if ring.records == NULL:
            return False
        (<Counter>self.handle).full(now, amount)
        return True

    def inc(self, amount):
        """Add a number that is not negative; NaN and infinity make the total that for good."""
        cdef double step = amount
        if self.ready() and not self.add(step):
            if 0 <= step <= DBL_MAX:
                (<Counter>self.handle).add(step)
            else:
                self.values.spoil(self.labels, step)

    def set(self, value, timestamp=None):
        """Begin again from a value, as Counter.reset does."""
        if not self.released:
            self.bind(self.values.renewed(self.labels))
            self.inc(value)


cdef class HistogramValue(Value):
    """A distribution: the sum of a histogram or a summary, whose step is the observation."""

    def __init__(self, values, tuple labels):
        Value.__init__(self, values, labels)
        self.bind(values.handle(labels))

    cdef inline bint observed(self, double value) except -1:
        """False for what takes the long way."""
        cdef uint64_t now
        cdef shmtel_producer *ring
        if isnan(value):
            return False
        ring = shmtel_here(self.ring)
        now = shmtel_ticks(ring.clock)
        if shmtel_push_sample(ring, self.series, now, value):
            return True
        if ring.records == NULL:
            return False
        (<Histogram>self.handle).full(now, value)
        return True

    def inc(self, value):
        """Observe a value; NaN falls into no bucket and makes the sum NaN for good."""
        cdef double number = value
        if self.ready() and not self.observed(number):
            if isnan(number):
                self.values.spoil(self.labels, number)
            else:
                (<Histogram>self.handle).observed(number)


cdef class GaugeValue(Value):
    """A value that goes up and down: this process's part of it."""

    cdef double number
    cdef uint64_t born              # the generation that `number` and the handle are of; 0 before the first step
    cdef bint adds                  # whether inc and dec are allowed

    def __init__(self, values, tuple labels, bint adds):
        Value.__init__(self, values, labels)
        self.adds = adds

    cdef inline bint put(self, double number) except -1:
        """False, and nothing done, for what takes the long way."""
        cdef shmtel_producer *ring = shmtel_here(self.ring)
        cdef uint64_t now = shmtel_ticks(ring.clock)
        if not shmtel_push_sample(ring, self.series, now, number):
            if ring.records == NULL:
                return False
            (<Gauge>self.handle).full(now, number)
        self.number = number
        return True

    cdef bint step(self, double amount) except -1:
        with cython.critical_section(self):  # threads that run at once step one after the other
            return self.put(self.number + amount)

    cdef int emit(self, double number) except -1:
        self.number = number
        if self.ready() and not self.put(number):
            (<Gauge>self.handle).emit(number)  # opens the ring
        return 0

    cdef int begin(self, bint adding) except -1:
        """The first step in this process."""
        if self.born == generation or self.released:
            return 0
        others = self.values.others_use()  # before the lock, which whoever drains may need until it can answer
        with fork_lock():  # of several threads one makes it
            if self.born != generation and not self.released:
                self.number = 0.0
                self.bind(self.values.step(self.labels, adding, others))
                self.born = generation
        return 0

    def reopen(self):
        if self.born == generation and not self.released:
            self.bind(self.values.step(self.labels, False, self.values.others_use()))
            self.emit(self.number)

    def set(self, value, timestamp=None):
        cdef double number = value
        if number == 0.0 and self.born != generation and self.values.undecided:
            return  # what every process begins with says nothing about how the gauge is used
        self.begin(False)
        self.emit(number)

    def inc(self, amount):
        cdef double step = amount
        self.begin(True)
        with cython.critical_section(self):
            self.emit(self.number + step)


# ---- metrics ----

cdef class Core:
    """What metrics with labels have in common."""

    cdef public dict _metrics       # label values → child

    def labels(self, *values, **named):
        if self._metrics is not None and not named:
            for value in values:
                if not PyUnicode_CheckExact(value):
                    break
            else:
                child = self._metrics.get(values)
                if child is not None:
                    return child
        return super(Core, self).labels(*values, **named)


cdef class CounterCore(Core):
    cdef public CounterValue _value

    def inc(self, amount=1.0, exemplar=None):
        """Add an amount that is not negative. exemplar: label names and values, together 128 characters at most."""
        if exemplar is None and self._value is not None and self._value.add(quick(amount)):
            return
        super(CounterCore, self).inc(amount, exemplar)


cdef class GaugeCore(Core):
    cdef public GaugeValue _value

    def set(self, value):
        """Set the value; whatever float() takes."""
        cdef double number = quick(value)
        if self._value is not None and self._value.born == generation and not isnan(number):
            if self._value.put(number):
                return
        super(GaugeCore, self).set(value)

    def inc(self, amount=1.0):
        """Add an amount to this process's value."""
        cdef double step = quick(amount)
        if self._value is not None and self._value.born == generation and self._value.adds and not isnan(step):
            if self._value.step(step):
                return
        super(GaugeCore, self).inc(amount)

    def dec(self, amount=1.0):
        """Subtract an amount from this process's value."""
        cdef double step = quick(amount)
        if self._value is not None and self._value.born == generation and self._value.adds and not isnan(step):
            if self._value.step(-step):
                return
        super(GaugeCore, self).dec(amount)


cdef class HistogramCore(Core):
    cdef public HistogramValue _sum

    def observe(self, amount, exemplar=None):
        """Observe a value. exemplar: label names and values, together 128 characters at most."""
        if exemplar is None and self._sum is not None and self._sum.observed(quick(amount)):
            return
        super(HistogramCore, self).observe(amount, exemplar)


cdef class SummaryCore(Core):
    cdef public HistogramValue _sum

    def observe(self, amount):
        """Observe a value."""
        if self._sum is not None and self._sum.observed(quick(amount)):
            return
        super(SummaryCore, self).observe(amount)


# ---- the plain call ----

cdef Entry parse_inc = NULL, parse_observe = NULL


cdef inline bint push(PyObject *value, double number) noexcept:
    """Where the value is None there are labels, and no series yet."""
    return value != Py_None and push_now(shmtel_here((<Value>value).ring), (<Value>value).series, number)


cdef PyObject *counter_inc(PyObject *metric, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    cdef PyObject *value = <PyObject *>(<CounterCore>metric)._value
    if count == 0 and names == NULL and push(value, 1.0):
        return returned(Py_None)
    if is_plain(arguments, count, names) and 0 <= double_of(arguments[0]) <= DBL_MAX:
        if push(value, double_of(arguments[0])):
            return returned(Py_None)
    return parse_inc(metric, arguments, count, names)


cdef PyObject *observe(PyObject *metric, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if is_plain(arguments, count, names) and not isnan(double_of(arguments[0])):
        if push(<PyObject *>(<HistogramCore>metric)._sum, double_of(arguments[0])):
            return returned(Py_None)
    return parse_observe(metric, arguments, count, names)


if parse_inc == NULL:  # a second interpreter of this process has the same definitions
    parse_inc = put_before(CounterCore.inc, counter_inc)
    parse_observe = put_before(HistogramCore.observe, observe)
