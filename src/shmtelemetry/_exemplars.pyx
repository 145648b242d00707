"""Exemplars, on the producer's side: the newest one of each bucket of a series has a place in the catalogue.

A place is made at its bucket's first exemplar. From then on keeping one is a copy: no lock, no system call, and for a
str or a dict no allocation. Limits: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

from cpython.dict cimport PyDict_CheckExact, PyDict_Next
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_Check, PyUnicode_GET_LENGTH
from libc.math cimport INFINITY
from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from ._header cimport (
    SHMTEL_LOAD_ACQUIRE, SHMTEL_STORE_RELEASE, shmtel_exemplar, shmtel_exemplar_set, shmtel_exemplar_slot,
    shmtel_producer, shmtel_ticks,
)
from ._threads cimport shmtel_here

from collections.abc import Mapping

from . import layout
from .errors import SegmentError
from .liveness import fork_lock
from .producer import warn_once
from .metric import MAX_EXEMPLAR_CHARACTERS

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef Py_ssize_t max_characters = MAX_EXEMPLAR_CHARACTERS
cdef str TRACE_ID = "trace_id"


cdef bint is_label_name(const char *name, Py_ssize_t length) noexcept nogil:
    """Whether it is one, and not reserved."""
    cdef Py_ssize_t at
    if length == 0 or c"0" <= name[0] <= c"9" or (length > 1 and name[0] == c"_" and name[1] == c"_"):
        return False
    for at in range(length):
        if not (c"a" <= (name[at] | 32) <= c"z" or c"0" <= name[at] <= c"9" or name[at] == c"_"):
            return False
    return True


cdef const char *utf8(object text, Py_ssize_t *size) except NULL:
    try:
        return PyUnicode_AsUTF8AndSize(text, size)
    except UnicodeEncodeError as error:
        raise ValueError(f"exemplar label {text!r} is not valid Unicode") from error


cdef int add_label(Labels *labels, object name, object value, Py_ssize_t *characters) except -1:
    cdef Py_ssize_t name_length = 0, value_length = 0
    cdef const char *name_text
    cdef const char *value_text
    cdef uint16_t lengths[2]
    if not PyUnicode_Check(name) or not PyUnicode_Check(value):
        raise TypeError(f"exemplar label {name!r}: {value!r}: expected str for the name and for the value")
    characters[0] += PyUnicode_GET_LENGTH(name) + PyUnicode_GET_LENGTH(value)
    if characters[0] > max_characters:
        raise ValueError(f"an exemplar of more than {max_characters} characters, names and values together")
    name_text, value_text = utf8(name, &name_length), utf8(value, &value_length)
    if not is_label_name(name_text, name_length):
        raise ValueError(f"exemplar label {name!r}: expected [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __")
    # That many characters, names of plain ASCII that differ, never fill SHMTEL_EXEMPLAR_LABELS.
    lengths[0], lengths[1] = <uint16_t>name_length, <uint16_t>value_length
    memcpy(labels.encoded + labels.length, lengths, sizeof(lengths))
    memcpy(labels.encoded + labels.length + 4, name_text, name_length)
    memcpy(labels.encoded + labels.length + 4 + name_length, value_text, value_length)
    labels.length += 4 + name_length + value_length
    return 0


cdef int encode(object exemplar, Labels *labels) except -1:
    """The labels of a trace's id, or of a mapping; none of an empty one. Raises TypeError and ValueError."""
    cdef PyObject *name
    cdef PyObject *value
    cdef Py_ssize_t at = 0, characters = 0
    labels.length = 0
    if PyUnicode_Check(exemplar):
        if PyUnicode_GET_LENGTH(exemplar):
            add_label(labels, TRACE_ID, exemplar, &characters)
        return 0
    if not PyDict_CheckExact(exemplar):
        if not isinstance(exemplar, Mapping):
            raise TypeError(f"exemplar {exemplar!r}: expected a trace's id as str, or a mapping of label names to str")
        exemplar = dict(exemplar)
    while PyDict_Next(exemplar, &at, &name, &value):
        add_label(labels, <object>name, <object>value, &characters)
    return 0


cdef class Exemplars:
    """Those of one series. bounds: of its buckets, rising; none of a counter."""

    def __cinit__(self, Producer producer, uint32_t series, tuple bounds):
        cdef Py_ssize_t at
        self.producer, self.series = producer, series
        self.bounds = <double *>calloc(len(bounds) + 1, sizeof(double))
        self.places = <Place *>calloc(len(bounds) + 1, sizeof(Place))
        if self.bounds == NULL or self.places == NULL:
            raise MemoryError("no room for the places of exemplars")
        for at in range(len(bounds)):
            self.bounds[at] = bounds[at]
        self.bounds[len(bounds)] = INFINITY

    def __dealloc__(self):
        free(self.bounds)
        free(self.places)

    cdef int keep(self, double value, const Labels *labels) except -1:
        """Let the value's bucket have these labels, if there is room for them. value: not NaN."""
        cdef uint64_t bucket = 0
        cdef shmtel_exemplar_slot head
        cdef Place place
        cdef shmtel_producer *ring
        while self.bounds[bucket] < value:
            bucket += 1
        place = SHMTEL_LOAD_ACQUIRE(&self.places[bucket])  # SYNC POINT: place
        if place & 0xFFFF < labels.length:
            self.make_place(bucket, labels.length)
            place = SHMTEL_LOAD_ACQUIRE(&self.places[bucket])
        ring = shmtel_here(self.producer.ring)
        if place & 0xFFFF < labels.length or ring.records == NULL:  # closed by a signal handler meanwhile
            return 0
        head.time, head.value, head.length = shmtel_ticks(ring.clock), value, labels.length
        shmtel_exemplar_set(ring, <shmtel_exemplar *>(ring.catalogue + (place >> 16)), place & 0xFFFF, &head,
                            labels.encoded)
        return 0

    cdef int make_place(self, uint64_t bucket, uint64_t length) except -1:
        """A place for labels of this length; none if there is no room for it."""
        cdef uint64_t room = next(room for room in layout.EXEMPLAR_ROOMS if room >= length)
        payload = layout.EXEMPLAR.pack(0, self.series, room) + bytes(2 * (layout.EXEMPLAR_SLOT.size + room))
        record = layout.CATALOGUE_RECORD.pack(layout.KIND_EXEMPLAR, 0, len(payload)) + payload
        with fork_lock():
            # defining: in a signal handler, amid a definition of this very thread; the next exemplar gets a place
            if self.refused or self.producer.defining or self.places[bucket] & 0xFFFF >= length:
                return 0
            try:
                if len(self.producer.setup.catalogue) + len(record) > layout.MAX_CATALOGUE // 2:
                    raise SegmentError("they fill half of the catalogue, and the rest is for definitions")
                offset = self.producer.define(record)
            except (SegmentError, OSError) as error:
                self.refused = True
                warn_once("exemplars", f"producer {self.producer.setup.name}: not all exemplars are kept: {error}")
                return 0
            # SYNC POINT: place. Whoever sees it finds it in the catalogue of every ring.
            SHMTEL_STORE_RELEASE(&self.places[bucket], <uint64_t>(offset + layout.CATALOGUE_RECORD.size) << 16 | room)
        return 0
