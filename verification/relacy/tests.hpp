// What the tests share: the run of one, and the segment of a ring of a few words.
#pragma once
#include "shadow.hpp"

#include "shmtelemetry.h"

#include <iostream>

// Near the end of the numbers, so that positions wrap in each execution.
static const uint64_t FIRST = UINT64_MAX - 1;

template <int CAPACITY, int WORDS> struct segment {
    shmtel_producer_page out;
    shmtel_reader_page in;
    uint64_t before[WORDS]; // belongs to nobody, as do the words behind the ring
    uint64_t records[CAPACITY * WORDS];
    uint64_t behind[WORDS];

    void declare(shadow::memory &memory, uint32_t policy, shmtel_producer &producer, shmtel_consumer &consumer) {
        memory.declare(&out.claimed_position, FIRST);
        memory.declare(&out.write_position, FIRST);
        memory.declare(&in.read_position, FIRST);
        memory.declare(&in.overwritten, uint64_t(0));
        producer = shmtel_producer();
        consumer = shmtel_consumer();
        producer.position = consumer.position = FIRST;
        producer.limit = FIRST + CAPACITY;
        producer.policy = policy;
        producer.capacity = consumer.capacity = CAPACITY;
        producer.mask = consumer.mask = CAPACITY - 1;
        producer.record_size = consumer.record_size = WORDS * 8;
        producer.records = reinterpret_cast<unsigned char *>(records);
        consumer.records = producer.records;
        producer.out = &out;
        consumer.out = &out;
        producer.in = &in;
        consumer.in = &in;
    }
};

// Executions of one test, each with another interleaving and other values for what may be stale.
template <class test> bool passes(const char *name, unsigned executions) {
    std::ostream nowhere(nullptr);
    rl::test_params params;
    params.iteration_count = executions;
    params.progress_stream = &nowhere;
    std::cout << "test " << name << ": ";
    return rl::simulate<test>(params);
}
