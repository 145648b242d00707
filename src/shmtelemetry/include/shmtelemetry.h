/* shmtelemetry.h: the steps of the ring, once.
 *
 * A single-producer single-consumer ring of fixed-width records in shared memory. Cython, C and C++ producers, model
 * checkers and sanitizers all compile this very file. C11 or C++17; no allocation, no lock, no system call. Whoever
 * wants to open a ring and emit includes shmtelemetry_producer.h.
 *
 *   producer: shmtel_claim -> write the record -> shmtel_publish
 *   consumer: shmtel_drain -> read the records -> shmtel_release
 *   consumer of an overwrite_oldest ring: shmtel_drain -> shmtel_copy -> shmtel_skip what is lost -> shmtel_release
 *   tap: the same, and the position that it moves is its own; the producer knows nothing of it
 *
 * A position is a monotonic 64-bit count that may wrap; an index is `position & mask`. Positions are compared by
 * difference only. Layout of the shared pages: see layout.py, which draws it; a test compares the two byte by byte.
 */
#ifndef SHMTELEMETRY_H
#define SHMTELEMETRY_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* -std=c11 hides the clock, and all C the locks; in force if no system header came before */
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#ifndef CLOCK_MONOTONIC
#error "shmtelemetry.h: include it before any system header, or compile with -D_GNU_SOURCE or -std=gnu11"
#endif

/* Atomics. A model checker defines SHMTEL_CUSTOM_ATOMICS and supplies these itself. */
#ifndef SHMTEL_CUSTOM_ATOMICS
#define SHMTEL_ATOMIC(type) type
#define SHMTEL_LOAD_RELAXED(pointer) __atomic_load_n((pointer), __ATOMIC_RELAXED)
#define SHMTEL_LOAD_ACQUIRE(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
#define SHMTEL_STORE_RELAXED(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELAXED)
#define SHMTEL_STORE_RELEASE(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)
#define SHMTEL_FENCE_ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define SHMTEL_FENCE_RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
/* What a record, a cell or an exemplar holds: plain accesses, ordered by the atomic ones around them. */
#define SHMTEL_READ(pointer) (*(pointer))
#define SHMTEL_WRITE(pointer, value) (*(pointer) = (value))
#define SHMTEL_COPY(to, from, size) memcpy((to), (from), (size))
#endif

#define SHMTEL_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define SHMTEL_MAGIC UINT64_C(0x314c45544d4853) /* "SHMTEL1" in little-endian memory */
#define SHMTEL_LAYOUT_VERSION 1
#define SHMTEL_BYTE_ORDER UINT32_C(0x01020304)
#define SHMTEL_NEVER (UINT64_C(1) << 63) /* records until the ring of an overwrite_oldest producer is full */
#define SHMTEL_BATCH 64 /* records that shmtel_push_many claims and publishes at once */
#define SHMTEL_EXEMPLAR_LABELS 576 /* bytes that the labels of one exemplar take at most */

enum shmtel_policy { SHMTEL_DROP_NEWEST = 0, SHMTEL_BLOCK = 1, SHMTEL_OVERWRITE_OLDEST = 2 };
enum shmtel_clock { SHMTEL_CLOCK_MONOTONIC = 0, SHMTEL_CLOCK_TSC = 1 };

/* ---- What is in shared memory ------------------------------------------------------------------------------- */

typedef struct shmtel_header { /* written once; magic is stored last */
    SHMTEL_ATOMIC(uint64_t) magic;
    uint32_t layout_version;
    uint32_t byte_order;
    uint32_t word_size;
    uint32_t record_size;
    uint64_t capacity;
    uint64_t producer_offset;
    uint64_t reader_offset;
    uint64_t ring_offset;
    uint64_t catalogue_offset;
    uint32_t policy;
    uint32_t clock;
    unsigned char uuid[16];
    unsigned char catalogue_of[16];
    unsigned char boot_id[16];
    uint64_t pid_namespace;
    uint64_t pid;
    uint64_t pid_start;
    uint32_t uid;
    uint32_t flags;
    uint64_t created_ns;
    uint64_t start_position;
    uint32_t schema_length;
    uint32_t reserved;
} shmtel_header;

