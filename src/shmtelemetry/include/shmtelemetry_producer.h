/* shmtelemetry_producer.h: telemetry from C and C++. Include this one; `python -m shmtelemetry --header` writes it and
 * what it includes as one file that can be copied.
 *
 *     static const char *const labels[] = {"symbol", NULL}, *const aapl[] = {"AAPL", NULL};
 *     shmtel_metric orders = {"orders_total", "Orders sent.", labels, NULL, NULL, 0, NULL};
 *     shmtel_telemetry *telemetry;
 *     shmtel_counter sent;
 *     shmtel_open(&telemetry, "engine", "default", NULL);       once, at set-up
 *     shmtel_add_counter(telemetry, &orders, aapl, &sent);
 *     shmtel_counter_emit(&sent, 1.0);                           nanoseconds: no lock, no system call, no malloc
 *     shmtel_close(telemetry);
 *
 * One telemetry belongs to one thread: SHMTEL_PER_THREAD gives each its own, and they are added up. A forked child
 * emits into a ring of its own, opened at its first emit; an emit in a signal handler needs a telemetry of its own.
 * What sets up answers SHMTEL_OK or an error below 0; handles that an error left behind take nothing and do no harm.
 * What emits answers 1 when the record or its step was taken, else 0, and then it is counted why:
 *
 *     counter, gauge: a ring that is full loses nothing, the step waits in the series' cell. 0: wrong, or no ring.
 *     histogram, records: 0: wrong, no ring, or dropped since the ring was full (never under overwrite_oldest).
 *
 * SHMTEL_DISABLE, defined before the inclusion, compiles emitting away; SHMTEL_DISABLED=1 at run time opens none.
 * Link with -pthread where libc has no threads of its own (glibc before 2.34).
 */
#ifndef SHMTELEMETRY_PRODUCER_H
#define SHMTELEMETRY_PRODUCER_H

#include "shmtelemetry_emit.h"

/* ---- Definitions -------------------------------------------------------------------------------------------- */

/* The catalogue's records begin {u16 kind, u16 flags, u32 length}. */
enum shmtel_record_kind { SHMTEL_KIND_METRIC = 1, SHMTEL_KIND_SERIES = 2 };

typedef struct shmtel_record_head {
    uint16_t kind;
    uint16_t flags;
    uint32_t length; /* of the payload, which follows; a multiple of 8 */
} shmtel_record_head;

/* The record of this kind whose payload agrees from byte `from` on over `length` bytes; its offset, or SIZE_MAX.
 * number: how many of its kind are before it. */
SHMTEL_COLD size_t shmtel_find_record(const shmtel_setup *setup, uint16_t kind, const char *bytes, size_t from,
                                      size_t length, uint32_t *number) {
    *number = 0;
    for (size_t at = 0; at < setup->catalogue_length;) {
        shmtel_record_head head;
        memcpy(&head, setup->catalogue + at, sizeof(head));
        const unsigned char *payload = setup->catalogue + at + sizeof(head);
        if (head.kind == kind && head.length >= from + length && !memcmp(payload + from, bytes, length))
            return at;
        *number += head.kind == kind;
        at += sizeof(head) + head.length;
    }
    return SIZE_MAX;
}

/* Let so many further bytes fit into the segment's catalogue. */
SHMTEL_COLD int shmtel_make_room(shmtel_telemetry *telemetry, size_t length) {
    shmtel_segment *segment = &telemetry->segment;
    if (!telemetry->ring->records)
        return SHMTEL_OK;
    size_t end = shmtel_header_of(segment)->catalogue_offset + telemetry->setup.catalogue_length + length;
    if (end <= segment->size)
        return SHMTEL_OK;
    int error = shmtel_grow(segment, end);
    if (error && !shmtel_is_linked(segment) && shmtel_replace(telemetry))
        return end <= segment->size ? SHMTEL_OK : shmtel_grow(segment, end);
    return error;
}

