"""Messages `Metric` of io.prometheus.client, as they follow each other in a `MetricFamily`.

Fields: https://github.com/prometheus/client_model/blob/v0.6.2/io/prometheus/client/metrics.proto, wire format:
https://protobuf.dev/programming-guides/encoding/. A message has its length before it, so everything is written from the
end of its room to the beginning: the length is known by then, and nothing is measured before or moved afterwards.
That is why the last field of a message stands first in its function.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport INFINITY, floor
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #define BIT_LENGTH(value) (64 - __builtin_clzll(value))
    """
    int BIT_LENGTH(uint64_t value) noexcept nogil

cdef enum Wire:
    VARINT = 0
    DOUBLE = 1
    LENGTH = 2

cdef enum:
    SCHEMA = 5             # buckets grow by 2**(1/32)
    OVERFLOW_INDEX = 32769  # bucket 32768 ends at the largest double; infinity is in the next one
    SECOND = 1000000000

# Bytes at most: of a number with its tag, of a message's tag and length, and of what else stands in a message.
cdef enum:
    NUMBER_ROOM = 11
    HEAD_ROOM = 12
    TIME_ROOM = HEAD_ROOM + 2 * NUMBER_ROOM
    METRIC_ROOM = 4 * HEAD_ROOM + 2 * NUMBER_ROOM + TIME_ROOM
    NATIVE_ROOM = 8 * HEAD_ROOM + 10 * NUMBER_ROOM  # without the buckets
    BUCKET_ROOM = HEAD_ROOM + 2 * NUMBER_ROOM       # classic, or a native count and its span
    EXEMPLAR_ROOM = HEAD_ROOM + NUMBER_ROOM + TIME_ROOM

cdef double LAST_SECOND = 253402300800.0     # a Timestamp ends with the year 9999
cdef double ZERO_THRESHOLD = 2.225073858507201e-308  # the largest subnormal: what the aggregates count as zeros

ctypedef unsigned char *Place

cdef struct Texts:
    const unsigned char *at
    const uint64_t *begin  # one more than there are

cdef struct Exemplars:  # of a family, in order of (series, bucket)
    const int32_t *series
    const int32_t *bucket
    const double *value
    const int64_t *time_ns
    Texts labels

cdef struct Classic:  # of one series
    Py_ssize_t buckets
    const uint64_t *counts  # of each bucket alone
    const double *bounds    # one fewer
    uint64_t total

cdef struct Native:  # of one series
    Py_ssize_t buckets
    const int32_t *indices
    const uint64_t *counts
    uint64_t zeros, negatives, infinities


# ---- the wire ----

cdef inline Place put_varint(Place at, uint64_t value) noexcept nogil:
    cdef int length = (BIT_LENGTH(value | 1) + 6) // 7, byte
    at -= length
    for byte in range(length - 1):
        at[byte] = <unsigned char>(value | 0x80)
        value >>= 7
    at[length - 1] = <unsigned char>value
    return at


cdef inline Place put_tag(Place at, int field, Wire wire) noexcept nogil:
    return put_varint(at, <uint64_t>(field << 3 | wire))


cdef inline Place put_number(Place at, int field, uint64_t value) noexcept nogil:
    return put_tag(put_varint(at, value), field, VARINT)


cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return <uint64_t>value << 1 ^ <uint64_t>(value >> 63)


cdef inline Place put_double(Place at, int field, double value) noexcept nogil:
    memcpy(at - 8, &value, 8)
    return put_tag(at - 8, field, DOUBLE)


cdef inline Place put_head(Place at, int field, const unsigned char *end) noexcept nogil:
    """Tag and length of what lies between `at` and `end`."""
    return put_tag(put_varint(at, <uint64_t>(end - at)), field, LENGTH)


cdef inline Place put_text(Place at, const Texts *texts, Py_ssize_t number) noexcept nogil:
    cdef uint64_t length = texts.begin[number + 1] - texts.begin[number]
    memcpy(at - length, texts.at + texts.begin[number], length)
    return at - length


# ---- messages ----

cdef inline Place put_time(Place at, int field, int64_t seconds, int32_t nanoseconds) noexcept nogil:
    cdef Place end = at
    at = put_number(at, 2, nanoseconds)
    at = put_number(at, 1, seconds)
    return put_head(at, field, end)


cdef inline Place put_created(Place at, int field, double created) noexcept nogil:
    """Nothing where it is unknown."""
    cdef double seconds = floor(created)
    if not 0 < created < LAST_SECOND:
        return at
    return put_time(at, field, <int64_t>seconds, <int32_t>((created - seconds) * SECOND))


