#include "cli/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/statements.h"
#include "db/result.h"
#include "db/retry.h"
#include "db/statements.h"

/* Two addresses (localhost is often ::1 and 127.0.0.1) still end within the 10 s that the exit code promises. */
enum { CONNECT_TIMEOUT_SECS = 4, STATEMENT_TIMEOUT_MS = 60000, LOCK_TIMEOUT_MS = 2000, IDS_MAX = 200 };

static const struct retry_policy patience = {.max_attempts = 8, .first_ms = 100, .cap_ms = 1000, .total_ms = 20000};

enum rc
session_open(const struct invocation *invocation, struct db **ret_db, struct err *err)
{
    const struct db_options options = {
        .url = invocation->common.database_url,
        .application_name = "reembed",
        .connect_timeout_secs = CONNECT_TIMEOUT_SECS,
        .statement_timeout_ms = STATEMENT_TIMEOUT_MS,
        .lock_timeout_ms = LOCK_TIMEOUT_MS,
    };
    enum rc rc = db_open(&options, ret_db, err);
    if (rc != RC_OK && err->class == ERR_UNREACHABLE && err->hint[0] == '\0' && invocation->common.database_url == NULL)
        err_hint(err, "name the database by --database-url, REEMBED_DATABASE_URL, or PGHOST, PGDATABASE and so on");
    return rc;
}

/* A schema that is not there looks like a mistake in our SQL. */
static void
explain(struct err *err)
{
    static const char *const missing[] = {"3F000", "42P01", "42883", "42703"};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        if (strcmp(err->sqlstate, missing[i]) != 0 || strstr(err->message, "reembed") == NULL)
            continue;
        (void)err_set(err, RC_INVALID, ERR_USAGE,
                      "the schema reembed is missing in this database, or older than this program");
        err_hint(err, "install it with reembed init; reembed run FILE does so by itself");
        return;
    }
    if (strcmp(err->sqlstate, "42501") == 0 && err->hint[0] == '\0')
        err_hint(err, "a person with the right to do so can grant it: reembed init --reader ROLE, --operator ROLE");
}

enum rc
session_text(struct db *db, const char *sql, const struct params *params, char **ret_text, struct err *err)
{
    PGresult *result = NULL;
    struct retry retry = retry_start(&patience);
    enum rc rc = RC_OK;

    while ((rc = db_exec(db, sql, params, &result, err)) == RC_RETRY && db_alive(db)) {
        if (retry_wait(&retry, NULL) != RC_OK)
            break;
    }
    if (rc != RC_OK) {
        explain(err);
        return rc;
    }
    *ret_text = NULL;
    if (result_rows(result) > 0 && !result_is_null(result, 0, "json")) {
        *ret_text = strdup(result_string(result, 0, "json"));
        if (*ret_text == NULL)
            rc = err_memory(err);
    }
    PQclear(result);
    return rc;
}

enum rc
session_json(struct db *db, const char *sql, const struct params *params, cJSON **ret_json, struct err *err)
{
    char *text = NULL;
    enum rc rc = session_text(db, sql, params, &text, err);
    *ret_json = NULL;
    if (rc == RC_OK && text != NULL) {
        *ret_json = cJSON_Parse(text);
        if (*ret_json == NULL)
            rc = err_memory(err);
    }
    free(text);
    return rc;
}

/* Names what was probably meant, and what there is. */
static enum rc
refuse_id(struct db *db, const char *id, struct err *err)
{
    cJSON *ids = NULL;
    const char *names[IDS_MAX + 1];
    size_t count = 0;
    struct strbuf list;

    enum rc rc = session_json(db, sql_show_ids, NULL, &ids, err);
    if (rc != RC_OK)
        return rc;
    strbuf_init(&list, 256);
    const cJSON *name = NULL;
    cJSON_ArrayForEach (name, ids) {
        if (count == IDS_MAX)
            break;
        names[count++] = name->valuestring;
        if (count <= 5)
            strbuf_printf(&list, "%s%s", count == 1 ? "" : ", ", name->valuestring);
    }
    names[count] = NULL;
    if (id == NULL) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "there is no migration in this database yet");
        err_hint(err, "reembed run FILE creates and starts one");
    } else {
        const char *meant = nearest_name(id, names);
        rc = err_set(err, RC_INVALID, ERR_USAGE, "unknown migration \"%.200s\"", id);
        if (meant != NULL)
            err_hint(err, "did you mean %s?", meant);
        else if (count > 0)
            err_hint(err, "there %s: %s%s", count == 1 ? "is" : "are", strbuf_text(&list), count > 5 ? ", ..." : "");
        else
            err_hint(err, "there is none in this database yet; reembed run FILE creates one");
    }
    strbuf_free(&list);
    cJSON_Delete(ids);
    return rc;
}

enum rc
session_status(struct db *db, const char *id, char **ret_text, cJSON **ret_json, struct err *err)
{
    char *text = NULL;
    struct params params = PARAMS_INIT;

    params_add_text(&params, id);
    enum rc rc = session_text(db, sql_show_status, &params, &text, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (text == NULL)
        return refuse_id(db, id, err);
    *ret_json = cJSON_Parse(text);
    if (*ret_json == NULL)
        rc = err_memory(err);
    if (rc == RC_OK && ret_text != NULL)
        *ret_text = text;
    else
        free(text);
    return rc;
}

const char *
json_text(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

double
json_number(const cJSON *object, const char *key, double fallback)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : fallback;
}

bool
json_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}
