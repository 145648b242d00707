// drop_newest: the records that were accepted arrive, once each, whole and in order, and the rest is refused.
#pragma once
#include "tests.hpp"

template <class derived, int CAPACITY, int WORDS> struct ring_test : rl::test_suite<derived, 2> {
    segment<CAPACITY, WORDS> shared;
    shadow::memory memory{shadow::GUARDED_BY_POSITIONS, shared};
    shmtel_producer producer;
    shmtel_consumer consumer;
    uint64_t accepted = 0, consumed = 0;

    void before() {
        shadow::shared = &memory;
        shared.declare(memory, SHMTEL_DROP_NEWEST, producer, consumer);
        static_cast<derived *>(this)->declare_records();
    }

    void declare_records() { memory.declare_bytes(shared.records, sizeof(shared.records)); }

    void consume(uint64_t most) {
        uint64_t count = shmtel_drain(&consumer);
        RL_ASSERT(count <= CAPACITY);
        if (count > most)
            count = most;
        for (uint64_t at = 0; at < count; at++)
            static_cast<derived *>(this)->check(shmtel_record(&consumer, consumer.position + at), consumed + at);
        shmtel_release(&consumer, count);
        consumed += count;
    }

    // Record number n is n in its first word and ~n in the last.
    void check(const unsigned char *record, uint64_t number) {
        uint64_t words[WORDS];
        SHMTEL_COPY(words, record, sizeof(words));
        RL_ASSERT(words[0] == number && words[WORDS - 1] == ~number);
    }

    void thread(unsigned index) {
        if (index == 0)
            static_cast<derived *>(this)->produce();
        else
            for (int turn = 0; turn < 6; turn++)
                consume(1 + turn % 2);
    }

    void after() {
        uint64_t in_ring = shmtel_drain(&consumer);
        RL_ASSERT(accepted == consumed + in_ring);
        consume(CAPACITY);
        RL_ASSERT(consumed == accepted);
    }
};

struct push : ring_test<push, 2, 2> {
    void produce() {
        for (int attempt = 0; attempt < 6; attempt++) {
            uint64_t record[2] = {accepted, ~accepted};
            accepted += shmtel_push(&producer, record);
        }
    }
};

struct push_many : ring_test<push_many, 4, 1> { // from an index in the middle: batches meet the ring's end
    void produce() {
        for (int attempt = 0; attempt < 3; attempt++) {
            uint64_t records[3];
            for (int at = 0; at < 3; at++)
                records[at] = accepted + at;
            accepted += shmtel_push_many(&producer, records, 3);
        }
    }
    void check(const unsigned char *record, uint64_t number) {
        RL_ASSERT(SHMTEL_READ(reinterpret_cast<const uint64_t *>(record)) == number);
    }
};

struct push_sample : ring_test<push_sample, 2, 3> {
    shmtel_sample *samples() { return reinterpret_cast<shmtel_sample *>(shared.records); }

    void declare_records() {
        for (int index = 0; index < 2; index++) {
            memory.declare(&samples()[index].time, uint64_t(0));
            memory.declare(&samples()[index].series, uint32_t(0));
            memory.declare(&samples()[index].flags, uint32_t(0));
            memory.declare(&samples()[index].value, 0.0);
        }
    }
    void produce() {
        for (int attempt = 0; attempt < 5; attempt++)
            accepted += shmtel_push_sample(&producer, uint32_t(7 + accepted), accepted, 0.5 * double(accepted));
    }
    void check(const unsigned char *record, uint64_t number) {
        const shmtel_sample *sample = reinterpret_cast<const shmtel_sample *>(record);
        RL_ASSERT(SHMTEL_READ(&sample->time) == number);
        RL_ASSERT(SHMTEL_READ(&sample->series) == 7 + number);
        RL_ASSERT(SHMTEL_READ(&sample->flags) == 0);
        RL_ASSERT(SHMTEL_READ(&sample->value) == 0.5 * double(number));
    }
};
