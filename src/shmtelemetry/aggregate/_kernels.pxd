"""The state's structures and the kernels that apply records to them. Offsets are bytes from the state's beginning."""

from libc.stdint cimport uint32_t, uint64_t

from .._mapping cimport Mapping

cdef enum:
    HEADER_SIZE = 6 * 4096
    LOG_OFFSET = 4096
    LOG_SLOT = 2048
    STEP_PAIRS = 127
    PAGE_BUCKETS = 32            # an octave at scale 5
    DIRECTORY_STEP = 16          # entries of a directory
    METRICS_TABLE = 2 * 4096     # tables of the offsets of chunks
    SLOTS_TABLE = METRICS_TABLE + 256 * 8
    NAMES_TABLE = 3 * 4096
    SERIES_TABLE = 4 * 4096
    METRICS_CHUNK = 256
    SLOTS_CHUNK = 256
    NAMES_CHUNK = 256
    SERIES_CHUNK = 1024

cdef enum Kind:
    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2
    TOTAL = 3                    # of a column: already cumulative

cdef enum Outcome:
    DONE = 0
    NEED_SERIES = 1              # the next record names a series that is not mapped yet
    NEED_SPACE = 2               # the state must grow first

cdef struct Header:
    uint64_t magic
    uint32_t version
    uint32_t byte_order
    unsigned char uuid[16]
    uint64_t created_ns
    uint64_t size                # of the file
    uint64_t allocated           # of it, handed out so far
    uint64_t metrics             # counts of what is in the tables
    uint64_t series
    uint64_t slots
    uint64_t names
    uint64_t retired             # series that are no longer exposed
    uint64_t overflowed          # series that were asked for beyond the bound
    uint64_t foreign             # segments that somebody else consumes
    uint64_t quarantined         # segments that lie
    uint64_t turn_ns             # when the reader's loop turned last, since the epoch
    uint64_t reader_pid
    uint64_t invalid_metrics     # definitions that could not be used

cdef struct Series:              # three cache lines; what an observation needs is in the first two
    uint64_t mark                # odd while it is being changed
    double value                 # total of a counter, value of a gauge, sum of a histogram
    double minimum
    double maximum
    uint64_t directory           # (offset / 64) | first octave << 32 | octaves << 48
    uint64_t classic             # offset of len(buckets) + 1 counts
    uint32_t metric
    uint32_t kind
    uint64_t time_ns             # of a gauge's value
    uint32_t first_directory[DIRECTORY_STEP]
    uint64_t zeros
    uint64_t negatives
    uint64_t infinities
    uint64_t dropped             # observations that a full ring lost
    uint64_t retired
    uint64_t definition          # offset of {u64 length, bytes}
    uint64_t created_ns
    uint64_t reserved

cdef struct Slot:                # one segment that is being drained
    unsigned char uuid[16]
    uint64_t status              # 0 free, 1 live, 2 ended: folded into its name, not yet unlinked
    uint64_t name                # number of its producer's name
    uint64_t start_position
    uint64_t position            # committed: what is before it is in the aggregates
    uint64_t write_position
    uint64_t claimed_position
    uint64_t coalesced
    uint64_t dropped_full
    uint64_t dropped_timeout
    uint64_t dropped_no_ring
    uint64_t rejected
    uint64_t overwritten
    uint64_t invalid
    uint64_t capacity
    uint64_t pid
    uint64_t folds               # offset of the Fold array
    uint64_t folds_capacity
    uint64_t reserved[13]

cdef struct Name:                # totals of a producer's ended segments
    uint64_t length
    char name[64]
    uint64_t attempted
    uint64_t consumed
    uint64_t coalesced
    uint64_t dropped_full
    uint64_t dropped_timeout
    uint64_t dropped_no_ring
    uint64_t rejected
    uint64_t overwritten
    uint64_t aborted
    uint64_t invalid
    uint64_t reserved[13]

cdef struct Fold:                # what of a cell, or of a cumulative column, is in the aggregates already
    uint64_t key
    uint64_t steps
    double amount
    uint64_t dropped

cdef struct Pair:
    uint64_t offset
    uint64_t value

cdef struct Step:                # of the redo log: absolute values, so replaying it twice changes nothing
    uint64_t serial_and_count    # serial << 8 | count of pairs
    uint64_t reserved
    Pair pairs[STEP_PAIRS]

cdef struct Bounds:              # of one metric's classic buckets, padded with infinity to a multiple of 8
    uint64_t padded
    double values[1]

cdef struct Target:              # what a number in a record means
    Series *series
    Bounds *bounds

cdef struct Column:              # one metric field of a record
    uint32_t offset
    char kind                    # of the dtype: b i u f
    unsigned char size
    unsigned char role           # Kind
    double factor                # one of these is 1, see Schema.metrics
    double divisor
    Bounds *bounds

cdef struct Core:                # what every kernel needs
    unsigned char *base
    Header *header
    uint64_t serial              # of the last step

cdef struct Batch:               # a run of records and where it came from
    const unsigned char *records
    uint64_t mask
    uint64_t record_size
    uint64_t position
    uint64_t count
    Slot *slot
    double tick_ns               # a tick of the segment's clock
    uint64_t anchor_ticks        # a moment in ticks, and in nanoseconds since the epoch
    uint64_t anchor_ns
    uint64_t now_ns

cdef class Store:
    cdef Core core
    cdef readonly Mapping mapping

cdef Outcome apply_samples(Core *core, Batch *batch, const Target *targets, uint64_t known) noexcept nogil
cdef bint apply_record(Core *core, Batch *batch, const unsigned char *record, const Column *columns, uint64_t width,
                       Series **series, Fold **folds, uint64_t time_ns) noexcept nogil
cdef bint observe(Core *core, Series *series, const Bounds *bounds, double value) noexcept nogil
cdef void fold_counter(Core *core, Slot *slot, Series *series, Fold *fold, uint64_t steps, double amount) noexcept nogil
cdef void fold_gauge(Core *core, Series *series, Fold *fold, uint64_t steps, double value, uint64_t time_ns) noexcept nogil
cdef void fold_dropped(Core *core, Series *series, Fold *fold, uint64_t dropped) noexcept nogil
cdef void fold_slot(Core *core, Slot *slot, Name *name) noexcept nogil
cdef uint64_t allocate(Core *core, uint64_t size) noexcept nogil
cdef uint64_t epoch_ns(const Batch *batch, uint64_t ticks) noexcept nogil
cdef int recover(Core *core) except -1