/* Publish one record in this segment, and in all later ones. payload is padded to 8 bytes. Returns an error. */
SHMTEL_COLD int shmtel_define(shmtel_telemetry *telemetry, uint16_t kind, shmtel_text *payload) {
    shmtel_setup *setup = &telemetry->setup;
    shmtel_record_head head = {kind, 0, 0};
    shmtel_text_add(payload, "\0\0\0\0\0\0\0", (8 - payload->length % 8) % 8);
    if (payload->error)
        return payload->error;
    head.length = (uint32_t)payload->length;
    size_t begin = setup->catalogue_length, end = begin + sizeof(head) + payload->length;
    if (end > SHMTEL_MAX_CATALOGUE)
        return SHMTEL_NO_SPACE;
    if (end > setup->catalogue_room) {
        unsigned char *larger = (unsigned char *)realloc(setup->catalogue, 2 * end);
        if (!larger)
            return SHMTEL_NO_MEMORY;
        setup->catalogue = larger;
        setup->catalogue_room = 2 * end;
    }
    int error = shmtel_make_room(telemetry, end - begin);
    if (error)
        return error;
    memcpy(setup->catalogue + begin, &head, sizeof(head));
    memcpy(setup->catalogue + begin + sizeof(head), payload->at, payload->length);
    setup->catalogue_length = end;
    if (telemetry->ring->records) {
        memcpy(telemetry->ring->catalogue + begin, setup->catalogue + begin, end - begin);
        /* SYNC POINT: catalogue. Whoever sees the length sees the records. */
        SHMTEL_STORE_RELEASE(&telemetry->ring->out->catalogue_length, end);
    }
    return SHMTEL_OK;
}

SHMTEL_COLD int shmtel_metric_number(shmtel_telemetry *telemetry, enum shmtel_kind kind, const shmtel_metric *metric,
                                     uint32_t *number, double *seconds) {
    shmtel_text text = {NULL, 0, 0, 0};
    uint32_t other;
    size_t beginning = shmtel_write_metric(&text, kind, metric, seconds);
    int error = text.error;
    if (!error &&
        shmtel_find_record(&telemetry->setup, SHMTEL_KIND_METRIC, text.at, 0, text.length, number) == SIZE_MAX) {
        if (shmtel_find_record(&telemetry->setup, SHMTEL_KIND_METRIC, text.at, 0, beginning, &other) != SIZE_MAX)
            error = SHMTEL_CONFLICT;
        else
            error = shmtel_define(telemetry, SHMTEL_KIND_METRIC, &text);
    }
    free(text.at);
    return error;
}

/* A series' payload: an empty cell, the metric's number, and for each label value its length and its bytes. */
SHMTEL_COLD void shmtel_write_series(shmtel_text *text, uint32_t metric, const char *const *values, size_t count) {
    shmtel_cell empty;
    uint32_t counted = (uint32_t)count;
    memset(&empty, 0, sizeof(empty));
    shmtel_text_add(text, &empty, sizeof(empty));
    shmtel_text_add(text, &metric, sizeof(metric));
    shmtel_text_add(text, &counted, sizeof(counted));
    for (size_t at = 0; at < count; at++) {
        size_t length = strlen(values[at]);
        uint32_t stored = (uint32_t)length;
        if (length > SHMTEL_MAX_LABEL_LENGTH || !shmtel_is_utf8(values[at]))
            text->error = text->error ? text->error : (int)SHMTEL_BAD_METRIC;
        shmtel_text_add(text, &stored, sizeof(stored));
        shmtel_text_add(text, values[at], length);
    }
    shmtel_text_add(text, "\0\0\0\0\0\0\0", (8 - text->length % 8) % 8);
}

