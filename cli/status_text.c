#include "cli/status_text.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "cli/forecast_text.h"
#include "cli/format.h"
#include "cli/session.h"

enum { BAR_WIDTH = 40, LABEL_WIDTH = 11 };

/* --- pieces --- */

static bool
is_state(const cJSON *status, const char *state)
{
    const char *is = json_text(status, "state");
    return is != NULL && strcmp(is, state) == 0;
}

static int64_t
count_of(const cJSON *object, const char *key)
{
    return (int64_t)json_number(object, key, 0);
}

static bool
is_flipped(const cJSON *status)
{
    const char *model = json_text(cJSON_GetObjectItemCaseSensitive(status, "routing"), "query_model");
    const char *target = json_text(status, "target_model");
    return json_text(status, "flipped_at") != NULL && !is_state(status, "rolled_back") && model != NULL &&
           target != NULL && strcasecmp(model, target) == 0;
}

static const cJSON *
find_gate(const cJSON *status, const char *name)
{
    const cJSON *gate = NULL;
    cJSON_ArrayForEach (gate, cJSON_GetObjectItemCaseSensitive(status, "gates")) {
        const char *is = json_text(gate, "gate");
        if (is != NULL && strcmp(is, name) == 0)
            return gate;
    }
    return NULL;
}

static void
print_label(const struct output *out, const char *label)
{
    output_print(out, "%s%-*s%s", style_on(out, STYLE_DIM), LABEL_WIDTH, label, style_off(out, STYLE_DIM));
}

/* A label whose lines follow below it. */
static void
print_heading(const struct output *out, const char *label)
{
    output_print(out, "%s%s%s\n", style_on(out, STYLE_DIM), label, style_off(out, STYLE_DIM));
}

/* Text that came from a person or a document. */
static void
print_foreign(const struct output *out, const char *text)
{
    struct strbuf clean;
    strbuf_init(&clean, 65536);
    format_fit(text, 0, &clean);
    output_print(out, "%s", strbuf_text(&clean));
    strbuf_free(&clean);
}

void
status_state(const cJSON *status, struct strbuf *text)
{
    const char *state = json_text(status, "state");
    const char *stage = json_text(status, "stage");

    for (const char *c = state == NULL ? "unknown" : state; *c != '\0'; c++)
        strbuf_putc(text, *c == '_' ? ' ' : *c);
    if (stage != NULL && state != NULL && strcmp(state, "in_progress") == 0)
        strbuf_printf(text, " (%s)", stage);
}

static enum style
state_style(const cJSON *status)
{
    if (is_state(status, "completed"))
        return STYLE_GOOD;
    if (is_state(status, "failed") || json_true(status, "stalled"))
        return STYLE_BAD;
    if (is_state(status, "paused") || is_state(status, "rolled_back"))
        return STYLE_WARN;
    return STYLE_BOLD;
}

