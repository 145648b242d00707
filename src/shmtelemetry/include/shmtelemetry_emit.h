/* shmtelemetry_emit.h: what a producer in C emits with, and the ring that each process has for it. Include
 * shmtelemetry_producer.h, which includes this and says what is promised.
 */
#ifndef SHMTELEMETRY_EMIT_H
#define SHMTELEMETRY_EMIT_H

#include "shmtelemetry_text.h"

#define SHMTEL_CAPACITY 65536
#define SHMTEL_FURTHER_CAPACITY 8192 /* of forked children's rings: Docker's /dev/shm has 64 MiB */
#define SHMTEL_LOOK_NS UINT64_C(100000000) /* between attempts to open a ring */
#define SHMTEL_LOOK_TICKS (UINT64_C(1) << 28) /* between looks at why a ring is full; 0.1 s at 2.6 GHz */
#define SHMTEL_MEASURE_NS UINT64_C(10000000)  /* in which the speed of the TSC is measured */

/* How to open a telemetry. All zero is the default. */
typedef struct shmtel_options {
    uint64_t capacity;         /* records, a power of two; 0: 65,536 */
    enum shmtel_policy policy; /* drop_newest, or for records overwrite_oldest */
    mode_t mode;               /* of the segment, for readers of other users; 0: 0600 */
} shmtel_options;

/* The instruments, or the records, of one producer. */
typedef struct shmtel_telemetry {
    shmtel_producer *ring; /* in a page that a fork wipes */
    shmtel_segment segment;
    shmtel_setup setup;
    pid_t pid;          /* the process that opened the segment */
    int enabled;        /* whether rings shall be opened */
    uint64_t no_ring_ns; /* when opening a ring failed last */
    uint64_t dropped_no_ring; /* in this process, since there was no ring to count in */
    uint64_t rejected_no_ring;
    uint64_t first_ticks, first_ns; /* one moment, from which the speed of the TSC is measured */
    double tick_seconds;            /* once measured */
} shmtel_telemetry;

typedef struct shmtel_series { /* what an emit needs to know */
    shmtel_producer *ring;
    shmtel_telemetry *telemetry;
    uint64_t cell; /* its offset in the catalogue */
    uint32_t number;
} shmtel_series;

typedef struct shmtel_counter {
    shmtel_series series;
} shmtel_counter;

typedef struct shmtel_gauge {
    shmtel_series series;
} shmtel_gauge;

typedef struct shmtel_histogram {
    shmtel_series series;
    double unit_seconds; /* 0: no unit of time */
} shmtel_histogram;

/* What became of the records of the present segment:
 * attempted = consumed + in_ring + coalesced + dropped_full + dropped_no_ring + overwritten + rejected */
typedef struct shmtel_stats {
    uint64_t attempted, consumed, in_ring, coalesced, dropped_full, dropped_no_ring, overwritten, rejected;
} shmtel_stats;

SHMTEL_COLD const char *shmtel_error_text(int error) {
    switch (error) {
    case SHMTEL_OK:
        return "no error";
    case SHMTEL_BAD_NAME:
        return "namespace or producer: expected 1 to 64 of A-Z a-z 0-9 _ -";
    case SHMTEL_BAD_OPTION:
        return "capacity: expected a power of two from 2 to 2^32; policy: drop_newest, or for records overwrite_oldest";
    case SHMTEL_BAD_METRIC:
        return "a name, label, bucket, unit or merge of the metric that cannot be, or text that is not UTF-8";
    case SHMTEL_BAD_FIELD:
        return "a field of the schema that cannot be, or too many";
    case SHMTEL_CONFLICT:
        return "a metric of that name is defined already, and otherwise";
    case SHMTEL_NO_SPACE:
        return "no room in /dev/shm, in the cgroup's memory.max or in the catalogue: free some, or take less capacity";
    case SHMTEL_NO_MEMORY:
        return "out of memory";
    case SHMTEL_NO_TMPFS:
        return "/dev/shm is not a tmpfs: mount one";
    case SHMTEL_SYSTEM_ERROR:
        return "a system call failed: see errno";
    case SHMTEL_NOT_OPEN:
        return "the telemetry is not open, or has records of its own";
    default:
        return "unknown error";
    }
}

/* ---- A ring for this process -------------------------------------------------------------------------------- */

