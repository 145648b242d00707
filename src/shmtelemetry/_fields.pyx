"""How scalars become the bytes of a record's fields."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.number cimport PyNumber_Index
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

import numpy as np


@cython.final
cdef class Field:
    """How one scalar becomes the bytes of one field."""

    def __init__(self, dtype, offset):
        self.dtype, self.offset, self.size = dtype, offset, dtype.itemsize
        plain = dtype.kind in "biuS" or (dtype.kind == "f" and dtype.itemsize in (4, 8))
        self.kind = ord(dtype.kind if plain and np.little_endian else "-")

    cdef int pack(self, char *data, object value) except -1:
        cdef char *place = data + self.offset
        cdef double number
        cdef float single
        cdef int64_t signed
        cdef uint64_t unsigned
        if self.kind == c"f":
            number = value
            if self.size == 8:
                memcpy(place, &number, 8)
            else:
                single = <float>number
                memcpy(place, &single, 4)
        elif self.kind == c"u":
            unsigned = value if PyLong_Check(value) else PyNumber_Index(value)
            if self.size < 8 and unsigned >> (8 * self.size):
                self.overflow(value)
            memcpy(place, &unsigned, self.size)
        elif self.kind == c"i":
            signed = value if PyLong_Check(value) else PyNumber_Index(value)
            if self.size < 8 and not -(<int64_t>1 << (8 * self.size - 1)) <= signed < <int64_t>1 << (8 * self.size - 1):
                self.overflow(value)
            memcpy(place, &signed, self.size)
        elif self.kind == c"b":
            place[0] = 1 if value else 0
        elif self.kind == c"S":
            self.pack_bytes(place, value)
        else:
            self.pack_converted(place, value)
        return 0

    cdef int pack_bytes(self, char *place, object value) except -1:
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, bytes):
            raise TypeError(f"expected bytes or str, got {type(value).__name__}")
        if <size_t>PyBytes_GET_SIZE(value) > self.size:
            raise ValueError(f"{len(value)} bytes do not fit {self.size}")
        memcpy(place, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        return 0

    cdef int pack_converted(self, char *place, object value) except -1:
        if self.dtype.kind in "SU" and len(value) > self.size // self.dtype.alignment:
            raise ValueError(f"{len(value)} characters do not fit")
        item = np.array(value, self.dtype)
        if item.ndim:
            raise TypeError(f"expected a scalar, got {type(value).__name__}")
        packed = item.tobytes()
        memcpy(place, PyBytes_AS_STRING(packed), self.size)
        return 0

    cdef int overflow(self, object value) except -1:
        raise ValueError(f"{value} does not fit {self.size} bytes")
