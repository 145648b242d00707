"""The clock of the rings: which one can be used here, and how its ticks become time.

The TSC is read in 8 ns, CLOCK_MONOTONIC in 21 ns. It is used where the processor says that it is invariant and the
kernel itself keeps time by it (or by kvm-clock, which is made from it).
"""

from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec

import platform
import time

cdef extern from "shmtelemetry.h" nogil:
    unsigned long long shmtel_ticks(unsigned int clock)
    unsigned long long SHMTEL_LOAD_ACQUIRE(const unsigned long long *pointer)
    void SHMTEL_STORE_RELEASE(unsigned long long *pointer, unsigned long long value)
    enum: SHMTEL_CLOCK_MONOTONIC, SHMTEL_CLOCK_TSC

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <cpuid.h>
    static int has_invariant_tsc(void) { /* CPUID 8000_0007h EDX bit 8: AMD APM vol. 3, Intel SDM vol. 2A */
        unsigned a, b, c, d;
        return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & (1u << 8));
    }
    #else
    static int has_invariant_tsc(void) { return 0; }
    #endif
    """
    bint has_invariant_tsc()

cdef extern from *:
    """
    #define BEGIN(flag) (__atomic_exchange_n((flag), 1, __ATOMIC_ACQ_REL) == 0)
    """
    bint BEGIN(int *flag) nogil

cdef int chosen = -1
cdef int measuring = 0               # whether somebody has begun to measure the TSC
cdef double tick_seconds = 0.0       # of the TSC, once measured
cdef unsigned long long first_ticks = 0, first_ns = 0
cdef unsigned long long MEASURE_NS = 10000000


cdef unsigned long long nanoseconds(int clock_id) noexcept nogil:
    cdef timespec now
    clock_gettime(<int>clock_id, &now)
    return <unsigned long long>now.tv_sec * 1000000000 + <unsigned long long>now.tv_nsec


def clock_kind() -> int:
    """layout.CLOCKS["tsc"] where the TSC can be relied on, else layout.CLOCKS["monotonic"]."""
    global chosen
    if chosen < 0:
        chosen = SHMTEL_CLOCK_TSC if _tsc_is_reliable() else SHMTEL_CLOCK_MONOTONIC
    return chosen


def _tsc_is_reliable() -> bool:
    if platform.machine() == "aarch64":
        return True  # cntvct_el0 is architected: constant, and the same on every core
    try:
        with open("/sys/devices/system/clocksource/clocksource0/current_clocksource") as file:
            return has_invariant_tsc() and file.read().strip() in ("tsc", "kvm-clock")
    except OSError:
        return False


def ticks(unsigned int clock) -> int:
    """The clock's present reading."""
    return shmtel_ticks(clock)


cdef void pair(unsigned int clock, int clock_id, unsigned long long *tick, unsigned long long *ns) noexcept nogil:
    """Both clocks at one moment: of several readings the one that took least."""
    cdef unsigned long long before, now, after, best = <unsigned long long>-1
    cdef int _
    for _ in range(16):
        before = shmtel_ticks(clock)
        now = nanoseconds(clock_id)
        after = shmtel_ticks(clock)
        if after - before < best:
            best = after - before
            tick[0], ns[0] = before + (after - before) // 2, now


cdef void begin_measuring() noexcept:
    """Note where the TSC stands, so that its speed is known without a wait when it is first needed."""
    cdef unsigned long long tick = 0, ns = 0
    if BEGIN(&measuring):  # of threads that come at once the first
        pair(SHMTEL_CLOCK_TSC, CLOCK_MONOTONIC, &tick, &ns)
        global first_ticks
        first_ticks = tick
        SHMTEL_STORE_RELEASE(&first_ns, ns)
    while SHMTEL_LOAD_ACQUIRE(&first_ns) == 0:  # it takes a microsecond
        pass


cdef double seconds_per_tick(unsigned int clock) except -1.0:
    """Of the TSC: measured once, over at least 10 ms; waits for as much of them as has not passed."""
    global tick_seconds
    if clock == SHMTEL_CLOCK_MONOTONIC:
        return 1e-9
    if tick_seconds == 0.0:
        begin_measuring()
        while nanoseconds(CLOCK_MONOTONIC) - first_ns < MEASURE_NS:
            time.sleep(0.001)
        tick_seconds = _measured(clock)
    return tick_seconds


cdef double _measured(unsigned int clock) noexcept:
    cdef unsigned long long tick = 0, ns = 0
    pair(clock, CLOCK_MONOTONIC, &tick, &ns)
    return <double>(ns - first_ns) * 1e-9 / <double>(tick - first_ticks)


def tick_length(unsigned int clock) -> float:
    """Seconds a tick, from the longest time that was measured so far."""
    global tick_seconds
    if seconds_per_tick(clock) and clock == SHMTEL_CLOCK_TSC:
        tick_seconds = _measured(clock)
        return tick_seconds
    return 1e-9


def epoch_anchor(unsigned int clock) -> tuple[int, int]:
    """(ticks, nanoseconds since the epoch) of one moment."""
    cdef unsigned long long tick = 0, ns = 0
    pair(clock, CLOCK_REALTIME, &tick, &ns)
    return tick, ns
