/* A producer in C that does what the lines of its standard input say, and answers each with a line. */
#include "shmtelemetry_producer.h"

#include <sys/wait.h>

#define WORDS 12
#define MOST 64

typedef union handle {
    shmtel_counter counter;
    shmtel_gauge gauge;
    shmtel_histogram histogram;
} handle;

static shmtel_telemetry *telemetry;
static handle handles[MOST];
static char kinds[MOST];
static int used;

/* "a,b" → {"a", "b", NULL}; "-" → {NULL} */
static const char *const *split(char *list, const char **parts) {
    size_t count = 0;
    for (char *at = strcmp(list, "-") ? list : NULL; at; count++) {
        char *comma = strchr(at, ',');
        parts[count] = at;
        if (comma)
            *comma = '\0';
        at = comma ? comma + 1 : NULL;
    }
    parts[count] = NULL;
    return parts;
}

/* add KIND NAME UNIT MERGE LABELS VALUES HELP → the answer and the number of the handle */
static void add(char **word, char *help) {
    const char *labels[MOST], *values[MOST];
    shmtel_metric metric = {.name = word[2], .help = help};
    metric.unit = strcmp(word[3], "-") ? word[3] : NULL;
    metric.merge = strcmp(word[4], "-") ? word[4] : NULL;
    metric.labels = split(word[5], labels);
    const char *const *given = split(word[6], values);
    handle *made = &handles[used];
    int error = *word[1] == 'c'   ? shmtel_add_counter(telemetry, &metric, given, &made->counter)
                : *word[1] == 'g' ? shmtel_add_gauge(telemetry, &metric, given, &made->gauge)
                                  : shmtel_add_histogram(telemetry, &metric, given, &made->histogram);
    kinds[used] = *word[1];
    printf("%d %d\n", error, used++);
}

/* emit HANDLE VALUE TIMES → how many were taken */
static void emit(int number, double value, long times) {
    long taken = 0;
    const handle *to = &handles[number];
    for (long time = 0; time < times; time++)
        taken += kinds[number] == 'c'   ? shmtel_counter_emit(&to->counter, value)
                 : kinds[number] == 'g' ? shmtel_gauge_emit(&to->gauge, value)
                                        : shmtel_histogram_emit(&to->histogram, value);
    printf("%ld\n", taken);
}

/* "NAME:KIND:OFFSET:SIZE:ROLE:METRIC:UNIT" → a field; an empty part is NULL. */
static void read_field(char *text, shmtel_field *field) {
    char *part[7] = {NULL};
    for (int at = 0; at < 7 && text; at++) {
        char *one = strsep(&text, ":");
        part[at] = *one ? one : NULL;
    }
    memset(field, 0, sizeof(*field));
    field->name = part[0];
    field->kind = part[1] ? *part[1] : '\0';
    field->offset = part[2] ? strtoull(part[2], NULL, 10) : 0;
    field->size = part[3] ? strtoull(part[3], NULL, 10) : 0;
    field->role = part[4];
    field->metric = part[5];
    field->unit = part[6];
}

/* records NAME SPACE CAPACITY POLICY SIZE FIELD FIELD … */
static void open_records(char **word, char *rest) {
    shmtel_field fields[MOST];
    shmtel_options options = {.capacity = strtoull(word[3], NULL, 10), .policy = (enum shmtel_policy)atoi(word[4])};
    shmtel_schema schema = {fields, 0, strtoull(word[5], NULL, 10), 0};
    rest[strcspn(rest, "\n")] = '\0';
    for (char *text; schema.count < MOST && (text = strsep(&rest, " "));)
        if (*text)
            read_field(text, &fields[schema.count++]);
    printf("%d\n", shmtel_open_records(&telemetry, word[1], word[2], &schema, &options));
}

/* record FIRST COUNT SIZE: records that begin with their number → how many were taken */
static void emit_records(uint64_t first, uint64_t count, size_t size) {
    uint64_t record[512] = {0};
    int taken = 0;
    for (record[0] = first; record[0] < first + count; record[0]++)
        taken += shmtel_emit(telemetry, record, size);
    printf("%d\n", taken);
}

static void timed(int number, long milliseconds) {
    SHMTEL_TIME(&handles[number].histogram);
    struct timespec wait = {0, milliseconds * 1000000};
    nanosleep(&wait, NULL);
}

static void stats(void) {
    shmtel_stats now;
    shmtel_stats_of(telemetry, &now);
    printf("{\"attempted\": %llu, \"consumed\": %llu, \"in_ring\": %llu, \"coalesced\": %llu, \"dropped_full\": %llu, "
           "\"dropped_no_ring\": %llu, \"overwritten\": %llu, \"rejected\": %llu}\n",
           (unsigned long long)now.attempted, (unsigned long long)now.consumed, (unsigned long long)now.in_ring,
           (unsigned long long)now.coalesced, (unsigned long long)now.dropped_full,
           (unsigned long long)now.dropped_no_ring, (unsigned long long)now.overwritten,
           (unsigned long long)now.rejected);
}

/* The lines that follow are the child's, up to its end. */
static void forked(void) {
    pid_t child = fork();
    if (child > 0)
        waitpid(child, NULL, 0);
    else
        printf("%d\n", (int)getpid());
}

static int obey(char *line) {
    char *word[WORDS] = {NULL}, *at = line;
    for (int count = 0; count < (*line == 'r' ? 6 : 7) && (word[count] = strsep(&at, " \n")); count++)
        ;
    if (!strcmp(word[0], "open")) { /* open NAME SPACE CAPACITY [MODE] */
        shmtel_options options = {.capacity = strtoull(word[3], NULL, 10)};
        options.mode = word[4] ? (mode_t)strtoul(word[4], NULL, 8) : 0;
        printf("%d\n", shmtel_open(&telemetry, word[1], word[2], &options));
    } else if (!strcmp(word[0], "records")) {
        open_records(word, at);
    } else if (!strcmp(word[0], "record")) {
        emit_records(strtoull(word[1], NULL, 10), strtoull(word[2], NULL, 10), strtoull(word[3], NULL, 10));
    } else if (!strcmp(word[0], "add")) {
        if (at)
            at[strcspn(at, "\n")] = '\0';
        add(word, at);
    } else if (!strcmp(word[0], "emit")) {
        emit(atoi(word[1]), strtod(word[2], NULL), atol(word[3]));
    } else if (!strcmp(word[0], "time")) { /* time HANDLE MILLISECONDS */
        timed(atoi(word[1]), atol(word[2]));
        printf("0\n");
    } else if (!strcmp(word[0], "stats")) {
        stats();
    } else if (!strcmp(word[0], "fork")) {
        forked();
    } else if (!strcmp(word[0], "close")) {
        shmtel_close(telemetry);
        telemetry = NULL;
        used = 0;
        printf("0\n");
    } else {
        return 0;
    }
    return 1;
}

int main(void) {
    char line[16384];
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stdin, NULL, _IONBF, 0); /* so that parent and child read on where the other came to */
    while (fgets(line, sizeof(line), stdin) && obey(line))
        ;
    return 0;
}
