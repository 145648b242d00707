// overwrite_oldest and taps: whoever the producer laps has no torn record, knows how many were lost, and misses none of
// the others.
#pragma once
#include "tests.hpp"

template <class derived, int THREADS, int CAPACITY, int WORDS> struct lap_test : rl::test_suite<derived, THREADS> {
    segment<CAPACITY, WORDS> shared;
    shmtel_reader_page of_tap;
    shadow::memory memory{shadow::GUARDED_BY_MARKS, shared};
    shmtel_producer producer;
    shmtel_consumer consumer, tap;
    uint64_t accepted = 0;

    void before() {
        shadow::shared = &memory;
        shared.declare(memory, derived::POLICY, producer, consumer);
        memory.declare_bytes(shared.records, sizeof(shared.records));
        tap = consumer;
        tap.in = &of_tap;
    }

    void produce_one_by_one(int attempts) {
        for (int attempt = 0; attempt < attempts; attempt++) {
            uint64_t record[WORDS];
            for (uint64_t &word : record)
                word = accepted;
            accepted += shmtel_push(&producer, record);
        }
    }

    void push_batch(uint64_t count) {
        uint64_t records[CAPACITY];
        for (uint64_t at = 0; at < count; at++)
            records[at] = accepted + at;
        accepted += shmtel_push_many(&producer, records, count);
    }

    // One turn: `most` records at most; those that are whole are the next ones, and those before them were lost.
    void follow(shmtel_consumer &follower, uint64_t most) {
        uint64_t records[CAPACITY * WORDS];
        uint64_t count = shmtel_drain(&follower);
        if (count > most)
            count = most;
        uint64_t first = follower.position - FIRST;
        uint64_t lost = shmtel_copy(&follower, records, count);
        for (uint64_t at = lost; at < count; at++)
            for (int word = 0; word < WORDS; word++)
                RL_ASSERT(records[at * WORDS + word] == first + at);
        shmtel_skip(&follower, lost);
        if (lost < count)
            shmtel_release(&follower, count - lost);
    }

    // When all is quiet, what is published and not lost is there, and every record was seen or counted.
    void finish(shmtel_consumer &follower) {
        uint64_t rest = FIRST + accepted - follower.position, overwritten = follower.overwritten;
        follow(follower, CAPACITY);
        follow(follower, CAPACITY);
        RL_ASSERT(follower.position == FIRST + accepted);
        RL_ASSERT(follower.overwritten - overwritten == (rest > CAPACITY ? rest - CAPACITY : 0));
    }
};

struct overwrite : lap_test<overwrite, 2, 2, 2> {
    static const uint32_t POLICY = SHMTEL_OVERWRITE_OLDEST;

    void thread(unsigned index) {
        if (index == 0)
            produce_one_by_one(6);
        else
            for (int turn = 0; turn < 4; turn++)
                follow(consumer, 1 + turn % 2);
    }
    void after() {
        finish(consumer);
        uint64_t read = shadow::load(&shared.in.read_position, rl::mo_relaxed) - FIRST;
        RL_ASSERT(accepted == 6 && read + shadow::load(&shared.in.overwritten, rl::mo_relaxed) == accepted);
    }
};

struct overwrite_many : lap_test<overwrite_many, 2, 4, 1> { // batches of the whole ring, and what follows one
    static const uint32_t POLICY = SHMTEL_OVERWRITE_OLDEST;

    void thread(unsigned index) {
        if (index == 0)
            for (uint64_t batch : {2, 4, 4, 0, 3, 4, 0}) // the first up to the ring's end
                batch ? push_batch(batch) : produce_one_by_one(1);
        else
            for (int turn = 0; turn < 4; turn++)
                follow(consumer, 4);
    }
    void after() {
        finish(consumer);
        RL_ASSERT(accepted == 19);
    }
};

struct tap_beside_consumer : lap_test<tap_beside_consumer, 3, 2, 1> {
    static const uint32_t POLICY = SHMTEL_DROP_NEWEST;

    void thread(unsigned index) {
        if (index == 0)
            produce_one_by_one(6);
        else if (index == 1)
            for (int turn = 0; turn < 6; turn++) {
                uint64_t count = shmtel_drain(&consumer);
                RL_ASSERT(count <= 2);
                for (uint64_t at = 0; at < count; at++) {
                    const unsigned char *record = shmtel_record(&consumer, consumer.position + at);
                    uint64_t number = SHMTEL_READ(reinterpret_cast<const uint64_t *>(record));
                    RL_ASSERT(number == consumer.position + at - FIRST);
                }
                shmtel_release(&consumer, count);
            }
        else
            for (int turn = 0; turn < 4; turn++)
                follow(tap, 2);
    }
    void after() {
        finish(tap);
        RL_ASSERT(shmtel_drain(&consumer) <= 2 && consumer.overwritten == 0);
    }
};

struct tap_of_batches : lap_test<tap_of_batches, 2, 4, 1> { // of a producer whose consumer takes all at once
    static const uint32_t POLICY = SHMTEL_DROP_NEWEST;

    void thread(unsigned index) {
        if (index == 0)
            for (int batch = 0; batch < 4; batch++) {
                push_batch(3);
                shmtel_release(&consumer, shmtel_drain(&consumer));
            }
        else
            for (int turn = 0; turn < 4; turn++)
                follow(tap, 4);
    }
    void after() { finish(tap); }
};