typedef struct shmtel_producer_page { /* only the producer writes here */
    SHMTEL_ATOMIC(uint64_t) claimed_position;
    SHMTEL_ATOMIC(uint64_t) write_position;
    SHMTEL_ATOMIC(uint64_t) closed;
    uint64_t padding[13]; /* what the consumer looks at in every turn has a 128-byte line of its own */
    SHMTEL_ATOMIC(uint64_t) coalesced;
    SHMTEL_ATOMIC(uint64_t) dropped_full;
    SHMTEL_ATOMIC(uint64_t) dropped_timeout;
    SHMTEL_ATOMIC(uint64_t) dropped_no_ring;
    SHMTEL_ATOMIC(uint64_t) rejected;
    SHMTEL_ATOMIC(uint64_t) catalogue_length;
    SHMTEL_ATOMIC(uint64_t) reopened;
    SHMTEL_ATOMIC(uint64_t) exemplars;
} shmtel_producer_page;

/* The consumer stands at read_position + overwritten: releasing records is one store and skipping lost ones another, so a
 * kill leaves both counts exact. Nothing is overwritten but under overwrite_oldest. */
typedef struct shmtel_reader_page { /* only the consumer writes here */
    SHMTEL_ATOMIC(uint64_t) read_position; /* start_position and the records that were read */
    SHMTEL_ATOMIC(uint64_t) overwritten;
    SHMTEL_ATOMIC(uint64_t) reader_pid;
    SHMTEL_ATOMIC(uint64_t) reader_role;
    SHMTEL_ATOMIC(uint64_t) reader_seen;
} shmtel_reader_page;

typedef struct shmtel_sample { /* the record of the instruments */
    uint64_t time;   /* ticks of the segment's clock */
    uint32_t series; /* number of the series in the segment's catalogue */
    uint32_t flags;
    double value;
} shmtel_sample;

typedef struct shmtel_cell { /* what a full ring could not take, per series; slot[steps & 1] is the valid one */
    SHMTEL_ATOMIC(uint64_t) steps;
    SHMTEL_ATOMIC(uint64_t) dropped;
    struct {
        uint64_t time;
        double value; /* counter: cumulative unsent amount; gauge: last value */
    } slot[2];
} shmtel_cell;

typedef struct shmtel_exemplar_slot { /* and behind it, in the room that the place says, the labels */
    uint64_t time;
    double value;
    uint64_t length; /* of the labels: for each {u16 length of the name, u16 length of the value, name, value} */
} shmtel_exemplar_slot;

typedef struct shmtel_exemplar { /* the newest of one bucket of a series; two slots follow, steps & 1 is the valid one */
    SHMTEL_ATOMIC(uint64_t) steps;
    uint32_t series; /* its number in the segment's catalogue */
    uint32_t room;   /* bytes for labels in each slot, a multiple of 8 */
} shmtel_exemplar;

/* ---- Time --------------------------------------------------------------------------------------------------- */

/* Out of line, so that whoever reads the TSC saves no registers for a call. */
__attribute__((cold, noinline, unused)) static uint64_t shmtel_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static inline uint64_t shmtel_ticks(uint32_t clock) {
#if defined(__x86_64__)
    if (clock == SHMTEL_CLOCK_TSC)
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    if (clock == SHMTEL_CLOCK_TSC) {
        uint64_t ticks;
        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
        return ticks;
    }
#endif
    return shmtel_monotonic_ns();
}

/* ---- The producer ------------------------------------------------------------------------------------------- */

/* Private to the producing process, in a page of its own that a fork wipes (MADV_WIPEONFORK). All zero means "no
 * ring": position == limit sends every emit of a forked child down the full-ring path, at no cost to emit. */
typedef struct shmtel_producer {
    uint64_t position; /* the next to claim */
    uint64_t limit;    /* the position at which the ring is full, as far as was seen */
    unsigned char *records;
    uint64_t mask;
    uint64_t record_size;
    shmtel_producer_page *out;
    const shmtel_reader_page *in;
    unsigned char *catalogue;
    uint64_t capacity;
    uint32_t clock;
    uint32_t policy;
    uint64_t checked; /* ticks when somebody last looked whether the segment was unlinked */
} shmtel_producer;