/* The series with these label values, made at first use. values: one for each label, NULL at the end; NULL: none. */
SHMTEL_COLD int shmtel_add_series(shmtel_telemetry *telemetry, enum shmtel_kind kind, const shmtel_metric *metric,
                                  const char *const *values, shmtel_series *series, double *seconds) {
    shmtel_text text = {NULL, 0, 0, 0};
    uint32_t number;
    size_t count = shmtel_count_of(values), at;
    memset(series, 0, sizeof(*series));
    series->ring = &shmtel_no_ring;
    *seconds = 0;
    if (!telemetry || !(telemetry->setup.flags & SHMTEL_FLAG_INSTRUMENTS))
        return SHMTEL_NOT_OPEN;
    if (!telemetry->ring->records)
        shmtel_notice_fork(telemetry);
    if (count != shmtel_count_of(metric->labels))
        return SHMTEL_BAD_METRIC;
    int error = shmtel_metric_number(telemetry, kind, metric, &number, seconds);
    if (!error) {
        shmtel_write_series(&text, number, values, count);
        error = text.error;
    }
    if (!error) {
        size_t from = sizeof(shmtel_cell);
        at = shmtel_find_record(&telemetry->setup, SHMTEL_KIND_SERIES, text.at + from, from, text.length - from,
                                &series->number);
        if (at == SIZE_MAX) {
            at = telemetry->setup.catalogue_length;
            error = shmtel_define(telemetry, SHMTEL_KIND_SERIES, &text);
        }
        series->cell = at + sizeof(shmtel_record_head);
    }
    free(text.at);
    if (!error) {
        series->ring = telemetry->ring;
        series->telemetry = telemetry;
    }
    return error;
}

SHMTEL_COLD int shmtel_add_counter(shmtel_telemetry *telemetry, const shmtel_metric *metric, const char *const *values,
                                   shmtel_counter *counter) {
    double seconds;
    return shmtel_add_series(telemetry, SHMTEL_COUNTER, metric, values, &counter->series, &seconds);
}

SHMTEL_COLD int shmtel_add_gauge(shmtel_telemetry *telemetry, const shmtel_metric *metric, const char *const *values,
                                 shmtel_gauge *gauge) {
    double seconds;
    return shmtel_add_series(telemetry, SHMTEL_GAUGE, metric, values, &gauge->series, &seconds);
}

SHMTEL_COLD int shmtel_add_histogram(shmtel_telemetry *telemetry, const shmtel_metric *metric,
                                     const char *const *values, shmtel_histogram *histogram) {
    return shmtel_add_series(telemetry, SHMTEL_HISTOGRAM, metric, values, &histogram->series, &histogram->unit_seconds);
}

/* ---- Open and close ----------------------------------------------------------------------------------------- */

SHMTEL_COLD int shmtel_is_name(const char *name) {
    size_t length = strlen(name);
    if (!length || length > SHMTEL_NAME_LENGTH)
        return 0;
    for (; *name; name++)
        if (!((*name | 32) >= 'a' && (*name | 32) <= 'z') && !(*name >= '0' && *name <= '9') && *name != '_' &&
            *name != '-')
            return 0;
    return 1;
}

/* End the telemetry: what is not drained yet is left to the reader. No handle of it may be used any more. */
SHMTEL_COLD void shmtel_close(shmtel_telemetry *telemetry) {
    if (!telemetry)
        return;
    shmtel_notice_fork(telemetry);
    if (telemetry->segment.base) {
        SHMTEL_STORE_RELEASE(&shmtel_out_of(&telemetry->segment)->closed, 1);
        if (telemetry->setup.policy == SHMTEL_OVERWRITE_OLDEST && shmtel_out_of(&telemetry->segment)->write_position)
            shmtel_tidy(&telemetry->setup); /* it stays to be looked at */
        else if (shmtel_nobody_needs(&telemetry->segment))
            shmtel_unlink(&telemetry->segment);
        shmtel_unmap(&telemetry->segment);
    }
    if (telemetry->ring)
        munmap(telemetry->ring, SHMTEL_PAGE);
    free(telemetry->setup.schema);
    free(telemetry->setup.catalogue);
    free(telemetry);
}

