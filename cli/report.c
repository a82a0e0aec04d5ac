#include "cli/report.h"

#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/session.h"
#include "coordinator/exit_code.h"

enum { LABEL_WIDTH = 14, CONTENT_SHOWN = 200 };

static void
print_title(const struct output *out, const char *title)
{
    output_print(out, "\n%s%s%s\n", style_on(out, STYLE_BOLD), title, style_off(out, STYLE_BOLD));
}

/* A member that is a number, as text; an estimate that could not be made is said to be unknown. */
static void
print_figure(const struct output *out, const cJSON *object, const char *key, const char *label,
             const char *(*format)(double value, char text[FORMAT_SIZE]))
{
    char text[FORMAT_SIZE];
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    if (item == NULL)
        return;
    output_print(out, "  %-*s%s\n", LABEL_WIDTH, label,
                 cJSON_IsNumber(item) ? format(item->valuedouble, text) : "unknown");
}

static const char *
figure_count(double value, char text[FORMAT_SIZE])
{
    return format_count((int64_t)value, text);
}

static const char *
figure_rate(double value, char text[FORMAT_SIZE])
{
    return format_rate(value, text);
}

static const char *
figure_plain(double value, char text[FORMAT_SIZE])
{
    (void)snprintf(text, FORMAT_SIZE, "%.4g", value);
    return text;
}

enum rc
report_print_json(const struct output *out, const cJSON *report, struct err *err)
{
    char *text = cJSON_Print(report);
    if (text == NULL)
        return err_memory(err);
    output_print(out, "%s\n", text);
    cJSON_free(text);
    return RC_OK;
}

int
report_code(int code, enum rc rc, const struct err *print_error, struct err *err)
{
    if (rc == RC_OK || code != EXIT_DONE)
        return code;
    *err = *print_error;
    return exit_code_of(rc, err);
}

/* --- plan --- */

static enum rc
print_checks(const struct output *out, const cJSON *checks, struct err *err)
{
    static const struct table_column columns[] = {{"", false}, {"", false}, {"", false}};
    const cJSON *check = NULL;
    struct output plain = *out;
    struct table *table = table_new(columns, 3);

    if (table == NULL)
        return err_memory(err);
    plain.colour = false; /* cells show control sequences instead of obeying them */
    cJSON_ArrayForEach (check, checks) {
        const char *fix = json_text(check, "fix");
        table_cell(table, output_mark(&plain, json_true(check, "ok")));
        table_cell(table, json_text(check, "check"));
        table_cell(table, json_text(check, "text"));
        if (fix == NULL)
            continue;
        struct strbuf line;
        strbuf_init(&line, 65536);
        strbuf_printf(&line, "fix: %s", fix);
        table_cell(table, "");
        table_cell(table, "");
        table_cell(table, strbuf_text(&line));
        strbuf_free(&line);
    }
    enum rc rc = table_print(table, out, 2, false, err);
    table_free(table);
    return rc;
}

/* How far the figure can be trusted stands beside it. */
static void
print_tokens(const struct output *out, const cJSON *estimate)
{
    char text[FORMAT_SIZE], sampled[FORMAT_SIZE];
    double tokens = json_number(estimate, "tokens", -1);
    const char *basis = json_text(estimate, "tokens_basis");

    if (tokens < 0 || basis == NULL) {
        print_figure(out, estimate, "tokens", "tokens", figure_count);
        return;
    }
    output_print(out, "  %-*s%s", LABEL_WIDTH, "tokens", format_count((int64_t)tokens, text));
    (void)format_count((int64_t)json_number(estimate, "sampled", 0), sampled);
    if (strcmp(basis, "counted") == 0)
        output_print(out, "  (all counted)\n");
    else if (strcmp(basis, "sampled") == 0)
        output_print(out, "  (by a random sample of %s)\n", sampled);
    else if (strcmp(basis, "probed") == 0)
        output_print(out, "  (by the lengths of %s, and what the server counts)\n", sampled);
    else
        output_print(out, "  (four bytes a token; --probe asks the server)\n");
}

static void
print_index_build(const struct output *out, const cJSON *estimate)
{
    char text[FORMAT_SIZE], given[FORMAT_SIZE];
    double seconds = json_number(estimate, "index_seconds", -1),
           memory = json_number(estimate, "index_memory_bytes", -1);
    double has = json_number(estimate, "maintenance_work_mem_bytes", -1);

    if (json_number(estimate, "index_bytes", 0) <= 0)
        return;
    output_print(out, "  %-*s%s", LABEL_WIDTH, "to build it", memory < 0 ? "unknown" : format_bytes(memory, text));
    if (has >= 0)
        output_print(out, " of memory, maintenance_work_mem is %s", format_bytes(has, given));
    if (seconds > 0)
        output_print(out, "; about %s", format_duration(seconds, text));
    output_print(out, "\n");
}

static void
print_locks(const struct output *out, const cJSON *locks)
{
    const cJSON *lock = NULL;

    cJSON_ArrayForEach (lock, locks) {
        output_print(out, "  %s on %s, %s\n    %s\n", json_text(lock, "mode"), json_text(lock, "object"),
                     json_text(lock, "when"), json_text(lock, "text"));
    }
}

