// Orders of four threads, counted and timed, and the trades that came of them as records of one's own.
//
//     c++ -std=c++17 -O2 $(python -m shmtelemetry --cflags) examples/cpp/engine.cpp -o engine
//     ./engine && shmtel reader --once
#include <shmtelemetry.hpp>

#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

enum class Side : std::uint8_t { buy, sell };

struct Trade {
    std::uint64_t ts; // nanoseconds since the epoch
    char symbol[8];
    Side side;
    std::uint32_t latency_ns;
    std::uint32_t quantity;
};

static constexpr const char *sides[] = {"buy", "sell", nullptr};
static constexpr double buckets[] = {500e-9, 1e-6, 2e-6};

template <> struct shmtel::Description<Trade> {
    static constexpr shmtel::Field fields[] = {
        SHMTEL_MEMBER(Trade, ts).time("ns"),
        SHMTEL_MEMBER(Trade, symbol).label(),
        SHMTEL_MEMBER(Trade, side).label(sides),
        SHMTEL_MEMBER(Trade, latency_ns).histogram("trade_latency_seconds", "ns", buckets),
        SHMTEL_MEMBER(Trade, quantity).counter("traded_quantity_total"),
    };
};

static const char *space = "default";

struct Instruments { // of one thread
    shmtel::Telemetry telemetry{"engine", space, {8192}};
    shmtel::Records<Trade> trades{"trades", space, {8192}};
    shmtel::Counter sent = telemetry.counter("orders_total", "Orders sent.", {{"symbol", "AAPL"}});
    shmtel::Gauge depth = telemetry.gauge("queue_depth", "Orders that wait.", {}, "sum");
    shmtel::Histogram latency = telemetry.histogram("order_latency_us", "From the decision to the wire.");

    Instruments() {
        if (telemetry.error() || trades.error())
            std::fprintf(stderr, "engine: %s; %s\n", telemetry.error_text(), trades.error_text());
    }
};

static Instruments &instruments() {
    thread_local Instruments mine;
    return mine;
}

static void send_order(std::uint32_t number) {
    Instruments &mine = instruments();
    auto timer = mine.latency.time();
    mine.sent.inc();
    mine.depth.emit(number);
    auto now = std::chrono::system_clock::now().time_since_epoch();
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    mine.trades.emit({static_cast<std::uint64_t>(ns), "AAPL", number % 2 ? Side::sell : Side::buy, 800 + number, 100});
}

int main(int count, char **arguments) {
    space = count > 1 ? arguments[1] : space;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; thread++)
        threads.emplace_back([] {
            for (std::uint32_t number = 0; number < 1000; number++)
                send_order(number);
        });
    for (std::thread &thread : threads)
        thread.join();
}