void
bar_draw(struct strbuf *text, size_t width, double share, double threshold, bool utf8)
{
    /* Eighths of a block; nothing but a finished job fills the last one. */
    static const char *const parts[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    double clamped = share < 0 || isnan(share) ? 0 : share > 1 ? 1 : share;
    size_t eighths = (size_t)floor(clamped * (double)width * 8 + 1e-6);
    size_t mark = threshold < 0 ? width : (size_t)floor(threshold * (double)width);

    if (threshold >= 1)
        mark = width;
    strbuf_puts(text, utf8 ? "▕" : "[");
    for (size_t i = 0; i < width; i++) {
        size_t filled = eighths > i * 8 ? eighths - i * 8 : 0;
        if (i == mark && filled < 8)
            strbuf_puts(text, utf8 ? "┊" : "|");
        else if (filled >= 8)
            strbuf_puts(text, utf8 ? "█" : "#");
        else
            strbuf_puts(text, utf8 ? parts[filled] : " ");
    }
    strbuf_puts(text, utf8 ? "▏" : "]");
}

size_t
status_workers(const cJSON *status)
{
    const cJSON *worker = NULL;
    size_t alive = 0;
    cJSON_ArrayForEach (worker, cJSON_GetObjectItemCaseSensitive(status, "workers")) {
        alive += json_true(worker, "alive") ? 1 : 0;
    }
    return alive;
}

/* --- the lines --- */

static void
print_head(const struct output *out, const cJSON *status)
{
    struct strbuf state;
    const char *source = json_text(status, "source_model");
    const char *reason = json_text(status, "reason");
    enum style style = state_style(status);

    strbuf_init(&state, 256);
    status_state(status, &state);
    output_print(out, "%s", style_on(out, STYLE_BOLD));
    print_foreign(out, json_text(status, "migration_id"));
    output_print(out, "%s  %s%s%s", style_off(out, STYLE_BOLD), style_on(out, style), strbuf_text(&state),
                 style_off(out, style));
    strbuf_free(&state);
    if (reason != NULL) {
        output_print(out, ": ");
        print_foreign(out, reason);
    }
    output_print(out, "\n");
    print_foreign(out, json_text(status, "collection"));
    output_print(out, ": ");
    print_foreign(out, source == NULL ? "no vectors yet" : source);
    output_print(out, " %s ", out->utf8 ? "→" : "->");
    print_foreign(out, json_text(status, "target_model"));
    output_print(out, "\n\n");
}

static void
print_bar(const struct output *out, const cJSON *status)
{
    char share[FORMAT_SIZE];
    char processed[FORMAT_SIZE];
    char total[FORMAT_SIZE];
    struct strbuf bar;
    double progress = json_number(status, "progress", 0);
    double threshold = json_number(find_gate(status, "coverage"), "required", -1);
    int64_t documents = count_of(status, "total");

    strbuf_init(&bar, 1024);
    bar_draw(&bar, BAR_WIDTH, progress, threshold, out->utf8);
    output_print(out, "%s  %s  %s of %s %s\n\n", strbuf_text(&bar), format_share(progress, share),
                 format_count(count_of(status, "processed"), processed), format_count(documents, total),
                 plural(documents, "document", "documents"));
    strbuf_free(&bar);
}

static void
print_rate(const struct output *out, const cJSON *status, const cJSON *more)
{
    char rate[FORMAT_SIZE];
    char left[FORMAT_SIZE];
    double throughput = json_number(status, "throughput", -1);
    double eta = json_number(status, "eta_secs", -1);

    if (is_state(status, "in_progress")) {
        print_label(out, "rate");
        if (json_true(status, "stalled"))
            output_print(out, "%snothing moves: no worker is alive%s\n", style_on(out, STYLE_BAD),
                         style_off(out, STYLE_BAD));
        else if (throughput < 0)
            output_print(out, "not known yet\n");
        else if (eta > 0)
            output_print(out, "%s, all documents embedded in %s\n", format_rate(throughput, rate),
                         format_duration(eta, left));
        else
            output_print(out, "%s\n", format_rate(throughput, rate));
    }
    double took = json_number(more, "took", -1);
    if (is_state(status, "completed") && took >= 0) {
        print_label(out, "completed");
        output_print(out, "%s ago, after %s\n", format_duration(json_number(more, "completed_ago", 0), rate),
                     format_duration(took, left));
    }
}

static void
print_counts(const struct output *out, const cJSON *status)
{
    char text[FORMAT_SIZE];
    int64_t pending = count_of(status, "pending");
    int64_t in_flight = count_of(status, "in_flight");
    int64_t waiting = count_of(status, "changes_pending");
    int64_t applied = count_of(status, "changes_applied");
    int64_t truncated = count_of(status, "truncated");

    print_label(out, "documents");
    output_print(out, "%s embedded", format_count(count_of(status, "processed"), text));
    output_print(out, ", %s pending", format_count(pending, text));
    if (in_flight > 0)
        output_print(out, " (%s in flight)", format_count(in_flight, text));
    output_print(out, ", %s skipped", format_count(count_of(status, "skipped"), text));
    output_print(out, ", %s failed\n", format_count(count_of(status, "failed"), text));
    if (truncated > 0) {
        print_label(out, "truncated");
        output_print(out, "%s %s longer than the model takes\n", format_count(truncated, text),
                     plural(truncated, "text was", "texts were"));
    }
    if (waiting > 0 || applied > 0) {
        print_label(out, "changes");
        output_print(out, "%s waiting", format_count(waiting, text));
        if (waiting > 0)
            output_print(out, ", the oldest for %s", format_duration(json_number(status, "change_lag_secs", 0), text));
        output_print(out, "; %s applied\n", format_count(applied, text));
    }
}

static void
print_spent(const struct output *out, const cJSON *status)
{
    char text[FORMAT_SIZE];
    double cost = json_number(status, "cost", -1);
    int64_t tokens = count_of(status, "tokens");
    int64_t requests = count_of(status, "requests");

    if (tokens == 0 && requests == 0)
        return;
    print_label(out, "spent");
    output_print(out, "%s tokens", format_count(tokens, text));
    output_print(out, " in %s requests", format_count(requests, text));
    if (cost >= 0)
        output_print(out, ", cost %s", format_money(cost, text));
    output_print(out, "\n");
}

/* As a line while it is under way; beside what it took when it is over. */
static enum rc
print_forecast(const struct output *out, const cJSON *more, struct err *err)
{
    const cJSON *forecast = cJSON_GetObjectItemCaseSensitive(more, "forecast");
    const cJSON *outcome = cJSON_GetObjectItemCaseSensitive(more, "outcome");

    if (cJSON_IsObject(outcome)) {
        print_heading(out, "forecast");
        return forecast_print_outcome(out, outcome, LABEL_WIDTH, err);
    }
    if (cJSON_IsObject(forecast)) {
        print_label(out, "forecast");
        forecast_print_line(out, forecast);
    }
    return RC_OK;
}

static void
print_side(const struct output *out, const cJSON *status)
{
    const cJSON *routing = cJSON_GetObjectItemCaseSensitive(status, "routing");
    const char *model = json_text(routing, "query_model");

    output_print(out, "%s", style_on(out, STYLE_BOLD));
    print_foreign(out, model == NULL ? "no model" : model);
    output_print(out, "%s", style_off(out, STYLE_BOLD));
    if (model != NULL)
        output_print(out, "%s", is_flipped(status) ? ", the target" : ", the source");
}

/* A target that is placed in the documents table, until queries go to it. */
static void
print_placed(const struct output *out, const cJSON *status, const cJSON *more)
{
    char text[FORMAT_SIZE];
    const cJSON *placed = cJSON_GetObjectItemCaseSensitive(more, "placed");

    if (!cJSON_IsObject(placed) || is_flipped(status))
        return;
    print_label(out, "column");
    if (json_true(placed, "checked"))
        output_print(out, "%s is filled and takes over the name when queries go over\n", json_text(placed, "name"));
    else if (json_true(placed, "copy_done"))
        output_print(out, "%s is filled, its index is still to be built\n", json_text(placed, "name"));
    else
        output_print(out, "%s vectors are copied into %s; it begins when all documents are embedded\n",
                     format_count(count_of(placed, "copied"), text), json_text(placed, "name"));
}

static void
print_routing(const struct output *out, const cJSON *status, const cJSON *more)
{
    char text[FORMAT_SIZE];
    const cJSON *routing = cJSON_GetObjectItemCaseSensitive(status, "routing");
    const cJSON *model = NULL;
    double flipped_ago = json_number(more, "flipped_ago", -1);
    double window_left = json_number(more, "window_left", -1);
    const char *separator = "";

    print_label(out, "queries");
    print_side(out, status);
    if (is_flipped(status) && flipped_ago >= 0)
        output_print(out, ", since %s", format_duration(flipped_ago, text));
    output_print(out, "\n");

    print_label(out, "writes");
    cJSON_ArrayForEach (model, cJSON_GetObjectItemCaseSensitive(routing, "write_models")) {
        output_print(out, "%s", separator);
        print_foreign(out, cJSON_GetStringValue(model));
        separator = " and ";
    }
    output_print(out, "%s\n", separator[0] == '\0' ? "none" : "");

    if (cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(status, "source_kept"))) {
        print_label(out, "");
        output_print(out, "the source has no provider: the application keeps it current itself");
        if (json_number(status, "source_missing", -1) >= 0)
            output_print(out, "; %s documents have no vector there",
                         format_count(count_of(status, "source_missing"), text));
        if (json_number(more, "source_lost", 0) > 0)
            output_print(out, ", a rollback would lose %s of them", format_count(count_of(more, "source_lost"), text));
        output_print(out, "\n");
    }
    if (is_state(status, "completed") && window_left > 0) {
        print_label(out, "window");
        output_print(out, "a rollback is possible for another %s\n", format_duration(window_left, text));
    }
}

