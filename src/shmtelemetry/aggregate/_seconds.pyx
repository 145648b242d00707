"""What the series of a state gained in one second, and statistics of several such seconds.

The keeper takes a second while the loop goes on: of each series whose mark has moved it makes a consistent copy and
notes what was gained since the copy before. An observation that comes in the instant between a series' copy and the
taking of its maximum is counted in the next second, and its maximum belongs to the older one; none is lost.
"""

from libc.math cimport INFINITY, NAN, ceil, exp2
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset
from posix.time cimport nanosleep, timespec

from ._state cimport (
    GAUGE, HISTOGRAM, PAGE_BUCKETS, SERIES_CHUNK, SERIES_TABLE, SHMTEL_LOAD_ACQUIRE, Core, Series, bits_of, once,
    shmtel_mark_look, shmtel_mark_stood,
)
from ._store cimport Store

cdef extern from *:
    """
    #define EXCHANGE(place, value) __atomic_exchange_n((place), (value), __ATOMIC_ACQ_REL)
    """
    uint64_t EXCHANGE(uint64_t *place, uint64_t value) noexcept nogil

cdef enum:
    OCTAVES = 2048
    KEYS = OCTAVES * PAGE_BUCKETS
    ZEROS = KEYS - 32        # keys of octave 2047, in which no plain value lies, see windows.py
    SPECIALS = 4             # zeros, negatives, infinities, dropped
    DROPPED = ZEROS + 3
    SPINS = 1000             # attempts before the first nap
    ATTEMPTS = 1200
    NAP_NS = 50000
    MAX_SECONDS = 64

cdef enum Taken:
    STEADY = 0               # nothing more to do
    RESTLESS = 1             # it kept changing: its gain is the next second's
    NO_MEMORY = 2

cdef struct Row:             # of a second: one series that gained something
    uint32_t series
    uint32_t end             # of its buckets; they begin where those of the row before end
    double amount            # of a counter, or the sum of a histogram's observations
    double maximum           # of a histogram's observations; -infinity for none

cdef struct Known:           # of one series, when its last second was taken
    uint64_t created_ns
    double value
    uint64_t specials[SPECIALS]
    uint32_t *counts         # of exponential buckets, modulo 2**32
    uint32_t first           # octave of the first of them
    uint32_t octaves

cdef struct Copied:          # one series, consistent in itself; its counts are in Seconds.scratch
    Series series
    uint32_t first
    uint32_t octaves


