// The C++ face in loops, for face.py; with -DSPSC, rigtorp's queue as well.
#include "shmtelemetry.hpp"

#ifdef SPSC
#include <rigtorp/SPSCQueue.h>
#endif

struct Sample {
    std::uint64_t time;
    std::uint32_t series;
    std::uint32_t flags;
    double value;
};

template <> struct shmtel::Description<Sample> {
    static constexpr shmtel::Field fields[] = {SHMTEL_MEMBER(Sample, time), SHMTEL_MEMBER(Sample, series),
                                               SHMTEL_MEMBER(Sample, flags), SHMTEL_MEMBER(Sample, value)};
};

static shmtel::Telemetry *telemetry;
static shmtel::Counter counter;
static shmtel::Records<Sample> *records;

extern "C" int open_face(const char *space, std::uint64_t capacity) {
    telemetry = new shmtel::Telemetry("counter", space, {capacity});
    counter = telemetry->counter("emitted");
    records = new shmtel::Records<Sample>("records", space, {capacity});
    return telemetry->error() ? telemetry->error() : records->error();
}

extern "C" void close_face() {
    delete telemetry;
    delete records;
}

extern "C" std::uint64_t emit_counter(std::uint64_t count) {
    std::uint64_t taken = 0;
    for (std::uint64_t number = 0; number < count; number++)
        taken += counter.emit(0.0125);
    return taken;
}

extern "C" std::uint64_t emit_records(std::uint64_t count) {
    std::uint64_t taken = 0;
    for (std::uint64_t number = 0; number < count; number++)
        taken += records->emit({shmtel_ticks(SHMTEL_CLOCK_TSC), 7, 0, 0.0125});
    return taken;
}

#ifdef SPSC
static rigtorp::SPSCQueue<Sample> *queue;

extern "C" void open_queue(std::uint64_t capacity) {
    queue = new rigtorp::SPSCQueue<Sample>(capacity);
}

extern "C" void drain_queue() {
    while (queue->front())
        queue->pop();
}

extern "C" std::uint64_t push_queue(std::uint64_t count) {
    std::uint64_t taken = 0;
    for (std::uint64_t number = 0; number < count; number++)
        taken += queue->try_push(Sample{shmtel_ticks(SHMTEL_CLOCK_TSC), 7, 0, 0.0125});
    return taken;
}
#endif
