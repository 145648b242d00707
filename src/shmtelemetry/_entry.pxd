"""The call of a method that is made most, with one float and nothing else, ahead of the entry that Cython makes, which
sees to keywords and defaults. What an entry cannot do in one step it leaves to that one."""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from ._header cimport SHMTEL_CLOCK_TSC, shmtel_producer, shmtel_push_sample, shmtel_ticks

ctypedef PyObject *(*Entry)(PyObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept

cdef extern from "Python.h":
    enum: METH_FASTCALL, METH_KEYWORDS
    bint is_float "PyFloat_CheckExact" (PyObject *value)
    double double_of "PyFloat_AS_DOUBLE" (PyObject *value)

    ctypedef struct PyMethodDef:
        void *ml_meth
        int ml_flags

    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method

    PyObject *Py_None
    PyObject *Py_True
    void Py_INCREF(PyObject *value)


cdef inline bint is_plain(PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    """Whether a method is called with one float and nothing else."""
    return count == 1 and names == NULL and is_float(arguments[0])


cdef inline bint push_now(shmtel_producer *ring, uint32_t series, double value) noexcept nogil:
    """Write one SAMPLE. False, and nothing done, for what takes the long way: a full ring, none, or a clock that has to
    be called, for which registers would be saved at every emit."""
    return ring.clock == SHMTEL_CLOCK_TSC and shmtel_push_sample(ring, series, shmtel_ticks(SHMTEL_CLOCK_TSC), value)


cdef inline PyObject *returned(PyObject *value) noexcept:
    Py_INCREF(value)
    return value


cdef inline Entry put_before(method, Entry entry):
    """Let a method's calls come to `entry`; returns where they came to. NULL, and nothing is done, if they are not of
    the form (self, arguments, count, names): then Cython was told to make others, and the plain call is slower."""
    cdef PyMethodDef *definition = (<PyMethodDescrObject *><PyObject *>method).d_method
    cdef Entry before = <Entry>definition.ml_meth
    if definition.ml_flags != METH_FASTCALL | METH_KEYWORDS:
        return NULL
    definition.ml_meth = <void *>entry
    return before
