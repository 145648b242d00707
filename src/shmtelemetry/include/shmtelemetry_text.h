/* shmtelemetry_text.h: what C and C++ producers write about their records, as JSON: metrics and schemas, checked as
 * schema.py checks them, so that no reader refuses what was accepted here.
 */
#ifndef SHMTELEMETRY_TEXT_H
#define SHMTELEMETRY_TEXT_H

#include "shmtelemetry_segment.h"

#include <float.h>
#include <math.h>

#define SHMTEL_MAX_BUCKETS 256
#define SHMTEL_MAX_LABELS 64
#define SHMTEL_MAX_LABEL_LENGTH 4096 /* bytes of one label value */
#define SHMTEL_MAX_LABEL_BYTES 4096  /* of one record's label fields together */
#define SHMTEL_MAX_METRIC_FIELDS 16  /* of one schema */
#define SHMTEL_MAX_SCHEMA 65536      /* bytes of its description */

enum shmtel_kind { SHMTEL_COUNTER, SHMTEL_GAUGE, SHMTEL_HISTOGRAM };

/* One metric: what its series have in common. Begin with all zero, and say what differs. */
typedef struct shmtel_metric {
    const char *name;          /* [a-zA-Z_:][a-zA-Z0-9_:]*; `_total` is appended to a counter's that lacks it */
    const char *help;          /* UTF-8; NULL: none */
    const char *const *labels; /* names, NULL at the end; NULL: none */
    const char *unit;          /* of the values: seconds, ms, us, ns, bytes, …; NULL: what the name says */
    const double *buckets;     /* of a histogram, rising and finite; NULL: 1 µs to 1 s */
    size_t bucket_count;
    const char *merge; /* of a gauge: how values of several producers become one: last, sum, min, max or all;
                          NULL: last */
} shmtel_metric;

/* One field of a record, and what it means. */
typedef struct shmtel_field {
    const char *name;
    char kind; /* u, i, f: a number; b: a boolean; S: bytes of text, padded with NUL */
    size_t offset;
    size_t size;
    const char *role;          /* time, label, counter, total, gauge, histogram or attribute; NULL: just carried */
    const char *metric;        /* name of the field's metric; NULL: <producer>_<field> */
    const char *help;
    const char *unit;          /* of the field; a unit of time is converted to the one that the metric's name says */
    const char *const *values; /* of an integer label: texts for 0, 1, …, NULL at the end */
    const double *buckets;
    size_t bucket_count;
    const char *merge;
} shmtel_field;

typedef struct shmtel_schema {
    const shmtel_field *fields;
    size_t count;
    size_t record_size; /* at most 64 KiB */
    int events;         /* whether each record is kept as an event, where a service stores them */
} shmtel_schema;

/* Place and size of a member of a record; what follows them is set by name. */
#define SHMTEL_FIELD(record, member, kind) #member, kind, offsetof(record, member), sizeof(((record *)0)->member)

typedef struct shmtel_text { /* text that grows */
    char *at;
    size_t length;
    size_t room;
    int error; /* the first */
} shmtel_text;

/* ---- Text --------------------------------------------------------------------------------------------------- */

SHMTEL_COLD void shmtel_text_add(shmtel_text *text, const void *bytes, size_t length) {
    if (text->length + length > text->room) {
        size_t room = 2 * (text->length + length);
        char *larger = (char *)realloc(text->at, room);
        if (!larger) {
            text->error = text->error ? text->error : (int)SHMTEL_NO_MEMORY;
            return;
        }
        text->at = larger;
        text->room = room;
    }
    if (length)
        memcpy(text->at + text->length, bytes, length);
    text->length += length;
}

SHMTEL_COLD void shmtel_text_put(shmtel_text *text, const char *string) {
    shmtel_text_add(text, string, strlen(string));
}

/* Length of the UTF-8 character that begins here (RFC 3629); 0 if none does. */
SHMTEL_COLD size_t shmtel_utf8(const unsigned char *at) {
    unsigned char first = at[0], low = 0x80, high = 0xBF;
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xC2 && first <= 0xDF ? 2 : first >= 0xE0 && first <= 0xEF ? 3
                    : first >= 0xF0 && first <= 0xF4 ? 4 : 0;
    low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low; /* no overlong form */
    high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high; /* no surrogate, nothing beyond U+10FFFF */
    for (size_t next = 1; next < length; next++, low = 0x80, high = 0xBF)
        if (at[next] < low || at[next] > high)
            return 0;
    return length;
}