static shmtel_producer shmtel_no_ring __attribute__((unused)); /* all zero: a full ring, which nobody writes */

SHMTEL_COLD void shmtel_bind(shmtel_telemetry *telemetry) {
    const shmtel_segment *segment = &telemetry->segment;
    const shmtel_header *header = shmtel_header_of(segment);
    shmtel_producer *ring = telemetry->ring;
    memset(ring, 0, sizeof(*ring));
    ring->mask = header->capacity - 1;
    ring->capacity = header->capacity;
    ring->record_size = header->record_size;
    ring->out = shmtel_out_of(segment);
    ring->in = shmtel_in_of(segment);
    ring->catalogue = segment->base + header->catalogue_offset;
    ring->clock = header->clock;
    ring->policy = header->policy;
    ring->records = segment->base + header->ring_offset;
    shmtel_refresh(ring);
    /* What was counted while there was no ring belongs into the segment, where it survives. */
    shmtel_count(&ring->out->dropped_no_ring, telemetry->dropped_no_ring);
    shmtel_count(&ring->out->rejected, telemetry->rejected_no_ring);
    telemetry->dropped_no_ring = telemetry->rejected_no_ring = 0;
}

/* In a forked child, let go of what is the parent's. */
SHMTEL_COLD void shmtel_notice_fork(shmtel_telemetry *telemetry) {
    pid_t pid = getpid();
    if (telemetry->pid == pid)
        return;
    telemetry->pid = pid;
    telemetry->segment.base = NULL; /* not mapped here, and its addresses may be somebody else's by now */
    telemetry->dropped_no_ring = telemetry->rejected_no_ring = telemetry->no_ring_ns = 0;
}

/* Somebody removed our segment's name, so nobody new can find it: go on in a new one. Returns whether there is one. */
SHMTEL_COLD int shmtel_replace(shmtel_telemetry *telemetry) {
    shmtel_segment fresh, old = telemetry->segment;
    if (shmtel_create(&fresh, &telemetry->setup, telemetry->ring->capacity))
        return 0;
    uint64_t reopened = telemetry->ring->out->reopened;
    SHMTEL_STORE_RELEASE(&telemetry->ring->out->closed, 1);
    telemetry->segment = fresh;
    shmtel_bind(telemetry);
    shmtel_count(&telemetry->ring->out->reopened, reopened + 1);
    shmtel_unmap(&old);
    return 1;
}

SHMTEL_COLD int shmtel_open_further(shmtel_telemetry *telemetry) {
    uint64_t now = shmtel_monotonic_ns();
    uint64_t capacity = telemetry->setup.capacity;
    if (now - telemetry->no_ring_ns < SHMTEL_LOOK_NS)
        return 0;
    if (shmtel_create(&telemetry->segment, &telemetry->setup,
                      capacity < SHMTEL_FURTHER_CAPACITY ? capacity : SHMTEL_FURTHER_CAPACITY)) {
        telemetry->no_ring_ns = now;
        return 0;
    }
    shmtel_bind(telemetry);
    return 1;
}

/* The full-ring path: make sure that there is a ring of this process under its name, at a bounded rate of trying. */
SHMTEL_COLD int shmtel_has_ring(shmtel_telemetry *telemetry) {
    if (!telemetry)
        return 0;
    shmtel_producer *ring = telemetry->ring;
    if (!ring->records) {
        shmtel_notice_fork(telemetry);
        return telemetry->enabled && shmtel_open_further(telemetry);
    }
    if (!shmtel_refresh(ring)) {
        ring->checked = shmtel_ticks(ring->clock);
        if (!shmtel_is_linked(&telemetry->segment))
            shmtel_replace(telemetry);
    }
    return 1;
}

/* Whether there is a ring, and why it is full was looked into a moment ago: then it is just full. */
static inline int shmtel_just_looked(const shmtel_producer *ring, uint64_t now) {
    return ring->records && now - ring->checked < SHMTEL_LOOK_TICKS;
}

/* Counts what was wrong. Returns 0, as emit does then. */
SHMTEL_COLD int shmtel_reject(shmtel_telemetry *telemetry) {
    if (telemetry && (telemetry->ring->records || shmtel_has_ring(telemetry)))
        shmtel_count(&telemetry->ring->out->rejected, 1);
    else if (telemetry)
        telemetry->rejected_no_ring++;
    return 0;
}

