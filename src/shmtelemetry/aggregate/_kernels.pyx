"""Kernels: records → series, in flat offset-addressed arrays that live in shared memory. Steps: see _state.pxd.

Histograms are base-2 exponential at scale 5: bucket i holds (2**((i - 1) / 32), 2**(i / 32)], as in OpenTelemetry's
ExponentialHistogram and Prometheus's native histograms. Classic buckets are counted from the value itself.
"""

from libc.float cimport DBL_MAX, DBL_MIN
from libc.math cimport INFINITY, isnan
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from ._state cimport (
    COMMITS, COMPILER_BARRIER, COUNTER, DIRECTORY_STEP, DONE, GAUGE, HISTOGRAM, LOG_OFFSET, LOG_SLOT, NEED_SERIES,
    NEED_SPACE, PAGE_BUCKETS, SHMTEL_STORE_RELAXED, SHMTEL_STORE_RELEASE, SHMTEL_UNLIKELY,
    SLOT_ENDED, TOTAL, Batch, Bounds, Column, Core, Fold, Name, Outcome, Series, Slot, Step, Target, allocate,
    apply_step, begin_change, begin_run, bits_of, commit, end_change, end_run, column_check, name_check, next_step,
    note_maximum, offset_of, seal, shmtel_mark_begin, shmtel_mark_end, stage, stage_fold, stage_total,
)

cdef extern from "shmtelemetry.h" nogil:
    ctypedef struct shmtel_sample:
        uint64_t time
        uint32_t series
        uint32_t flags
        double value

cdef extern from *:
    """
    #define PREFETCH(address) __builtin_prefetch((address), 1)
    /* A load that the compiler does not repeat: what was checked is what is used, though somebody changes the ring. */
    #define ONCE(place) (*(const volatile __typeof__(place) *)&(place))
    """
    void PREFETCH(const void *address) noexcept nogil
    uint32_t ONCE(uint32_t place) noexcept nogil
    double ONCE_DOUBLE "ONCE"(double place) noexcept nogil

cdef enum:
    AHEAD = 16        # records between the stages of the pipeline
    NO_SPACE = 1000  # instead of a count of pairs
    SECOND = 1000000000
    MAX_WIDTH = 16    # columns of a record, schema.MAX_METRICS

cdef double MOST_TIMES = 9007199254740992  # that one value is observed: 2**53, up to which doubles count

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


# ---- memory ----

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


cdef inline bint is_plain(double value) noexcept nogil:
    """Positive, normal and finite."""
    return bits_of(value) - 0x0010000000000000ULL < 0x7fe0000000000000ULL


cdef inline uint32_t bucket_key(double value) noexcept nogil:
    """Octave * 32 + bucket of a plain value: the index of its exponential bucket, shifted to begin at zero."""
    # One less than the bits makes "above the bound" the same as "not below" for the integers that follow.
    cdef uint64_t below = bits_of(value) - 1
    cdef uint64_t mantissa = below & (((<uint64_t>1) << 52) - 1)
    cdef uint32_t guess = octave_guess[mantissa >> 46]
    return <uint32_t>(below >> 52) * PAGE_BUCKETS + guess + (mantissa >= octave_bounds[guess + 1])


