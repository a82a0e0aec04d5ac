/* failures, retry, skip: the documents that have no vector. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/session.h"
#include "cli/statements.h"
#include "coordinator/exit_code.h"

/* A screen for a person; a script takes --json. */
enum { ROWS_SHOWN = 200 };

static void
add_row(struct table *table, const cJSON *row)
{
    char text[FORMAT_SIZE];
    char status[16] = "";
    double http_status = json_number(row, "http_status", 0);

    if (http_status > 0)
        (void)snprintf(status, sizeof status, "%.0f", http_status);
    table_cell(table, json_text(row, "doc_id"));
    table_cell(table, json_text(row, "kind"));
    table_cell(table, json_text(row, "reason"));
    table_cell(table, format_count((int64_t)json_number(row, "attempts", 0), text));
    table_cell(table, status);
    table_cell(table, format_duration(json_number(row, "last_ago", 0), text));
    table_cell(table, json_text(row, "detail"));
}

static enum rc
print_failures(const struct output *out, const cJSON *rows, const char *id, struct err *err)
{
    static const struct table_column columns[] = {
        {"document", false}, {"kind", false}, {"reason", false}, {"tries", true},
        {"http", true},      {"ago", true},   {"detail", false},
    };
    const cJSON *row = NULL;
    int count = cJSON_GetArraySize(rows);
    int shown = 0;
    bool failed = false;

    if (count == 0) {
        output_print(out, "No document of %s failed or was skipped.\n", id);
        output_next(out, "reembed status %s", id);
        return RC_OK;
    }
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (row, rows) {
        failed = failed || strcmp(json_text(row, "kind"), "failed") == 0;
        if (shown++ < ROWS_SHOWN)
            add_row(table, row);
    }
    enum rc rc = table_print(table, out, 0, true, err);
    table_free(table);
    if (count > ROWS_SHOWN)
        output_print(out, "... and %d more; all of them: reembed failures %s --json\n", count - ROWS_SHOWN, id);
    if (failed)
        output_next(out, "edit a document and it is tried again by itself; or reembed retry %s, reembed skip %s DOC...",
                    id, id);
    else
        output_next(out, "reembed status %s; to take skipped ones in again: reembed retry %s", id, id);
    return rc;
}

int
failures_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;
    char *text = NULL;
    cJSON *rows = NULL;
    cJSON *status = NULL;
    struct params params = PARAMS_INIT;
    const char *id = invocation->arguments->texts[0];

    params_add_text(&params, id);
    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = session_text(db, sql_show_failures, &params, &text, err);
    if (rc == RC_OK && text == NULL)
        rc = session_status(db, id, NULL, &status, err); /* says that there is no such id, and which there are */
    if (rc != RC_OK || text == NULL)
        goto out;
    if (option_given(invocation->arguments, "json")) {
        output_print(&invocation->out, "%s\n", text);
        goto out;
    }
    rows = cJSON_Parse(text);
    rc = rows == NULL ? err_memory(err) : print_failures(&invocation->out, rows, id, err);
out:
    free(text);
    cJSON_Delete(rows);
    cJSON_Delete(status);
    params_clear(&params);
    db_close(db);
    return exit_code_of(rc, err);
}

/* --- retry, skip --- */

/* The arguments after the id, as a text array. */
static enum rc
add_documents(struct params *params, const struct arguments *arguments, struct err *err)
{
    size_t count = arguments->count - 1;
    struct db_text *documents = calloc(count + 1, sizeof *documents);
    if (documents == NULL)
        return err_memory(err);
    for (size_t i = 0; i < count; i++)
        documents[i] = (struct db_text){.bytes = arguments->texts[i + 1], .length = strlen(arguments->texts[i + 1])};
    params_add_text_array(params, documents, count);
    free(documents);
    return RC_OK;
}

static int
change_documents(const struct invocation *invocation, const char *sql, struct params *params, const char *what,
                 const char *none, struct err *err)
{
    struct db *db = NULL;
    cJSON *answer = NULL;
    char text[FORMAT_SIZE];
    const struct output *out = &invocation->out;
    const char *id = invocation->arguments->texts[0];

    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = session_json(db, sql, params, &answer, err);
    if (rc == RC_OK) {
        int64_t count = (int64_t)json_number(answer, "documents", 0);
        if (count == 0)
            output_print(out, "%s\n", none);
        else
            output_print(out, "%s %s %s\n", format_count(count, text), plural(count, "document", "documents"), what);
        output_next(out, "reembed status %s", id);
    }
    cJSON_Delete(answer);
    db_close(db);
    return exit_code_of(rc, err);
}

int
retry_run(const struct invocation *invocation, struct err *err)
{
    struct params params = PARAMS_INIT;
    params_add_text(&params, invocation->arguments->texts[0]);
    enum rc rc = add_documents(&params, invocation->arguments, err);
    int code = rc != RC_OK ? exit_code_of(rc, err)
                           : change_documents(invocation, sql_call_retry, &params, "will be tried again by the workers",
                                              "No such document is among the failures; nothing to retry.", err);
    params_clear(&params);
    return code;
}

int
skip_run(const struct invocation *invocation, struct err *err)
{
    struct params params = PARAMS_INIT;
    const char *reason = option_text(invocation->arguments, "reason");

    if (reason == NULL || reason[0] == '\0') {
        enum rc refused = err_set(err, RC_INVALID, ERR_USAGE, "skip needs --reason: it is what others will read");
        err_hint(err, "usage: reembed skip ID DOC... --reason R");
        return exit_code_of(refused, err);
    }
    params_add_text(&params, invocation->arguments->texts[0]);
    enum rc rc = add_documents(&params, invocation->arguments, err);
    params_add_text(&params, reason);
    int code = rc != RC_OK ? exit_code_of(rc, err)
                           : change_documents(invocation, sql_call_skip, &params, "skipped",
                                              "None of these was skipped: unknown, or it has a current vector.", err);
    params_clear(&params);
    return code;
}
