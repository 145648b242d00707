// What the C++ face does at its edges; ends with the number of the line that found otherwise.
#include "shmtelemetry.hpp"

#include <cstdio>
#include <limits>

#define EXPECT(condition) \
    if (!(condition))     \
        return __LINE__

struct Tick {
    std::uint64_t seq;
    double price;
};

template <> struct shmtel::Description<Tick> {
    static constexpr shmtel::Field fields[] = {SHMTEL_MEMBER(Tick, seq), SHMTEL_MEMBER(Tick, price).gauge("price")};
};

static int instruments(const char *space) {
    shmtel::Counter never;
    EXPECT(!never.emit(1.0));
    shmtel::Telemetry first("p", space, {16});
    EXPECT(!first.error());
    shmtel::Counter counter = first.counter("c", "", {{"a", "1"}});
    shmtel::Telemetry telemetry = std::move(first);
    EXPECT(first.error() == SHMTEL_NOT_OPEN && !telemetry.error());
    EXPECT(counter.inc() && counter.emit(2.5) && !counter.emit(-1.0));
    shmtel::Counter same = telemetry.counter("c_total", "", {{"a", "1"}});
    EXPECT(same.inc());
    shmtel::Gauge gauge = telemetry.gauge("g", "help", {}, "max");
    EXPECT(gauge.emit(std::numeric_limits<double>::quiet_NaN()) && gauge.emit(3.0));
    shmtel::Histogram histogram = telemetry.histogram("h_ms", "", {}, {1.0, 10.0});
    EXPECT(histogram.emit(5.0) && !histogram.emit(std::numeric_limits<double>::quiet_NaN()));
    { auto timer = histogram.time(); }
    EXPECT(telemetry.stats().rejected == 2 && telemetry.stats().in_ring == 7);
    shmtel::Gauge wrong = telemetry.gauge("c_total");
    EXPECT(telemetry.error() == SHMTEL_CONFLICT && !wrong.emit(1.0) && counter.inc());
    return 0;
}

static int records(const char *space) {
    shmtel::Records<Tick> ticks("ticks", space, {16});
    int taken = 0;
    for (std::uint64_t seq = 0; seq < 20; seq++)
        taken += ticks.emit({seq, 1.5});
    EXPECT(!ticks.error() && taken == 16 && ticks.stats().dropped_full == 4);
    shmtel::Records<Tick> recorder("recorder", space, {16, SHMTEL_OVERWRITE_OLDEST});
    shmtel::Records<Tick> moved = std::move(recorder);
    EXPECT(!recorder.emit({0, 0.0}) && recorder.error() == SHMTEL_NOT_OPEN);
    for (std::uint64_t seq = 0; seq < 20; seq++)
        EXPECT(moved.emit({seq, 1.5}));
    shmtel::Records<Tick> refused("no name", space);
    EXPECT(refused.error() == SHMTEL_BAD_NAME && !refused.emit({0, 0.0}));
    return 0;
}

int main(int count, char **arguments) {
    if (count != 2)
        return 1;
    if (int line = instruments(arguments[1]))
        std::printf("instruments: line %d\n", line);
    if (int line = records(arguments[1]))
        std::printf("records: line %d\n", line);
}
