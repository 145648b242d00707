/* A producer in C that emits until it is killed, and tells in a shared file what was taken and what was not. */
#include "shmtelemetry_producer.h"

typedef struct tally {
    uint64_t counted, observed, dropped, records, refused;
} tally;

typedef struct wide { /* its number in each word, in another form in each; so large that its copy takes a while */
    uint64_t word[64];
} wide;

static const shmtel_field fields[] = {
    {"words", 'S', 0, sizeof(wide), NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL},
};

int main(int count, char **argument) {
    char beside[80]; /* a namespace of their own for the records, which somebody else reads */
    int fd = count == 3 ? open(argument[2], O_RDWR) : -1;
    tally *told = (tally *)mmap(NULL, sizeof(tally), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shmtel_telemetry *instruments, *records;
    shmtel_options options = {1024, SHMTEL_DROP_NEWEST, 0};
    shmtel_schema schema = {fields, 1, sizeof(wide), 0};
    shmtel_metric c = {"c", NULL, NULL, NULL, NULL, 0, NULL}, h = {"h", NULL, NULL, NULL, NULL, 0, NULL};
    shmtel_metric g = {"g", NULL, NULL, NULL, NULL, 0, NULL};
    shmtel_counter counter;
    shmtel_gauge gauge;
    shmtel_histogram histogram;
    snprintf(beside, sizeof(beside), "%.60s-records", count > 1 ? argument[1] : "");
    if (told == MAP_FAILED || shmtel_open(&instruments, "instruments", argument[1], &options) ||
        shmtel_open_records(&records, "records", beside, &schema, &options) ||
        shmtel_add_counter(instruments, &c, NULL, &counter) || shmtel_add_gauge(instruments, &g, NULL, &gauge) ||
        shmtel_add_histogram(instruments, &h, NULL, &histogram))
        return 1;
    for (;;) {
        wide record;
        told->counted += (uint64_t)shmtel_counter_emit(&counter, 1.0);
        shmtel_gauge_emit(&gauge, (double)told->counted);
        if (shmtel_histogram_emit(&histogram, 0.5))
            told->observed++;
        else
            told->dropped++;
        for (uint64_t word = 0; word < 64; word++)
            record.word[word] = told->records ^ (word * UINT64_C(0x9E3779B97F4A7C15));
        if (shmtel_emit(records, &record, sizeof(record)))
            told->records++;
        else
            told->refused++;
    }
}