cdef class Seconds:
    """Takes the gains of all series of a state, second by second; the first begins now."""

    cdef Store store
    cdef Core *core
    cdef uint64_t length         # of the two arrays: series that are known
    cdef uint64_t *marks
    cdef Known *known
    cdef uint64_t *scratch
    cdef Row *rows
    cdef uint64_t row_count, row_room
    cdef uint32_t *counts
    cdef uint16_t *keys
    cdef uint64_t bucket_count, bucket_room

    def __cinit__(self, Store store):
        self.store, self.core = store, &store.core
        self.scratch = <uint64_t *>calloc(KEYS, 8)
        if self.scratch == NULL:
            raise MemoryError()
        self.take()

    def __dealloc__(self):
        cdef uint64_t at
        for at in range(self.length):
            free(self.known[at].counts)
        free(self.known)
        free(self.marks)
        free(self.scratch)
        free(self.rows)
        free(self.counts)
        free(self.keys)

    def take(self):
        """Note what every series gained since the last time; `rows`, `counts` and `keys` are that until the next time.

        By one thread at a time. Raises MemoryError; what is not noted then is noted the next time.
        """
        cdef Taken taken
        with nogil:
            taken = self.take_all()
        if taken == NO_MEMORY:
            raise MemoryError("no room for what series gained in a second")

    @property
    def row_bytes(self) -> int:
        return self.row_count * sizeof(Row)

    @property
    def buckets(self) -> int:
        return self.bucket_count

    def parts(self) -> list[memoryview]:
        """The rows, the counts and the keys of the second, as bytes; those of them that are not empty."""
        found = []
        if self.row_count:
            found.append(memoryview(<unsigned char[:self.row_count * sizeof(Row)]><unsigned char *>self.rows))
        if self.bucket_count:
            found.append(memoryview(<unsigned char[:self.bucket_count * 4]><unsigned char *>self.counts))
            found.append(memoryview(<unsigned char[:self.bucket_count * 2]><unsigned char *>self.keys))
        return found

    cdef Taken take_all(self) noexcept nogil:
        cdef uint64_t count = once(SHMTEL_LOAD_ACQUIRE(&self.core.header.series)), number
        cdef uint64_t *chunks = <uint64_t *>(self.core.base + SERIES_TABLE)
        cdef Series *series
        self.row_count = self.bucket_count = 0
        if count > self.length and not self.know(count):
            return NO_MEMORY
        for number in range(count):
            series = <Series *>(self.core.base + chunks[number // SERIES_CHUNK]) + number % SERIES_CHUNK
            if shmtel_mark_look(&series.mark) != self.marks[number] and series.kind != GAUGE:
                if self.take_one(number, series) == NO_MEMORY:
                    return NO_MEMORY
        return STEADY

    cdef Taken take_one(self, uint64_t number, Series *series) noexcept nogil:
        cdef Copied copied
        cdef timespec nap
        cdef int attempt
        nap.tv_sec, nap.tv_nsec = 0, NAP_NS
        for attempt in range(ATTEMPTS):
            if attempt >= SPINS:
                nanosleep(&nap, NULL)
            if self.copy(series, &copied):
                break
        else:
            return RESTLESS
        if copied.series.retired:  # it may be cleared just now
            self.marks[number] = copied.series.mark
            return STEADY
        if not self.has_room(number, &copied):
            return NO_MEMORY
        self.note(number, series, &copied)
        return STEADY

    cdef bint copy(self, const Series *live, Copied *copied) noexcept nogil:
        """False if the series changed meanwhile."""
        cdef const Series *copy = &copied.series
        cdef const uint32_t *pages
        cdef uint64_t length, entry, first
        cdef uint64_t mark = shmtel_mark_look(&live.mark)
        if mark & 1:
            return False
        memcpy(&copied.series, live, sizeof(Series))
        copied.first = copied.octaves = 0
        if copy.kind == HISTOGRAM:
            pages = <const uint32_t *>(self.core.base + (copy.directory & 0xffffffffULL) * 64)
            first, length = (copy.directory >> 32) & 0xffff, copy.directory >> 48
            for entry in range(min(length, OCTAVES - first)):
                if pages[entry]:
                    if copied.octaves == 0:
                        copied.first = first + entry
                    while copied.first + copied.octaves < first + entry:
                        memset(self.scratch + copied.octaves * PAGE_BUCKETS, 0, PAGE_BUCKETS * 8)
                        copied.octaves += 1
                    memcpy(self.scratch + copied.octaves * PAGE_BUCKETS,
                           self.core.base + <uint64_t>pages[entry] * 64, PAGE_BUCKETS * 8)
                    copied.octaves += 1
        return shmtel_mark_stood(&live.mark, mark)

    cdef void note(self, uint64_t number, Series *series, const Copied *copied) noexcept nogil:
        """A row of what a series gained, if it did."""
        cdef Known *known = &self.known[number]
        cdef const uint64_t *special = &copied.series.zeros
        cdef Row *row = &self.rows[self.row_count]
        cdef uint64_t before = self.bucket_count, at, offset = 0
        cdef uint32_t gain
        if known.created_ns != copied.series.created_ns:  # it was removed, and has begun anew
            known.value = 0
            memset(known.specials, 0, sizeof(known.specials))
            if known.octaves:
                memset(known.counts, 0, <size_t>known.octaves * PAGE_BUCKETS * 4)
            known.created_ns = copied.series.created_ns
        if copied.octaves:
            offset = (copied.first - known.first) * PAGE_BUCKETS
        for at in range(copied.octaves * PAGE_BUCKETS):
            gain = <uint32_t>self.scratch[at] - known.counts[offset + at]
            if gain:
                self.add_bucket(copied.first * PAGE_BUCKETS + at, gain)
                known.counts[offset + at] = <uint32_t>self.scratch[at]
        for at in range(SPECIALS):
            if known.specials[at] != special[at]:
                self.add_bucket(ZEROS + at, special[at] - known.specials[at])
                known.specials[at] = special[at]
        row.series, row.amount, row.maximum = number, copied.series.value - known.value, -INFINITY
        if copied.series.kind == HISTOGRAM:
            row.maximum = take_maximum(series)
        row.end = self.bucket_count
        if row.amount != 0 or self.bucket_count != before:
            self.row_count += 1
        known.value = copied.series.value
        self.marks[number] = copied.series.mark

    cdef inline void add_bucket(self, uint64_t key, uint64_t gain) noexcept nogil:
        self.keys[self.bucket_count], self.counts[self.bucket_count] = key, gain
        self.bucket_count += 1

    # ---- memory ----

    cdef bint know(self, uint64_t count) noexcept nogil:
        cdef uint64_t length = max(count, self.length * 2)
        cdef uint64_t *marks = <uint64_t *>realloc(self.marks, length * 8)
        cdef Known *known
        if marks == NULL:
            return False
        self.marks = marks
        known = <Known *>realloc(self.known, length * sizeof(Known))
        if known == NULL:
            return False
        self.known = known
        memset(marks + self.length, 0, (length - self.length) * 8)
        memset(known + self.length, 0, (length - self.length) * sizeof(Known))
        self.length = length
        return True

    cdef bint has_room(self, uint64_t number, const Copied *copied) noexcept nogil:
        """Make room for what may come of one series: a row, its buckets, and what it had before."""
        cdef Known *known = &self.known[number]
        cdef uint32_t first = copied.first, last = copied.first + copied.octaves
        cdef uint32_t *counts
        cdef void *more
        cdef uint64_t room
        if self.row_count == self.row_room:
            room = max(1024, self.row_room * 2)
            more = realloc(self.rows, room * sizeof(Row))
            if more == NULL:
                return False
            self.rows, self.row_room = <Row *>more, room
        if self.bucket_count + copied.octaves * PAGE_BUCKETS + SPECIALS > self.bucket_room:
            room = self.bucket_room * 2 + copied.octaves * PAGE_BUCKETS + 4096
            more = realloc(self.counts, room * 4)
            if more == NULL:
                return False
            self.counts = <uint32_t *>more
            more = realloc(self.keys, room * 2)
            if more == NULL:
                return False
            self.keys, self.bucket_room = <uint16_t *>more, room
        if copied.octaves == 0 or (known.octaves and known.first <= first and last <= known.first + known.octaves):
            return True
        if known.octaves:
            first, last = min(first, known.first), max(last, known.first + known.octaves)
        counts = <uint32_t *>calloc((last - first) * PAGE_BUCKETS, 4)
        if counts == NULL:
            return False
        if known.octaves:
            memcpy(counts + (known.first - first) * PAGE_BUCKETS, known.counts, known.octaves * PAGE_BUCKETS * 4)
        free(known.counts)
        known.counts, known.first, known.octaves = counts, first, last - first
        return True


cdef inline double take_maximum(Series *series) noexcept nogil:
    """The largest observation since the last time."""
    cdef uint64_t bits = EXCHANGE(&series.time_ns, bits_of(-INFINITY))
    cdef double maximum
    memcpy(&maximum, &bits, 8)
    return maximum


# ---- statistics of several seconds ----

cdef struct Second:
    const Row *rows
    uint64_t row_count
    const uint32_t *counts
    const uint16_t *keys
    uint64_t cursor          # the first row that was not looked at

cdef struct Sum:             # of one series over the seconds of a window
    double amount
    double maximum
    uint64_t *counts         # of buckets, by key
    uint64_t low             # the least and the largest key of them
    uint64_t high
    uint64_t specials[SPECIALS]


cdef void add_second(Sum *sum, Second *second, uint32_t series) noexcept nogil:
    """Add what the series gained, if it did; series are asked for in ascending order."""
    cdef const Row *row = second.rows + second.cursor
    cdef uint64_t at, begin, key
    if second.cursor == second.row_count or row.series != series:
        return
    begin = (row - 1).end if second.cursor else 0
    second.cursor += 1
    sum.amount += row.amount
    sum.maximum = max(sum.maximum, row.maximum)
    for at in range(begin, row.end):
        key = second.keys[at]
        if key < ZEROS:
            sum.counts[key] += second.counts[at]
            sum.low, sum.high = min(sum.low, key), max(sum.high, key)
        elif key < ZEROS + SPECIALS:
            sum.specials[key - ZEROS] += second.counts[at]


cdef uint64_t observed(const Sum *sum) noexcept nogil:
    cdef uint64_t count = sum.specials[0] + sum.specials[1] + sum.specials[2], key
    for key in range(sum.low, sum.high + 1):
        count += sum.counts[key]
    return count


cdef void write_quantiles(const Sum *sum, uint64_t count, const double[::1] wanted, double *to) noexcept nogil:
    """As HistogramValue.quantile; wanted: ascending."""
    cdef Py_ssize_t at
    cdef uint64_t below = sum.specials[1], key = sum.low, rank
    cdef bint zeros = False
    for at in range(wanted.shape[0]):
        rank = max(1, <uint64_t>ceil(wanted[at] * <double>count))
        if count == 0 or rank <= sum.specials[1]:
            to[at] = NAN
            continue
        if not zeros:
            below, zeros = below + sum.specials[0], True
        if rank <= sum.specials[1] + sum.specials[0]:
            to[at] = 0
            continue
        while below < rank and key <= sum.high:
            below += sum.counts[key]
            key += 1
        to[at] = INFINITY
        if below >= rank:
            # The middle of the bucket before `key` in logarithm, as HistogramValue.quantile has it.
            to[at] = exp2((<double>key - 0.5 - 1023 * PAGE_BUCKETS) / PAGE_BUCKETS)
            if sum.maximum > -INFINITY:
                to[at] = min(to[at], sum.maximum)


cdef int lay_out(Second *found, const unsigned char[::1] stored, list seconds) except -1:
    """As summarise has them."""
    cdef Py_ssize_t at
    if len(seconds) > MAX_SECONDS:
        raise ValueError(f"{len(seconds)} seconds: expected at most {MAX_SECONDS}")
    for at, (rows, counted, keys, row_count) in enumerate(seconds):
        found[at].rows, found[at].row_count = <const Row *>(&stored[0] + <size_t>rows), row_count
        found[at].counts = <const uint32_t *>(&stored[0] + <size_t>counted)
        found[at].keys = <const uint16_t *>(&stored[0] + <size_t>keys)
        found[at].cursor = 0
    return 0


def summarise(const unsigned char[::1] stored, list seconds, const uint64_t[::1] ends, const uint32_t[::1] series,
              const double[::1] wanted, double[:, ::1] amounts, uint64_t[:, ::1] counts, uint64_t[:, ::1] dropped,
              double[:, ::1] maxima, double[:, :, ::1] quantiles):
    """Statistics of each series over each window, which is the newest `ends[w]` seconds.

    seconds: of each, newest first, offsets in `stored` of its rows, counts and keys, and the count of rows; checked.
    series: numbers, ascending, all that have rows. wanted: quantiles, ascending. The rest is what is written: (series,
    window), and of the quantiles (series, window, quantile).
    """
    cdef Second found[MAX_SECONDS]
    cdef Py_ssize_t at, window
    cdef uint64_t second
    cdef Sum sum
    if any(end > len(seconds) for end in ends):
        raise ValueError(f"windows longer than the {len(seconds)} seconds that there are")
    lay_out(found, stored, seconds)
    sum.counts = <uint64_t *>calloc(KEYS, 8)
    if sum.counts == NULL:
        raise MemoryError()
    with nogil:
        for at in range(series.shape[0]):
            sum.amount, sum.maximum, sum.low, sum.high = 0, -INFINITY, KEYS, 0
            memset(sum.specials, 0, sizeof(sum.specials))
            second = 0
            for window in range(ends.shape[0]):
                while second < ends[window]:
                    add_second(&sum, &found[second], series[at])
                    second += 1
                amounts[at, window], maxima[at, window] = sum.amount, sum.maximum
                counts[at, window], dropped[at, window] = observed(&sum), sum.specials[SPECIALS - 1]
                write_quantiles(&sum, counts[at, window], wanted, &quantiles[at, window, 0])
            if sum.low <= sum.high:
                memset(sum.counts + sum.low, 0, (sum.high - sum.low + 1) * 8)
    free(sum.counts)


cdef void seek(Second *second, uint32_t series) noexcept nogil:
    """Let the cursor be at the series' row, or at the first of a later one."""
    cdef uint64_t low = 0, high = second.row_count, middle
    while low < high:
        middle = (low + high) // 2
        if second.rows[middle].series < series:
            low = middle + 1
        else:
            high = middle
    second.cursor = low


def add_up(const unsigned char[::1] stored, list seconds, const uint32_t[::1] series,
           uint64_t[::1] counts) -> tuple[float, float, int, int]:
    """Amount and maximum of several series over all of the seconds, and from which key to which they have buckets.

    stored, seconds: as summarise has them. counts: by key; what was counted is added, that without a bucket included.
    """
    cdef Second found[MAX_SECONDS]
    cdef Py_ssize_t at, one, length = len(seconds)
    cdef uint64_t special, first = 0, end = 0
    cdef Sum sum
    if counts.shape[0] != KEYS:
        raise ValueError(f"{counts.shape[0]} counts: expected {KEYS}")
    lay_out(found, stored, seconds)
    sum.amount, sum.maximum, sum.counts, sum.low, sum.high = 0, -INFINITY, &counts[0], KEYS, 0
    memset(sum.specials, 0, sizeof(sum.specials))
    with nogil:
        for at in range(length):
            for one in range(series.shape[0]):
                seek(&found[at], series[one])
                add_second(&sum, &found[at], series[one])
        for special in range(SPECIALS):
            counts[ZEROS + special] += sum.specials[special]
    if sum.low <= sum.high:
        first, end = sum.low, sum.high + 1
    return sum.amount, sum.maximum, first, end


def row_size() -> int:
    """Of the structure, for the test that compares it with windows.py."""
    return sizeof(Row)