SHMTEL_COLD int shmtel_set_up(shmtel_telemetry *telemetry, const char *name, const char *space,
                              const shmtel_options *options) {
    static const shmtel_options usual = {0, SHMTEL_DROP_NEWEST, 0};
    const char *disabled = getenv("SHMTEL_DISABLED");
    shmtel_setup *setup = &telemetry->setup;
    uint64_t capacity;
    space = space ? space : "default";
    options = options ? options : &usual;
    capacity = options->capacity ? options->capacity : SHMTEL_CAPACITY;
    if (!name || !shmtel_is_name(name) || !shmtel_is_name(space))
        return SHMTEL_BAD_NAME;
    if (capacity & (capacity - 1) || capacity < 2 || capacity > SHMTEL_MAX_CAPACITY ||
        (options->policy != SHMTEL_DROP_NEWEST && (options->policy != SHMTEL_OVERWRITE_OLDEST || setup->flags)))
        return SHMTEL_BAD_OPTION;
    snprintf(setup->space, sizeof(setup->space), "%s", space);
    snprintf(setup->name, sizeof(setup->name), "%s", name);
    setup->capacity = capacity;
    setup->policy = (uint32_t)options->policy;
    setup->mode = options->mode ? options->mode : 0600;
    setup->clock = shmtel_clock_kind();
    telemetry->pid = getpid();
    telemetry->enabled = SHMTEL_EMITS && (!disabled || !*disabled || !strcmp(disabled, "0"));
    shmtel_pair(setup->clock, &telemetry->first_ticks, &telemetry->first_ns);
    void *page = mmap(NULL, SHMTEL_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return SHMTEL_NO_MEMORY;
    telemetry->ring = (shmtel_producer *)page;
    if (madvise(page, SHMTEL_PAGE, MADV_WIPEONFORK)) /* Linux 4.14 */
        return SHMTEL_SYSTEM_ERROR;
    if (!telemetry->enabled)
        return SHMTEL_OK;
    int error = shmtel_create(&telemetry->segment, setup, capacity);
    if (!error)
        shmtel_bind(telemetry);
    return error;
}

SHMTEL_COLD int shmtel_open_with(shmtel_telemetry **opened, const char *name, const char *space,
                                 const shmtel_schema *schema, uint32_t flags, const shmtel_options *options) {
    shmtel_text text = {NULL, 0, 0, 0};
    shmtel_telemetry *telemetry = (shmtel_telemetry *)calloc(1, sizeof(*telemetry));
    *opened = NULL;
    if (!telemetry)
        return SHMTEL_NO_MEMORY;
    shmtel_write_schema(&text, schema);
    telemetry->setup.schema = text.at;
    telemetry->setup.schema_length = (uint32_t)text.length;
    telemetry->setup.record_size = (uint32_t)schema->record_size;
    telemetry->setup.flags = flags;
    int error = text.error ? text.error : shmtel_set_up(telemetry, name, space, options);
    if (error) {
        int why = errno;
        shmtel_close(telemetry);
        errno = why;
        return error;
    }
    *opened = telemetry;
    return SHMTEL_OK;
}

/* Open the ring of a producer's instruments. space: the namespace; NULL: "default". options: NULL: the default ones.
 * Where it is an error, *opened is NULL, of which all else here takes no harm. */
SHMTEL_COLD int shmtel_open(shmtel_telemetry **opened, const char *name, const char *space,
                            const shmtel_options *options) {
    static const shmtel_field sample[] = {
        {SHMTEL_FIELD(shmtel_sample, time, 'u'), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL},
        {SHMTEL_FIELD(shmtel_sample, series, 'u'), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL},
        {SHMTEL_FIELD(shmtel_sample, flags, 'u'), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL},
        {SHMTEL_FIELD(shmtel_sample, value, 'f'), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL},
    };
    shmtel_schema schema = {sample, 4, sizeof(shmtel_sample), 0};
    return shmtel_open_with(opened, name, space, &schema, SHMTEL_FLAG_INSTRUMENTS, options);
}

/* Open a ring of records of one's own. */
SHMTEL_COLD int shmtel_open_records(shmtel_telemetry **opened, const char *name, const char *space,
                                    const shmtel_schema *schema, const shmtel_options *options) {
    *opened = NULL;
    int error = name && shmtel_is_name(name) ? shmtel_check_fields(schema, name) : (int)SHMTEL_BAD_NAME;
    return error ? error : shmtel_open_with(opened, name, space, schema, 0, options);
}

/* The accounting of the present segment. */
SHMTEL_COLD void shmtel_stats_of(shmtel_telemetry *telemetry, shmtel_stats *stats) {
    memset(stats, 0, sizeof(*stats));
    if (!telemetry)
        return;
    shmtel_notice_fork(telemetry);
    stats->dropped_no_ring = telemetry->dropped_no_ring;
    stats->rejected = telemetry->rejected_no_ring;
    if (telemetry->segment.base) {
        const shmtel_producer *ring = telemetry->ring;
        uint64_t overwritten = SHMTEL_LOAD_ACQUIRE(&ring->in->overwritten);
        uint64_t read = SHMTEL_LOAD_ACQUIRE(&ring->in->read_position);
        uint64_t written = ring->position, unread = written - read - overwritten;
        stats->consumed = read;
        stats->in_ring = unread > ring->capacity ? ring->capacity : unread;
        stats->overwritten = overwritten + unread - stats->in_ring;
        stats->coalesced = ring->out->coalesced;
        stats->dropped_full = ring->out->dropped_full;
        stats->dropped_no_ring += ring->out->dropped_no_ring;
        stats->rejected += ring->out->rejected;
    }
    stats->attempted = stats->consumed + stats->in_ring + stats->coalesced + stats->dropped_full +
                       stats->dropped_no_ring + stats->overwritten + stats->rejected;
}

/* ---- One for each thread ------------------------------------------------------------------------------------ */

/* SHMTEL_PER_THREAD(type, name, open, close), at file scope, defines `type *name(void)`: a `type` of the calling
 * thread's own, all zero and then given to `open(type *)` at its first use, and to `close(type *)` when the thread ends
 * (the first thread's stays until the process ends, and then the reader sees to it). In it lie a telemetry and its
 * handles; the reader adds up what the threads emit. */
#define SHMTEL_PER_THREAD(type, name, open, close)                                       \
    static __thread struct {                                                             \
        int opened;                                                                      \
        type own;                                                                        \
    } shmtel_own_##name;                                                                 \
    static pthread_key_t shmtel_key_##name;                                              \
    static void shmtel_end_##name(void *own) {                                           \
        close((type *)own);                                                              \
    }                                                                                    \
    static void shmtel_make_key_##name(void) {                                           \
        pthread_key_create(&shmtel_key_##name, shmtel_end_##name);                       \
    }                                                                                    \
    __attribute__((cold, noinline)) static type *shmtel_begin_##name(void) {             \
        static pthread_once_t once = PTHREAD_ONCE_INIT;                                  \
        pthread_once(&once, shmtel_make_key_##name);                                     \
        shmtel_own_##name.opened = 1;                                                    \
        pthread_setspecific(shmtel_key_##name, &shmtel_own_##name.own);                  \
        open(&shmtel_own_##name.own);                                                    \
        return &shmtel_own_##name.own;                                                   \
    }                                                                                    \
    static inline type *name(void) {                                                     \
        return __builtin_expect(shmtel_own_##name.opened, 1) ? &shmtel_own_##name.own    \
                                                             : shmtel_begin_##name();    \
    }                                                                                    \
    struct shmtel_semicolon_##name

#endif