enum rc
status_print_gates(const struct output *out, const cJSON *status, size_t indent, struct err *err)
{
    static const struct table_column columns[] = {{"", false}, {"gate", false}, {"", false}};
    const cJSON *gate = NULL;
    struct table *table = table_new(columns, 3);
    struct output plain = *out;

    if (table == NULL)
        return err_memory(err);
    /* The mark's colour is put in after the width was counted, so here it has none. */
    plain.colour = false;
    cJSON_ArrayForEach (gate, cJSON_GetObjectItemCaseSensitive(status, "gates")) {
        struct strbuf name;
        strbuf_init(&name, 256);
        for (const char *c = json_text(gate, "gate"); c != NULL && *c != '\0'; c++)
            strbuf_putc(&name, *c == '_' ? ' ' : *c);
        table_cell(table, output_mark(&plain, json_true(gate, "holds")));
        table_cell(table, strbuf_text(&name));
        table_cell(table, json_text(gate, "text"));
        strbuf_free(&name);
    }
    enum rc rc = table_print(table, out, indent, false, err);
    table_free(table);
    return rc;
}

static enum rc
print_failures(const struct output *out, const cJSON *more, struct err *err)
{
    static const struct table_column columns[] = {{"", true}, {"", false}, {"", false}, {"", false}};
    const cJSON *row = NULL;
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(more, "failures");

    if (cJSON_GetArraySize(rows) == 0)
        return RC_OK;
    struct table *table = table_new(columns, 4);
    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (row, rows) {
        char count[FORMAT_SIZE];
        struct strbuf example;
        const char *detail = json_text(row, "detail");
        strbuf_init(&example, 65536);
        strbuf_printf(&example, "such as %s%s%s", json_text(row, "example"), detail == NULL ? "" : ": ",
                      detail == NULL ? "" : detail);
        table_cell(table, format_count(count_of(row, "documents"), count));
        table_cell(table, json_text(row, "kind"));
        table_cell(table, json_text(row, "reason"));
        table_cell(table, strbuf_text(&example));
        strbuf_free(&example);
    }
    print_heading(out, "left out");
    enum rc rc = table_print(table, out, LABEL_WIDTH, false, err);
    table_free(table);
    return rc;
}

