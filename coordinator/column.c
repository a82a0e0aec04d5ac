/* The keeper of a placed column: first the whole side table in the order of its keys, then what changes in it.
 *
 * Both are short statements, so that the application never waits long for a row: their size follows the time they take. */
#include "coordinator/column.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/result.h"
#include "db/statements.h"

#define ROWS_FIRST   50 /* rows of the first statement */
#define ROWS_LEAST   50 /* where a commit or the processor is slow, fewer rows would not be faster */
#define ROWS_MOST    2000
#define STATEMENT_MS 50 /* that a statement should take: it holds its rows for so long */
#define LOOK_MS      200
#define CHANGES      500 /* a pass */
#define FLOOR_PASSES 8   /* passes after which what was left is looked at again */

struct keeper {
    struct run *run;
    struct migration *own; /* the names as they are now; NULL: those of the run */
    struct db *db;
    bool leased;
    unsigned char owner[16];
    int64_t epoch;
    int64_t renewed_ms;
    int32_t rows;
    int64_t floor; /* what is logged up to here is left for later: rows that the application holds locked */
    int passes;
    bool copy_done;
    int renamed; /* run_names_changed */
};

static const struct placed_column *
column_of(const struct keeper *k)
{
    return k->own ? &k->own->column : &k->run->migration->column;
}

static void
add_lease(struct params *params, const struct keeper *k)
{
    params_add_int8(params, column_of(k)->space_id);
    params_add_uuid(params, k->owner);
    params_add_int8(params, k->epoch);
    params_add_int8(params, k->run->lease_ms);
}

/* --- the lease --- */

/* A cutover or rollback takes the lease away when it gives the column another name, so the names that are read after the
 * lease was got are good for as long as it holds. */
static enum rc
read_names(struct keeper *k, struct err *err)
{
    struct migration *now = NULL;
    enum rc rc = migration_load(k->db, k->run->migration->id, &now, err);

    if (rc != RC_OK)
        return rc;
    migration_free(k->own);
    k->own = now;
    if (now->column.space_id == 0)
        k->leased = false; /* cancelled or settled meanwhile */
    return RC_OK;
}

static enum rc
claim(struct keeper *k, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, column_of(k)->space_id);
    params_add_int8(&params, k->run->lease_ms);
    rc = run_exec(k->run, k->db, sql_drain_claim, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    k->leased = result_rows(result) == 1;
    if (k->leased) {
        memcpy(k->owner, result_uuid(result, 0, "owner"), sizeof k->owner);
        k->epoch = result_int64(result, 0, "epoch");
        k->renewed_ms = clock_now_ms();
    }
    PQclear(result);
    return k->leased ? read_names(k, err) : RC_OK;
}

static enum rc
renew(struct keeper *k, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    if (clock_now_ms() - k->renewed_ms < k->run->lease_ms / 3)
        return RC_OK;
    add_lease(&params, k);
    rc = run_exec(k->run, k->db, sql_drain_renew, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(result) == 0)
        k->leased = false;
    k->renewed_ms = clock_now_ms();
    PQclear(result);
    return rc;
}

static void
release(struct keeper *k)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    if (!k->leased || !db_alive(k->db))
        return;
    db_set_stop(k->db, NULL);
    params_add_int8(&params, column_of(k)->space_id);
    params_add_uuid(&params, k->owner);
    params_add_int8(&params, k->epoch);
    db_exec(k->db, sql_drain_release, &params, NULL, &ignored);
    params_clear(&params);
    k->leased = false;
}

/* --- the copy --- */

static void
adapt(struct keeper *k, int64_t took_ms)
{
    if (took_ms > STATEMENT_MS)
        k->rows = k->rows * 2 / 3 > ROWS_LEAST ? k->rows * 2 / 3 : ROWS_LEAST;
    else if (took_ms < STATEMENT_MS / 2 && k->rows < ROWS_MOST)
        k->rows += k->rows / 2 + 1;
}