SHMTEL_COLD int shmtel_is_utf8(const char *string) {
    size_t length;
    for (const unsigned char *at = (const unsigned char *)string; *at; at += length)
        if (!(length = shmtel_utf8(at)))
            return 0;
    return 1;
}

SHMTEL_COLD void shmtel_text_string(shmtel_text *text, const char *string) {
    shmtel_text_put(text, "\"");
    for (const char *at = string; *at; at++) {
        char escape[8];
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20) {
            snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)*at);
            shmtel_text_put(text, escape);
        } else {
            shmtel_text_add(text, at, 1);
        }
    }
    shmtel_text_put(text, "\"");
}

SHMTEL_COLD void shmtel_text_double(shmtel_text *text, double number, int digits) {
    char written[64];
    snprintf(written, sizeof(written), "%.*g", digits, number);
    for (char *at = written; *at; at++)
        if (!strchr("+-0123456789e", *at))
            *at = '.'; /* whatever the locale has */
    shmtel_text_put(text, written);
}

SHMTEL_COLD void shmtel_text_unsigned(shmtel_text *text, uint64_t number) {
    char written[24];
    snprintf(written, sizeof(written), "%llu", (unsigned long long)number);
    shmtel_text_put(text, written);
}

/* ,"name":"value" — nothing for NULL. */
SHMTEL_COLD void shmtel_text_item(shmtel_text *text, const char *name, const char *value) {
    if (!value)
        return;
    if (!shmtel_is_utf8(value))
        text->error = text->error ? text->error : (int)SHMTEL_BAD_METRIC;
    shmtel_text_put(text, ",\"");
    shmtel_text_put(text, name);
    shmtel_text_put(text, "\":");
    shmtel_text_string(text, value);
}

/* ---- Metrics ------------------------------------------------------------------------------------------------ */

typedef struct shmtel_unit {
    const char *suffix; /* of a name */
    const char *unit;
    double seconds; /* 0: no unit of time */
} shmtel_unit;

static const shmtel_unit shmtel_units[] __attribute__((unused)) = {
    {"seconds", "seconds", 1.0}, {"ms", "ms", 1e-3},           {"milliseconds", "ms", 1e-3},
    {"us", "us", 1e-6},          {"microseconds", "us", 1e-6}, {"ns", "ns", 1e-9},
    {"nanoseconds", "ns", 1e-9}, {"bytes", "bytes", 0},        {"ratio", "ratio", 0},
    {"percent", "percent", 0},   {"celsius", "celsius", 0},    {"volts", "volts", 0},
    {"joules", "joules", 0},     {"grams", "grams", 0},        {"meters", "meters", 0},
    {"usd", "usd", 0},
};

SHMTEL_COLD const shmtel_unit *shmtel_unit_named(const char *name) {
    for (size_t at = 0; at < sizeof(shmtel_units) / sizeof(*shmtel_units); at++)
        if (!strcmp(shmtel_units[at].unit, name))
            return &shmtel_units[at];
    return NULL;
}

/* The unit that a metric's name says, by its last word before `_total`; NULL if it says none. */
SHMTEL_COLD const shmtel_unit *shmtel_unit_said(const char *name) {
    size_t length = strlen(name);
    if (length >= 6 && !strcmp(name + length - 6, "_total"))
        length -= 6;
    size_t begin = length;
    while (begin && name[begin - 1] != '_')
        begin--;
    for (size_t at = 0; at < sizeof(shmtel_units) / sizeof(*shmtel_units); at++)
        if (strlen(shmtel_units[at].suffix) == length - begin &&
            !strncmp(shmtel_units[at].suffix, name + begin, length - begin))
            return &shmtel_units[at];
    return NULL;
}

SHMTEL_COLD int shmtel_is_word(const char *name, const char *more) {
    if (!name || !*name || (*name >= '0' && *name <= '9'))
        return 0;
    for (; *name; name++)
        if (!((*name | 32) >= 'a' && (*name | 32) <= 'z') && !(*name >= '0' && *name <= '9') && *name != '_' &&
            !strchr(more, *name))
            return 0;
    return 1;
}

/* How many strings there are before the NULL. */
SHMTEL_COLD size_t shmtel_count_of(const char *const *strings) {
    size_t count = 0;
    while (strings && strings[count])
        count++;
    return count;
}