/* The full-ring path: looks where the consumer is. Returns 0 if the ring is full, or if there is none. */
static inline int shmtel_refresh(shmtel_producer *producer) {
    if (!producer->records)
        return 0;
    if (producer->policy == SHMTEL_OVERWRITE_OLDEST) { /* whoever reads looks at claimed_position */
        producer->limit = producer->position + SHMTEL_NEVER;
        return 1;
    }
    /* SYNC POINT: release. Pairs with shmtel_release: what the consumer has read may be overwritten. */
    uint64_t read_position = SHMTEL_LOAD_ACQUIRE(&producer->in->read_position);
    uint64_t used = producer->position - read_position;
    if (used >= producer->capacity) /* > : a consumer that lies; treated as full */
        return 0;
    producer->limit = read_position + producer->capacity;
    return 1;
}

/* Returns the place of the next record, or NULL if the ring is full. Must be followed by shmtel_publish. */
static inline void *shmtel_claim(shmtel_producer *producer) {
    uint64_t position = producer->position;
    if (SHMTEL_UNLIKELY(position == producer->limit) && !shmtel_refresh(producer))
        return NULL;
    /* SYNC POINT: lap. Pairs with shmtel_lost: whoever sees the claim sees what was published before it. */
    SHMTEL_STORE_RELEASE(&producer->out->claimed_position, position + 1);
    /* SYNC POINT: claim. Pairs with shmtel_lost: whoever sees a byte of the record sees the claim. */
    SHMTEL_FENCE_RELEASE();
    return producer->records + (position & producer->mask) * producer->record_size;
}

static inline void shmtel_publish(shmtel_producer *producer) {
    uint64_t position = producer->position + 1;
    producer->position = position;
    /* SYNC POINT: publish. Pairs with shmtel_drain: whoever sees the position sees the record. */
    SHMTEL_STORE_RELEASE(&producer->out->write_position, position);
}

/* Copies one record of the ring's size. Returns 1, or 0 if the ring is full. */
static inline int shmtel_push(shmtel_producer *producer, const void *record) {
    void *place = shmtel_claim(producer);
    if (SHMTEL_UNLIKELY(!place))
        return 0;
    SHMTEL_COPY(place, record, producer->record_size);
    shmtel_publish(producer);
    return 1;
}

static inline int shmtel_push_sample(shmtel_producer *producer, uint32_t series, uint64_t time, double value) {
    shmtel_sample *sample = (shmtel_sample *)shmtel_claim(producer);
    if (SHMTEL_UNLIKELY(!sample))
        return 0;
    SHMTEL_WRITE(&sample->time, time);
    SHMTEL_WRITE(&sample->series, series);
    SHMTEL_WRITE(&sample->flags, UINT32_C(0));
    SHMTEL_WRITE(&sample->value, value);
    shmtel_publish(producer);
    return 1;
}

/* Copies up to `count` adjacent records, SHMTEL_BATCH at a time. Returns how many had room. */
static inline uint64_t shmtel_push_many(shmtel_producer *producer, const void *records, uint64_t count) {
    const unsigned char *from = (const unsigned char *)records;
    uint64_t done = 0;
    while (done < count) {
        if (producer->position == producer->limit && !shmtel_refresh(producer))
            break;
        uint64_t position = producer->position;
        uint64_t index = position & producer->mask;
        uint64_t batch = count - done;
        if (batch > SHMTEL_BATCH)
            batch = SHMTEL_BATCH;
        if (batch > producer->limit - position)
            batch = producer->limit - position;
        if (batch > producer->capacity - index) /* up to the ring's end; the rest is the next batch */
            batch = producer->capacity - index;
        /* SYNC POINT: lap. */
        SHMTEL_STORE_RELEASE(&producer->out->claimed_position, position + batch);
        /* SYNC POINT: claim. */
        SHMTEL_FENCE_RELEASE();
        SHMTEL_COPY(producer->records + index * producer->record_size, from, batch * producer->record_size);
        producer->position = position + batch;
        /* SYNC POINT: publish. */
        SHMTEL_STORE_RELEASE(&producer->out->write_position, position + batch);
        from += batch * producer->record_size;
        done += batch;
    }
    return done;
}

