from libc.stdint cimport uint32_t, uint64_t

from ._header cimport SHMTEL_EXEMPLAR_LABELS
from ._ring cimport Producer


cdef struct Labels:                 # of an exemplar, as shmtel_exemplar_slot has them
    uint64_t length                 # 0: there is none
    unsigned char encoded[SHMTEL_EXEMPLAR_LABELS]


# A place: offset in the catalogue << 16 | bytes of labels that it holds; 0: there is none yet. One word, since another
# thread may put a roomier one in its stead.
ctypedef uint64_t Place


cdef class Exemplars:
    cdef Producer producer
    cdef uint32_t series            # its number in the segment's catalogue
    cdef double *bounds             # of the buckets, and infinity
    cdef Place *places              # of each bucket
    cdef bint refused               # whether there was no room for a place

    cdef int keep(self, double value, const Labels *labels) except -1
    cdef int make_place(self, uint64_t bucket, uint64_t length) except -1


cdef int encode(object exemplar, Labels *labels) except -1
