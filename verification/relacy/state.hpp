// The marks of the reader's state: whoever copies while the loop goes on has copies of one moment.
#pragma once
#include "tests.hpp"

#include "_marks.h"

struct series : rl::test_suite<series, 3> { // the loop, and two who look on, as copy_series does
    static const uint64_t WORDS = 3, CHANGES = 3;
    struct {
        uint64_t mark;
        uint64_t words[WORDS];
    } shared;
    shadow::memory memory{shadow::GUARDED_BY_MARKS, shared};

    void before() {
        shadow::shared = &memory;
        memory.declare(&shared.mark, uint64_t(0));
        memory.declare_bytes(shared.words, sizeof(shared.words));
    }

    void thread(unsigned index) {
        if (index == 0) // after change n all words are n
            for (uint64_t change = 1; change <= CHANGES; change++) {
                uint64_t odd = shmtel_mark_begin(&shared.mark);
                for (uint64_t &word : shared.words)
                    SHMTEL_STORE_RELAXED(&word, change);
                shmtel_mark_end(&shared.mark, odd);
            }
        else
            for (uint64_t turn = 0, last = 0; turn < 3; turn++)
                last = copy(last);
    }

    uint64_t copy(uint64_t last) {
        uint64_t words[WORDS];
        uint64_t seen = shmtel_mark_look(&shared.mark);
        SHMTEL_COPY(words, shared.words, sizeof(words));
        if (!shmtel_mark_stood(&shared.mark, seen))
            return last;
        RL_ASSERT(words[0] == words[1] && words[1] == words[2]);
        RL_ASSERT(words[0] >= last && 2 * words[0] == seen);
        return words[0];
    }

    void after() { RL_ASSERT(copy(0) == CHANGES); }
};

// A segment's figures have a mark, and its producer's totals another one, under which the segment ends: then its figures
// move to the totals. Whoever looks, as View._accounts does, has each record once.
struct accounts : rl::test_suite<accounts, 2> {
    static const uint64_t LIVE = 1, ENDED = 2;
    struct {
        uint64_t mark_of_totals, total;
        uint64_t mark_of_segment, status, read, written;
    } shared;
    shadow::memory memory{shadow::GUARDED_BY_MARKS, shared};

    void before() {
        shadow::shared = &memory;
        for (uint64_t *word : {&shared.mark_of_totals, &shared.total, &shared.mark_of_segment, &shared.read, &shared.written})
            memory.declare(word, uint64_t(0));
        memory.declare(&shared.status, uint64_t(LIVE));
    }

    void thread(unsigned index) {
        if (index == 0) {
            for (uint64_t records : {1, 2})
                note(records);
            uint64_t odd = shmtel_mark_begin(&shared.mark_of_totals);
            SHMTEL_STORE_RELAXED(&shared.total, uint64_t(2));
            SHMTEL_STORE_RELAXED(&shared.status, uint64_t(ENDED));
            shmtel_mark_end(&shared.mark_of_totals, odd);
        } else {
            for (uint64_t turn = 0, last = 0; turn < 3; turn++)
                last = look(last);
        }
    }

    void note(uint64_t records) {
        uint64_t odd = shmtel_mark_begin(&shared.mark_of_segment);
        SHMTEL_STORE_RELAXED(&shared.written, records);
        SHMTEL_STORE_RELAXED(&shared.read, records);
        shmtel_mark_end(&shared.mark_of_segment, odd);
    }

    uint64_t look(uint64_t last) {
        uint64_t totals = shmtel_mark_look(&shared.mark_of_totals);
        uint64_t total = SHMTEL_READ(&shared.total);
        uint64_t segment = shmtel_mark_look(&shared.mark_of_segment);
        uint64_t status = SHMTEL_READ(&shared.status), read = SHMTEL_READ(&shared.read);
        uint64_t written = SHMTEL_READ(&shared.written);
        if (!shmtel_mark_stood(&shared.mark_of_segment, segment) || !shmtel_mark_stood(&shared.mark_of_totals, totals))
            return last;
        uint64_t found = total + (status == LIVE ? read : 0);
        RL_ASSERT(read == written && found >= last && found <= 2);
        return found;
    }

    void after() { RL_ASSERT(look(0) == 2); }
};