/* ---- Emit: instruments -------------------------------------------------------------------------------------- */

/* A sample that found no room. 1: it was written after all. 0: the ring is full. -1: there is none: counted. */
SHMTEL_COLD int shmtel_push_again(const shmtel_series *series, uint64_t *now, double value) {
    if (shmtel_just_looked(series->ring, *now))
        return 0;
    if (!shmtel_has_ring(series->telemetry)) {
        if (series->telemetry)
            series->telemetry->dropped_no_ring++;
        return -1;
    }
    *now = shmtel_ticks(series->ring->clock); /* a ring that was opened now may have another clock */
    return shmtel_push_sample(series->ring, series->number, *now, value);
}

static inline shmtel_cell *shmtel_cell_of(const shmtel_series *series) {
    return (shmtel_cell *)(series->ring->catalogue + series->cell);
}

SHMTEL_COLD int shmtel_counter_full(const shmtel_series *series, uint64_t now, double amount) {
    int written = shmtel_push_again(series, &now, amount);
    if (written)
        return written > 0;
    shmtel_cell_add(shmtel_cell_of(series), now, amount);
    shmtel_count(&series->ring->out->coalesced, 1);
    return 1;
}

SHMTEL_COLD int shmtel_gauge_full(const shmtel_series *series, uint64_t now, double value) {
    int written = shmtel_push_again(series, &now, value);
    if (written)
        return written > 0;
    shmtel_cell_set(shmtel_cell_of(series), now, value);
    shmtel_count(&series->ring->out->coalesced, 1);
    return 1;
}

SHMTEL_COLD int shmtel_histogram_full(const shmtel_series *series, uint64_t now, double value) {
    int written = shmtel_push_again(series, &now, value);
    if (written)
        return written > 0;
    shmtel_count(&shmtel_cell_of(series)->dropped, 1);
    shmtel_count(&series->ring->out->dropped_full, 1);
    return 0;
}

#ifdef SHMTEL_DISABLE
#define SHMTEL_EMITS 0
#else
#define SHMTEL_EMITS 1
#endif

/* Add a finite amount >= 0. */
static inline int shmtel_counter_emit(const shmtel_counter *counter, double amount) {
    const shmtel_series *series = &counter->series;
    if (!SHMTEL_EMITS)
        return 0;
    if (SHMTEL_UNLIKELY(!(amount >= 0 && amount <= DBL_MAX)))
        return shmtel_reject(series->telemetry);
    uint64_t now = shmtel_ticks(series->ring->clock);
    if (SHMTEL_UNLIKELY(!shmtel_push_sample(series->ring, series->number, now, amount)))
        return shmtel_counter_full(series, now, amount);
    return 1;
}

/* Set the value: any double. */
static inline int shmtel_gauge_emit(const shmtel_gauge *gauge, double value) {
    const shmtel_series *series = &gauge->series;
    if (!SHMTEL_EMITS)
        return 0;
    uint64_t now = shmtel_ticks(series->ring->clock);
    if (SHMTEL_UNLIKELY(!shmtel_push_sample(series->ring, series->number, now, value)))
        return shmtel_gauge_full(series, now, value);
    return 1;
}

/* Observe a value in the metric's unit: any but NaN; infinity counts in the last bucket. */
static inline int shmtel_histogram_emit(const shmtel_histogram *histogram, double value) {
    const shmtel_series *series = &histogram->series;
    if (!SHMTEL_EMITS)
        return 0;
    if (SHMTEL_UNLIKELY(value != value))
        return shmtel_reject(series->telemetry);
    uint64_t now = shmtel_ticks(series->ring->clock);
    if (SHMTEL_UNLIKELY(!shmtel_push_sample(series->ring, series->number, now, value)))
        return shmtel_histogram_full(series, now, value);
    return 1;
}

/* ---- Emit: records ------------------------------------------------------------------------------------------ */

SHMTEL_COLD int shmtel_record_full(shmtel_telemetry *telemetry, const void *record, size_t size) {
    if (!telemetry)
        return 0;
    if (size != telemetry->setup.record_size || telemetry->setup.flags)
        return shmtel_reject(telemetry);
    if (!shmtel_just_looked(telemetry->ring, shmtel_ticks(telemetry->ring->clock))) {
        if (!shmtel_has_ring(telemetry)) {
            telemetry->dropped_no_ring++;
            return 0;
        }
        if (shmtel_push(telemetry->ring, record))
            return 1;
    }
    shmtel_count(&telemetry->ring->out->dropped_full, 1);
    return 0;
}

