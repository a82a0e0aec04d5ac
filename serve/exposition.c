#include "serve/exposition.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"

/* The shortest decimal that reads back as the same number. */
static void
add_number(double value, struct strbuf *out)
{
    char digits[40];

    if (isnan(value) || isinf(value)) {
        strbuf_puts(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    strbuf_puts(out, digits);
}

static void
add_label_value(const char *text, struct strbuf *out)
{
    strbuf_putc(out, '"');
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            strbuf_putc(out, '\\');
        if (*text == '\n')
            strbuf_puts(out, "\\n");
        else
            strbuf_putc(out, *text);
    }
    strbuf_putc(out, '"');
}

static void
add_value(double value, struct strbuf *out)
{
    strbuf_putc(out, ' ');
    add_number(value, out);
    strbuf_putc(out, '\n');
}

void
exposition_head(const struct metric_family *family, struct strbuf *out)
{
    strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name, family->type);
}

void
exposition_sample(const char *name, const char *label, const char *text, double value, struct strbuf *out)
{
    strbuf_puts(out, name);
    if (label != NULL) {
        strbuf_printf(out, "{%s=", label);
        add_label_value(text, out);
        strbuf_putc(out, '}');
    }
    add_value(value, out);
}

void
exposition_histogram(const struct metric_family *family, const struct histogram *histogram, struct strbuf *out)
{
    unsigned long long count = 0;

    exposition_head(family, out);
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        strbuf_printf(out, "%s_bucket{le=\"", family->name);
        if (i < HISTOGRAM_BOUNDS)
            add_number((double)histogram_bounds_us[i] / 1e6, out);
        else
            strbuf_puts(out, "+Inf");
        strbuf_printf(out, "\"} %llu\n", count);
    }
    strbuf_printf(out, "%s_sum", family->name);
    add_value((double)atomic_load_explicit(&histogram->sum_us, memory_order_relaxed) / 1e6, out);
    strbuf_printf(out, "%s_count %llu\n", family->name, count);
}

static void
add_labels(const char *json, struct strbuf *out)
{
    cJSON *labels = cJSON_Parse(json);
    const cJSON *label = NULL;
    const char *separator = "{";

    cJSON_ArrayForEach (label, labels) {
        strbuf_printf(out, "%s%s=", separator, label->string);
        add_label_value(cJSON_IsString(label) ? label->valuestring : "", out);
        separator = ",";
    }
    if (*separator == ',')
        strbuf_putc(out, '}');
    cJSON_Delete(labels);
}

void
exposition_database(const PGresult *samples, struct strbuf *out)
{
    for (const struct metric_family *family = database_families; family->key != NULL; family++) {
        exposition_head(family, out);
        for (int row = 0; row < result_rows(samples); row++) {
            if (strcmp(result_string(samples, row, "family"), family->key) != 0)
                continue;
            strbuf_puts(out, family->name);
            add_labels(result_string(samples, row, "labels"), out);
            add_value(result_float64(samples, row, "value"), out);
        }
    }
}