cdef inline uint64_t *exponential_count(Core *core, Series *series, uint32_t key) noexcept nogil:
    """The count of a bucket; NULL if there is no space for it."""
    cdef uint64_t packed = series.directory
    cdef uint32_t at = key // PAGE_BUCKETS - <uint32_t>((packed >> 32) & 0xffff)
    cdef uint32_t page = 0
    if at < <uint32_t>(packed >> 48):
        page = (<uint32_t *>(core.base + (packed & 0xffffffffULL) * 64))[at]
    if SHMTEL_UNLIKELY(page == 0):
        page = ensure_octave(core, series, key // PAGE_BUCKETS)
        if page == 0:
            return NULL
    return <uint64_t *>(core.base + <uint64_t>page * 64) + key % PAGE_BUCKETS


cdef inline uint64_t *classic_count(Core *core, Series *series, const Bounds *bounds, uint64_t at,
                                    double value) noexcept nogil:
    """The count of a value's classic bucket, le inclusive, if at least `at` bounds are below it."""
    while bounds.values[at] < value:  # few exponential buckets have a bound inside, so this is well predicted
        at += 1
    return <uint64_t *>(core.base + series.classic) + at


cdef inline uint64_t bounds_below(const Bounds *bounds, uint32_t key) noexcept nogil:
    """How many bounds are certainly below the values of an exponential bucket."""
    return bounds.guess[min(max(key, bounds.first_key), bounds.last_key) - bounds.first_key]


cdef class Buckets:
    """The classic bounds of one metric, and where to begin among them. Raises MemoryError."""

    def __cinit__(self, bounds):
        cdef double bound
        cdef uint64_t count = len(bounds), at = 0
        cdef uint32_t key
        keys = [bucket_key(bound) for bound in bounds if is_plain(bound)]
        self.bounds.first_key, self.bounds.last_key = (min(keys), max(keys) + 1) if keys else (0, 0)
        self.values = <double *>calloc(count + 1, sizeof(double))
        self.guess = <uint16_t *>calloc(self.bounds.last_key - self.bounds.first_key + 1, sizeof(uint16_t))
        if self.values == NULL or self.guess == NULL:
            raise MemoryError()
        for at, bound in enumerate(bounds):
            self.values[at] = bound
        self.values[count] = INFINITY
        self.bounds.values, self.bounds.guess = self.values, self.guess
        below, keys = count - len(keys), sorted(keys)
        for key in range(self.bounds.first_key, self.bounds.last_key + 1):
            while below < count and keys[below - (count - len(keys))] < key:
                below += 1
            self.guess[key - self.bounds.first_key] = below

    def __dealloc__(self):
        free(self.values)
        free(self.guess)


def bucket_keys(const double[::1] values, uint32_t[::1] keys):
    """The index of each value's exponential bucket, octave * 32 + bucket, into `keys`; 0 for what is not plain."""
    cdef Py_ssize_t at
    for at in range(values.shape[0]):
        keys[at] = bucket_key(values[at]) if is_plain(values[at]) else 0


# ---- records → series ----

cdef uint64_t epoch_ns(const Batch *batch, uint64_t ticks) noexcept nogil:
    cdef uint64_t time_ns = batch.anchor_ns + <int64_t>(<double><int64_t>(ticks - batch.anchor_ticks) * batch.tick_ns)
    # No record comes from the future; a gauge would keep such a value for ever. The clocks may differ a little.
    return time_ns if time_ns < batch.now_ns + SECOND else batch.now_ns


cdef inline uint64_t stage_histogram(Core *core, Step *step, uint64_t count, Series *series, const Bounds *bounds,
                                     double value, uint64_t times) noexcept nogil:
    """Stage a value that was observed so many times.

    Returns how many pairs are staged then, NO_SPACE if the state must grow.
    """
    cdef uint64_t *bucket = &series.zeros
    cdef uint64_t *classic
    cdef uint64_t below = 0
    if is_plain(value):
        below, bucket = bounds_below(bounds, bucket_key(value)), exponential_count(core, series, bucket_key(value))
    elif value > DBL_MAX:
        bucket = &series.infinities
    elif value <= -DBL_MIN:
        bucket = &series.negatives
    if bucket == NULL:
        return NO_SPACE
    classic = classic_count(core, series, bounds, below, value)
    stage(core, step, count, bucket, bucket[0] + times)
    stage(core, step, count + 1, classic, classic[0] + times)
    stage(core, step, count + 2, &series.value, bits_of(series.value + value * <double>times))
    count += 3
    if value < series.minimum:
        stage(core, step, count, &series.minimum, bits_of(value))
        count += 1
    if value > series.maximum:
        stage(core, step, count, &series.maximum, bits_of(value))
        count += 1
    note_maximum(series, value)
    return count


cdef inline void apply_observation(unsigned char *base, uint64_t serial, Series *series, uint64_t *bucket,
                                   uint64_t *classic, double value) noexcept nogil:
    """What most records are: a value within the series' extremes. Like stage, seal and apply, but all in registers.

    base, serial: of the state, and of this step; nothing of Core is read or written.
    """
    cdef Step *step = <Step *>(base + LOG_OFFSET + (serial & 1) * LOG_SLOT)
    cdef uint64_t count = bucket[0] + 1, raised = classic[0] + 1, odd = 0
    cdef uint64_t total = bits_of(series.value + value)
    cdef uint64_t first = <unsigned char *>bucket - base, second = <unsigned char *>classic - base
    cdef uint64_t third = <unsigned char *>&series.value - base
    if COMMITS:
        step.pairs[0].offset, step.pairs[0].value = first, count
        step.pairs[1].offset, step.pairs[1].value = second, raised
        step.pairs[2].offset, step.pairs[2].value = third, total
        # As step_check has it; a loop over what was just stored would wait for the stores.
        step.check = (serial << 8 | 3) + first + count + second + raised + third + total
        COMPILER_BARRIER()
        SHMTEL_STORE_RELEASE(&step.serial_and_count, serial << 8 | 3)
        COMPILER_BARRIER()
        odd = shmtel_mark_begin(&series.mark)
    SHMTEL_STORE_RELAXED(bucket, count)
    SHMTEL_STORE_RELAXED(classic, raised)
    SHMTEL_STORE_RELAXED(<uint64_t *>&series.value, total)
    note_maximum(series, value)
    if COMMITS:
        shmtel_mark_end(&series.mark, odd)


cdef inline bint is_newer(const Series *series, uint64_t time_ns, uint64_t now_ns) noexcept nogil:
    """Whether a gauge's value is the last one. A time from the future was kept before the clock was set back."""
    return time_ns >= series.time_ns or series.time_ns > now_ns + SECOND


cdef inline uint64_t stage_value(Core *core, Step *step, uint64_t count, Slot *slot, Series *series,
                                 const Bounds *bounds, uint32_t kind, double value, uint64_t time_ns,
                                 uint64_t now_ns) noexcept nogil:
    """Stage one value for a series; returns how many pairs are staged then, NO_SPACE if the state must grow."""
    if kind == HISTOGRAM and not isnan(value):
        return stage_histogram(core, step, count, series, bounds, value, 1)
    if kind == COUNTER and 0 <= value <= DBL_MAX:
        return stage_total(core, step, count, series, value)
    if kind == GAUGE:
        if is_newer(series, time_ns, now_ns):
            stage(core, step, count, &series.value, bits_of(value))
            stage(core, step, count + 1, &series.time_ns, time_ns)
            return count + 2
        return count
    stage(core, step, count, &slot.invalid, slot.invalid + 1)
    return count + 1


cdef struct Found:            # what a record changes
    const Target *target
    Series *series
    uint64_t *bucket          # NULL: not as most records are, see apply_sample
    uint64_t *classic
    double value


cdef bint apply_sample(Core *core, Batch *batch, const Target *target, const shmtel_sample *sample) noexcept nogil:
    """One SAMPLE of any kind. False if the state must grow."""
    cdef Series *series = target.series
    cdef Step *step = next_step(core)
    cdef uint64_t count
    if series == NULL:  # its definition cannot be used
        stage(core, step, 0, &batch.slot.invalid, batch.slot.invalid + 1)
        seal(core, step, 1)
        apply_step(core, step)
        return True
    count = stage_value(core, step, 0, batch.slot, series, target.bounds, series.kind, ONCE_DOUBLE(sample.value),
                        epoch_ns(batch, sample.time), batch.now_ns)
    if count == NO_SPACE:
        return False
    commit(core, step, count, series)
    return True


cdef Outcome apply_samples(Core *core, Batch *batch, const Target *targets, uint64_t known) noexcept nogil:
    """Apply a batch of SAMPLEs, up to the first that needs something; batch.position then says how far it came.

    A pipeline, so that the memory of one record is fetched while others are worked on: 2 * AHEAD records before one is
    applied its series is fetched, AHEAD before it the counts that it raises are found and fetched.
    """
    cdef const shmtel_sample *records = <const shmtel_sample *>batch.records
    cdef uint64_t mask = batch.mask, first = batch.position, count = batch.count, done = 0, at
    cdef Found found[AHEAD]
    cdef Found *one
    cdef Outcome outcome = DONE
    cdef Series *series
    cdef const Target *target
    cdef uint32_t number, key
    cdef uint64_t serial = core.serial
    cdef unsigned char *base = core.base
    begin_run(core, batch.slot, first)
    for at in range(count + AHEAD):
        one = &found[at % AHEAD]
        if at >= AHEAD:
            if one.bucket != NULL and one.series.minimum <= one.value <= one.series.maximum:
                serial += 1
                apply_observation(base, serial, one.series, one.bucket, one.classic, one.value)
            else:
                core.serial = serial
                if not apply_sample(core, batch, one.target, &records[(first + done) & mask]):
                    outcome = NEED_SPACE
                    break
                serial = core.serial
            done += 1
            if done == count:
                break
        if at >= count:
            continue
        number = ONCE(records[(first + at + AHEAD) & mask].series)
        if number < known:
            PREFETCH(targets[number].series)
            PREFETCH(<const char *>targets[number].series + 64)
        number = ONCE(records[(first + at) & mask].series)
        if number >= known:
            count, outcome = at, NEED_SERIES
            if at == done:
                break
            continue
        target = targets + number
        series = target.series
        one.target, one.series, one.bucket = target, series, NULL
        one.value = ONCE_DOUBLE(records[(first + at) & mask].value)
        if series != NULL and series.kind == HISTOGRAM and is_plain(one.value):
            key = bucket_key(one.value)
            one.bucket = exponential_count(core, series, key)
            one.classic = classic_count(core, series, target.bounds, bounds_below(target.bounds, key), one.value)
            PREFETCH(one.bucket)
            PREFETCH(one.classic)
    core.serial = serial
    end_run(core, batch.slot, first + done)
    batch.count -= done
    batch.position = first + done
    return outcome


cdef void skip_sample(Core *core, Batch *batch) noexcept nogil:
    """Pass over a record that names no series, and count it. Not within a run."""
    cdef Step *step = next_step(core)
    batch.position += 1
    stage(core, step, 0, &batch.slot.position, batch.position)
    stage(core, step, 1, &batch.slot.kept_position, ~batch.position)
    stage(core, step, 2, &batch.slot.invalid, batch.slot.invalid + 1)
    seal(core, step, 3)
    apply_step(core, step)


cdef inline double field_value(const unsigned char *place, char kind, unsigned char size) noexcept nogil:
    """A number of any type; each size by itself, so that a copy is one instruction."""
    cdef double number
    cdef float single
    cdef uint64_t eight
    cdef uint32_t four
    cdef uint16_t two
    if size == 8:
        if kind == c"f":
            memcpy(&number, place, 8)
            return number
        memcpy(&eight, place, 8)
        return <double><int64_t>eight if kind == c"i" else <double>eight
    if size == 4:
        if kind == c"f":
            memcpy(&single, place, 4)
            return single
        memcpy(&four, place, 4)
        return <double><int32_t>four if kind == c"i" else <double>four
    if size == 2:
        memcpy(&two, place, 2)
        return <double><int16_t>two if kind == c"i" else <double>two
    return <double><int8_t>place[0] if kind == c"i" else <double>place[0]


cdef bint apply_record(Core *core, Batch *batch, const unsigned char *record, const Column *columns, uint64_t width,
                       Series **series, Fold **folds, uint64_t time_ns) noexcept nogil:
    """Apply one record of a schema, within a run: all its metrics in one step. False if the state must grow."""
    cdef Step *step = next_step(core)
    cdef uint64_t count = 0, at
    cdef double value, amount
    cdef double[MAX_WIDTH] steps  # of counters and totals, which come before the histograms that they weight
    for at in range(width):
        value = field_value(record + columns[at].offset, columns[at].kind, columns[at].size)
        value = value * columns[at].factor / columns[at].divisor
        steps[at] = value
        if series[at] == NULL:  # there was no memory for it
            steps[at] = 0
            stage(core, step, count, &batch.slot.invalid, batch.slot.invalid + 1)
            count += 1
        elif columns[at].role == TOTAL and 0 <= value <= DBL_MAX:
            # A total that fell has begun again from zero.
            steps[at] = amount = value - folds[at].amount if value >= folds[at].amount else value
            count = stage_total(core, step, count, series[at], amount)
            stage(core, step, count, &folds[at].steps, column_check(folds[at].key, value))
            stage(core, step, count + 1, &folds[at].amount, bits_of(value))
            count += 2
        elif columns[at].weight and 0 <= steps[columns[at].weight - 1] < 1:
            continue  # nothing was observed
        elif columns[at].weight and 1 <= steps[columns[at].weight - 1] < MOST_TIMES and not isnan(value):
            count = stage_histogram(core, step, count, series[at], columns[at].bounds, value,
                                    <uint64_t>steps[columns[at].weight - 1])
            if count == NO_SPACE:
                return False
        elif columns[at].weight:
            stage(core, step, count, &batch.slot.invalid, batch.slot.invalid + 1)
            count += 1
        else:
            count = stage_value(core, step, count, batch.slot, series[at], columns[at].bounds, columns[at].role, value,
                                time_ns, batch.now_ns)
            if count == NO_SPACE:
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
    cdef uint64_t count = stage_histogram(core, step, 0, series, bounds, value, 1)
    if count == NO_SPACE:
        return False
    commit(core, step, count, series)
    return True


# ---- cells → series: they hold absolute values, the Fold says what of them is in already ----

cdef void fold_counter(Core *core, Slot *slot, Series *series, Fold *fold, uint64_t steps,
                       double amount) noexcept nogil:
    cdef Step *step = next_step(core)
    cdef double more = amount - fold.amount
    cdef uint64_t count = 1
    if 0 <= more <= DBL_MAX:
        count = stage_total(core, step, 0, series, more)
    else:  # a producer's cell only grows
        stage(core, step, 0, &slot.invalid, slot.invalid + 1)
        amount = fold.amount
    commit(core, step, stage_fold(core, step, count, fold, steps, amount, fold.dropped), series)


cdef void fold_gauge(Core *core, Series *series, Fold *fold, uint64_t steps, double value, uint64_t time_ns,
                     uint64_t now_ns) noexcept nogil:
    cdef Step *step = next_step(core)
    cdef uint64_t count = stage_fold(core, step, 0, fold, steps, fold.amount, fold.dropped)
    if is_newer(series, time_ns, now_ns):
        stage(core, step, count, &series.value, bits_of(value))
        stage(core, step, count + 1, &series.time_ns, time_ns)
        count += 2
    commit(core, step, count, series)


cdef void fold_dropped(Core *core, Series *series, Fold *fold, uint64_t dropped) noexcept nogil:
    cdef Step *step = next_step(core)
    stage(core, step, 0, &series.dropped, series.dropped + (dropped - fold.dropped))
    commit(core, step, stage_fold(core, step, 1, fold, fold.steps, fold.amount, dropped), series)


cdef void fold_slot(Core *core, Slot *slot, Name *name) noexcept nogil:
    """The figures of an ended segment go into its producer's totals, all at once."""
    cdef Step *step = next_step(core)
    cdef uint64_t dropped = slot.dropped_full + slot.dropped_timeout + slot.dropped_no_ring
    # The figures of a segment that vanished are those of the last look; its position may have gone on.
    cdef int64_t claimed = <int64_t>(slot.claimed_position - slot.position)
    cdef uint64_t aborted = <uint64_t>claimed if claimed > 0 else 0
    cdef uint64_t attempted = slot.position + aborted - slot.start_position + slot.coalesced + slot.rejected + dropped
    cdef uint64_t consumed = slot.position - slot.start_position - slot.overwritten
    cdef Name after = name[0]
    after.attempted += attempted
    after.consumed += consumed
    after.coalesced += slot.coalesced
    after.dropped_full += slot.dropped_full
    after.dropped_timeout += slot.dropped_timeout
    after.dropped_no_ring += slot.dropped_no_ring
    after.rejected += slot.rejected
    after.overwritten += slot.overwritten
    after.aborted += aborted
    after.invalid += slot.invalid
    stage(core, step, 0, &name.attempted, after.attempted)
    stage(core, step, 1, &name.consumed, after.consumed)
    stage(core, step, 2, &name.coalesced, after.coalesced)
    stage(core, step, 3, &name.dropped_full, after.dropped_full)
    stage(core, step, 4, &name.dropped_timeout, after.dropped_timeout)
    stage(core, step, 5, &name.dropped_no_ring, after.dropped_no_ring)
    stage(core, step, 6, &name.rejected, after.rejected)
    stage(core, step, 7, &name.overwritten, after.overwritten)
    stage(core, step, 8, &name.aborted, after.aborted)
    stage(core, step, 9, &name.invalid, after.invalid)
    stage(core, step, 10, &name.check, name_check(&after))
    stage(core, step, 11, &slot.status, SLOT_ENDED)
    seal(core, step, 12)
    shmtel_mark_begin(&name.mark)
    apply_step(core, step)
    shmtel_mark_end(&name.mark, name.mark)
    seal(core, next_step(core), 0)  # the slot is free for another segment: this step must not be replayed any more
