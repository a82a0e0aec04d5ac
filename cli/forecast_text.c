#include "cli/forecast_text.h"

#include <math.h>
#include <stdio.h>

#include "cli/format.h"
#include "cli/session.h"

static const char *
count_text(double value, char text[FORMAT_SIZE])
{
    return format_count((int64_t)value, text);
}

static const struct {
    const char *key, *label;
    const char *(*format)(double value, char text[FORMAT_SIZE]);
} figures[] = {
    {"documents", "documents", count_text},
    {"tokens", "tokens", count_text},
    {"requests", "requests", count_text},
    {"cost", "cost", format_money},
    {"seconds", "time", format_duration},
    {"table_bytes", "vectors", format_bytes},
    {"index_bytes", "index", format_bytes},
    {"index_seconds", "index build", format_duration},
    {"wal_bytes", "WAL of the server", format_bytes},
};

static void
add_cell(struct table *table, double value, const char *(*format)(double value, char text[FORMAT_SIZE]))
{
    char text[FORMAT_SIZE];

    table_cell(table, value < 0 ? "unknown" : format(value, text));
}

enum rc
forecast_print_outcome(const struct output *out, const cJSON *outcome, size_t indent, struct err *err)
{
    static const struct table_column columns[] = {{"", false}, {"forecast", true}, {"took", true}, {"", true}};
    const cJSON *forecast = cJSON_GetObjectItemCaseSensitive(outcome, "forecast");
    const cJSON *actual = cJSON_GetObjectItemCaseSensitive(outcome, "actual");
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);

    if (table == NULL)
        return err_memory(err);
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        char text[FORMAT_SIZE] = "";
        double before = json_number(forecast, figures[i].key, -1), after = json_number(actual, figures[i].key, -1);

        if (before < 0 && after < 0)
            continue;
        table_cell(table, figures[i].label);
        add_cell(table, before, figures[i].format);
        add_cell(table, after, figures[i].format);
        if (before > 0 && after >= 0)
            (void)snprintf(text, sizeof text, "%+.1f %%", (after / before - 1) * 100);
        table_cell(table, text);
    }
    enum rc rc = table_print(table, out, indent, true, err);
    table_free(table);
    return rc;
}

void
forecast_print_line(const struct output *out, const cJSON *forecast)
{
    char text[FORMAT_SIZE];
    double tokens = json_number(forecast, "tokens", -1), requests = json_number(forecast, "requests", -1);
    double cost = json_number(forecast, "cost", -1), seconds = json_number(forecast, "seconds", -1);
    double bytes = json_number(forecast, "table_bytes", 0) + json_number(forecast, "index_bytes", 0);

    output_print(out, "%s tokens", tokens < 0 ? "unknown" : format_count((int64_t)tokens, text));
    if (requests >= 0)
        output_print(out, " in %s requests", format_count((int64_t)requests, text));
    if (cost >= 0)
        output_print(out, ", cost %s", format_money(cost, text));
    if (seconds >= 0)
        output_print(out, ", %s at least", format_duration(seconds, text));
    output_print(out, ", %s of disk\n", format_bytes(bytes, text));
}