cdef Place put_exemplar(Place at, int field, const Exemplars *exemplars, Py_ssize_t number) noexcept nogil:
    cdef Place end = at
    cdef int64_t time_ns = exemplars.time_ns[number]
    at = put_time(at, 3, time_ns // SECOND, <int32_t>(time_ns % SECOND))
    at = put_double(at, 2, exemplars.value[number])
    at = put_text(at, &exemplars.labels, number)
    return put_head(at, field, end)


cdef Place put_classic(Place at, const Classic *classic, const Exemplars *exemplars, Py_ssize_t first,
                       Py_ssize_t last) noexcept nogil:
    """The classic buckets; exemplars from `first` to before `last` are theirs."""
    cdef Py_ssize_t bucket
    cdef uint64_t cumulative = classic.total
    cdef Place end
    for bucket in range(classic.buckets - 1, -1, -1):
        end = at
        if last > first and exemplars.bucket[last - 1] == bucket:
            last -= 1
            at = put_exemplar(at, 3, exemplars, last)
        at = put_double(at, 2, classic.bounds[bucket] if bucket < classic.buckets - 1 else INFINITY)
        at = put_number(at, 1, cumulative)
        at = put_head(at, 3, end)
        cumulative -= classic.counts[bucket]
    return at


cdef inline Place put_span(Place at, int field, int32_t offset, uint64_t length) noexcept nogil:
    cdef Place end = at
    at = put_number(at, 2, length)
    at = put_number(at, 1, zigzag(offset))
    return put_head(at, field, end)


cdef inline int32_t index_at(const Native *native, Py_ssize_t bucket) noexcept nogil:
    return native.indices[bucket] if bucket < native.buckets else <int32_t>OVERFLOW_INDEX


cdef inline uint64_t count_at(const Native *native, Py_ssize_t bucket) noexcept nogil:
    return native.counts[bucket] if bucket < native.buckets else native.infinities


cdef Place put_positive(Place at, const Native *native) noexcept nogil:
    """Counts as differences to the one before, and spans of neighbours: each with the gap that is before it."""
    cdef Py_ssize_t buckets = native.buckets + (native.infinities > 0), bucket, last
    cdef Place end = at
    if not buckets:
        return at
    for bucket in range(buckets - 1, 0, -1):
        at = put_varint(at, zigzag(<int64_t>(count_at(native, bucket) - count_at(native, bucket - 1))))
    at = put_varint(at, zigzag(<int64_t>count_at(native, 0)))
    at = put_head(at, 13, end)
    last = buckets - 1
    for bucket in range(buckets - 1, 0, -1):
        if index_at(native, bucket - 1) != index_at(native, bucket) - 1:
            at = put_span(at, 12, index_at(native, bucket) - index_at(native, bucket - 1) - 1, last - bucket + 1)
            last = bucket - 1
    return put_span(at, 12, index_at(native, 0), last + 1)


cdef Place put_negative(Place at, uint64_t count) noexcept nogil:
    """All in the bucket below the lowest double: how far below zero they were is not known, and no bucket is wider."""
    cdef Place end = at
    if not count:
        return at
    at = put_head(put_varint(at, zigzag(<int64_t>count)), 10, end)
    return put_span(at, 9, OVERFLOW_INDEX, 1)


cdef Place put_histogram(Place at, const Classic *classic, const Native *native, double total, double created,
                         const Exemplars *exemplars, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t exemplar
    for exemplar in range(last - 1, first - 1, -1):
        at = put_exemplar(at, 16, exemplars, exemplar)
    at = put_created(at, 15, created)
    at = put_positive(at, native)
    at = put_negative(at, native.negatives)
    at = put_number(at, 7, native.zeros)
    at = put_double(at, 6, ZERO_THRESHOLD)
    at = put_number(at, 5, zigzag(SCHEMA))
    at = put_classic(at, classic, exemplars, first, last)
    at = put_double(at, 2, total)
    return put_number(at, 1, classic.total)


# ---- families ----

cdef class Room:
    """Memory that is filled from its end."""

    cdef Place begin
    cdef Place end

    def __cinit__(self, size_t size):
        self.begin = <Place>malloc(size or 1)
        if self.begin == NULL:
            raise MemoryError(f"no room for {size} bytes of protobuf messages")
        self.end = self.begin + size

    def __dealloc__(self):
        free(self.begin)

    cdef bytes filled(self, Place at):
        return PyBytes_FromStringAndSize(<char *>at, self.end - at)


cdef class Joined:
    """Many encoded texts, one after another: of each series, or of each exemplar, its labels."""

    cdef bytes text
    cdef const uint64_t[::1] begin
    cdef Texts texts
    cdef Py_ssize_t length

    def __init__(self, bytes text, const uint64_t[::1] begin):
        """begin: where each begins in `text`, and at last the length of all."""
        if begin[begin.shape[0] - 1] != <uint64_t>len(text):
            raise ValueError("the texts do not end where they shall")
        self.text, self.begin, self.length = text, begin, begin.shape[0] - 1
        self.texts.at, self.texts.begin = <const unsigned char *><char *>text, &begin[0]


cdef class FamilyExemplars:
    """The exemplars of one family, in order of (series, bucket). One entry of each array for each."""

    cdef const int32_t[::1] series, bucket
    cdef const double[::1] values
    cdef const int64_t[::1] times
    cdef Joined labels
    cdef Exemplars all
    cdef Py_ssize_t length

    def __init__(self, const int32_t[::1] series, const int32_t[::1] bucket, const double[::1] values,
                 const int64_t[::1] times, Joined labels):
        self.series, self.bucket, self.values, self.times, self.labels = series, bucket, values, times, labels
        self.length = labels.length
        if not self.length == series.shape[0] == bucket.shape[0] == values.shape[0] == times.shape[0]:
            raise ValueError("the arrays of exemplars differ in length")
        if self.length:
            self.all.series, self.all.bucket = &series[0], &bucket[0]
            self.all.value, self.all.time_ns = &values[0], &times[0]
            self.all.labels = labels.texts

    cdef size_t room(self):
        return self.length * <size_t>EXEMPLAR_ROOM + len(self.labels.text)

    cdef Py_ssize_t before(self, Py_ssize_t series, Py_ssize_t last) noexcept nogil:
        """Where the exemplars of a series begin, that end before `last`."""
        while last > 0 and self.all.series[last - 1] >= series:
            last -= 1
        return last


def gauges(Joined labels, const double[:] values) -> bytes:
    """One value of each series."""
    cdef Py_ssize_t series
    cdef Place at, end, inner
    cdef Room room
    if values.shape[0] != labels.length:
        raise ValueError(f"{labels.length} series, {values.shape[0]} values")
    room = Room(len(labels.text) + labels.length * <size_t>METRIC_ROOM)
    at = room.end
    with nogil:
        for series in range(labels.length - 1, -1, -1):
            end = inner = at
            at = put_head(put_double(at, 1, values[series]), 2, inner)
            at = put_head(put_text(at, &labels.texts, series), 4, end)
    return room.filled(at)


def counters(Joined labels, const double[:] values, const double[:] created, FamilyExemplars exemplars) -> bytes:
    """One total of each series, and when it began: seconds since the epoch, 0 where that is unknown."""
    cdef Py_ssize_t series, last = exemplars.length, first
    cdef Place at, end, inner
    cdef Room room
    if not values.shape[0] == created.shape[0] == labels.length:
        raise ValueError(f"{labels.length} series, {values.shape[0]} values, {created.shape[0]} creations")
    room = Room(len(labels.text) + labels.length * <size_t>METRIC_ROOM + exemplars.room())
    at = room.end
    with nogil:
        for series in range(labels.length - 1, -1, -1):
            end = inner = at
            at = put_created(at, 3, created[series])
            first = exemplars.before(series, last)
            if first < last:
                at = put_exemplar(at, 2, &exemplars.all, first)
            last = first
            at = put_head(put_double(at, 1, values[series]), 3, inner)
            at = put_head(put_text(at, &labels.texts, series), 4, end)
    return room.filled(at)


def histograms(
    Joined labels, const double[:] sums, const double[:] created, const uint64_t[:, ::1] counts,
    const double[::1] bounds, const int64_t[::1] begin, const int32_t[::1] indices, const uint64_t[::1] exponential,
    const uint64_t[:] zeros, const uint64_t[:] negatives, const uint64_t[:] infinities, FamilyExemplars exemplars,
) -> bytes:
    """Of each series the classic buckets and a native histogram.

    counts: as in Family. bounds: all but infinity. begin, indices, exponential, zeros, negatives, infinities: as in
    Distributions. Raises ValueError where they do not belong to each other.
    """
    cdef Py_ssize_t series, bucket, last = exemplars.length, first, length = labels.length
    cdef Place at, end, inner
    cdef Classic classic
    cdef Native native
    cdef Room room
    if not length == sums.shape[0] == created.shape[0] == counts.shape[0] == begin.shape[0] - 1:
        raise ValueError(f"{length} series, {sums.shape[0]} sums, {counts.shape[0]} rows of counts")
    if not length == zeros.shape[0] == negatives.shape[0] == infinities.shape[0]:
        raise ValueError(f"{length} series, {zeros.shape[0]} distributions")
    if not length:
        return b""
    if counts.shape[1] != bounds.shape[0] + 1 or not indices.shape[0] == exponential.shape[0] == begin[length]:
        raise ValueError(f"{bounds.shape[0]} bounds, {counts.shape[1]} counts; {begin[length]} exponential buckets")
    room = Room(
        len(labels.text) + 2 * exemplars.room() + <size_t>indices.shape[0] * BUCKET_ROOM
        + length * <size_t>(METRIC_ROOM + NATIVE_ROOM + counts.shape[1] * BUCKET_ROOM)
    )
    at = room.end
    classic.buckets, classic.bounds = counts.shape[1], &bounds[0] if bounds.shape[0] else NULL
    with nogil:
        for series in range(length - 1, -1, -1):
            end = inner = at
            classic.counts, classic.total = &counts[series, 0], 0
            for bucket in range(classic.buckets):
                classic.total += classic.counts[bucket]
            native.buckets = begin[series + 1] - begin[series]
            native.indices, native.counts = &indices[0] + begin[series], &exponential[0] + begin[series]
            native.zeros, native.negatives, native.infinities = zeros[series], negatives[series], infinities[series]
            first = exemplars.before(series, last)
            at = put_histogram(at, &classic, &native, sums[series], created[series], &exemplars.all, first, last)
            last = first
            at = put_head(at, 7, inner)
            at = put_head(put_text(at, &labels.texts, series), 4, end)
    return room.filled(at)
