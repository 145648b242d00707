cdef double seconds_per_tick(unsigned int clock) except -1.0
cdef unsigned long long nanoseconds(int clock_id) noexcept nogil
cdef void begin_measuring() noexcept
