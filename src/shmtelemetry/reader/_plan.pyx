"""Making plans; what the loop does with them stands inline in _plan.pxd."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from ..aggregate._kernels cimport Buckets
from ..aggregate._state cimport Series

cdef enum:
    ROOM = 64 * 1024 * 1024  # bytes that the groups of one plan may take: a producer may make up ever new label values


cdef Plan *make_plan(columns, metrics, labels, int time_offset, uint64_t time_ns) except NULL:
    """columns: (offset, kind, size, role, factor, divisor, Buckets, weight) of each metric; metrics: the number of
    each; labels: (offset, size) of each."""
    cdef Plan *plan
    cdef uint64_t at
    if len(columns) > MAX_WIDTH or len(labels) > MAX_LABELS or sum(size for _, size in labels) > KEY:
        raise ValueError(f"{len(columns)} metrics and {len(labels)} labels are more than a plan holds")
    plan = <Plan *>calloc(1, sizeof(Plan))
    if plan == NULL:
        raise MemoryError()
    plan.width, plan.labels = len(columns), len(labels)
    plan.time_offset, plan.time_ns = time_offset, time_ns
    for at, (offset, kind, size, role, factor, divisor, buckets, weight) in enumerate(columns):
        plan.columns[at].offset, plan.columns[at].kind, plan.columns[at].size = offset, ord(kind), size
        plan.columns[at].role, plan.columns[at].factor, plan.columns[at].divisor = role, factor, divisor
        plan.columns[at].bounds, plan.columns[at].weight = &(<Buckets>buckets).bounds, weight
        plan.metrics[at] = metrics[at]
    for at, (offset, size) in enumerate(labels):
        plan.label_offset[at], plan.label_size[at] = offset, size
        plan.key_size += <uint64_t>size
    return plan


cdef void free_plan(Plan *plan) noexcept:
    if plan == NULL:
        return
    free(plan.table)
    free(plan.keys)
    free(plan.series)
    free(plan.folds)
    free(plan)


cdef int add_group(Plan *plan, bytes key, unsigned char *base, offsets, folds) except -1:
    """The series of one set of label values: offset from base and index of the fold (-1: none) of each column."""
    cdef uint64_t groups, at
    cdef int64_t offset
    if plan.groups * (plan.key_size + 16 * plan.width) >= ROOM:  # those in use are asked for again
        plan.groups = 0
        memset(plan.table, 0, plan.buckets * 4)
    groups = plan.groups
    if groups == plan.room:
        _make_room(plan)
    memcpy(plan.keys + groups * plan.key_size, <const char *>key, plan.key_size)
    for at in range(plan.width):
        offset = offsets[at]
        plan.series[groups * plan.width + at] = NULL if offset < 0 else <Series *>(base + offset)
        plan.folds[groups * plan.width + at] = folds[at] + 1
    plan.groups = groups + 1
    if plan.groups * 2 > plan.buckets:
        _rehash(plan)
    else:
        _enter(plan, groups)
    return 0


cdef int _make_room(Plan *plan) except -1:
    """For twice as many groups: not every allocator grows a block where it is."""
    cdef uint64_t room = max(16, plan.room * 2)
    plan.keys = <unsigned char *>realloc(plan.keys, room * plan.key_size + 1)
    plan.series = <Series **>realloc(plan.series, room * plan.width * sizeof(Series *))
    plan.folds = <uint64_t *>realloc(plan.folds, room * plan.width * 8)
    if plan.keys == NULL or plan.series == NULL or plan.folds == NULL:
        raise MemoryError()
    plan.room = room
    return 0


cdef void _enter(Plan *plan, uint64_t group) noexcept nogil:
    cdef uint64_t at = hash_of(plan.keys + group * plan.key_size, plan.key_size) & (plan.buckets - 1)
    while plan.table[at]:
        at = (at + 1) & (plan.buckets - 1)
    plan.table[at] = group + 1


cdef int _rehash(Plan *plan) except -1:
    cdef uint64_t group, buckets = max(16, plan.buckets * 4)
    cdef uint32_t *table = <uint32_t *>calloc(buckets, 4)
    if table == NULL:
        raise MemoryError()
    free(plan.table)
    plan.table, plan.buckets = table, buckets
    for group in range(plan.groups):
        _enter(plan, group)
    return 0
