"""The exponential counts of many series at once: from the pages of a copied state to flat arrays."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import numpy as np

from ._state cimport PAGE_BUCKETS

cdef enum:
    BIAS = 1023   # of a double's exponent
    BLOCK = 64    # what directories and pages are counted in


cdef int64_t gather(const unsigned char *state, uint64_t directory, int32_t *indices, uint64_t *counts) noexcept nogil:
    """Write the buckets of one series that are not empty, in order of their index. Returns how many; NULL only counts.

    directory: as in Series.
    """
    cdef const uint32_t *pages = <const uint32_t *>(state + (directory & 0xffffffffULL) * BLOCK)
    cdef const uint64_t *page
    cdef int32_t first = <int32_t>((directory >> 32) & 0xffff) - BIAS
    cdef uint32_t octave, bucket
    cdef int64_t found = 0
    for octave in range(<uint32_t>(directory >> 48)):
        if pages[octave] == 0:
            continue
        page = <const uint64_t *>(state + <uint64_t>pages[octave] * BLOCK)
        for bucket in range(PAGE_BUCKETS):
            if page[bucket] == 0:
                continue
            if indices != NULL:
                indices[found] = (first + <int32_t>octave) * PAGE_BUCKETS + <int32_t>bucket + 1
                counts[found] = page[bucket]
            found += 1
    return found


def gather_all(const unsigned char[::1] state, const uint64_t[::1] directories):
    """(begin, indices, counts) as in Distributions.

    state: a copy that copy_state made, with distributions. directories: of each series, as in SERIES.
    """
    cdef Py_ssize_t series, length = directories.shape[0]
    cdef int64_t[::1] begin = np.zeros(length + 1, np.int64)
    cdef int32_t[::1] indices
    cdef uint64_t[::1] counts
    if length:
        with nogil:
            for series in range(length):
                begin[series + 1] = begin[series] + gather(&state[0], directories[series], NULL, NULL)
    indices, counts = np.empty(begin[length], np.int32), np.empty(begin[length], np.uint64)
    if begin[length]:
        with nogil:
            for series in range(length):
                if begin[series] < begin[series + 1]:
                    gather(&state[0], directories[series], &indices[begin[series]], &counts[begin[series]])
    return np.asarray(begin), np.asarray(indices), np.asarray(counts)
