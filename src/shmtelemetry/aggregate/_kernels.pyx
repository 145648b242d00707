"""Kernels: records → series, in flat offset-addressed arrays that live in shared memory.

Exactly once. Each record's new values go, as absolute values and together with the position after the record, into one
of two slots of a redo log; only then are they applied. Whoever opens the state after a kill replays the newest complete
step, which changes nothing if it had been applied, and goes on behind its position. Both slots are needed: while one is
written, the other still holds the last complete step. A kill ends a process between two instructions, and what it has
stored stays, so the order that the compiler keeps is the order that counts; `mark` and its fences serve those who read
the state meanwhile.

Histograms are base-2 exponential at scale 5: bucket i holds (2**((i - 1) / 32), 2**(i / 32)], as in OpenTelemetry's
ExponentialHistogram and Prometheus's native histograms.
"""

from libc.float cimport DBL_MAX, DBL_MIN
from libc.math cimport isnan
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from .._mapping cimport Mapping

cdef extern from "shmtelemetry.h" nogil:
    ctypedef struct shmtel_sample:
        uint64_t time
        uint32_t series
        uint32_t flags
        double value
    void SHMTEL_STORE_RELEASE(uint64_t *pointer, uint64_t value)
    void SHMTEL_STORE_RELAXED(uint64_t *pointer, uint64_t value)
    uint64_t SHMTEL_LOAD_ACQUIRE(const uint64_t *pointer)
    void SHMTEL_FENCE_RELEASE()
    void SHMTEL_FENCE_ACQUIRE()
    bint SHMTEL_UNLIKELY(bint condition)

cdef extern from *:
    """
    #define COMPILER_BARRIER() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    #define COMPARE_EXCHANGE(place, expected, wanted) \\
        __atomic_compare_exchange_n((place), (expected), (wanted), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
    #define PREFETCH(address) __builtin_prefetch((address), 1)

    typedef double two_doubles __attribute__((vector_size(16), aligned(8)));
    typedef long long two_counts __attribute__((vector_size(16)));

    /* How many of the bounds, which are padded with infinity to a multiple of 8, are below the value: by comparing two
     * at once with all of them, without a branch on the value, which no processor could predict. */
    static inline uint64_t bounds_below(const double *bounds, uint64_t padded, double value) {
        const two_doubles *pairs = (const two_doubles *)bounds;
        two_doubles both = {value, value};
        two_counts even = {0, 0}, odd = {0, 0};
        for (uint64_t at = 0; at < padded / 2; at += 4) {
            even -= (two_counts)(pairs[at] < both) + (two_counts)(pairs[at + 1] < both);
            odd -= (two_counts)(pairs[at + 2] < both) + (two_counts)(pairs[at + 3] < both);
        }
        even += odd;
        return (uint64_t)(even[0] + even[1]);
    }
    """
    void COMPILER_BARRIER() noexcept nogil
    bint COMPARE_EXCHANGE(uint64_t *place, uint64_t *expected, uint64_t wanted) noexcept nogil
    void PREFETCH(const void *address) noexcept nogil
    uint64_t bounds_below(const double *bounds, uint64_t padded, double value) noexcept nogil

cdef enum:
    ATTEMPTS = 100000
    CHUNK = 32  # records between the first touch of their memory and its use

cdef uint64_t MANTISSA = (<uint64_t>1 << 52) - 1
cdef uint64_t[33] octave_bounds    # mantissas of 2**(j / 32), j = 0..31: bucket j + 1 begins above the j-th
cdef uint8_t[64] octave_guess      # for the six highest bits of a mantissa: the bucket of the least such mantissa


def _fill_octave():
    """The bounds by exact integer arithmetic: the largest m with (2**52 + m)**32 <= 2**(32 * 52 + j)."""
    cdef object one = 1  # Python's integers: a C shift by hundreds of bits is nothing
    for j in range(32):
        low, high = one * 0, one << 52
        while high - low > 1:
            middle = (low + high) // 2
            if ((one << 52) + middle) ** 32 <= one << (32 * 52 + j):
                low = middle
            else:
                high = middle
        octave_bounds[j] = low
    octave_bounds[32] = <uint64_t>-1
    for top in range(64):
        octave_guess[top] = max(j for j in range(32) if octave_bounds[j] <= <uint64_t>top << 46)

_fill_octave()