/* Counters that only the producer writes: a plain addition, never torn for whoever reads it. */
static inline void shmtel_count(SHMTEL_ATOMIC(uint64_t) * counter, uint64_t amount) {
    SHMTEL_STORE_RELAXED(counter, SHMTEL_LOAD_RELAXED(counter) + amount);
}

/* ---- Cells -------------------------------------------------------------------------------------------------- */

/* One step of a cell: `value` replaces what was there. A kill between any two stores leaves the old or the new. */
static inline void shmtel_cell_set(shmtel_cell *cell, uint64_t time, double value) {
    uint64_t steps = SHMTEL_LOAD_RELAXED(&cell->steps) + 1;
    SHMTEL_FENCE_RELEASE(); /* the mark of the step before is seen before its other slot is reused */
    SHMTEL_WRITE(&cell->slot[steps & 1].time, time);
    SHMTEL_WRITE(&cell->slot[steps & 1].value, value);
    /* SYNC POINT: cell. Pairs with shmtel_cell_read. */
    SHMTEL_STORE_RELEASE(&cell->steps, steps);
}

static inline void shmtel_cell_add(shmtel_cell *cell, uint64_t time, double amount) {
    shmtel_cell_set(cell, time, SHMTEL_READ(&cell->slot[SHMTEL_LOAD_RELAXED(&cell->steps) & 1].value) + amount);
}

/* Reads a cell while its producer may be writing. Returns 1, or 0 if it kept changing (try again later). */
static inline int shmtel_cell_read(const shmtel_cell *cell, uint64_t *steps, uint64_t *time, double *value) {
    for (int attempt = 0; attempt < 64; attempt++) {
        /* SYNC POINT: cell. */
        uint64_t before = SHMTEL_LOAD_ACQUIRE(&cell->steps);
        *time = SHMTEL_READ(&cell->slot[before & 1].time);
        *value = SHMTEL_READ(&cell->slot[before & 1].value);
        SHMTEL_FENCE_ACQUIRE();
        if (SHMTEL_LOAD_RELAXED(&cell->steps) == before) {
            *steps = before;
            return 1;
        }
    }
    return 0;
}

/* ---- Exemplars: as cells, with labels ----------------------------------------------------------------------- */

static inline unsigned char *shmtel_exemplar_at(const shmtel_exemplar *place, uint64_t room, uint64_t steps) {
    return (unsigned char *)(place + 1) + (steps & 1) * (sizeof(shmtel_exemplar_slot) + room);
}

/* Replaces what was in the place, at most `room` bytes of labels. A kill between any two stores leaves the old or the
 * new. */
static inline void shmtel_exemplar_set(shmtel_producer *producer, shmtel_exemplar *place, uint64_t room,
                                       const shmtel_exemplar_slot *head, const void *labels) {
    uint64_t steps = SHMTEL_LOAD_RELAXED(&place->steps) + 1;
    unsigned char *slot = shmtel_exemplar_at(place, room, steps);
    SHMTEL_FENCE_RELEASE(); /* the mark of the step before is seen before its other slot is reused */
    SHMTEL_COPY(slot, head, sizeof(*head));
    SHMTEL_COPY(slot + sizeof(*head), labels, head->length);
    /* SYNC POINT: exemplar. Pairs with shmtel_exemplar_read. */
    SHMTEL_STORE_RELEASE(&place->steps, steps);
    /* SYNC POINT: exemplars. Whoever sees the count sees the steps that it counts. */
    SHMTEL_STORE_RELEASE(&producer->out->exemplars, SHMTEL_LOAD_RELAXED(&producer->out->exemplars) + 1);
}

