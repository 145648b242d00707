// Cells and exemplars: whoever reads one while it is replaced has one of its values, whole, and never an older one than
// before.
#pragma once
#include "tests.hpp"

struct cell : rl::test_suite<cell, 2> {
    shmtel_cell shared;
    shadow::memory memory{shadow::GUARDED_BY_MARKS, shared};

    void before() {
        shadow::shared = &memory;
        memory.declare(&shared.steps, uint64_t(0));
        for (auto &slot : shared.slot) {
            memory.declare(&slot.time, uint64_t(0));
            memory.declare(&slot.value, 0.0);
        }
    }

    void thread(unsigned index) {
        if (index == 0) // step n has the time n and the value 10 n
            for (uint64_t step = 1; step <= 4; step++)
                step % 2 ? shmtel_cell_set(&shared, step, 10.0 * double(step)) : shmtel_cell_add(&shared, step, 10.0);
        else
            for (uint64_t turn = 0, last = 0; turn < 3; turn++)
                last = read(last);
    }

    uint64_t read(uint64_t last) {
        uint64_t steps, time;
        double value;
        if (!shmtel_cell_read(&shared, &steps, &time, &value))
            return last;
        RL_ASSERT(steps >= last && time == steps && value == 10.0 * double(steps));
        return steps;
    }

    void after() { RL_ASSERT(read(0) == 4); }
};

struct exemplar : rl::test_suite<exemplar, 2> {
    static const uint64_t ROOM = 8;
    struct {
        shmtel_producer_page out;
        shmtel_exemplar place;
        struct {
            shmtel_exemplar_slot head;
            uint64_t labels;
        } slots[2];
    } shared;
    shadow::memory memory{shadow::GUARDED_BY_MARKS, shared};
    shmtel_producer producer;

    void before() {
        shadow::shared = &memory;
        memory.declare(&shared.out.exemplars, uint64_t(0));
        memory.declare(&shared.place.steps, uint64_t(0));
        memory.declare_bytes(shared.slots, sizeof(shared.slots));
        producer = shmtel_producer();
        producer.out = &shared.out;
    }

    void thread(unsigned index) {
        if (index == 0)
            for (uint64_t step = 1; step <= 4; step++) {
                shmtel_exemplar_slot head = {step, 10.0 * double(step), ROOM};
                shmtel_exemplar_set(&producer, &shared.place, ROOM, &head, &step);
            }
        else
            for (uint64_t turn = 0, last = 0; turn < 3; turn++)
                last = read(last);
    }

    uint64_t read(uint64_t last) {
        uint64_t steps, labels;
        shmtel_exemplar_slot head;
        uint64_t counted = shadow::load(&shared.out.exemplars, rl::mo_acquire);
        if (!shmtel_exemplar_read(&shared.place, ROOM, &steps, &head, &labels))
            return last;
        RL_ASSERT(steps >= last && steps >= counted);
        RL_ASSERT(head.time == steps && head.value == 10.0 * double(steps) && labels == steps);
        return steps;
    }

    void after() { RL_ASSERT(read(0) == 4); }
};
