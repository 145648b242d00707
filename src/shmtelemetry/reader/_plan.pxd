"""Plan: how the records of a schema become series. A group is one set of label values, and has a series a metric."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from ..aggregate._state cimport Column, Series

cdef enum:
    KEY = 4096             # bytes of one record's label fields, schema.MAX_LABEL_BYTES
    MAX_WIDTH = 16         # schema.MAX_METRICS
    MAX_LABELS = 64        # schema.MAX_LABEL_FIELDS

cdef struct Plan:
    uint64_t width
    Column columns[MAX_WIDTH]
    uint32_t metrics[MAX_WIDTH]  # their numbers
    uint64_t labels        # count of label fields
    uint32_t label_offset[MAX_LABELS]
    uint32_t label_size[MAX_LABELS]
    uint64_t key_size
    int time_offset        # of the time field; -1: none
    uint64_t time_ns       # nanoseconds of its unit
    uint64_t groups        # sets of label values that were seen
    uint64_t room          # for so many
    uint64_t buckets       # of the hash table below, a power of two
    uint32_t *table        # number of the group + 1
    unsigned char *keys    # groups x key_size
    Series **series        # groups x width
    uint64_t *folds        # groups x width: index in the slot's array + 1


cdef inline void gather(const Plan *plan, const unsigned char *record, unsigned char *key) noexcept nogil:
    """The label fields of a record, one behind the other."""
    cdef uint64_t at, size
    for at in range(plan.labels):
        size = plan.label_size[at]
        if size == 8:  # a copy of known size is one instruction
            memcpy(key, record + plan.label_offset[at], 8)
        elif size == 4:
            memcpy(key, record + plan.label_offset[at], 4)
        else:
            memcpy(key, record + plan.label_offset[at], size)
        key += size


cdef inline uint64_t hash_of(const unsigned char *key, uint64_t size) noexcept nogil:
    """FNV-1a over words of eight bytes, http://www.isthe.com/chongo/tech/comp/fnv/, finished by a multiplication."""
    cdef uint64_t hashed = 0xcbf29ce484222325ULL, word
    while size >= 8:
        memcpy(&word, key, 8)
        hashed = (hashed ^ word) * 0x100000001b3ULL
        hashed ^= hashed >> 29
        key, size = key + 8, size - 8
    if size:
        word = 0
        memcpy(&word, key, size)
        hashed = (hashed ^ word) * 0x100000001b3ULL
        hashed ^= hashed >> 29
    return hashed * 0x9e3779b97f4a7c15ULL >> 20


cdef inline uint64_t find_group(const Plan *plan, const unsigned char *key) noexcept nogil:
    """Number of the group with this key; plan.groups if there is none."""
    cdef uint64_t at, group
    if plan.groups == 0:
        return 0
    at = hash_of(key, plan.key_size) & (plan.buckets - 1)
    while plan.table[at]:
        group = plan.table[at] - 1
        if memcmp(plan.keys + group * plan.key_size, key, plan.key_size) == 0:
            return group
        at = (at + 1) & (plan.buckets - 1)
    return plan.groups


cdef Plan *make_plan(columns, metrics, labels, int time_offset, uint64_t time_ns) except NULL
cdef int add_group(Plan *plan, bytes key, unsigned char *base, offsets, folds) except -1
cdef void free_plan(Plan *plan) noexcept
