/* Trades as records of one's own, from four threads at once. The reader makes metrics of them by the roles of their
 * fields; a Consumer, a Tap or `shmtel tail` reads them as numpy records.
 *
 *     cc -std=c11 -O2 $(python -m shmtelemetry --cflags) examples/c/trades.c -o trades
 *     ./trades && shmtel reader --once
 */
#include <shmtelemetry_producer.h>

typedef struct trade {
    uint64_t ts; /* nanoseconds since the epoch */
    char symbol[8];
    uint8_t side;
    uint32_t latency_ns;
    uint32_t quantity;
} trade;

static const char *const sides[] = {"buy", "sell", NULL};
static const shmtel_field fields[] = {
    {SHMTEL_FIELD(trade, ts, 'u'), .role = "time", .unit = "ns"},
    {SHMTEL_FIELD(trade, symbol, 'S'), .role = "label"},
    {SHMTEL_FIELD(trade, side, 'u'), .role = "label", .values = sides},
    {SHMTEL_FIELD(trade, latency_ns, 'u'), .role = "histogram", .metric = "trade_latency_seconds", .unit = "ns"},
    {SHMTEL_FIELD(trade, quantity, 'u'), .role = "counter", .metric = "traded_quantity_total"},
};
static const shmtel_schema schema = {fields, sizeof(fields) / sizeof(*fields), sizeof(trade), 0};
static const char *space = "default";

typedef struct ring {
    shmtel_telemetry *trades;
} ring;

static void open_ring(ring *mine) {
    shmtel_options options = {.capacity = 8192};
    int error = shmtel_open_records(&mine->trades, "trades", space, &schema, &options);
    if (error)
        fprintf(stderr, "trades: no telemetry: %s\n", shmtel_error_text(error));
}

static void close_ring(ring *mine) {
    shmtel_close(mine->trades);
}

SHMTEL_PER_THREAD(ring, my_ring, open_ring, close_ring);

static void *trade_on(void *argument) {
    for (uint32_t number = 0; number < 1000; number++) {
        trade made = {.symbol = "AAPL", .side = number % 2, .latency_ns = 800 + number, .quantity = 100};
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        made.ts = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        shmtel_emit(my_ring()->trades, &made, sizeof(made));
    }
    return argument;
}

int main(int count, char **argument) {
    pthread_t threads[4];
    space = count > 1 ? argument[1] : space;
    for (int number = 0; number < 4; number++)
        if (pthread_create(&threads[number], NULL, trade_on, NULL))
            return 1;
    for (int number = 0; number < 4; number++)
        pthread_join(threads[number], NULL);
    return 0;
}