enum rc
plan_print(const struct output *out, const cJSON *report, const char *file, struct err *err)
{
    const cJSON *statement = NULL;
    const cJSON *estimate = cJSON_GetObjectItemCaseSensitive(report, "estimate");
    const cJSON *probe = cJSON_GetObjectItemCaseSensitive(report, "probe");
    const cJSON *locks = cJSON_GetObjectItemCaseSensitive(report, "locks");
    const cJSON *sql = cJSON_GetObjectItemCaseSensitive(report, "sql");

    print_title(out, "checks");
    enum rc rc = print_checks(out, cJSON_GetObjectItemCaseSensitive(report, "checks"), err);
    if (rc != RC_OK)
        return rc;
    if (cJSON_IsObject(estimate)) {
        print_title(out, "estimate");
        print_figure(out, estimate, "documents", "documents", figure_count);
        print_tokens(out, estimate);
        print_figure(out, estimate, "requests", "requests", figure_count);
        print_figure(out, estimate, "cost", "cost", format_money);
        print_figure(out, estimate, "seconds", "time", format_duration);
        print_figure(out, estimate, "table_bytes", "vectors", format_bytes);
        print_figure(out, estimate, "index_bytes", "index", format_bytes);
        print_index_build(out, estimate);
        print_figure(out, estimate, "wal_bytes", "WAL", format_bytes);
        print_figure(out, estimate, "wal_side_bytes", "  side table", format_bytes);
        print_figure(out, estimate, "wal_column_bytes", "  column", format_bytes);
    }
    if (cJSON_IsObject(probe)) {
        print_title(out, "probe");
        print_figure(out, probe, "documents", "documents", figure_count);
        print_figure(out, probe, "seconds", "took", format_duration);
        print_figure(out, probe, "documents_per_second", "rate", figure_rate);
        print_figure(out, probe, "tokens_per_document", "tokens each", figure_plain);
    }
    if (cJSON_GetArraySize(locks) > 0) {
        print_title(out, "locks");
        print_locks(out, locks);
    }
    if (cJSON_GetArraySize(sql) > 0) {
        print_title(out, "SQL that run will use");
        cJSON_ArrayForEach (statement, sql) {
            output_print(out, "  %s;\n", cJSON_GetStringValue(statement));
        }
    }
    output_print(out, "\n");
    if (json_true(report, "ok"))
        output_next(out, "reembed run %s", file);
    else
        output_next(out, "mend what is marked above, then again: reembed plan %s", file);
    return RC_OK;
}

/* --- verify --- */

static void
print_number(const struct output *out, const cJSON *report, const char *key, const char *text)
{
    char count[FORMAT_SIZE];
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(report, key);
    if (cJSON_IsNumber(item))
        output_print(out, "  %12s  %s\n", format_count((int64_t)item->valuedouble, count), text);
}

enum rc
verify_print(const struct output *out, const cJSON *report, struct err *err)
{
    (void)err;
    const char *id = json_text(report, "migration_id");
    bool holds = json_true(report, "holds");
    const cJSON *sample = cJSON_GetObjectItemCaseSensitive(report, "sample");

    output_print(out, "%s %s: %s\n", output_mark(out, holds), id == NULL ? "" : id,
                 holds ? "every document that should have a vector has a current one"
                       : "the target does not match the documents");
    print_number(out, report, "documents", "documents should have a vector");
    print_number(out, report, "current", "have a current one");
    print_number(out, report, "excused", "are among the failures");
    print_number(out, report, "missing", "have none");
    print_number(out, report, "stale", "have one of an older content");
    print_number(out, report, "orphaned", "vectors belong to no document");
    print_number(out, report, "unusable", "vectors are of no use: other dimensions, or without a direction");
    print_number(out, report, "column_differing", "have another one in the column of the documents");
    print_number(out, report, "queued", "are queued for repair");
    if (cJSON_IsObject(sample)) {
        output_print(out, "sample embedded again\n");
        print_number(out, sample, "documents", "documents");
        print_number(out, sample, "differing", "differ from what is stored");
        output_print(out, "  %12.6f  smallest cosine\n", json_number(sample, "min_cosine", 1));
    }
    if (holds)
        output_next(out, "reembed status %s", id);
    else if (json_number(report, "queued", 0) > 0)
        output_next(out, "let workers repair it: reembed run FILE; then reembed verify %s again", id);
    else
        output_next(out, "reembed failures %s", id);
    return RC_OK;
}

/* --- search --- */

enum rc
search_print(const struct output *out, const cJSON *report, struct err *err)
{
    static const struct table_column columns[] = {
        {"", true}, {"document", false}, {"distance", true}, {"model", false}, {"content", false}};
    const cJSON *hit = NULL;
    const cJSON *hits = cJSON_GetObjectItemCaseSensitive(report, "hits");
    const char *model = json_text(report, "model");
    int rank = 0;

    if (cJSON_GetArraySize(hits) == 0) {
        output_print(out, "Nothing was found.\n");
        output_next(out, "reembed status");
        return RC_OK;
    }
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (hit, hits) {
        char number[16];
        char distance[32] = "";
        struct strbuf content;
        const char *text = json_text(hit, "content");
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(hit, "distance");

        (void)snprintf(number, sizeof number, "%d", ++rank);
        if (cJSON_IsNumber(value))
            (void)snprintf(distance, sizeof distance, "%.4f", value->valuedouble);
        strbuf_init(&content, 65536);
        if (text != NULL)
            format_fit(text, CONTENT_SHOWN, &content);
        table_cell(table, number);
        table_cell(table, json_text(hit, "doc_id"));
        table_cell(table, distance);
        table_cell(table, json_text(hit, "model"));
        table_cell(table, strbuf_text(&content));
        strbuf_free(&content);
    }
    enum rc rc = table_print(table, out, 0, true, err);
    table_free(table);
    if (model != NULL && strcmp(model, "fused") == 0)
        output_next(out, "the text was embedded with both models; one side alone: --model source, --model target");
    else
        output_next(out, "the text was embedded with %s; both sides: --model source, --model target", model);
    return rc;
}
