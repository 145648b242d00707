/* _marks.h: a mark is odd while what it stands for is being changed. One side changes; whoever copies looks at the mark
 * before and after, and has a copy of one moment if it was even and has not moved.
 *
 *   who changes: shmtel_mark_begin -> write -> shmtel_mark_end
 *   who copies: shmtel_mark_look -> copy -> shmtel_mark_stood
 *
 * Model checkers compile this very file.
 */
#ifndef SHMTEL_MARKS_H
#define SHMTEL_MARKS_H

#include "shmtelemetry.h"

/* Returns the mark, which is odd now, for shmtel_mark_end. */
static inline uint64_t shmtel_mark_begin(SHMTEL_ATOMIC(uint64_t) *mark) {
    uint64_t odd = SHMTEL_LOAD_RELAXED(mark) + 1;
    SHMTEL_STORE_RELAXED(mark, odd);
    /* SYNC POINT: change. Pairs with shmtel_mark_stood: whoever copies a byte of the change sees that it was begun. */
    SHMTEL_FENCE_RELEASE();
    return odd;
}

static inline void shmtel_mark_end(SHMTEL_ATOMIC(uint64_t) *mark, uint64_t odd) {
    /* SYNC POINT: mark. Pairs with shmtel_mark_look: whoever sees it even copies all of the change. */
    SHMTEL_STORE_RELEASE(mark, odd + 1);
}

/* The mark before a copy. */
static inline uint64_t shmtel_mark_look(const SHMTEL_ATOMIC(uint64_t) *mark) {
    /* SYNC POINT: mark. */
    return SHMTEL_LOAD_ACQUIRE(mark);
}

/* Whether a copy that was made since that look is of one moment. */
static inline int shmtel_mark_stood(const SHMTEL_ATOMIC(uint64_t) *mark, uint64_t before) {
    /* SYNC POINT: change. */
    SHMTEL_FENCE_ACQUIRE();
    return !(before & 1) && SHMTEL_LOAD_RELAXED(mark) == before;
}

#endif
