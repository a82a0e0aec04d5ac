/* status and list: read-only, cheap enough to be asked each second. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/format.h"
#include "cli/session.h"
#include "cli/statements.h"
#include "cli/status_text.h"
#include "coordinator/exit_code.h"

static enum rc
read_more(struct db *db, const cJSON *status, cJSON **ret_more, struct err *err)
{
    struct params params = PARAMS_INIT;
    params_add_text(&params, json_text(status, "migration_id"));
    enum rc rc = session_json(db, sql_show_more, &params, ret_more, err);
    params_clear(&params);
    return rc;
}

static void
print_others(const struct output *out, const cJSON *more)
{
    int64_t others = (int64_t)json_number(more, "others", 0);
    if (others > 0)
        output_print(out, "%lld other %s: reembed list\n", (long long)others,
                     plural(others, "migration", "migrations"));
}

/* `ret_over`: nothing will change by itself any more. */
static enum rc
show_once(const struct invocation *invocation, struct db *db, const char *id, bool *ret_over, struct err *err)
{
    const struct output *out = &invocation->out;
    bool json = option_given(invocation->arguments, "json");
    char *text = NULL;
    cJSON *status = NULL;
    cJSON *more = NULL;

    enum rc rc = session_status(db, id, &text, &status, err);
    if (rc != RC_OK)
        return rc;
    if (json) {
        output_print(out, "%s\n", text);
    } else {
        rc = read_more(db, status, &more, err);
        if (rc == RC_OK && option_given(invocation->arguments, "watch") && out->width > 0)
            output_print(out, "\033[H\033[J");
        if (rc == RC_OK)
            rc = status_print(out, status, more, err);
        if (rc == RC_OK) {
            if (id == NULL)
                print_others(out, more);
            status_print_next(out, status, more);
        }
    }
    const char *state = json_text(status, "state");
    *ret_over = state != NULL && (strcmp(state, "completed") == 0 || strcmp(state, "cancelled") == 0 ||
                                  strcmp(state, "rolled_back") == 0);
    free(text);
    cJSON_Delete(status);
    cJSON_Delete(more);
    return rc;
}

/* A database that is away for a moment does not end a watch. */
static enum rc
watch(const struct invocation *invocation, struct db *db, const char *id, struct err *err)
{
    static const struct timespec second = {.tv_sec = 1};
    bool over = false;

    for (;;) {
        enum rc rc = show_once(invocation, db, id, &over, err);
        if (rc == RC_RETRY)
            rc = db_alive(db) ? RC_OK : db_reconnect(db, NULL, err);
        if (rc == RC_OK)
            rc = output_finish(&invocation->out, err);
        if (rc != RC_OK || over || ferror(invocation->out.stream))
            return rc;
        (void)nanosleep(&second, NULL);
    }
}

int
status_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;
    bool over = false;
    const char *id = invocation->arguments->texts[0];

    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = option_given(invocation->arguments, "watch") ? watch(invocation, db, id, err)
                                                          : show_once(invocation, db, id, &over, err);
    db_close(db);
    return exit_code_of(rc, err);
}

/* --- list --- */

static void
add_row(struct table *table, const cJSON *row)
{
    char text[FORMAT_SIZE];
    struct strbuf state;
    double eta = json_number(row, "eta_secs", -1);
    double throughput = json_number(row, "throughput", -1);

    strbuf_init(&state, 256);
    status_state(row, &state);
    table_cell(table, json_text(row, "migration_id"));
    table_cell(table, json_text(row, "collection"));
    table_cell(table, json_true(row, "stalled") ? "stalled" : strbuf_text(&state));
    table_cell(table, format_share(json_number(row, "progress", 0), text));
    table_cell(table, format_count((int64_t)json_number(row, "total", 0), text));
    table_cell(table, format_count((int64_t)json_number(row, "failed", 0), text));
    table_cell(table, throughput < 0 ? "" : format_rate(throughput, text));
    table_cell(table, eta > 0 ? format_duration(eta, text) : "");
    table_cell(table, json_text(cJSON_GetObjectItemCaseSensitive(row, "routing"), "query_model"));
    strbuf_free(&state);
}

static enum rc
print_list(const struct output *out, const cJSON *rows, struct err *err)
{
    static const struct table_column columns[] = {
        {"migration", false}, {"collection", false}, {"state", false}, {"done", true},     {"documents", true},
        {"failed", true},     {"rate", true},        {"left", true},   {"queries", false},
    };
    const cJSON *row = NULL;

    if (cJSON_GetArraySize(rows) == 0) {
        output_print(out, "There is no migration in this database yet.\n");
        output_next(out, "reembed plan FILE");
        return RC_OK;
    }
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (row, rows) {
        add_row(table, row);
    }
    enum rc rc = table_print(table, out, 0, true, err);
    table_free(table);
    output_next(out, "reembed status %s", json_text(rows->child, "migration_id"));
    return rc;
}

int
list_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;
    char *text = NULL;
    cJSON *rows = NULL;

    enum rc rc = session_open(invocation, &db, err);
    if (rc != RC_OK)
        goto out;
    if (option_given(invocation->arguments, "json")) {
        rc = session_text(db, sql_show_list, NULL, &text, err);
        if (rc == RC_OK)
            output_print(&invocation->out, "%s\n", text);
        goto out;
    }
    rc = session_json(db, sql_show_list, NULL, &rows, err);
    if (rc == RC_OK)
        rc = print_list(&invocation->out, rows, err);
out:
    free(text);
    cJSON_Delete(rows);
    db_close(db);
    return exit_code_of(rc, err);
}
