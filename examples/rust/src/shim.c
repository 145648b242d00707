/* What inline functions of C are to a language that links: a function each. */
#include <shmtelemetry_producer.h>

int telemetry_open(shmtel_telemetry **opened, const char *name, const char *space) {
    return shmtel_open(opened, name, space, NULL);
}

void telemetry_close(shmtel_telemetry *telemetry) {
    shmtel_close(telemetry);
}

const char *telemetry_error(int error) {
    return shmtel_error_text(error);
}

size_t counter_size(void) {
    return sizeof(shmtel_counter);
}

int counter_add(shmtel_telemetry *telemetry, const char *name, const char *help, const char *const *labels,
                const char *const *values, shmtel_counter *counter) {
    shmtel_metric metric = {.name = name, .help = help, .labels = labels};
    return shmtel_add_counter(telemetry, &metric, values, counter);
}

int counter_emit(const shmtel_counter *counter, double amount) {
    return shmtel_counter_emit(counter, amount);
}

size_t histogram_size(void) {
    return sizeof(shmtel_histogram);
}

int histogram_add(shmtel_telemetry *telemetry, const char *name, const char *help, shmtel_histogram *histogram) {
    shmtel_metric metric = {.name = name, .help = help};
    return shmtel_add_histogram(telemetry, &metric, NULL, histogram);
}

int histogram_emit(const shmtel_histogram *histogram, double value) {
    return shmtel_histogram_emit(histogram, value);
}
