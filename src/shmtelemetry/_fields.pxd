cimport cython


@cython.final
cdef class Field:
    cdef object dtype
    cdef char kind              # of the dtype; "-" where numpy converts
    cdef size_t offset, size

    cdef int pack(self, char *data, object value) except -1
    cdef int pack_bytes(self, char *place, object value) except -1
    cdef int pack_converted(self, char *place, object value) except -1
    cdef int overflow(self, object value) except -1