/* Write one record. size: of the schema's records, shmtel_emit(telemetry, &trade, sizeof(trade)). */
static inline int shmtel_emit(shmtel_telemetry *telemetry, const void *record, size_t size) {
    if (!SHMTEL_EMITS)
        return 0;
    if (SHMTEL_UNLIKELY(!telemetry || size != telemetry->ring->record_size))
        return shmtel_record_full(telemetry, record, size);
    void *place = shmtel_claim(telemetry->ring);
    if (SHMTEL_UNLIKELY(!place))
        return shmtel_record_full(telemetry, record, size);
    memcpy(place, record, size);
    shmtel_publish(telemetry->ring);
    return 1;
}

/* ---- Emit: time --------------------------------------------------------------------------------------------- */

/* Both clocks at one moment: of several readings the one that took least. */
SHMTEL_COLD void shmtel_pair(uint32_t clock, uint64_t *ticks, uint64_t *ns) {
    uint64_t best = UINT64_MAX;
    for (int reading = 0; reading < 16; reading++) {
        uint64_t before = shmtel_ticks(clock), now = shmtel_monotonic_ns(), after = shmtel_ticks(clock);
        if (after - before < best) {
            best = after - before;
            *ticks = before + best / 2;
            *ns = now;
        }
    }
}

/* Measured over at least 10 ms since the telemetry was opened; waits for as much of them as has not passed. */
SHMTEL_COLD double shmtel_measured_tick(shmtel_telemetry *telemetry) {
    uint64_t ticks = 0, ns = 0, passed = shmtel_monotonic_ns() - telemetry->first_ns;
    if (telemetry->setup.clock == SHMTEL_CLOCK_MONOTONIC)
        return telemetry->tick_seconds = 1e-9;
    if (passed < SHMTEL_MEASURE_NS) {
        struct timespec wait = {0, (long)(SHMTEL_MEASURE_NS - passed)};
        nanosleep(&wait, NULL);
    }
    shmtel_pair(telemetry->setup.clock, &ticks, &ns);
    telemetry->tick_seconds = (double)(ns - telemetry->first_ns) * 1e-9 / (double)(ticks - telemetry->first_ticks);
    return telemetry->tick_seconds;
}

/* The clock's reading, for shmtel_stop. */
static inline uint64_t shmtel_start(const shmtel_histogram *histogram) {
    return SHMTEL_EMITS && histogram->series.telemetry ? shmtel_ticks(histogram->series.telemetry->setup.clock) : 0;
}

/* Observe the time since `start`, in the metric's unit, which must be one of time. */
static inline int shmtel_stop(const shmtel_histogram *histogram, uint64_t start) {
    shmtel_telemetry *telemetry = histogram->series.telemetry;
    if (!SHMTEL_EMITS || !telemetry)
        return 0;
    if (SHMTEL_UNLIKELY(!(histogram->unit_seconds > 0)))
        return shmtel_reject(telemetry);
    uint64_t now = shmtel_ticks(telemetry->setup.clock);
    double tick = telemetry->tick_seconds;
    if (SHMTEL_UNLIKELY(!(tick > 0)))
        tick = shmtel_measured_tick(telemetry);
    return shmtel_histogram_emit(histogram, now > start ? (double)(now - start) * tick / histogram->unit_seconds : 0.0);
}

typedef struct shmtel_timer {
    const shmtel_histogram *histogram;
    uint64_t start;
} shmtel_timer;

static inline void shmtel_timer_end(shmtel_timer *timer) {
    shmtel_stop(timer->histogram, timer->start);
}

/* From here to the end of the scope, however it is left: SHMTEL_TIME(&latency); */
#define SHMTEL_TIME(histogram) SHMTEL_TIME_AT(histogram, __LINE__)
#define SHMTEL_TIME_AT(histogram, line) SHMTEL_TIME_NAMED(histogram, line)
#define SHMTEL_TIME_NAMED(histogram, line) \
    shmtel_timer shmtel_timer_##line __attribute__((cleanup(shmtel_timer_end), unused)) = {(histogram), \
                                                                                           shmtel_start(histogram)}

#endif
