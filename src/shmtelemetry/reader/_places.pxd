"""The places of exemplars in one segment's catalogue, as the reader knows them."""

from libc.stdint cimport uint64_t

from ..aggregate._state cimport Batch, Core, Target

cdef struct Place:
    uint64_t offset        # in the catalogue
    uint64_t room          # for labels in each of its slots
    uint64_t series        # number in the segment
    uint64_t steps         # when it was last looked at

cdef struct Places:
    Place *known
    uint64_t count
    uint64_t seen          # exemplars in the producer page, when all were last looked at
    bint unseen            # whether some have never been looked at

cdef int add_places(Places *places, offsets, rooms, series) except -1
cdef void skip_places(Places *places, const unsigned char *catalogue) noexcept
cdef bint fold_places(Core *core, Places *places, const unsigned char *catalogue, const Target *targets,
                      const Batch *clock) noexcept nogil
