/* ThreadSanitizer over the header: a producer and a consumer of one drop_newest ring, as two threads with one mapping
 * (two mappings would hide every race). Records are copied word by word, since it does not look into memcpy. Fences, and
 * with them taps and cells, are beyond it: they are Relacy's. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>

#define SHMTEL_CUSTOM_ATOMICS
#define SHMTEL_ATOMIC(type) type
#define SHMTEL_LOAD_RELAXED(pointer) __atomic_load_n((pointer), __ATOMIC_RELAXED)
#define SHMTEL_LOAD_ACQUIRE(pointer) __atomic_load_n((pointer), __ATOMIC_ACQUIRE)
#define SHMTEL_STORE_RELAXED(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELAXED)
#ifdef RELAXED_PUBLISH
#define SHMTEL_STORE_RELEASE SHMTEL_STORE_RELAXED
#else
#define SHMTEL_STORE_RELEASE(pointer, value) __atomic_store_n((pointer), (value), __ATOMIC_RELEASE)
#endif
#define SHMTEL_FENCE_ACQUIRE() ((void)0)
#define SHMTEL_FENCE_RELEASE() ((void)0)
#define SHMTEL_READ(pointer) (*(pointer))
#define SHMTEL_WRITE(pointer, value) (*(pointer) = (value))
#define SHMTEL_COPY(to, from, size) copy_words((to), (from), (size))

static void copy_words(void *to, const void *from, size_t size) {
    for (size_t at = 0; at < size / 8; at++)
        ((uint64_t *)to)[at] = ((const uint64_t *)from)[at];
}

#include "shmtelemetry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CAPACITY = 256, RECORDS = 200000 };

static struct segment {
    shmtel_producer_page out;
    shmtel_reader_page in;
    shmtel_sample records[CAPACITY];
} *shared;

static void *produce(void *nothing) {
    shmtel_producer producer = {.limit = CAPACITY, .records = (unsigned char *)shared->records, .mask = CAPACITY - 1,
                                .record_size = sizeof(shmtel_sample), .out = &shared->out, .in = &shared->in,
                                .capacity = CAPACITY, .policy = SHMTEL_DROP_NEWEST};
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

static void *consume(void *nothing) {
    shmtel_consumer consumer = {.mask = CAPACITY - 1, .capacity = CAPACITY, .record_size = sizeof(shmtel_sample),
                                .records = (unsigned char *)shared->records, .out = &shared->out, .in = &shared->in};
    while (consumer.position < RECORDS) {
        uint64_t count = shmtel_drain(&consumer);
        for (uint64_t at = 0; at < count; at++) {
            shmtel_sample sample;
            SHMTEL_COPY(&sample, shmtel_record(&consumer, consumer.position + at), sizeof(sample));
            if (sample.time != consumer.position + at || sample.series != 7 || sample.value != 0.5)
                exit(2);
        }
        shmtel_release(&consumer, count);
    }
    return nothing;
}

int main(void) {
    pthread_t threads[2];
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 3;
    pthread_create(&threads[0], NULL, produce, NULL);
    pthread_create(&threads[1], NULL, consume, NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    printf("%d records\n", RECORDS);
    return 0;
}
