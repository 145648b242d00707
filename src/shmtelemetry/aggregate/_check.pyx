"""Whether a histogram's two ways of counting, its sum and its extremes tell of the same observations."""

from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, ldexp
from libc.stdint cimport uint32_t, uint64_t

from ._state cimport PAGE_BUCKETS, Series

cdef enum:
    BIAS = 1023  # of a double's exponent

cdef struct Seen:        # of the exponential counts
    uint64_t count
    uint32_t lowest      # keys of the extreme buckets that are not empty
    uint32_t highest
    double least         # what their sum can be
    double most

cdef struct Looked:      # at the classic counts
    uint64_t count
    bint apart           # whether some of them cannot be with these exponential counts


cdef Seen look_at_pages(const unsigned char *base, const Series *series) noexcept nogil:
    cdef const uint32_t *pages = <const uint32_t *>(base + (series.directory & 0xffffffffULL) * 64)
    cdef uint32_t first = (series.directory >> 32) & 0xffff, length = series.directory >> 48, octave, bucket
    cdef const uint64_t *counts
    cdef uint64_t before
    cdef Seen seen = [0, 0, 0, 0.0, 0.0]
    for octave in range(length):
        if pages[octave] == 0:
            continue
        counts, before = <const uint64_t *>(base + <uint64_t>pages[octave] * 64), seen.count
        for bucket in range(PAGE_BUCKETS):
            if counts[bucket]:
                seen.highest = (first + octave) * PAGE_BUCKETS + bucket
                seen.lowest = seen.highest if seen.count == 0 else seen.lowest
                seen.count += counts[bucket]
        seen.least += <double>(seen.count - before) * ldexp(1.0, <int>(first + octave) - BIAS)
    seen.most = 2.0 * seen.least
    return seen


cdef uint64_t count_below(const unsigned char *base, const Series *series, uint32_t key) noexcept nogil:
    """Exponential counts of the buckets before `key`."""
    cdef const uint32_t *pages = <const uint32_t *>(base + (series.directory & 0xffffffffULL) * 64)
    cdef uint32_t first = (series.directory >> 32) & 0xffff, length = series.directory >> 48, octave, bucket
    cdef const uint64_t *counts
    cdef uint64_t found = 0
    for octave in range(length):
        if pages[octave] == 0 or (first + octave) * PAGE_BUCKETS >= key:
            continue
        counts = <const uint64_t *>(base + <uint64_t>pages[octave] * 64)
        for bucket in range(min(PAGE_BUCKETS, key - (first + octave) * PAGE_BUCKETS)):
            found += counts[bucket]
    return found


cdef Looked look_at_classic(const unsigned char *base, const Series *series, const uint32_t *keys,
                            uint64_t bounds) noexcept nogil:
    """keys: of the bucket that each bound is in, 0 for a bound that is in none."""
    cdef const uint64_t *classic = <const uint64_t *>(base + series.classic)
    cdef uint64_t at, others = series.zeros + series.negatives
    cdef Looked looked = [0, False]
    for at in range(bounds):
        looked.count += classic[at]
        if keys[at] and not (others + count_below(base, series, keys[at]) <= looked.count
                             <= others + count_below(base, series, keys[at] + 1)):
            looked.apart = True
    looked.count += classic[bounds]
    return looked


cdef bint has_extremes(const Series *series, const Seen *seen, uint32_t lowest, uint32_t highest) noexcept nogil:
    """Whether the extremes, of which two are keys as well, are where the outermost counts are."""
    if series.negatives:
        if not series.minimum <= -DBL_MIN:
            return False
    elif series.zeros:
        if not -DBL_MIN < series.minimum < DBL_MIN:
            return False
    elif lowest != seen.lowest if seen.count else series.minimum != INFINITY:
        return False
    if series.infinities:
        return series.maximum == INFINITY
    if seen.count:
        return highest == seen.highest
    if series.zeros:
        return -DBL_MIN < series.maximum < DBL_MIN
    return series.maximum <= -DBL_MIN if series.negatives else series.maximum == -INFINITY


cdef bint has_sum(const Series *series, const Seen *seen) noexcept nogil:
    cdef double slack = 1e-6 + <double>seen.count * 2.3e-16  # of adding one after the other
    cdef double tiny = <double>series.zeros * DBL_MIN
    if series.negatives or series.infinities:
        return True  # any will do
    return seen.least * (1 - slack) - tiny <= series.value <= seen.most * (1 + slack) + tiny


cdef int judge(const unsigned char *base, const Series *series, const uint32_t *keys, uint64_t bounds,
               uint32_t lowest, uint32_t highest) noexcept nogil:
    """An index of REASONS."""
    cdef Seen seen = look_at_pages(base, series)
    cdef Looked looked = look_at_classic(base, series, keys, bounds)
    if looked.count != seen.count + series.zeros + series.negatives + series.infinities:
        return 1
    if looked.apart:
        return 2
    if not has_extremes(series, &seen, lowest, highest):
        return 3
    return 0 if has_sum(series, &seen) else 4


REASONS = ("", "its classic and its exponential buckets count differently", "its buckets do not fit its bounds",
           "its extremes are not in its buckets", "its sum is not of its buckets")


def find_damaged(const unsigned char[::1] state, const uint64_t[::1] histograms, const uint32_t[::1] keys,
                 const uint64_t[::1] first_key, const uint64_t[::1] bounds, const uint32_t[::1] lowest,
                 const uint32_t[::1] highest) -> tuple[int, str]:
    """(index, why) of the first histogram that is not what was counted; (-1, "") if there is none.

    Shapes: keys (sum of the metrics' bounds,), all others (n,), of n histograms: offset of its Series, where its bounds
    begin in `keys`, how many there are, and the keys of its minimum and maximum. A key is bucket_keys'.
    """
    cdef Py_ssize_t at
    cdef int why = 0
    cdef const uint32_t *its = NULL
    with nogil:
        for at in range(histograms.shape[0]):
            its = &keys[0] + first_key[at] if keys.shape[0] else NULL
            why = judge(&state[0], <const Series *>(&state[0] + histograms[at]), its, bounds[at], lowest[at],
                        highest[at])
            if why:
                break
    return (at, REASONS[why]) if why else (-1, "")