SHMTEL_COLD int shmtel_labels_are_right(const shmtel_metric *metric, enum shmtel_kind kind) {
    size_t count = shmtel_count_of(metric->labels);
    int all = metric->merge && !strcmp(metric->merge, "all");
    for (size_t at = 0; at < count; at++) {
        const char *label = metric->labels[at];
        if (!shmtel_is_word(label, "") || !strncmp(label, "__", 2) || (all && !strcmp(label, "producer")) ||
            (kind == SHMTEL_HISTOGRAM && !strcmp(label, "le")))
            return 0;
        for (size_t before = 0; before < at; before++)
            if (!strcmp(label, metric->labels[before]))
                return 0;
    }
    return count <= SHMTEL_MAX_LABELS;
}

SHMTEL_COLD int shmtel_buckets_are_right(const double *buckets, size_t count) {
    for (size_t at = 0; at < count; at++)
        if (!isfinite(buckets[at]) || (at && !(buckets[at - 1] < buckets[at])))
            return 0;
    return count <= SHMTEL_MAX_BUCKETS;
}

SHMTEL_COLD int shmtel_merge_is_right(const char *merge) {
    const char *const merges[] = {"last", "sum", "min", "max", "all"};
    for (size_t at = 0; merge && at < 5; at++)
        if (!strcmp(merge, merges[at]))
            return 1;
    return !merge;
}

SHMTEL_COLD void shmtel_write_buckets(shmtel_text *text, const shmtel_metric *metric, double seconds) {
    static const double usual[] = {1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5,  1e-4,
                                   2.5e-4, 5e-4, 1e-3, 5e-3, 25e-3,  100e-3, 1.0}; /* seconds */
    size_t count = metric->buckets ? metric->bucket_count : sizeof(usual) / sizeof(*usual);
    shmtel_text_put(text, ",\"buckets\":[");
    for (size_t at = 0; at < count; at++) {
        shmtel_text_put(text, at ? "," : "");
        if (metric->buckets)
            shmtel_text_double(text, metric->buckets[at], 17);
        else
            shmtel_text_double(text, usual[at] / (seconds > 0 ? seconds : 1.0), 12);
    }
    shmtel_text_put(text, "]");
}

/* Writes a metric's definition; returns the length of its beginning, which no other name has. seconds: those of one of
 * its unit, 0 if that is no unit of time. */
SHMTEL_COLD size_t shmtel_write_metric(shmtel_text *text, enum shmtel_kind kind, const shmtel_metric *metric,
                                       double *seconds) {
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    const char *name = metric->name ? metric->name : "";
    size_t length = strlen(name);
    int total = length >= 6 && !strcmp(name + length - 6, "_total");
    const shmtel_unit *said = shmtel_unit_said(name);
    const shmtel_unit *unit = metric->unit && *metric->unit ? shmtel_unit_named(metric->unit) : said;
    int known = unit || !metric->unit || !*metric->unit;
    if (!shmtel_is_word(name, ":") || !shmtel_labels_are_right(metric, kind) || !known ||
        !shmtel_merge_is_right(metric->merge) || (metric->buckets && kind != SHMTEL_HISTOGRAM) ||
        !shmtel_buckets_are_right(metric->buckets, metric->buckets ? metric->bucket_count : 0) ||
        (unit && said && strcmp(said->unit, unit->unit)))
        text->error = text->error ? text->error : (int)SHMTEL_BAD_METRIC;
    *seconds = unit ? unit->seconds : metric->unit && *metric->unit ? 0.0 : 1.0;
    shmtel_text_put(text, "{\"name\":\"");
    shmtel_text_put(text, name);
    shmtel_text_put(text, kind == SHMTEL_COUNTER && !total ? "_total\"" : "\"");
    size_t beginning = text->length;
    shmtel_text_item(text, "kind", kinds[kind]);
    shmtel_text_item(text, "help", metric->help);
    shmtel_text_put(text, ",\"labels\":[");
    for (size_t at = 0; at < shmtel_count_of(metric->labels); at++) {
        shmtel_text_put(text, at ? "," : "");
        shmtel_text_string(text, metric->labels[at]);
    }
    shmtel_text_put(text, "]");
    if (kind == SHMTEL_HISTOGRAM)
        shmtel_write_buckets(text, metric, unit ? unit->seconds : 1.0);
    shmtel_text_item(text, "unit", unit ? unit->unit : NULL);
    shmtel_text_item(text, "merge", metric->merge);
    shmtel_text_put(text, "}");
    return beginning;
}

