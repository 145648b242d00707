/* Which ring a Python thread writes. Where the GIL lets one run at a time, all have the first; without it each has one of
 * its own, which it finds by its identity, without a lock: an entry is written and read by its thread alone.
 */
#ifndef SHMTELEMETRY_THREADS_H
#define SHMTELEMETRY_THREADS_H

#include <Python.h>
#include <stdlib.h>

#include "shmtelemetry.h"

#ifdef Py_GIL_DISABLED
#define SHMTEL_FREE_THREADED 1
#else
#define SHMTEL_FREE_THREADED 0
#endif

typedef struct shmtel_seat {
    uintptr_t thread; /* 0: never taken; SHMTEL_LEFT: free again */
    shmtel_producer *ring;
} shmtel_seat;

#define SHMTEL_LEFT ((uintptr_t)1) /* no thread's identity, which is an address */

typedef struct shmtel_seats {
    struct shmtel_seats *smaller; /* the table before this one, in which somebody may still look */
    size_t mask;
    size_t taken;
    shmtel_seat at[];
} shmtel_seats;

/* In the page that a fork wipes: a child has no table, and so finds no ring of its parent's. */
typedef struct shmtel_first {
    shmtel_producer ring;
    shmtel_seats *seats;
} shmtel_first;

static shmtel_first shmtel_nowhere __attribute__((unused)); /* all zero: a full ring */

#ifdef Py_GIL_DISABLED

static inline uintptr_t shmtel_this_thread(void) {
    return _Py_ThreadId();
}

static inline size_t shmtel_seat_of(uintptr_t thread) {
    return (size_t)((thread * UINT64_C(0x9E3779B97F4A7C15)) >> 32); /* Fibonacci hashing: Knuth, TAOCP vol. 3, 6.4 */
}

/* This thread's ring; an empty one, which is as good as full, if it has none yet. */
static inline shmtel_producer *shmtel_here(shmtel_producer *first) {
    shmtel_seats *seats = __atomic_load_n(&((shmtel_first *)first)->seats, __ATOMIC_ACQUIRE);
    if (seats) {
        uintptr_t me = shmtel_this_thread();
        size_t at = shmtel_seat_of(me);
        for (size_t left = seats->mask + 1; left; left--, at++) {
            shmtel_seat *seat = &seats->at[at & seats->mask];
            uintptr_t thread = __atomic_load_n(&seat->thread, __ATOMIC_RELAXED);
            if (thread == me)
                return seat->ring;
            if (!thread)
                break;
        }
    }
    return &shmtel_nowhere.ring;
}

/* The following three change the table: under a lock. */

static inline void shmtel_put(shmtel_seats *seats, uintptr_t thread, shmtel_producer *ring) {
    size_t at = shmtel_seat_of(thread);
    while (seats->at[at & seats->mask].thread > SHMTEL_LEFT)
        at++;
    seats->at[at & seats->mask].ring = ring;
    __atomic_store_n(&seats->at[at & seats->mask].thread, thread, __ATOMIC_RELEASE);
    seats->taken++;
}

/* Let this thread, which has no ring yet, have one. Returns 0 where there is no memory. */
static inline int shmtel_sit(shmtel_producer *first, shmtel_seats **all, shmtel_producer *ring) {
    shmtel_seats *seats = *all;
    if (!seats || seats->taken * 2 > seats->mask) {
        size_t room = seats ? 2 * (seats->mask + 1) : 16;
        shmtel_seats *larger = (shmtel_seats *)calloc(1, sizeof(shmtel_seats) + room * sizeof(shmtel_seat));
        if (!larger)
            return 0;
        larger->mask = room - 1;
        larger->smaller = seats;
        for (size_t at = 0; seats && at <= seats->mask; at++)
            if (seats->at[at].thread > SHMTEL_LEFT)
                shmtel_put(larger, seats->at[at].thread, seats->at[at].ring);
        *all = seats = larger;
    }
    shmtel_put(seats, shmtel_this_thread(), ring);
    __atomic_store_n(&((shmtel_first *)first)->seats, seats, __ATOMIC_RELEASE);
    return 1;
}

static inline void shmtel_leave(shmtel_seats *seats, uintptr_t thread) {
    for (size_t at = 0; seats && at <= seats->mask; at++)
        if (seats->at[at].thread == thread) {
            __atomic_store_n(&seats->at[at].thread, SHMTEL_LEFT, __ATOMIC_RELEASE);
            seats->taken--;
        }
}

/* From here on no thread finds a ring. The table stays for those who look in it just now. */
static inline void shmtel_clear(shmtel_producer *first) {
    __atomic_store_n(&((shmtel_first *)first)->seats, (shmtel_seats *)NULL, __ATOMIC_RELEASE);
}

#else

static inline uintptr_t shmtel_this_thread(void) {
    return 0;
}

static inline shmtel_producer *shmtel_here(shmtel_producer *first) {
    return first;
}

static inline int shmtel_sit(shmtel_producer *first, shmtel_seats **all, shmtel_producer *ring) {
    (void)first, (void)all, (void)ring;
    return 1;
}

static inline void shmtel_leave(shmtel_seats *seats, uintptr_t thread) {
    (void)seats, (void)thread;
}

static inline void shmtel_clear(shmtel_producer *first) {
    (void)first;
}

#endif

static inline void shmtel_free_seats(shmtel_seats *seats) {
    while (seats) {
        shmtel_seats *smaller = seats->smaller;
        free(seats);
        seats = smaller;
    }
}

#endif
