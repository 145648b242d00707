from libc.stdint cimport uint64_t

from ._state cimport Bounds, Core, Series

cdef bint keep_exemplar(Core *core, Series *series, const Bounds *bounds, double value, uint64_t time_ns,
                        uint64_t now_ns, const void *labels, uint64_t length) noexcept nogil