/* ---- Schemas ------------------------------------------------------------------------------------------------ */

/* One letter for each role: the first of its name, but T for total. 0 for any other. */
SHMTEL_COLD int shmtel_role_of(const char *role) {
    const char *const roles[] = {"time", "label", "counter", "total", "gauge", "histogram", "attribute"};
    for (int at = 0; at < 7; at++)
        if (!strcmp(role, roles[at]))
            return "tlcTgha"[at];
    return 0;
}

SHMTEL_COLD int shmtel_type_is_right(const shmtel_field *field) {
    size_t size = field->size;
    int number = size == 1 || size == 2 || size == 4 || size == 8;
    switch (field->kind) {
    case 'u':
    case 'i':
        return number;
    case 'f':
        return size == 4 || size == 8;
    case 'b':
        return size == 1;
    default:
        return field->kind == 'S' && size > 0;
    }
}

SHMTEL_COLD int shmtel_role_is_right(const shmtel_field *field, int role) {
    if (role == 't')
        return (field->kind == 'u' || field->kind == 'i') && field->size == 8;
    if (role == 'l')
        return field->kind != 'f';
    return role == 'a' || (role && field->kind != 'S');
}

/* The name that a field's metric gets. */
SHMTEL_COLD void shmtel_name_of_field(shmtel_text *name, const shmtel_field *field, const char *producer) {
    if (field->metric) {
        shmtel_text_put(name, field->metric);
    } else {
        shmtel_text_put(name, *producer >= '0' && *producer <= '9' ? "_" : "");
        shmtel_text_put(name, producer);
        shmtel_text_put(name, "_");
        shmtel_text_put(name, field->name);
        for (size_t at = 0; at < name->length; at++)
            name->at[at] = name->at[at] == '-' ? '_' : name->at[at];
    }
    shmtel_text_add(name, "", 1);
}

/* A field's metric, as the reader will make it: one that cannot be is an error here. names: those before it. */
SHMTEL_COLD int shmtel_check_field_metric(const shmtel_field *field, int role, const char *const *labels,
                                          const char *producer, shmtel_text *names) {
    enum shmtel_kind kind = role == 'g' ? SHMTEL_GAUGE : role == 'h' ? SHMTEL_HISTOGRAM : SHMTEL_COUNTER;
    shmtel_text name = {NULL, 0, 0, 0}, text = {NULL, 0, 0, 0};
    shmtel_metric metric;
    double seconds;
    shmtel_name_of_field(&name, field, producer);
    memset(&metric, 0, sizeof(metric));
    metric.name = name.error ? "" : name.at;
    metric.help = field->help;
    metric.labels = labels;
    metric.buckets = field->buckets;
    metric.bucket_count = field->bucket_count;
    metric.merge = field->merge;
    const shmtel_unit *unit = field->unit ? shmtel_unit_named(field->unit) : NULL;
    const shmtel_unit *said = shmtel_unit_said(metric.name);
    int converts = !unit || !said || !strcmp(unit->unit, said->unit) || (unit->seconds > 0 && said->seconds > 0);
    size_t beginning = shmtel_write_metric(&text, kind, &metric, &seconds);
    int error = name.error ? name.error : text.error;
    if (!error && (!converts || (field->unit && !unit)))
        error = SHMTEL_BAD_METRIC;
    if (!error) {
        text.at[beginning] = '\0';
        error = names->at && strstr(names->at, text.at) ? (int)SHMTEL_CONFLICT : SHMTEL_OK;
        names->length -= names->length > 0; /* its NUL */
        shmtel_text_add(names, text.at, beginning + 1);
    }
    free(name.at);
    free(text.at);
    return error;
}

SHMTEL_COLD int shmtel_field_is_right(const shmtel_field *field, int role, size_t record_size) {
    const shmtel_unit *unit = field->unit ? shmtel_unit_named(field->unit) : NULL;
    for (size_t at = 0; at < shmtel_count_of(field->values); at++)
        if (!shmtel_is_utf8(field->values[at]))
            return 0;
    return shmtel_is_word(field->name, "") && shmtel_type_is_right(field) && shmtel_role_is_right(field, role) &&
           field->size <= record_size && field->offset <= record_size - field->size &&
           (role != 't' || !field->unit || (unit && unit->seconds > 0));
}

