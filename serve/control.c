#include "serve/control.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "db/connection.h"
#include "db/result.h"
#include "db/statements.h"

/* A cutover walks over both tables. */
enum { CONNECT_SECS = 3, STATEMENT_MS = 60000, LOCK_MS = 5000, ID_MAX = 200, REASON_MAX = 500 };

static const struct operation {
    const char *name;
    const char *sql;
    bool reason;
    bool force;
} operations[] = {
    {"pause", sql_call_pause, true, false},
    {"resume", sql_call_resume, false, false},
    {"cutover", sql_call_cutover, false, true},
    {"rollback", sql_call_rollback, true, true},
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static const struct operation *
find(const char *name)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    return NULL;
}

bool
control_is_known(const char *operation)
{
    return find(operation) != NULL;
}

static enum rc
read_body(const struct operation *operation, const char *body, size_t length, struct params *params, struct err *err)
{
    static const char *const keys[] = {"migration_id", "reason", "force", NULL};
    cJSON *root = NULL;
    enum rc rc = json_parse(body, length, "the request", &root, err);

    if (rc == RC_OK && !cJSON_IsObject(root))
        rc = err_set(err, RC_INVALID, ERR_USAGE, "the request must be an object: {\"migration_id\": ...}");
    if (rc == RC_OK)
        rc = json_only_keys(root, "", keys, err);
    if (rc == RC_OK) {
        const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "migration_id"));
        const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(root, "reason"));
        const cJSON *force = cJSON_GetObjectItemCaseSensitive(root, "force");
        if (id == NULL || id[0] == '\0' || strlen(id) > ID_MAX || (reason != NULL && strlen(reason) > REASON_MAX) ||
            (force != NULL && !cJSON_IsBool(force))) {
            rc = err_set(err, RC_INVALID, ERR_USAGE,
                         "migration_id must be a text, reason a text of at most %d bytes, force true or false",
                         REASON_MAX);
        } else {
            params_add_text(params, id);
            if (operation->reason)
                params_add_text(params, reason);
            if (operation->force)
                params_add_bool(params, cJSON_IsTrue(force));
            log_event(LOG_INFO, "asked for over HTTP", LF_STR("operation", operation->name), LF_STR("migration", id),
                      LF_BOOL("force", cJSON_IsTrue(force)));
        }
    }
    cJSON_Delete(root);
    return rc;
}

static enum rc
call(const char *database_url, const struct operation *operation, const struct params *params, struct strbuf *out,
     struct err *err)
{
    const struct db_options options = {
        .url = database_url,
        .application_name = "reembed serve",
        .connect_timeout_secs = CONNECT_SECS,
        .statement_timeout_ms = STATEMENT_MS,
        .lock_timeout_ms = LOCK_MS,
    };
    struct db *db = NULL;
    PGresult *result = NULL;
    enum rc rc = db_open(&options, &db, err);

    if (rc == RC_OK)
        rc = db_exec(db, operation->sql, params, &result, err);
    if (rc == RC_OK)
        strbuf_printf(out, "{\"state\":%s}\n", result_string(result, 0, "json"));
    PQclear(result);
    db_close(db);
    return rc;
}

enum rc
control_call(const char *database_url, const char *name, const char *body, size_t length, struct strbuf *out,
             struct err *err)
{
    struct params params = PARAMS_INIT;
    const struct operation *operation = find(name);
    enum rc rc = read_body(operation, body, length, &params, err);

    if (rc == RC_OK && pthread_mutex_trylock(&one_at_a_time) != 0) {
        rc = err_set(err, RC_RETRY, ERR_TRANSIENT, "another request is being carried out; try again");
    } else if (rc == RC_OK) {
        rc = call(database_url, operation, &params, out, err);
        pthread_mutex_unlock(&one_at_a_time);
    }
    params_clear(&params);
    return rc;
}
