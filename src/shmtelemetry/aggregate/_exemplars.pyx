"""Exemplars in the state: the newest of each bucket of a series, whoever emitted it. Steps: see _state.pxd.

A series has a table of them from its first one on, and a bucket a block from its first one on. A block that is too
small for the labels of a newer one is left behind; a bucket has five sizes of them at most.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, isnan
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from ._state cimport (
    COUNTER, HISTOGRAM, Bounds, Core, Exemplar, Series, Step, allocate, commit, next_step, stage,
)

cdef extern from "shmtelemetry.h" nogil:
    enum: SHMTEL_EXEMPLAR_LABELS

cdef enum:
    BLOCK = 128       # sizes of blocks are its multiples; one holds the ids of a trace and of a span
    SECOND = 1000000000


cdef struct Made:
    Exemplar head
    unsigned char labels[SHMTEL_EXEMPLAR_LABELS]


cdef uint64_t bucket_of(const Bounds *bounds, double value) noexcept nogil:
    cdef uint64_t at = 0
    while bounds.values[at] < value:  # infinity is the last of them
        at += 1
    return at


cdef bint keep_exemplar(Core *core, Series *series, const Bounds *bounds, double value, uint64_t time_ns,
                        uint64_t now_ns, const void *labels, uint64_t length) noexcept nogil:
    """Have the value's bucket show these labels, unless its exemplar is newer. False if the state must grow first.

    length: of the labels, 1 to SHMTEL_EXEMPLAR_LABELS bytes.
    """
    cdef Made made
    cdef Exemplar *head = &made.head
    cdef Exemplar *kept
    cdef Step *step = next_step(core)
    cdef uint64_t buckets = 1, bucket = 0, table = series.exemplars, table_size, at = 0, count = 0, size, word
    if series.kind == HISTOGRAM and not isnan(value):
        buckets, bucket = bucket_of(bounds, INFINITY) + 1, bucket_of(bounds, value)
    elif series.kind != COUNTER or not 0 <= value <= DBL_MAX:
        return True
    if table:
        at = (<uint64_t *>(core.base + table))[bucket]
    kept = <Exemplar *>(core.base + at)
    if at and time_ns < kept.time_ns <= now_ns + SECOND:  # later than that: from before the clock was set back
        return True
    head.time_ns, head.value, head.length, head.room = time_ns, value, length, kept.room if at else 0
    if head.room < length:
        table_size = 0 if table else (buckets * 8 + 63) & ~<uint64_t>63
        size = (sizeof(Exemplar) + length + BLOCK - 1) // BLOCK * BLOCK
        at = allocate(core, table_size + size)
        if at == 0:
            return False
        table, at, head.room = table or at, at + table_size, size - sizeof(Exemplar)
        kept = <Exemplar *>(core.base + at)
        stage(core, step, 0, <uint64_t *>(core.base + table) + bucket, at)
        stage(core, step, 1, &series.exemplars, table)
        count = 2
    memset(made.labels, 0, (length + 7) & ~<uint64_t>7)
    memcpy(made.labels, labels, length)
    for word in range((sizeof(Exemplar) + length + 7) // 8):
        stage(core, step, count, <uint64_t *>kept + word, (<uint64_t *>&made)[word])
        count += 1
    commit(core, step, count, series)
    return True