cdef inline uint64_t bits_of(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits


cdef inline uint64_t offset_of(Core *core, const void *place) noexcept nogil:
    return <uint64_t>(<const unsigned char *>place - core.base)


# ---- memory ----

cdef uint64_t allocate(Core *core, uint64_t size) noexcept nogil:
    """Zeroed bytes of the state, 64-byte aligned; 0 if the file must grow first. A kill can leak them, no more."""
    cdef uint64_t begin = SHMTEL_LOAD_ACQUIRE(&core.header.allocated)
    size = (size + 63) & ~<uint64_t>63
    while True:  # the loop that drains and the thread that makes new series both allocate
        if begin + size > SHMTEL_LOAD_ACQUIRE(&core.header.size):
            return 0
        if COMPARE_EXCHANGE(&core.header.allocated, &begin, begin + size):
            return begin


cdef uint32_t ensure_octave(Core *core, Series *series, uint32_t octave) noexcept nogil:
    """A page for this octave of the series, in units of 64 bytes, and a directory that reaches to it.

    0: the state must grow first.
    """
    cdef uint64_t packed = series.directory
    cdef uint32_t first = (packed >> 32) & 0xffff, length = packed >> 48
    cdef uint32_t last, new_first, entries
    cdef uint64_t directory, page
    cdef uint32_t *old = <uint32_t *>(core.base + (packed & 0xffffffffULL) * 64)
    cdef uint32_t *new
    if length == 0 or octave < first or octave >= first + length:
        if length == 0:  # room on both sides: most series stay within 16 octaves
            new_first = octave - 8 if octave > 8 else 0
            last = new_first + DIRECTORY_STEP
        else:
            new_first = first if octave >= first else octave
            last = first + length if octave < first + length else octave + 1
        entries = (last - new_first + DIRECTORY_STEP - 1) // DIRECTORY_STEP * DIRECTORY_STEP
        directory = offset_of(core, series.first_directory) if length == 0 else allocate(core, entries * 4)
        if directory == 0:
            return 0
        new = <uint32_t *>(core.base + directory)
        if length:
            memcpy(new + (first - new_first), old, length * 4)
        SHMTEL_STORE_RELEASE(&series.directory, directory // 64 | <uint64_t>new_first << 32 | <uint64_t>entries << 48)
        old, first = new, new_first
    if old[octave - first] == 0:
        page = allocate(core, PAGE_BUCKETS * 8)
        if page == 0:
            return 0
        COMPILER_BARRIER()
        old[octave - first] = page // 64
    return old[octave - first]


cdef inline uint64_t *exponential_bucket(Core *core, Series *series, double value) noexcept nogil:
    """The count of a positive normal value's bucket; NULL if there is no space for it."""
    # One less than the bits makes "above the bound" the same as "not below" for the integers that follow.
    cdef uint64_t below = bits_of(value) - 1
    cdef uint32_t octave = below >> 52
    cdef uint64_t mantissa = below & MANTISSA
    cdef uint32_t guess = octave_guess[mantissa >> 46]
    cdef uint32_t bucket = guess + (mantissa >= octave_bounds[guess + 1])
    cdef uint64_t packed = series.directory
    cdef uint32_t at = octave - <uint32_t>((packed >> 32) & 0xffff)
    cdef uint32_t page = 0
    if at < <uint32_t>(packed >> 48):
        page = (<uint32_t *>(core.base + (packed & 0xffffffffULL) * 64))[at]
    if SHMTEL_UNLIKELY(page == 0):
        page = ensure_octave(core, series, octave)
        if page == 0:
            return NULL
    return <uint64_t *>(core.base + <uint64_t>page * 64) + bucket


cdef inline uint64_t classic_index(const Bounds *bounds, double value) noexcept nogil:
    """How many bounds are below the value: its classic bucket, le inclusive."""
    return bounds_below(bounds.values, bounds.padded, value)


# ---- the redo log ----

cdef inline Step *next_step(Core *core) noexcept nogil:
    return <Step *>(core.base + LOG_OFFSET + ((core.serial + 1) & 1) * LOG_SLOT)


cdef inline void stage(Core *core, Step *step, uint64_t count, void *place, uint64_t value) noexcept nogil:
    step.pairs[count].offset = offset_of(core, place)
    step.pairs[count].value = value


cdef inline void seal(Core *core, Step *step, uint64_t count) noexcept nogil:
    """From here on the step will be applied, by us or by whoever comes after a kill."""
    COMPILER_BARRIER()
    core.serial += 1
    SHMTEL_STORE_RELEASE(&step.serial_and_count, core.serial << 8 | count)
    COMPILER_BARRIER()


cdef inline void begin_change(Series *series) noexcept nogil:
    SHMTEL_STORE_RELAXED(&series.mark, series.mark + 1)
    SHMTEL_FENCE_RELEASE()


cdef inline void end_change(Series *series) noexcept nogil:
    # SYNC POINT: series. Pairs with copy_series: an even mark that did not move means a consistent copy.
    SHMTEL_STORE_RELEASE(&series.mark, series.mark + 1)


cdef inline void apply_step(Core *core, const Step *step) noexcept nogil:
    cdef uint64_t at
    for at in range(step.serial_and_count & 0xff):
        SHMTEL_STORE_RELAXED(<uint64_t *>(core.base + step.pairs[at].offset), step.pairs[at].value)


cdef inline void commit(Core *core, Step *step, uint64_t count, Series *series) noexcept nogil:
    seal(core, step, count)
    begin_change(series)
    apply_step(core, step)
    end_change(series)


cdef int recover(Core *core) except -1:
    """Replay the newest complete step and end all changes that a kill interrupted. Raises ValueError for a bad log."""
    cdef Step *first = <Step *>(core.base + LOG_OFFSET)
    cdef Step *second = <Step *>(core.base + LOG_OFFSET + LOG_SLOT)
    cdef Step *newest = first if first.serial_and_count > second.serial_and_count else second
    cdef uint64_t at, chunk
    cdef Series *series
    if newest.serial_and_count & 0xff > STEP_PAIRS:
        raise ValueError(f"a step of {newest.serial_and_count & 0xff} changes")
    for at in range(newest.serial_and_count & 0xff):
        if newest.pairs[at].offset % 8 or newest.pairs[at].offset > core.header.allocated - 8:
            raise ValueError(f"a step changes byte {newest.pairs[at].offset}")
    apply_step(core, newest)
    core.serial = newest.serial_and_count >> 8
    for at in range(core.header.series):
        chunk = (<uint64_t *>(core.base + SERIES_TABLE))[at // SERIES_CHUNK]
        series = <Series *>(core.base + chunk) + at % SERIES_CHUNK
        series.mark += series.mark & 1
    return 0


# ---- records → series ----

cdef uint64_t epoch_ns(const Batch *batch, uint64_t ticks) noexcept nogil:
    return batch.anchor_ns + <int64_t>(<double><int64_t>(ticks - batch.anchor_ticks) * batch.tick_ns)


cdef inline bint is_plain(double value) noexcept nogil:
    """Positive, normal and finite."""
    return bits_of(value) - 0x0010000000000000ULL < 0x7fe0000000000000ULL


cdef inline uint64_t *bucket_of(Core *core, Series *series, double value) noexcept nogil:
    """The count that an observation raises beside its classic bucket; NULL if the state must grow."""
    if is_plain(value):
        return exponential_bucket(core, series, value)
    if value > DBL_MAX:
        return &series.infinities
    if value <= -DBL_MIN:
        return &series.negatives
    return &series.zeros


cdef inline uint64_t stage_histogram(Core *core, Step *step, uint64_t count, Series *series, const Bounds *bounds,
                                     double value) noexcept nogil:
    """Stage one observation; returns how many pairs are staged then, 0 if the state must grow."""
    cdef uint64_t *bucket = bucket_of(core, series, value)
    cdef uint64_t *classic = <uint64_t *>(core.base + series.classic) + classic_index(bounds, value)
    if bucket == NULL:
        return 0
    stage(core, step, count, bucket, bucket[0] + 1)
    stage(core, step, count + 1, classic, classic[0] + 1)
    stage(core, step, count + 2, &series.value, bits_of(series.value + value))
    count += 3
    if value < series.minimum:
        stage(core, step, count, &series.minimum, bits_of(value))
        count += 1
    if value > series.maximum:
        stage(core, step, count, &series.maximum, bits_of(value))
        count += 1
    return count


cdef inline void apply_observation(Core *core, Slot *slot, uint64_t position, Series *series, uint64_t *bucket,
                                   uint64_t *classic, double value) noexcept nogil:
    """What most records are: a value within the series' extremes. Like stage, seal and apply, but all in registers."""
    cdef Step *step = next_step(core)
    cdef uint64_t count = bucket[0] + 1, raised = classic[0] + 1, mark = series.mark
    cdef uint64_t total = bits_of(series.value + value)
    stage(core, step, 0, &slot.position, position)
    stage(core, step, 1, bucket, count)
    stage(core, step, 2, classic, raised)
    stage(core, step, 3, &series.value, total)
    seal(core, step, 4)
    SHMTEL_STORE_RELAXED(&series.mark, mark + 1)
    SHMTEL_FENCE_RELEASE()
    SHMTEL_STORE_RELAXED(bucket, count)
    SHMTEL_STORE_RELAXED(classic, raised)
    SHMTEL_STORE_RELAXED(<uint64_t *>&series.value, total)
    # SYNC POINT: series.
    SHMTEL_STORE_RELEASE(&series.mark, mark + 2)


cdef inline uint64_t stage_value(Core *core, Step *step, uint64_t count, Slot *slot, Series *series,
                                 const Bounds *bounds, uint32_t kind, double value, uint64_t time_ns) noexcept nogil:
    """Stage one value for a series; returns how many pairs are staged then, 0 if the state must grow."""
    if kind == HISTOGRAM and not isnan(value):
        return stage_histogram(core, step, count, series, bounds, value)
    if kind == COUNTER and 0 <= value <= DBL_MAX:
        stage(core, step, count, &series.value, bits_of(series.value + value))
        return count + 1
    if kind == GAUGE:
        if time_ns >= series.time_ns:
            stage(core, step, count, &series.value, bits_of(value))
            stage(core, step, count + 1, &series.time_ns, time_ns)
            return count + 2
        return count
    stage(core, step, count, &slot.invalid, slot.invalid + 1)
    return count + 1


cdef bint apply_sample(Core *core, Batch *batch, const Target *target, const shmtel_sample *sample,
                       uint64_t position) noexcept nogil:
    """One SAMPLE of any kind. False if the state must grow."""
    cdef Series *series = target.series
    cdef Step *step = next_step(core)
    cdef uint64_t count = 2
    stage(core, step, 0, &batch.slot.position, position)
    if series == NULL:  # its definition cannot be used
        stage(core, step, 1, &batch.slot.invalid, batch.slot.invalid + 1)
        seal(core, step, count)
        apply_step(core, step)
        return True
    count = stage_value(core, step, 1, batch.slot, series, target.bounds, series.kind, sample.value,
                        epoch_ns(batch, sample.time))
    if count:
        commit(core, step, count, series)
    return count != 0


cdef Outcome apply_samples(Core *core, Batch *batch, const Target *targets, uint64_t known) noexcept nogil:
    """Apply a batch of SAMPLEs, up to the first that needs something; batch.position then says how far it came.

    In chunks, so that the memory of one record is fetched while others are worked on: find the series of all, then
    the counts of all, then apply them one after the other.
    """
    cdef const shmtel_sample *records = <const shmtel_sample *>batch.records
    cdef uint64_t mask = batch.mask, position = batch.position, end = batch.position + batch.count
    cdef const Target *target[CHUNK]
    cdef uint64_t *bucket[CHUNK]
    cdef uint64_t *classic[CHUNK]
    cdef double value[CHUNK]
    cdef Outcome outcome = DONE
    cdef uint64_t count, at
    cdef Series *series
    cdef uint32_t number
    while position != end and outcome == DONE:
        count = min(CHUNK, end - position)
        for at in range(count):
            number = records[(position + at) & mask].series
            if number >= known:
                count, outcome = at, NEED_SERIES
                break
            target[at], value[at] = targets + number, records[(position + at) & mask].value
            PREFETCH(target[at].series)
            PREFETCH(<const char *>target[at].series + 64)
        for at in range(count):
            series, bucket[at] = target[at].series, NULL
            if series != NULL and series.kind == HISTOGRAM and is_plain(value[at]):
                bucket[at] = exponential_bucket(core, series, value[at])
                classic[at] = <uint64_t *>(core.base + series.classic) + classic_index(target[at].bounds, value[at])
                PREFETCH(bucket[at])
                PREFETCH(classic[at])
        for at in range(count):
            series = target[at].series
            if bucket[at] != NULL and series.minimum <= value[at] <= series.maximum:
                apply_observation(core, batch.slot, position + 1, series, bucket[at], classic[at], value[at])
            elif not apply_sample(core, batch, target[at], &records[position & mask], position + 1):
                outcome = NEED_SPACE
                break
            position += 1
    SHMTEL_STORE_RELEASE(&batch.slot.position, position)
    batch.count = end - position
    batch.position = position
    return outcome


cdef inline double field_value(const unsigned char *place, char kind, unsigned char size) noexcept nogil:
    cdef double number
    cdef float single
    cdef int64_t signed = 0
    cdef uint64_t unsigned = 0
    if kind == c"f":
        if size == 8:
            memcpy(&number, place, 8)
            return number
        memcpy(&single, place, 4)
        return single
    memcpy(&unsigned, place, size)
    if kind == c"i":
        signed = <int64_t>(unsigned << (64 - 8 * size)) >> (64 - 8 * size)
        return <double>signed
    return <double>unsigned


cdef bint apply_record(Core *core, Batch *batch, const unsigned char *record, const Column *columns, uint64_t width,
                       Series **series, Fold **folds, uint64_t time_ns) noexcept nogil:
    """Apply one record of a schema: all its metrics in one step. False if the state must grow."""
    cdef Step *step = next_step(core)
    cdef uint64_t count = 1, at
    cdef double value, amount
    stage(core, step, 0, &batch.slot.position, batch.position + 1)
    for at in range(width):
        value = field_value(record + columns[at].offset, columns[at].kind, columns[at].size)
        value = value * columns[at].factor / columns[at].divisor
        if series[at] == NULL:  # there was no memory for it
            stage(core, step, count, &batch.slot.invalid, batch.slot.invalid + 1)
            count += 1
        elif columns[at].role == TOTAL and 0 <= value <= DBL_MAX:
            # A total that fell has begun again from zero.
            amount = value - folds[at].amount if value >= folds[at].amount else value
            stage(core, step, count, &series[at].value, bits_of(series[at].value + amount))
            stage(core, step, count + 1, &folds[at].amount, bits_of(value))
            count += 2
        else:
            count = stage_value(core, step, count, batch.slot, series[at], columns[at].bounds, columns[at].role, value,
                                time_ns)
            if count == 0:
                return False
    seal(core, step, count)
    for at in range(width):
        if series[at] != NULL:
            begin_change(series[at])
    apply_step(core, step)
    for at in range(width):
        if series[at] != NULL:
            end_change(series[at])
    batch.position += 1
    batch.count -= 1
    return True


cdef bint observe(Core *core, Series *series, const Bounds *bounds, double value) noexcept nogil:
    """One observation that comes from no ring. False if the state must grow."""
    cdef Step *step = next_step(core)
    cdef uint64_t count = stage_histogram(core, step, 0, series, bounds, value)
    if count:
        commit(core, step, count, series)
    return count != 0


# ---- cells → series: they hold absolute values, the Fold says what of them is in already ----

cdef void fold_counter(Core *core, Slot *slot, Series *series, Fold *fold, uint64_t steps, double amount) noexcept nogil:
    cdef Step *step = next_step(core)
    cdef double more = amount - fold.amount
    if 0 <= more <= DBL_MAX:
        stage(core, step, 0, &series.value, bits_of(series.value + more))
        stage(core, step, 1, &fold.amount, bits_of(amount))
    else:  # a producer's cell only grows
        stage(core, step, 0, &slot.invalid, slot.invalid + 1)
        stage(core, step, 1, &fold.amount, bits_of(fold.amount))
    stage(core, step, 2, &fold.steps, steps)
    commit(core, step, 3, series)


cdef void fold_gauge(Core *core, Series *series, Fold *fold, uint64_t steps, double value, uint64_t time_ns) noexcept nogil:
    cdef Step *step = next_step(core)
    stage(core, step, 0, &fold.steps, steps)
    if time_ns < series.time_ns:
        commit(core, step, 1, series)
        return
    stage(core, step, 1, &series.value, bits_of(value))
    stage(core, step, 2, &series.time_ns, time_ns)
    commit(core, step, 3, series)


cdef void fold_dropped(Core *core, Series *series, Fold *fold, uint64_t dropped) noexcept nogil:
    cdef Step *step = next_step(core)
    stage(core, step, 0, &series.dropped, series.dropped + (dropped - fold.dropped))
    stage(core, step, 1, &fold.dropped, dropped)
    commit(core, step, 2, series)


cdef void fold_slot(Core *core, Slot *slot, Name *name) noexcept nogil:
    """The figures of an ended segment go into its producer's totals, all at once."""
    cdef Step *step = next_step(core)
    cdef uint64_t dropped = slot.dropped_full + slot.dropped_timeout + slot.dropped_no_ring
    cdef uint64_t attempted = slot.claimed_position - slot.start_position + slot.coalesced + slot.rejected + dropped
    cdef uint64_t consumed = slot.position - slot.start_position - slot.overwritten
    stage(core, step, 0, &name.attempted, name.attempted + attempted)
    stage(core, step, 1, &name.consumed, name.consumed + consumed)
    stage(core, step, 2, &name.coalesced, name.coalesced + slot.coalesced)
    stage(core, step, 3, &name.dropped_full, name.dropped_full + slot.dropped_full)
    stage(core, step, 4, &name.dropped_timeout, name.dropped_timeout + slot.dropped_timeout)
    stage(core, step, 5, &name.dropped_no_ring, name.dropped_no_ring + slot.dropped_no_ring)
    stage(core, step, 6, &name.rejected, name.rejected + slot.rejected)
    stage(core, step, 7, &name.overwritten, name.overwritten + slot.overwritten)
    stage(core, step, 8, &name.aborted, name.aborted + (slot.claimed_position - slot.position))
    stage(core, step, 9, &name.invalid, name.invalid + slot.invalid)
    stage(core, step, 10, &slot.status, 2)
    seal(core, step, 11)
    apply_step(core, step)
    seal(core, next_step(core), 0)  # the slot is free for another segment: this step must not be replayed any more


cdef class Store:
    """The state's memory, to those who write it."""

    def __init__(self, Mapping mapping):
        self.mapping = mapping
        self.core.base = mapping.base
        self.core.header = <Header *>mapping.base

    def allocate(self, size) -> int:
        """The offset of `size` zeroed bytes; 0 if the state must grow first."""
        return allocate(&self.core, size)

    def recover(self):
        """Finish what a kill interrupted. Raises ValueError if the log cannot be."""
        recover(&self.core)


def structures() -> dict[str, int]:
    """The sizes of the structures, for the test that compares them with state.py."""
    return {"header": sizeof(Header), "series": sizeof(Series), "slot": sizeof(Slot), "name": sizeof(Name),
            "fold": sizeof(Fold)}


# ---- copying the state ----

cdef bint copy_block(unsigned char *to, const unsigned char *base, uint64_t size, uint64_t offset,
                     uint64_t length) noexcept nogil:
    if offset > size or length > size - offset:
        return False
    memcpy(to + offset, base + offset, length)
    return True


cdef int copy_series(unsigned char *to, const unsigned char *base, uint64_t size, uint64_t at,
                      uint64_t classic_length, bint distributions) noexcept nogil:
    """Copy one series with its arrays. Returns 1, 0 if it changed meanwhile, -1 if it reaches beyond `size`."""
    cdef const Series *live = <const Series *>(base + at)
    cdef const Series *copy = <const Series *>(to + at)
    cdef uint64_t directory, entry, length
    # SYNC POINT: series. Pairs with end_change.
    cdef uint64_t mark = SHMTEL_LOAD_ACQUIRE(&live.mark)
    if mark & 1:
        return 0
    if not copy_block(to, base, size, at, sizeof(Series)):
        return -1
    if not copy_block(to, base, size, copy.classic, classic_length * 8):
        return -1
    if distributions:
        directory, length = (copy.directory & 0xffffffffULL) * 64, copy.directory >> 48
        if not copy_block(to, base, size, directory, length * 4):
            return -1
        for entry in range(length):
            if not copy_block(to, base, size, <uint64_t>(<uint32_t *>(to + directory))[entry] * 64, PAGE_BUCKETS * 8):
                return -1
    SHMTEL_FENCE_ACQUIRE()
    return SHMTEL_LOAD_ACQUIRE(&live.mark) == mark


def copy_state(const unsigned char[::1] state, unsigned char[::1] to, const uint64_t[::1] series,
               const uint64_t[::1] classic_lengths, bint distributions) -> int:
    """Copy series to the same offsets of `to`, so that each is consistent in itself.

    series: offset of each. classic_lengths: counts of its classic array. distributions: their exponential counts too.
    Returns how many never stood still long enough: 0 but for a state that is damaged; -1 if one reaches beyond `to`.
    """
    cdef const unsigned char *base = &state[0]
    cdef uint64_t size = min(state.shape[0], to.shape[0])
    cdef Py_ssize_t at, _, unstable = 0
    cdef int copied = 1
    with nogil:
        for at in range(series.shape[0]):
            # The reader's loop rests for a moment at least every millisecond, so this ends soon.
            for _ in range(ATTEMPTS):
                copied = copy_series(&to[0], base, size, series[at], classic_lengths[at], distributions)
                if copied:
                    break
            else:
                unstable += 1
            if copied < 0:
                break
    return unstable if copied >= 0 else -1
