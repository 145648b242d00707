/* Orders of a small engine, counted and timed from C.
 *
 *     cc -std=c11 -O2 $(python -m shmtelemetry --cflags) examples/c/orders.c -o orders
 *     ./orders && shmtel reader --once
 */
#include <shmtelemetry_producer.h>

typedef struct engine { /* of one thread */
    shmtel_telemetry *telemetry;
    shmtel_counter sent;
    shmtel_gauge depth;
    shmtel_histogram latency;
} engine;

static int set_up(engine *mine, const char *space) {
    static const char *const labels[] = {"symbol", "side", NULL}, *const aapl[] = {"AAPL", "buy", NULL};
    shmtel_metric sent = {.name = "orders_total", .help = "Orders sent.", .labels = labels};
    shmtel_metric depth = {.name = "queue_depth", .help = "Orders that wait.", .merge = "sum"};
    shmtel_metric latency = {.name = "order_latency_us", .help = "From the decision to the wire."};
    int error = shmtel_open(&mine->telemetry, "engine", space, NULL);
    if (!error)
        error = shmtel_add_counter(mine->telemetry, &sent, aapl, &mine->sent);
    if (!error)
        error = shmtel_add_gauge(mine->telemetry, &depth, NULL, &mine->depth);
    if (!error)
        error = shmtel_add_histogram(mine->telemetry, &latency, NULL, &mine->latency);
    return error;
}

static void send_order(engine *mine, int waiting) {
    SHMTEL_TIME(&mine->latency);
    shmtel_counter_emit(&mine->sent, 1.0);
    shmtel_gauge_emit(&mine->depth, waiting);
}

int main(int count, char **argument) {
    engine mine;
    int error = set_up(&mine, count > 1 ? argument[1] : "default");
    if (error) {
        fprintf(stderr, "orders: no telemetry: %s\n", shmtel_error_text(error));
        return 1;
    }
    for (int waiting = 999; waiting >= 0; waiting--)
        send_order(&mine, waiting);
    shmtel_close(mine.telemetry);
    return 0;
}
