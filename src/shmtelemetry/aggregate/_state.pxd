"""The state's structures, and the steps in which it changes. Offsets are bytes from the state's beginning.

Exactly once. The new values of each change go, as absolute values, into one of two slots of a redo log; only then are
they applied. Whoever opens the state after a kill replays the newest complete step, which changes nothing if it had
been applied. Both slots are needed: while one is written, the other still holds the last complete step. While the
records of a ring are applied, each record is one step, so the serial number of the newest step tells how far the ring
was read.

A kill ends a process between two instructions, and what it has stored stays, so the order that the compiler keeps is
the order that counts; marks, see _marks.h, serve those who read the state meanwhile.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "shmtelemetry.h" nogil:
    void SHMTEL_STORE_RELEASE(uint64_t *pointer, uint64_t value)
    void SHMTEL_STORE_RELAXED(uint64_t *pointer, uint64_t value)
    uint64_t SHMTEL_LOAD_ACQUIRE(const uint64_t *pointer)
    bint SHMTEL_UNLIKELY(bint condition)

cdef extern from "_marks.h" nogil:
    uint64_t shmtel_mark_begin(uint64_t *mark)
    void shmtel_mark_end(uint64_t *mark, uint64_t odd)
    uint64_t shmtel_mark_look(const uint64_t *mark)
    bint shmtel_mark_stood(const uint64_t *mark, uint64_t before)

cdef extern from *:
    """
    #define COMPILER_BARRIER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    #define COMPARE_EXCHANGE(place, expected, wanted) \
        __atomic_compare_exchange_n((place), (expected), (wanted), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
    #ifdef SHMTEL_WITHOUT_COMMITS /* by the benchmark that says what commits cost, and by nothing else */
    #define COMMITS 0
    #else
    #define COMMITS 1
    #endif
    """
    const bint COMMITS  # known to the C compiler: no code is made for the other case
    void COMPILER_BARRIER() noexcept nogil
    bint COMPARE_EXCHANGE(uint64_t *place, uint64_t *expected, uint64_t wanted) noexcept nogil

cdef enum:
    HEADER_SIZE = 6 * 4096
    LOG_OFFSET = 4096
    LOG_SLOT = 1984              # bytes of one of the two steps
    STEP_PAIRS = 120
    RUN_OFFSET = LOG_OFFSET + 2 * LOG_SLOT
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

cdef enum SlotStatus:        # far from each other in bits
    SLOT_FREE = 0
    SLOT_LIVE = 0x4556494c       # LIVE
    SLOT_ENDED = 0x45444e45      # ENDE

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
    uint64_t metrics             # counts of what is in the tables, each twice: times 2**32 + 1
    uint64_t series
    uint64_t slots
    uint64_t names
    uint64_t retired             # series that are no longer exposed
    uint64_t overflowed          # label sets beyond the bound that could not be remembered
    uint64_t foreign             # segments that somebody else consumes
    uint64_t quarantined         # segments that lie
    uint64_t turn_ns             # when the reader's loop turned last, since the epoch
    uint64_t reader_pid
    uint64_t invalid_metrics     # definitions that could not be used
    uint64_t undeletable         # segments that are drained and that only their owner can remove
    uint64_t label_producer      # whether series carry their producer's name, times 2**32 + 1
    uint64_t beyond              # label sets beyond the bound, see overflow.py, times 2**32 + 1
    uint64_t check               # of what never changes: magic to created_ns
    uint64_t sealed              # after a clean end: 1 << 32 | CRC-32 of all that is in use, this word as 0; else 0
    uint64_t events              # that are in the event store
    uint64_t events_let_go       # that were overwritten before
    uint64_t events_waiting      # that are in the aggregates, and not in the store yet

cdef struct Series:              # three cache lines; what an observation needs is in the first two
    uint64_t mark                # odd while it is being changed
    double value                 # total of a counter, value of a gauge, sum of a histogram
    double minimum               # of a counter: the bits of its value, inverted
    double maximum
    uint64_t directory           # (offset / 64) | first octave << 32 | octaves << 48
    uint64_t classic             # offset of len(buckets) + 1 counts
    uint32_t metric
    uint32_t kind
    uint64_t time_ns             # of a gauge's value; of a histogram the maximum of its second, see note_maximum
    uint32_t first_directory[DIRECTORY_STEP]
    uint64_t zeros
    uint64_t negatives
    uint64_t infinities
    uint64_t dropped             # observations that a full ring lost
    uint64_t retired
    uint64_t definition          # offset of {u32 length, u32 check, bytes}
    uint64_t created_ns
    uint64_t exemplars           # offset of the offsets of each bucket's Exemplar; 0 for none

cdef struct Exemplar:            # the newest of one bucket; the labels follow, as shmtel_exemplar_slot has them
    uint64_t time_ns
    double value
    uint32_t length              # of the labels
    uint32_t room                # for them

cdef struct Slot:                # one segment that is being drained
    unsigned char uuid[16]
    uint64_t status              # free, live, ended: folded into its name, not yet unlinked, or left aside
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
    uint64_t folds               # Fold array: offset / 64 | log2 of its length << 32 | check << 40; 0 if there is none
    uint64_t settled             # bytes of the catalogue whose retirements are done, times 2**32 + 1
    uint64_t mark                # odd while its producer's figures are taken over
    uint64_t kept_position       # position, inverted
    uint64_t check               # of what never changes while it is not free
    uint64_t reserved[10]

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
    uint64_t mark                # odd while a segment's figures are added
    uint64_t check               # of all words before the mark
    uint64_t reserved[11]

cdef struct Fold:                # what of a cell, or of a cumulative column, is in the aggregates already
    uint64_t key                 # whose it is, of a cumulative column; of a cell: cell_check
    uint64_t steps               # of a cell; of a cumulative column: column_check
    double amount
    uint64_t dropped

cdef struct Pair:
    uint64_t offset
    uint64_t value

cdef struct Step:                # of the redo log: absolute values, so replaying it twice changes nothing
    uint64_t serial_and_count    # serial << 8 | count of pairs
    uint64_t check               # of the word before and the pairs
    Pair pairs[STEP_PAIRS]

cdef struct Run:                 # while records of one ring are applied: what position a step stands for
    uint64_t first_serial        # all ones: there is none
    uint64_t slot                # offset
    uint64_t first_position
    uint64_t check               # of the words before, while there is one

cdef struct Bounds:              # of one metric's classic buckets
    const double *values         # and infinity behind them
    const uint16_t *guess        # from first_key on, how many bounds are below all values of an exponential bucket
    uint32_t first_key
    uint32_t last_key

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
    uint32_t weight              # 1 + number of the column whose step is how often a value is observed; 0: once

cdef struct Core:                # what every kernel needs
    unsigned char *base
    Header *header
    Run *run
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

cdef inline uint64_t bits_of(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits


# ---- checks: sums, or words rotated and combined by XOR; no single bit changes unnoticed ----

cdef inline uint64_t mixed(uint64_t check, uint64_t word) noexcept nogil:
    return (check << 9 | check >> 55) ^ word


cdef inline uint64_t step_check(const Step *step, uint64_t serial_and_count) noexcept nogil:
    cdef uint64_t check = serial_and_count, at
    for at in range(serial_and_count & 0xff):
        check += step.pairs[at].offset + step.pairs[at].value
    return check


cdef inline uint64_t run_check(const Run *run, uint64_t first_serial) noexcept nogil:
    return mixed(mixed(first_serial, run.slot), run.first_position)


cdef inline uint64_t name_check(const Name *name) noexcept nogil:
    cdef const uint64_t *words = <const uint64_t *>name
    cdef uint64_t check = 0, at
    for at in range(<uint64_t>(&name.mark - words)):
        check = mixed(check, words[at])
    return check


cdef inline uint64_t cell_check(uint64_t steps, double amount, uint64_t dropped) noexcept nogil:
    return mixed(mixed(steps, bits_of(amount)), dropped)


cdef inline uint64_t column_check(uint64_t key, double amount) noexcept nogil:
    """0 for an amount of 0, so that a column begins with one store."""
    return mixed(bits_of(amount), key) if bits_of(amount) else 0


cdef inline Fold *folds_of(Core *core, const Slot *slot) noexcept nogil:
    return <Fold *>(core.base + (slot.folds & 0xffffffffULL) * 64)


cdef inline uint64_t folds_capacity(const Slot *slot) noexcept nogil:
    return <uint64_t>1 << (slot.folds >> 32 & 0xff) if slot.folds else 0


cdef inline uint64_t once(uint64_t twice) noexcept nogil:
    """A count of the header's."""
    return twice & 0xffffffffULL


cdef inline void note_maximum(Series *series, double value) noexcept nogil:
    """Keep the largest value since the keeper last took it, see _seconds.pyx.

    Not in the log, since windows end with a reader. Before the end of the change of the series, so that whoever sees
    the counts sees this too.
    """
    cdef double largest
    memcpy(&largest, &series.time_ns, 8)
    if value > largest:
        SHMTEL_STORE_RELAXED(&series.time_ns, bits_of(value))


# ---- memory ----

cdef inline uint64_t offset_of(Core *core, const void *place) noexcept nogil:
    return <uint64_t>(<const unsigned char *>place - core.base)


cdef inline uint64_t allocate(Core *core, uint64_t size) noexcept nogil:
    """Zeroed bytes of the state, 64-byte aligned; 0 if the file must grow first. A kill can leak them, no more."""
    cdef uint64_t begin = SHMTEL_LOAD_ACQUIRE(&core.header.allocated)
    size = (size + 63) & ~<uint64_t>63
    while True:  # the loop that drains and the thread that makes new series both allocate
        if begin + size > SHMTEL_LOAD_ACQUIRE(&core.header.size):
            return 0
        if COMPARE_EXCHANGE(&core.header.allocated, &begin, begin + size):
            return begin


# ---- steps ----

cdef inline Step *next_step(Core *core) noexcept nogil:
    return <Step *>(core.base + LOG_OFFSET + ((core.serial + 1) & 1) * LOG_SLOT)


cdef inline void stage(Core *core, Step *step, uint64_t count, void *place, uint64_t value) noexcept nogil:
    if not COMMITS:
        (<uint64_t *>place)[0] = value
        return
    step.pairs[count].offset = offset_of(core, place)
    step.pairs[count].value = value


cdef inline void seal(Core *core, Step *step, uint64_t count) noexcept nogil:
    """From here on the step will be applied, by us or by whoever comes after a kill."""
    if not COMMITS:
        return
    core.serial += 1
    step.check = step_check(step, core.serial << 8 | count)
    COMPILER_BARRIER()
    SHMTEL_STORE_RELEASE(&step.serial_and_count, core.serial << 8 | count)
    COMPILER_BARRIER()


cdef inline void begin_change(Series *series) noexcept nogil:
    if COMMITS:
        shmtel_mark_begin(&series.mark)


cdef inline void end_change(Series *series) noexcept nogil:
    if COMMITS:
        shmtel_mark_end(&series.mark, series.mark)


cdef inline void apply_step(Core *core, const Step *step) noexcept nogil:
    cdef uint64_t at
    if not COMMITS:
        return
    for at in range(step.serial_and_count & 0xff):
        SHMTEL_STORE_RELAXED(<uint64_t *>(core.base + step.pairs[at].offset), step.pairs[at].value)


cdef inline void begin_run(Core *core, Slot *slot, uint64_t position) noexcept nogil:
    """From here on each step is one record of this slot's ring, the first of them at `position`."""
    if not COMMITS:
        return
    core.run.slot, core.run.first_position = offset_of(core, slot), position
    core.run.check = run_check(core.run, core.serial + 1)
    COMPILER_BARRIER()
    core.run.first_serial = core.serial + 1


cdef inline void end_run(Core *core, Slot *slot, uint64_t position) noexcept nogil:
    """The records before `position` are in; steps are something else again."""
    SHMTEL_STORE_RELEASE(&slot.position, position)
    if not COMMITS:
        return
    slot.kept_position = ~position
    COMPILER_BARRIER()
    SHMTEL_STORE_RELEASE(&core.run.first_serial, <uint64_t>-1)


cdef inline void commit(Core *core, Step *step, uint64_t count, Series *series) noexcept nogil:
    seal(core, step, count)
    begin_change(series)
    apply_step(core, step)
    end_change(series)


cdef inline uint64_t stage_total(Core *core, Step *step, uint64_t count, Series *series, double more) noexcept nogil:
    """Stage what is added to a counter; returns how many pairs are staged then."""
    cdef uint64_t total = bits_of(series.value + more)
    stage(core, step, count, &series.value, total)
    stage(core, step, count + 1, &series.minimum, ~total)
    return count + 2


cdef inline uint64_t stage_fold(Core *core, Step *step, uint64_t count, Fold *fold, uint64_t steps, double amount,
                                uint64_t dropped) noexcept nogil:
    """Stage what of a cell is in now; returns how many pairs are staged then."""
    stage(core, step, count, &fold.key, cell_check(steps, amount, dropped))
    stage(core, step, count + 1, &fold.steps, steps)
    stage(core, step, count + 2, &fold.amount, bits_of(amount))
    stage(core, step, count + 3, &fold.dropped, dropped)
    return count + 4


cdef inline void move_position(Core *core, Slot *slot, uint64_t position, uint64_t overwritten) noexcept nogil:
    """Not within a run: without applying the records before `position`. overwritten: of all before it."""
    cdef Step *step = next_step(core)
    stage(core, step, 0, &slot.position, position)
    stage(core, step, 1, &slot.kept_position, ~position)
    stage(core, step, 2, &slot.overwritten, overwritten)
    seal(core, step, 3)
    shmtel_mark_begin(&slot.mark)  # whoever takes the one for the other counts records twice or not at all
    apply_step(core, step)
    shmtel_mark_end(&slot.mark, slot.mark)
