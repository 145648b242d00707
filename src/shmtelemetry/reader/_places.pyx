"""Taking exemplars from a segment's catalogue into the state."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport realloc

from .._header cimport (
    SHMTEL_EXEMPLAR_LABELS, SHMTEL_LOAD_ACQUIRE, shmtel_exemplar, shmtel_exemplar_read, shmtel_exemplar_slot,
)
from ..aggregate._exemplars cimport keep_exemplar
from ..aggregate._kernels cimport epoch_ns
from ..aggregate._state cimport Batch, Core, Target


cdef int add_places(Places *places, offsets, rooms, series) except -1:
    """Further places. Their offsets, rooms and series have been checked."""
    cdef uint64_t at
    cdef Place *known = <Place *>realloc(places.known, (places.count + <uint64_t>len(offsets)) * sizeof(Place))
    if known == NULL:
        raise MemoryError()
    places.known = known
    for at in range(len(offsets)):
        known[places.count].offset, known[places.count].room = offsets[at], rooms[at]
        known[places.count].series, known[places.count].steps = series[at], 0
        places.count += 1
    places.unseen = True  # they may hold something already
    return 0


cdef void skip_places(Places *places, const unsigned char *catalogue) noexcept:
    """Let only what comes from now on be taken over."""
    cdef uint64_t at
    for at in range(places.count):
        places.known[at].steps = SHMTEL_LOAD_ACQUIRE(&(<shmtel_exemplar *>(catalogue + places.known[at].offset)).steps)


cdef bint fold_places(Core *core, Places *places, const unsigned char *catalogue, const Target *targets,
                      const Batch *clock) noexcept nogil:
    """Take over what changed since the last look. False: not all, for one kept changing or the state must grow."""
    cdef unsigned char labels[SHMTEL_EXEMPLAR_LABELS]
    cdef shmtel_exemplar_slot head
    cdef const shmtel_exemplar *live
    cdef const Target *target
    cdef Place *place
    cdef uint64_t at, steps = 0
    cdef bint whole = True
    for at in range(places.count):
        place = &places.known[at]
        live = <const shmtel_exemplar *>(catalogue + place.offset)
        if SHMTEL_LOAD_ACQUIRE(&live.steps) == place.steps:
            continue
        if not shmtel_exemplar_read(live, place.room, &steps, &head, labels):
            whole = False
            continue
        target = &targets[place.series]
        if target.series != NULL and 0 < head.length <= place.room and not keep_exemplar(
                core, target.series, target.bounds, head.value, epoch_ns(clock, head.time), clock.now_ns, labels,
                head.length):
            whole = False
            continue
        place.steps = steps
    return whole
