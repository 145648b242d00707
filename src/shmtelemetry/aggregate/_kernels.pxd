from libc.stdint cimport uint16_t, uint64_t

from ._state cimport Batch, Bounds, Column, Core, Fold, Name, Outcome, Series, Slot, Target

cdef class Buckets:
    cdef Bounds bounds
    cdef double *values
    cdef uint16_t *guess

cdef Outcome apply_samples(Core *core, Batch *batch, const Target *targets, uint64_t known) noexcept nogil
cdef void skip_sample(Core *core, Batch *batch) noexcept nogil
cdef bint apply_record(Core *core, Batch *batch, const unsigned char *record, const Column *columns, uint64_t width,
                       Series **series, Fold **folds, uint64_t time_ns) noexcept nogil
cdef bint observe(Core *core, Series *series, const Bounds *bounds, double value) noexcept nogil
cdef void fold_counter(Core *core, Slot *slot, Series *series, Fold *fold, uint64_t steps, double amount) noexcept nogil
cdef void fold_gauge(Core *core, Series *series, Fold *fold, uint64_t steps, double value, uint64_t time_ns,
                     uint64_t now_ns) noexcept nogil
cdef void fold_dropped(Core *core, Series *series, Fold *fold, uint64_t dropped) noexcept nogil
cdef void fold_slot(Core *core, Slot *slot, Name *name) noexcept nogil
cdef uint64_t epoch_ns(const Batch *batch, uint64_t ticks) noexcept nogil
