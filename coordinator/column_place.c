/* The finisher's part of a placed column: it is made, filled by the keeper, indexed, compared, and only then may queries
 * go to it. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/column.h"
#include "coordinator/index_build.h"
#include "db/result.h"
#include "db/statements.h"

#define WAIT_MS 20

/* RC_AGAIN also when the names are no longer those of the run: queries went over or back, or it was cancelled. */
static enum rc
exec(struct run *run, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
     struct err *err)
{
    enum rc rc = run_exec(run, db, sql, params, ret_result, err);
    int once = 0;

    return run_names_changed(rc, err, &once) ? RC_AGAIN : rc;
}

static enum rc
exec_for_walk(void *context, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
              struct err *err)
{
    return exec(context, db, sql, params, ret_result, err);
}

/* Makes the log, then the column. Each attempt asks for its lock for 50 ms at a time and gives up after some seconds. */
static enum rc
make(struct run *run, struct db *db, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    bool there = false;
    enum rc rc = RC_OK;

    params_add_text(&params, run->migration->id);
    while (rc == RC_OK && !there && !run_stopping(run)) {
        rc = db_exec(db, "SELECT reembed.add_column($1) AS there", &params, &result, err);
        if (rc == RC_OK)
            there = result_bool(result, 0, "there");
        PQclear(result);
        result = NULL;
    }
    params_clear(&params);
    if (rc == RC_RETRY && strcmp(err->sqlstate, "55P03") == 0)
        run_note(run, "waiting for a moment's exclusive lock on %s to add a column", run->migration->docs_table);
    return rc;
}

static enum rc
read_log(struct run *run, struct db *db, int64_t moment, int64_t *ret_highest, bool *ret_waiting, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, moment);
    rc = exec(run, db, run->migration->column.log, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK) {
        *ret_highest = result_int64(result, 0, "highest");
        *ret_waiting = result_bool(result, 0, "waiting");
    }
    PQclear(result);
    return rc;
}

enum rc
column_settle(struct run *run, struct db *db, bool (*going)(void *context), void *context, struct err *err)
{
    int64_t moment = 0, ignored = 0;
    bool waiting = true;
    enum rc rc = read_log(run, db, 0, &moment, &waiting, err);

    for (waiting = moment > 0; rc == RC_OK && waiting;) {
        if (!going(context) || run_stopping(run))
            return RC_CLOSED;
        run_sleep(run, WAIT_MS);
        rc = read_log(run, db, moment, &ignored, &waiting, err);
    }
    return rc;
}

static enum rc
note_checked(struct run *run, struct db *db, const PGresult *stand, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, run->migration->id);
    params_add_uuid(&params, run->worker_id);
    params_add_text(&params, result_string(stand, 0, "index_name"));
    rc = exec(run, db, "SELECT reembed.column_checked($1, $2, $3)", &params, NULL, err);
    params_clear(&params);
    return rc;
}

static enum rc
compare_until_equal(struct run *run, struct db *db, bool (*going)(void *context), void *context, const PGresult *stand,
                    struct err *err)
{
    struct column_counts counts;
    enum rc rc;

    do {
        if ((rc = column_compare(db, run->migration, exec_for_walk, run, going, context, &counts, err)) != RC_OK ||
            (rc = column_settle(run, db, going, context, err)) != RC_OK)
            return rc;
        if (counts.noted > 0)
            log_event(LOG_INFO, "the column was behind its side table", LF_INT("documents", counts.noted));
    } while (counts.noted > 0 && !run_stopping(run));
    return run_stopping(run) ? RC_CLOSED : note_checked(run, db, stand, err);
}

enum rc
column_step(struct run *run, struct db *db, bool (*going)(void *context), void *context, bool *ret_ready,
            struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *stand = NULL;
    enum rc rc;

    *ret_ready = false;
    params_add_int8(&params, run->migration->number);
    rc = exec(run, db, sql_column_stand, &params, &stand, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (result_rows(stand) == 0)
        rc = RC_CLOSED; /* cancelled meanwhile */
    else if (!result_bool(stand, 0, "there"))
        rc = make(run, db, err);
    else if (!result_bool(stand, 0, "copy_done"))
        rc = RC_AGAIN;
    else if (!result_bool(stand, 0, "indexed"))
        rc = index_build(run, db, err);
    else if (!result_bool(stand, 0, "checked"))
        rc = compare_until_equal(run, db, going, context, stand, err);
    else
        *ret_ready = true;
    PQclear(stand);
    return rc;
}
