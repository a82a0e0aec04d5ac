/* pause, resume, cancel, cutover, rollback, finalize: one SQL function each, then how things stand. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/session.h"
#include "cli/statements.h"
#include "cli/status_text.h"
#include "coordinator/exit_code.h"
#include "db/statements.h"

/* A cutover walks over both tables, a drop waits for its lock: neither has a time that could be known. */
enum { LOCK_TIMEOUT_MS = 5000, PATIENCE_MS = 30000 };

static enum rc
read_status(struct db *db, const char *id, cJSON **ret_status, cJSON **ret_more, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc = session_status(db, id, NULL, ret_status, err);
    if (rc != RC_OK)
        return rc;
    params_add_text(&params, id);
    rc = session_json(db, sql_show_more, &params, ret_more, err);
    params_clear(&params);
    return rc;
}

static enum rc
print_outcome(const struct invocation *invocation, struct db *db, const char *id, struct err *err)
{
    cJSON *status = NULL;
    cJSON *more = NULL;
    enum rc rc = read_status(db, id, &status, &more, err);
    if (rc == RC_OK) {
        status_print_brief(&invocation->out, status);
        status_print_next(&invocation->out, status, more);
    }
    cJSON_Delete(status);
    cJSON_Delete(more);
    return rc;
}

/* An operation that got no lock has done nothing: it is tried again for a while. */
static enum rc
call_patiently(const struct invocation *invocation, struct db *db, const char *sql, const struct params *params,
               cJSON **ret_answer, struct err *err)
{
    int64_t until = clock_now_ms() + PATIENCE_MS;
    enum rc rc;

    while ((rc = session_json(db, sql, params, ret_answer, err)) == RC_RETRY && strcmp(err->sqlstate, "55P03") == 0 &&
           db_alive(db) && clock_now_ms() < until && !(invocation->stop != NULL && atomic_load(invocation->stop))) {
        struct timespec pause = {.tv_nsec = 200000000};
        nanosleep(&pause, NULL);
    }
    return rc;
}

/* Calls the function, prints what it left behind. Takes over what `params` holds. */
static int
operate(const struct invocation *invocation, const char *sql, struct params *params, struct err *err)
{
    struct db *db = NULL;
    cJSON *answer = NULL;

    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = db_set_timeouts(db, DB_NO_TIMEOUT, LOCK_TIMEOUT_MS, err);
    if (rc == RC_OK)
        rc = call_patiently(invocation, db, sql, params, &answer, err);
    if (rc == RC_OK)
        rc = print_outcome(invocation, db, invocation->arguments->texts[0], err);
    cJSON_Delete(answer);
    params_clear(params);
    db_close(db);
    return exit_code_of(rc, err);
}

static int
operate_with_reason(const struct invocation *invocation, const char *sql, struct err *err)
{
    struct params params = PARAMS_INIT;
    params_add_text(&params, invocation->arguments->texts[0]);
    params_add_text(&params, option_text(invocation->arguments, "reason"));
    return operate(invocation, sql, &params, err);
}

int
pause_run(const struct invocation *invocation, struct err *err)
{
    return operate_with_reason(invocation, sql_call_pause, err);
}

int
cancel_run(const struct invocation *invocation, struct err *err)
{
    return operate_with_reason(invocation, sql_call_cancel, err);
}

int
resume_run(const struct invocation *invocation, struct err *err)
{
    struct params params = PARAMS_INIT;
    params_add_text(&params, invocation->arguments->texts[0]);
    return operate(invocation, sql_call_resume, &params, err);
}

int
rollback_run(const struct invocation *invocation, struct err *err)
{
    struct params params = PARAMS_INIT;
    params_add_text(&params, invocation->arguments->texts[0]);
    params_add_text(&params, option_text(invocation->arguments, "reason"));
    params_add_bool(&params, option_given(invocation->arguments, "force"));
    return operate(invocation, sql_call_rollback, &params, err);
}

/* --- cutover --- */

static enum rc
print_gates(const struct invocation *invocation, struct db *db, const char *id, struct err *err)
{
    cJSON *status = NULL;
    enum rc rc = session_status(db, id, NULL, &status, err);
    if (rc == RC_OK)
        rc = status_print_gates(&invocation->out, status, 0, err);
    cJSON_Delete(status);
    return rc;
}