static enum rc
print_workers(const struct output *out, const cJSON *status, struct err *err)
{
    static const struct table_column columns[] = {{"", false}, {"", true}, {"", false}};
    const cJSON *worker = NULL;
    struct table *table = table_new(columns, 3);

    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (worker, cJSON_GetObjectItemCaseSensitive(status, "workers")) {
        char place[320];
        char done[64];
        char count[FORMAT_SIZE];
        const char *note = json_text(worker, "note");
        if (!json_true(worker, "alive"))
            continue;
        (void)snprintf(place, sizeof place, "%.255s pid %lld", json_text(worker, "host"),
                       (long long)count_of(worker, "pid"));
        (void)snprintf(done, sizeof done, "%s done", format_count(count_of(worker, "processed"), count));
        table_cell(table, place);
        table_cell(table, done);
        table_cell(table, note);
    }
    enum rc rc = RC_OK;
    if (status_workers(status) > 0) {
        print_heading(out, "workers");
        rc = table_print(table, out, LABEL_WIDTH, false, err);
    } else if (is_state(status, "in_progress")) {
        print_label(out, "workers");
        output_print(out, "none is alive\n");
    }
    table_free(table);
    return rc;
}

/* Gates matter as long as queries have not gone over and still may. */
static bool
gates_matter(const cJSON *status)
{
    return !is_flipped(status) && !is_state(status, "planned") && !is_state(status, "cancelled");
}

enum rc
status_print(const struct output *out, const cJSON *status, const cJSON *more, struct err *err)
{
    enum rc rc = RC_OK;

    print_head(out, status);
    print_bar(out, status);
    print_rate(out, status, more);
    print_counts(out, status);
    print_spent(out, status);
    rc = print_forecast(out, more, err);
    print_placed(out, status, more);
    print_routing(out, status, more);
    if (rc == RC_OK && gates_matter(status)) {
        print_heading(out, "gates");
        rc = status_print_gates(out, status, LABEL_WIDTH, err);
    }
    if (rc == RC_OK)
        rc = print_failures(out, more, err);
    if (rc == RC_OK)
        rc = print_workers(out, status, err);
    output_print(out, "\n");
    return rc;
}

void
status_print_brief(const struct output *out, const cJSON *status)
{
    char processed[FORMAT_SIZE];
    char total[FORMAT_SIZE];
    struct strbuf state;
    int64_t failed = count_of(status, "failed");
    int64_t skipped = count_of(status, "skipped");
    int64_t documents = count_of(status, "total");

    strbuf_init(&state, 256);
    status_state(status, &state);
    print_foreign(out, json_text(status, "migration_id"));
    output_print(out, " is %s%s%s", style_on(out, state_style(status)), strbuf_text(&state),
                 style_off(out, state_style(status)));
    strbuf_free(&state);
    const char *reason = json_text(status, "reason");
    if (reason != NULL) {
        output_print(out, ": ");
        print_foreign(out, reason);
    }
    output_print(out, "\n%s of %s %s embedded", format_count(count_of(status, "processed"), processed),
                 format_count(documents, total), plural(documents, "document", "documents"));
    if (skipped > 0)
        output_print(out, ", %s skipped", format_count(skipped, total));
    if (failed > 0)
        output_print(out, ", %s failed", format_count(failed, total));
    output_print(out, "\nqueries go to ");
    print_side(out, status);
    output_print(out, "\n");
}
