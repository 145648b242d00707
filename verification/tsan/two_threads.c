/* ThreadSanitizer over the header: a producer and a consumer of one ring, as two threads with one mapping (two mappings
 * would hide every race). Records are copied word by word, since it does not look into memcpy.
 *
 * drop_newest: what records hold are plain accesses, ordered by the positions alone.
 * -DOVERWRITE: overwrite_oldest, and a tap as a third thread. What records hold are relaxed atomics, since readers copy
 * what the producer may be writing, and look afterwards; so nothing else may race, and the copies that are said to be
 * whole have to be. It knows no fences: that each is needed is Relacy's. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>

#define SHMTEL_CUSTOM_ATOMICS
#define SHMTEL_ATOMIC(type) type
#define SHMTEL_LOAD_RELAXED(pointer) __atomic_load_n((pointer), __ATOMIC_RELAXED)
#define SHMTEL_LOAD_ACQUIRE(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
#define SHMTEL_STORE_RELAXED(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELAXED)
#if defined(RELAXED_PUBLISH)
#define SHMTEL_STORE_RELEASE SHMTEL_STORE_RELAXED
#elif defined(PLAIN_POSITIONS)
#define SHMTEL_STORE_RELEASE(pointer, value) (*(pointer) = (value))
#else
#define SHMTEL_STORE_RELEASE(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)
#endif
#define SHMTEL_FENCE_ACQUIRE() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define SHMTEL_FENCE_RELEASE() __atomic_thread_fence(__ATOMIC_RELEASE)
#ifdef OVERWRITE
#define SHMTEL_READ(pointer) \
    ({ \
        __typeof__(*(pointer) + 0) word; \
        __atomic_load((pointer), &word, __ATOMIC_RELAXED); \
        word; \
    })
#define SHMTEL_WRITE(pointer, value) \
    ({ \
        __typeof__(*(pointer)) word = (value); \
        __atomic_store((pointer), &word, __ATOMIC_RELAXED); \
    })
#else
#define SHMTEL_READ(pointer) (*(pointer))
#define SHMTEL_WRITE(pointer, value) (*(pointer) = (value))
#endif
#define SHMTEL_COPY(to, from, size) copy_words((to), (from), (size))

static void copy_words(void *to, const void *from, size_t size) {
    for (size_t at = 0; at < size / 8; at++)
        SHMTEL_WRITE((uint64_t *)to + at, SHMTEL_READ((const uint64_t *)from + at));
}

#include "shmtelemetry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CAPACITY = 256, RECORDS = 200000 };
#ifdef OVERWRITE
enum { POLICY = SHMTEL_OVERWRITE_OLDEST };
#else
enum { POLICY = SHMTEL_DROP_NEWEST };
#endif

static struct segment {
    shmtel_producer_page out;
    shmtel_reader_page in;
    shmtel_sample records[CAPACITY];
} *shared;

static void *produce(void *nothing) {
    shmtel_producer producer = {.limit = CAPACITY, .records = (unsigned char *)shared->records, .mask = CAPACITY - 1,
                                .record_size = sizeof(shmtel_sample), .out = &shared->out, .in = &shared->in,
                                .capacity = CAPACITY, .policy = POLICY};
    uint64_t sent = 0;
    while (sent < RECORDS) {
        shmtel_sample many[3];
        for (uint64_t at = 0; at < 3; at++)
            many[at] = (shmtel_sample){.time = sent + at, .series = 7, .value = 0.5};
        switch (sent % 3) {
        case 0: sent += (uint64_t)shmtel_push(&producer, many); break;
        case 1: sent += (uint64_t)shmtel_push_sample(&producer, 7, sent, 0.5); break;
        default: sent += shmtel_push_many(&producer, many, 3);
        }
    }
    return nothing;
}

static int is_number(const shmtel_sample *sample, uint64_t number) {
    return sample->time == number && sample->series == 7 && sample->value == 0.5;
}

#ifdef OVERWRITE
/* Copies what it can, some records at a time; what is lost is counted, and the rest is whole and in order. */
static void *consume(void *page) {
    shmtel_consumer follower = {.mask = CAPACITY - 1, .capacity = CAPACITY, .record_size = sizeof(shmtel_sample),
                                .records = (unsigned char *)shared->records, .out = &shared->out, .in = page};
    shmtel_sample copies[16];
    uint64_t read = 0;
    while (follower.position < RECORDS) {
        uint64_t count = shmtel_drain(&follower);
        if (count > 16)
            count = 16;
        uint64_t lost = shmtel_copy(&follower, copies, count);
        for (uint64_t at = lost; at < count; at++)
            if (!is_number(&copies[at], follower.position + at))
                exit(2);
        shmtel_skip(&follower, lost);
        if (lost < count) {
            read += count - lost;
            shmtel_release(&follower, count - lost);
        }
    }
    if (read + follower.overwritten != RECORDS || !follower.overwritten) /* so many that laps are certain */
        exit(4);
    return NULL;
}
#else
static void *consume(void *page) {
    shmtel_consumer consumer = {.mask = CAPACITY - 1, .capacity = CAPACITY, .record_size = sizeof(shmtel_sample),
                                .records = (unsigned char *)shared->records, .out = &shared->out, .in = page};
    while (consumer.position < RECORDS) {
        uint64_t count = shmtel_drain(&consumer);
        for (uint64_t at = 0; at < count; at++) {
            shmtel_sample sample;
            SHMTEL_COPY(&sample, shmtel_record(&consumer, consumer.position + at), sizeof(sample));
            if (!is_number(&sample, consumer.position + at))
                exit(2);
        }
        shmtel_release(&consumer, count);
    }
    return NULL;
}
#endif

int main(void) {
    pthread_t threads[3];
    shmtel_reader_page of_tap = {0};
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 3;
    pthread_create(&threads[0], NULL, produce, NULL);
    pthread_create(&threads[1], NULL, consume, &shared->in);
    int count = 2;
    if (POLICY == SHMTEL_OVERWRITE_OLDEST)
        pthread_create(&threads[count++], NULL, consume, &of_tap);
    while (count)
        pthread_join(threads[--count], NULL);
    printf("%d records\n", RECORDS);
    return 0;
}
