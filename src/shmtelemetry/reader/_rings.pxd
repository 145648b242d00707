"""The rings of a namespace, each owned by one side at a time, the keeper or the loop, which `status` says."""

from libc.stdint cimport uint32_t, uint64_t

from .._header cimport (
    SHMTEL_LOAD_ACQUIRE, SHMTEL_STORE_RELEASE, shmtel_consumer, shmtel_reader_page, shmtel_release,
)
from ..aggregate._state cimport Core, Slot, Target
from ..aggregate._store cimport Store
from ._places cimport Places
from ._plan cimport Plan

cdef enum:
    MAX_RINGS = 65536
    BATCH = 4096           # records between two releases
    COPIES = 1 << 18       # bytes of the records of an overwrite_oldest ring that are copied at once
    FIGURES = 5            # of a producer: coalesced to rejected, adjacent in its page and in its slot
    NEAR = 8               # rings between the prefetch of a position and its use
    SECOND = 1000000000

cpdef enum Status:
    FREE = 0
    LIVE = 1               # the loop's
    ENDING = 2             # the loop's: its producer is dead, take the rest
    FOLDING = 3            # the loop's: fold its cells and figures
    WANT_SERIES = 4
    WANT_SPACE = 5
    LIES = 6               # its positions or figures cannot be
    EMPTY = 7              # the rest is taken; what it defined and never wrote may have cells
    ENDED = 8              # all is folded, it can be unlinked
    SET_UP = 9

cdef enum Mode:
    DISCARD = 0            # records without a role: drained and counted
    SAMPLES = 1
    RECORDS = 2


cdef struct Ring:          # a look at an idle ring needs the first cache line alone
    uint64_t status
    uint64_t active_ns     # when it last had records, or was added
    uint64_t more          # whether the keeper goes on with its catalogue, records or not
    shmtel_consumer in_ "in"
    uint64_t held          # whether its records are events that a store takes as well
    uint64_t stored        # what is before this position, the store has
    uint64_t freed         # what is before this position, the producer may write over
    Slot *slot
    uint64_t mode
    Target *targets        # by number of the series in the segment
    uint64_t *cells        # offset of each series' cell in the catalogue
    uint64_t known         # how many of both
    uint64_t seen          # steps in cells, when they were last folded
    uint64_t learned       # bytes of the catalogue
    const unsigned char *catalogue
    Plan *plan
    Places places          # of exemplars
    uint32_t clock
    uint32_t local         # whether pid is one of this pid namespace
    uint64_t copies        # of an overwrite_oldest ring: records that are copied at once, a power of two; else 0
    uint64_t ending        # whether its producer is dead
    uint64_t figures[FIGURES]  # of its producer, which never fall
    uint64_t lost          # records that were not written, as far as Flow has them
    uint64_t checked_ns    # when somebody last looked whether it is
    int pid
    const unsigned int *cut  # whether a part of its file was missing
    uint64_t inode
    shmtel_reader_page own  # where releases go to, when they are not to reach its producer
    char path[224]


cdef struct Flow:          # records of one metric that is made of fields
    uint64_t taken         # by the loop
    uint64_t lost
    uint64_t told_taken    # of these, what the keeper knows
    uint64_t told_lost


cdef inline uint64_t lost_records(const Slot *slot) noexcept nogil:
    return slot.dropped_full + slot.dropped_timeout + slot.dropped_no_ring + slot.overwritten


cdef class Rings:
    cdef Ring *rings
    cdef uint64_t high              # rings ever used
    cdef Core *core
    cdef Store store
    cdef Flow *flows                # by number of the metric
    cdef uint64_t flowing           # numbers of metrics that are made of fields are below this

    cdef void release(self, Ring *ring, uint64_t count) noexcept nogil
    cdef void fold_into_name(self, Slot *slot) noexcept nogil
    cdef bint is_suspect(self, uint64_t number, uint64_t now)