/* As long a rest as the statement took: half of a core is the application's, and so is half of the disk. */
static enum rc
copy_batch(struct keeper *k, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    int64_t began_ms, took_ms;
    enum rc rc;

    while (atomic_load(&k->run->held) && !run_stopping(k->run))
        run_sleep(k->run, LOOK_MS);
    add_lease(&params, k);
    params_add_int8(&params, k->run->migration->number);
    params_add_int4(&params, k->rows);
    began_ms = clock_now_ms();
    rc = run_exec(k->run, k->db, column_of(k)->copy, &params, &result, err);
    took_ms = clock_now_ms() - began_ms;
    params_clear(&params);
    if (run_names_changed(rc, err, &k->renamed)) {
        k->leased = false;
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    k->leased = result_int64(result, 0, "fenced") > 0;
    k->renewed_ms = clock_now_ms();
    k->copy_done = k->leased && result_bool(result, 0, "done");
    if (k->copy_done)
        log_event(LOG_INFO, "the new vectors are in the documents table", LF_STR("column", column_of(k)->name));
    PQclear(result);
    adapt(k, took_ms);
    run_sleep(k->run, took_ms + 1);
    return RC_OK;
}

/* --- what changes --- */

/* RC_AGAIN: nothing is waiting. */
static enum rc
follow(struct keeper *k, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    int64_t listed, settled, highest;
    enum rc rc;

    if (++k->passes % FLOOR_PASSES == 0)
        k->floor = 0;
    add_lease(&params, k);
    params_add_int4(&params, CHANGES < k->rows ? CHANGES : k->rows);
    params_add_int8(&params, k->floor);
    int64_t began_ms = clock_now_ms();
    rc = run_exec(k->run, k->db, column_of(k)->follow, &params, &result, err);
    params_clear(&params);
    if (run_names_changed(rc, err, &k->renamed)) {
        k->leased = false;
        return RC_OK;
    }
    if (rc != RC_OK)
        return rc;
    k->leased = result_int64(result, 0, "fenced") > 0;
    k->renewed_ms = clock_now_ms();
    listed = result_int64(result, 0, "listed");
    settled = result_int64(result, 0, "settled");
    highest = result_int64(result, 0, "highest");
    PQclear(result);
    if (!k->leased)
        return RC_OK;
    if (listed == 0) {
        rc = k->floor == 0 ? RC_AGAIN : RC_OK;
        if (k->floor > 0)
            run_sleep(k->run, 100);
        k->floor = 0;
        return rc;
    }
    adapt(k, clock_now_ms() - began_ms);
    if (settled < listed)
        k->floor = highest;
    return RC_OK;
}

/* The column is there to be written, and whether it still is to be filled. */
static enum rc
look(struct keeper *k, bool *ret_there, bool *ret_copying, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    *ret_there = *ret_copying = false;
    params_add_int8(&params, k->run->migration->number);
    rc = run_exec(k->run, k->db, sql_column_stand, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(result) == 1) {
        k->copy_done = result_bool(result, 0, "copy_done");
        *ret_there = result_bool(result, 0, "there");
        *ret_copying = *ret_there && !k->copy_done && result_bool(result, 0, "in_progress");
    }
    PQclear(result);
    return rc;
}

static enum rc
keep(struct keeper *k, struct err *err)
{
    struct run *run = k->run;
    bool there = false, copying = false, target_drained;
    int64_t looked_ms = 0;
    enum rc rc = RC_OK;

    while (!run_stopping(run) && rc == RC_OK) {
        if (!k->leased && (rc = claim(k, err)) == RC_OK && !k->leased) {
            run_sleep(run, run->lease_ms / 4 < 500 ? run->lease_ms / 4 + 1 : 500);
            continue;
        }
        if (rc == RC_OK && (!there || clock_now_ms() - looked_ms > LOOK_MS)) {
            rc = look(k, &there, &copying, err);
            looked_ms = clock_now_ms();
        }
        if (rc != RC_OK)
            break;
        /* what the drainer of the side table writes comes after this look at it */
        target_drained = atomic_load(&run->drained_once[EMBEDDER_TARGET]) || !run->migration->target.captured;
        if (!there) {
            if ((rc = renew(k, err)) == RC_OK)
                run_sleep(run, LOOK_MS);
        } else if (copying && !k->copy_done) {
            rc = copy_batch(k, err);
        } else if ((rc = follow(k, err)) == RC_AGAIN) {
            if (target_drained)
                atomic_store(&run->column_drained, true);
            if ((rc = renew(k, err)) == RC_OK)
                run_sleep(run, 100);
        }
    }
    return rc;
}

void *
column_keeper_thread(void *argument)
{
    struct keeper k = {.run = argument, .rows = ROWS_FIRST};
    struct err err = ERR_INIT;
    enum rc rc = run_connect(k.run, &k.db, &err);

    if (rc == RC_OK)
        rc = keep(&k, &err);
    if (rc != RC_OK && rc != RC_CLOSED)
        run_stop(k.run, err_is_disk_full(&err) ? STOP_PAUSED : STOP_FAILED, rc, &err);
    if (k.db)
        release(&k);
    db_close(k.db);
    migration_free(k.own);
    atomic_fetch_sub(&k.run->threads_busy, 1);
    return NULL;
}