/* Copies a place, and all of its `room`, while its producer may be writing. Returns 1, or 0 if it kept changing. */
static inline int shmtel_exemplar_read(const shmtel_exemplar *place, uint64_t room, uint64_t *steps,
                                       shmtel_exemplar_slot *head, void *labels) {
    for (int attempt = 0; attempt < 64; attempt++) {
        /* SYNC POINT: exemplar. */
        uint64_t before = SHMTEL_LOAD_ACQUIRE(&place->steps);
        const unsigned char *slot = shmtel_exemplar_at(place, room, before);
        SHMTEL_COPY(head, slot, sizeof(*head));
        SHMTEL_COPY(labels, slot + sizeof(*head), room);
        SHMTEL_FENCE_ACQUIRE();
        if (SHMTEL_LOAD_RELAXED(&place->steps) == before) {
            *steps = before;
            return 1;
        }
    }
    return 0;
}

/* ---- The consumer ------------------------------------------------------------------------------------------- */

typedef struct shmtel_consumer { /* private to the consuming process */
    uint64_t position;           /* the next to read */
    uint64_t overwritten;        /* of the records before it; 0 but under overwrite_oldest */
    uint64_t mask;
    uint64_t capacity;
    uint64_t record_size;
    const unsigned char *records;
    const shmtel_producer_page *out;
    shmtel_reader_page *in; /* of the segment; a tap has one of its own, outside it */
} shmtel_consumer;

/* How many records are published and not yet passed. More than `capacity` means that the producer has lapped a tap or
 * the consumer of an overwrite_oldest ring, and of any other consumer that the segment lies. */
static inline uint64_t shmtel_drain(const shmtel_consumer *consumer) {
    /* SYNC POINT: publish. Pairs with shmtel_publish: every record before the position is whole. */
    return SHMTEL_LOAD_ACQUIRE(&consumer->out->write_position) - consumer->position;
}

static inline const unsigned char *shmtel_record(const shmtel_consumer *consumer, uint64_t position) {
    return consumer->records + (position & consumer->mask) * consumer->record_size;
}

/* How many records from the position on are overwritten, or may be just now. Copies of the others that were made before
 * this call are whole. Only after shmtel_drain, which lets nobody see an older claim. */
static inline uint64_t shmtel_lost(const shmtel_consumer *consumer) {
    /* SYNC POINT: claim. Pairs with shmtel_claim: whose copy has a byte of a later record sees that one's claim. */
    SHMTEL_FENCE_ACQUIRE();
    /* SYNC POINT: lap. Pairs with shmtel_claim: who has skipped what is lost never finds itself ahead of the publish. */
    uint64_t ahead = SHMTEL_LOAD_ACQUIRE(&consumer->out->claimed_position) - consumer->position;
    return ahead > consumer->capacity ? ahead - consumer->capacity : 0;
}

/* Copies `count` published records, at most `capacity`, from the position on, which stays. Returns shmtel_lost: so many
 * of the copies, from the first on, are not whole. */
static inline uint64_t shmtel_copy(const shmtel_consumer *consumer, void *records, uint64_t count) {
    uint64_t size = consumer->record_size;
    uint64_t head = consumer->capacity - (consumer->position & consumer->mask); /* up to the ring's end */
    if (head > count)
        head = count;
    SHMTEL_COPY(records, shmtel_record(consumer, consumer->position), head * size);
    SHMTEL_COPY((unsigned char *)records + head * size, consumer->records, (count - head) * size);
    return shmtel_lost(consumer);
}

/* Passes over records that are lost, and counts them. */
static inline void shmtel_skip(shmtel_consumer *consumer, uint64_t lost) {
    consumer->position += lost;
    consumer->overwritten += lost;
    /* Relaxed: a figure of one writer, by which no other memory is read. */
    SHMTEL_STORE_RELAXED(&consumer->in->overwritten, consumer->overwritten);
}

/* Gives the places of the next `count` records back to the producer. */
static inline void shmtel_release(shmtel_consumer *consumer, uint64_t count) {
    consumer->position += count;
    /* SYNC POINT: release. Pairs with shmtel_refresh: the records were read before the position moves. */
    SHMTEL_STORE_RELEASE(&consumer->in->read_position, consumer->position - consumer->overwritten);
}

#endif
