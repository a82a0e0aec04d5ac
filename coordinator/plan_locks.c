/* The locks that somebody else can notice. Reading takes ACCESS SHARE, which only DDL has to wait for. */
#include <stdio.h>
#include <string.h>

#include "coordinator/plan.h"
#include "db/result.h"

static bool
add_lock(cJSON *locks, const char *object, const char *mode, const char *when, const char *text)
{
    cJSON *lock = cJSON_CreateObject();

    if (lock && cJSON_AddStringToObject(lock, "object", object) && cJSON_AddStringToObject(lock, "mode", mode) &&
        cJSON_AddStringToObject(lock, "when", when) && cJSON_AddStringToObject(lock, "text", text) &&
        cJSON_AddItemToArray(locks, lock))
        return true;
    cJSON_Delete(lock);
    return false;
}

static bool
has_statement(const cJSON *sql, const char *beginning)
{
    const cJSON *statement = NULL;

    cJSON_ArrayForEach (statement, sql) {
        if (strncmp(cJSON_GetStringValue(statement), beginning, strlen(beginning)) == 0)
            return true;
    }
    return false;
}

/* The view that the flip will show the target by, where it is not there yet or shows another space. */
static const char *
view_of_flip(const struct plan *plan)
{
    const PGresult *s = plan->statements;

    for (int row = 0; s && row < result_rows(s); row++)
        if (result_bool(s, row, "last") && !result_is_null(s, row, "object"))
            return result_string(s, row, "object");
    return NULL;
}

cJSON *
plan_locks(const struct plan *plan, const cJSON *sql)
{
    char text[200], view[200];
    cJSON *locks = cJSON_CreateArray();
    bool built = locks != NULL;

    if (built && has_statement(sql, "LOCK TABLE")) {
        (void)snprintf(text, sizeof text,
                       "waits for open transactions that wrote it, %g s at a time, then milliseconds; writes wait "
                       "meanwhile, reads go on",
                       plan->file->database.lock_timeout_secs);
        built = add_lock(locks, result_string(plan->documents, 0, "docs_table"), "SHARE ROW EXCLUSIVE",
                         "at the start: change capture", text);
    }
    if (built && has_statement(sql, "CREATE INDEX CONCURRENTLY"))
        built = add_lock(locks, plan->migration->target.table, "SHARE UPDATE EXCLUSIVE", "while the index is built",
                         "reads and writes go on");
    if (built && plan->migration && (view_of_flip(plan) || plan->statements)) {
        (void)snprintf(view, sizeof view, "reembed_data.%s_current", plan->migration->collection);
        built = add_lock(locks, view_of_flip(plan) ? view_of_flip(plan) : view, "ACCESS EXCLUSIVE",
                         "at the flip, at a rollback", "milliseconds; queries of the view wait meanwhile");
    }
    if (built)
        return locks;
    cJSON_Delete(locks);
    return NULL;
}