/* The first queries after the flip find the index in memory; that it could not be done is no reason not to flip. */
static void
prewarm(struct db *db, const char *id)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    params_add_text(&params, id);
    (void)db_exec(db, "SELECT reembed.prewarm($1)", &params, NULL, &ignored);
    params_clear(&params);
}

/* The gates are printed before what was decided, also when it was decided against. */
int
cutover_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;
    cJSON *answer = NULL;
    struct err ignored = ERR_INIT;
    struct params params = PARAMS_INIT;
    const char *id = invocation->arguments->texts[0];

    params_add_text(&params, id);
    params_add_bool(&params, option_given(invocation->arguments, "force"));
    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = db_set_timeouts(db, DB_NO_TIMEOUT, LOCK_TIMEOUT_MS, err);
    if (rc == RC_OK)
        prewarm(db, id);
    if (rc == RC_OK)
        rc = call_patiently(invocation, db, sql_call_cutover, &params, &answer, err);
    if (rc == RC_OK)
        rc = print_gates(invocation, db, id, err);
    else if (db != NULL && exit_code_of(rc, err) == EXIT_GATE)
        (void)print_gates(invocation, db, id, &ignored);
    if (rc == RC_OK)
        rc = print_outcome(invocation, db, id, err);
    else if (exit_code_of(rc, err) == EXIT_GATE)
        output_next(&invocation->out, "reembed status %s --watch", id);
    cJSON_Delete(answer);
    params_clear(&params);
    db_close(db);
    return exit_code_of(rc, err);
}

/* --- finalize --- */

/* Asks before anything is dropped, by its name. *ret_drops: what will be, NULL: nothing. */
static enum rc
confirm_drop(const struct invocation *invocation, struct db *db, const char *id, cJSON **ret_drops, struct err *err)
{
    struct params params = PARAMS_INIT;
    struct strbuf question;

    params_add_text(&params, id);
    params_add_bool(&params, option_given(invocation->arguments, "drop-source"));
    enum rc rc = session_json(db, sql_call_finalize_drops, &params, ret_drops, err);
    params_clear(&params);
    if (rc != RC_OK || cJSON_GetStringValue(*ret_drops) == NULL)
        return rc;
    strbuf_init(&question, 4096);
    strbuf_printf(&question, "This drops %s; to have these vectors again would mean to embed everything again. Go on?",
                  cJSON_GetStringValue(*ret_drops));
    if (!ask(&invocation->common, strbuf_text(&question)))
        rc = err_set(err, RC_REFUSED, ERR_USAGE, "nothing was done");
    strbuf_free(&question);
    return rc;
}

int
finalize_run(const struct invocation *invocation, struct err *err)
{
    struct db *db = NULL;
    cJSON *answer = NULL;
    cJSON *drops = NULL;
    struct params params = PARAMS_INIT;
    const struct arguments *arguments = invocation->arguments;
    const char *id = arguments->texts[0];

    params_add_text(&params, id);
    params_add_bool(&params, option_given(arguments, "now"));
    params_add_bool(&params, option_given(arguments, "drop-source"));
    params_add_bool(&params, option_given(arguments, "detach"));
    enum rc rc = session_open(invocation, &db, err);
    if (rc == RC_OK)
        rc = confirm_drop(invocation, db, id, &drops, err);
    if (rc == RC_OK)
        rc = db_set_timeouts(db, DB_NO_TIMEOUT, LOCK_TIMEOUT_MS, err);
    if (rc == RC_OK)
        rc = call_patiently(invocation, db, sql_call_finalize, &params, &answer, err);
    if (rc == RC_OK && cJSON_GetStringValue(drops) != NULL)
        output_print(&invocation->out, "dropped %s\n", cJSON_GetStringValue(drops));
    if (rc == RC_OK)
        rc = print_outcome(invocation, db, id, err);
    cJSON_Delete(drops);
    cJSON_Delete(answer);
    params_clear(&params);
    db_close(db);
    return exit_code_of(rc, err);
}