SHMTEL_COLD int shmtel_check_fields(const shmtel_schema *schema, const char *producer) {
    const char *labels[SHMTEL_MAX_LABELS + 1] = {NULL};
    size_t metrics = 0, times = 0, label_count = 0, label_bytes = 0;
    shmtel_text names = {NULL, 0, 0, 0};
    int error = schema->count && schema->record_size <= SHMTEL_MAX_RECORD_SIZE ? SHMTEL_OK : SHMTEL_BAD_FIELD;
    for (size_t at = 0; at < schema->count && !error; at++) {
        const shmtel_field *field = &schema->fields[at];
        int role = field->role ? shmtel_role_of(field->role) : 'a';
        if (!shmtel_field_is_right(field, role, schema->record_size))
            return SHMTEL_BAD_FIELD;
        for (size_t before = 0; before < at; before++)
            if (!strcmp(field->name, schema->fields[before].name))
                return SHMTEL_BAD_FIELD;
        times += role == 't';
        label_bytes += role == 'l' ? field->size : 0;
        if (times > 1 || label_bytes > SHMTEL_MAX_LABEL_BYTES || (role == 'l' && label_count == SHMTEL_MAX_LABELS))
            return SHMTEL_BAD_FIELD;
        if (role == 'l')
            labels[label_count++] = field->name;
    }
    for (size_t at = 0; at < schema->count && !error; at++) {
        const shmtel_field *field = &schema->fields[at];
        int role = field->role ? shmtel_role_of(field->role) : 'a';
        if (!strchr("cTgh", role))
            continue;
        error = ++metrics > SHMTEL_MAX_METRIC_FIELDS ? (int)SHMTEL_BAD_FIELD
                                                     : shmtel_check_field_metric(field, role, labels, producer, &names);
    }
    free(names.at);
    return error;
}

SHMTEL_COLD void shmtel_write_role(shmtel_text *text, const shmtel_field *field) {
    shmtel_metric buckets;
    memset(&buckets, 0, sizeof(buckets));
    buckets.buckets = field->buckets;
    buckets.bucket_count = field->bucket_count;
    shmtel_text_string(text, field->name);
    shmtel_text_put(text, ":{\"role\":");
    shmtel_text_string(text, field->role);
    shmtel_text_item(text, "name", field->metric);
    shmtel_text_item(text, "help", field->help);
    shmtel_text_item(text, "unit", field->unit);
    shmtel_text_item(text, "merge", field->merge);
    if (field->buckets)
        shmtel_write_buckets(text, &buckets, 1.0);
    for (size_t at = 0; at < shmtel_count_of(field->values); at++) {
        char number[48];
        snprintf(number, sizeof(number), "%s\"%llu\":", at ? "," : ",\"values\":{", (unsigned long long)at);
        shmtel_text_put(text, number);
        shmtel_text_string(text, field->values[at]);
    }
    shmtel_text_put(text, shmtel_count_of(field->values) ? "}}" : "}");
}

/* Writes the description of records, as Schema.to_json does. */
SHMTEL_COLD void shmtel_write_schema(shmtel_text *text, const shmtel_schema *schema) {
    const shmtel_field *fields = schema->fields;
    const char *separator = "";
    shmtel_text_put(text, "{\"fields\":[");
    for (size_t at = 0; at < schema->count; at++) {
        char type[24];
        shmtel_text_put(text, at ? ",[" : "[");
        shmtel_text_string(text, fields[at].name);
        snprintf(type, sizeof(type), ",\"%c%u\",", fields[at].kind, (unsigned)fields[at].size);
        shmtel_text_put(text, type);
        shmtel_text_unsigned(text, fields[at].offset);
        shmtel_text_put(text, "]");
    }
    shmtel_text_put(text, "],\"itemsize\":");
    shmtel_text_unsigned(text, schema->record_size);
    shmtel_text_put(text, ",\"roles\":{");
    for (size_t at = 0; at < schema->count; at++) {
        if (!fields[at].role)
            continue;
        shmtel_text_put(text, separator);
        shmtel_write_role(text, &fields[at]);
        separator = ",";
    }
    shmtel_text_put(text, schema->events ? "},\"events\":true}" : "},\"events\":false}");
    if (!text->error && text->length > SHMTEL_MAX_SCHEMA)
        text->error = SHMTEL_BAD_FIELD;
}

#endif
