/* The finisher: what comes after the documents. One process of a migration holds its lease; the order is always
 *
 *   coverage near the threshold -> index -> comparison, where a gate asks for it -> gates -> flip -> the rest of the backfill -> exact sweep -> completed
 *
 * A target that is placed in the documents table takes other steps to the flip: the rest of the backfill, exact sweep,
 * column (coordinator/column.h), gates, flip.
 *
 * The index is built while the backfill goes on, unless what is left of the backfill would take less time than the
 * build: inserting into an HNSW index costs five times what building it afterwards does. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/column.h"
#include "coordinator/compare.h"
#include "coordinator/index_build.h"
#include "coordinator/permit.h"
#include "coordinator/prepare.h"
#include "coordinator/run.h"
#include "coordinator/sweep.h"
#include "db/result.h"
#include "db/statements.h"

#define LOOK_MS                 200
#define INDEX_SECS_A_DOCUMENT   0.0006  /* HNSW, m 16, 384 dimensions, one core */
#define MEASURE_AGAIN_MS        1000    /* or twenty times as long as it took, while a flip waits for changes */
#define MEASURE_SECS_A_DOCUMENT 0.00001 /* an exact walk over 1 kB documents */

struct stand {
    bool in_progress;
    bool flipped;
    bool indexed;
    bool counted;
    bool backfilled;
    bool sweep_clean;
    double coverage;
    double eta_secs; /* < 0: unknown */
    int64_t total;
    int64_t failed;
};

struct finisher {
    struct run *run;
    struct db *db;
    int64_t claimed_ms;
    int64_t measured_ms; /* of the last exact measurement for the gate; 0: never */
    int64_t measure_took_ms;
    int64_t swept_ms;
    int64_t sweep_from; /* highest number in the change log when the last sweep began */
    bool swept;         /* the last sweep noted nothing; its changes may still wait */
    bool prewarmed;
};

static enum rc
exec(struct finisher *f, const char *sql, const struct params *params, PGresult **ret_result, struct err *err)
{
    return run_exec(f->run, f->db, sql, params, ret_result, err);
}

/* What goes on now, where nothing is amiss. */
static void
tell(struct run *run, const char *note)
{
    run_note_keep(run, note);
    log_event(LOG_INFO, note);
}

static enum rc
claim_finish(struct finisher *f, bool *ret_mine, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    int64_t lease = f->run->lease_ms < 2000 ? 2000 : f->run->lease_ms;
    enum rc rc;

    *ret_mine = f->claimed_ms != 0 && clock_now_ms() - f->claimed_ms < lease / 3;
    if (*ret_mine)
        return RC_OK;
    params_add_text(&params, f->run->migration->id);
    params_add_uuid(&params, f->run->worker_id);
    params_add_interval_ms(&params, lease);
    rc = exec(f, "SELECT reembed.claim_finish($1, $2, $3) AS mine", &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_mine = result_bool(result, 0, "mine");
    f->claimed_ms = rc == RC_OK && *ret_mine ? clock_now_ms() : 0;
    PQclear(result);
    return f->claimed_ms != 0 ? fail_point("finisher.claimed", err) : rc;
}

static enum rc
look(struct finisher *f, struct stand *ret_stand, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    rc = exec(f, sql_migration_stand, &params, &r, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    *ret_stand = (struct stand){
        .in_progress = strcmp(result_string(r, 0, "state"), "in_progress") == 0,
        .flipped = result_bool(r, 0, "flipped"),
        .indexed = result_bool(r, 0, "indexed"),
        .counted = result_bool(r, 0, "counted"),
        .backfilled = result_bool(r, 0, "backfilled"),
        .sweep_clean = result_bool(r, 0, "sweep_clean"),
        .coverage = result_float64(r, 0, "effective_coverage"),
        .eta_secs = result_is_null(r, 0, "eta_secs") ? -1 : result_float64(r, 0, "eta_secs"),
        .total = result_int64(r, 0, "total"),
        .failed = result_int64(r, 0, "failed"),
    };
    PQclear(r);
    return RC_OK;
}

static enum rc
enter_stage(struct finisher *f, const char *stage, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    params_add_text(&params, stage);
    rc = exec(f, "SELECT reembed.enter_stage($1, $2)", &params, NULL, err);
    params_clear(&params);
    return rc == RC_OK ? fail_point("finisher.staged", err) : rc;
}

/* --- the exact sweep --- */

static enum rc
exec_for_sweep(void *context, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
               struct err *err)
{
    struct finisher *f = context;
    return run_exec(f->run, db, sql, params, ret_result, err);
}

static bool
still_mine(void *context)
{
    struct finisher *f = context;
    struct err ignored = ERR_INIT;
    bool mine = false;

    return !run_stopping(f->run) && claim_finish(f, &mine, &ignored) == RC_OK && mine;
}

static enum rc
highest_change(struct finisher *f, int64_t *ret_highest, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, f->run->migration->target.id);
    rc = exec(f, f->run->migration->changes_highest, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_highest = result_int64(result, 0, "highest");
    PQclear(result);
    return rc;
}

static enum rc
changes_waiting(struct finisher *f, int64_t highest, bool *ret_waiting, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, f->run->migration->target.id);
    params_add_int8(&params, highest);
    rc = exec(f, f->run->migration->changes_older, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_waiting = result_bool(result, 0, "waiting");
    PQclear(result);
    return rc;
}

/* Until the changes up to this number are applied, by whoever drains. RC_CLOSED: the run stops, or another finishes. */
static enum rc
wait_for_changes(struct finisher *f, int64_t highest, struct err *err)
{
    bool waiting = true;
    enum rc rc;

    while (!run_stopping(f->run)) {
        if ((rc = changes_waiting(f, highest, &waiting, err)) != RC_OK || !waiting)
            return rc;
        if (!still_mine(f))
            break;
        run_sleep(f->run, 20);
    }
    return RC_CLOSED;
}

static enum rc
record(struct finisher *f, const struct db_server *swept, const struct sweep_counts *counts, bool clean,
       struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    params_add_uuid(&params, f->run->worker_id);
    params_add_int8(&params, counts->eligible);
    params_add_int8(&params, counts->current);
    params_add_int8(&params, counts->excused);
    params_add_bool(&params, clean);
    rc = run_exec_on(f->run, f->db, swept, "SELECT reembed.record_sweep($1, $2, $3, $4, $5, $6)", &params, NULL, err);
    params_clear(&params);
    return rc == RC_OK ? fail_point("finisher.recorded", err) : rc;
}

/* Another connection to the same server, or NULL: then the walk takes longer. */
static struct db *
second_connection(struct finisher *f)
{
    struct err ignored = ERR_INIT;
    struct db *db = NULL;

    if (run_connect_once(f->run, &db, &ignored) == RC_OK && !db_same_server(db_server(db), db_server(f->db))) {
        db_close(db);
        db = NULL;
    }
    return db;
}

/* Sweeps, and waits until the changes that were there when it began are applied. The sweep is clean when it found
 * nothing that nobody had noted; constant writes don't delay it. */
static enum rc
sweep_until_clean(struct finisher *f, struct err *err)
{
    struct sweep_counts counts;
    enum rc rc;

    for (int round = 0; !run_stopping(f->run); round++) {
        int64_t began_ms = clock_now_ms();
        if ((rc = highest_change(f, &f->sweep_from, err)) != RC_OK)
            return rc;
        struct db_server swept = *db_server(f->db);
        struct db *second = second_connection(f);
        rc = sweep(f->db, second, f->run->migration, true, exec_for_sweep, still_mine, f, &counts, err);
        db_close(second);
        if (rc != RC_OK || (rc = fail_point("finisher.swept", err)) != RC_OK)
            return rc;
        f->measured_ms = clock_now_ms();
        f->measure_took_ms = f->measured_ms - began_ms;
        if (counts.noted > 0)
            log_event(LOG_INFO, "the sweep found documents to repair", LF_INT("documents", counts.noted),
                      LF_INT("orphaned", counts.orphaned), LF_INT("round", round + 1));
        if ((rc = wait_for_changes(f, f->sweep_from, err)) != RC_OK)
            return rc;
        /* what was behind during the walk had been noted by then, and has been applied since: under constant writes a
         * threshold of 1 could never be reached otherwise */
        if (counts.noted == 0)
            counts.current = counts.eligible - counts.excused - counts.failed;
        rc = record(f, &swept, &counts, counts.noted == 0, err);
        if (rc == RC_AGAIN) /* another server may have lost what was repaired on this one */
            continue;
        if (rc != RC_OK || counts.noted == 0)
            return rc;
    }
    return RC_CLOSED;
}

/* For the gate while the backfill is still going on: counts, and notes nothing. */
static enum rc
measure(struct finisher *f, struct err *err)
{
    struct sweep_counts counts;
    struct db_server swept = *db_server(f->db);
    enum rc rc = sweep(f->db, NULL, f->run->migration, false, exec_for_sweep, still_mine, f, &counts, err);

    if (rc == RC_OK)
        rc = record(f, &swept, &counts, false, err);
    if (rc == RC_OK)
        f->measured_ms = clock_now_ms();
    return rc;
}

/* --- the flip and the end --- */

/* Best effort: a flip does not fail for want of it. Once, when nothing holds the flip back any more. */
static enum rc
prewarm(struct finisher *f, struct err *err)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;
    PGresult *result = NULL;
    enum rc rc;

    if (f->prewarmed || strcmp(f->run->migration->index_method, "none") == 0)
        return RC_OK;
    params_add_text(&params, f->run->migration->id);
    rc = exec(f, sql_gates_blocking, &params, &result, err);
    if (rc == RC_OK && result_is_null(result, 0, "text")) {
        f->prewarmed = true;
        tell(f->run, "bringing the new index into memory");
        if (db_exec(f->db, "SELECT reembed.prewarm($1)", &params, NULL, &ignored) != RC_OK && db_alive(f->db))
            log_event(LOG_WARNING, "the new index could not be brought into memory", LF_STR("error", ignored.message));
    }
    PQclear(result);
    params_clear(&params);
    return rc;
}

static enum rc
try_cutover(struct finisher *f, bool *ret_flipped, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    /* it asks for its locks again and again for a while; whoever stops the run is heard in between */
    if ((rc = fail_point("finisher.flipping", err)) == RC_OK)
        rc = db_exec(f->db, "SELECT reembed.try_cutover($1) AS flipped", &params, &result, err);
    params_clear(&params);
    if (rc == RC_RETRY && strcmp(err->sqlstate, "55P03") == 0)
        run_note(f->run, "queries are to go over, and it waits for a lock: %s", err->message);
    if (rc == RC_OK && (*ret_flipped = result_bool(result, 0, "flipped"))) {
        atomic_store(&f->run->flipped, true);
        atomic_store(&f->run->drain_allowed, true);
        log_event(LOG_INFO, "queries go to the target", LF_STR("model", f->run->migration->target.model));
        rc = fail_point("finisher.flipped", err);
    }
    PQclear(result);
    /* a gate that stopped holding between two looks is not an error */
    return rc == RC_REFUSED ? RC_OK : rc;
}

/* The clean sweep may be one of a process that died long ago: what changed since comes before completion. */
static enum rc
catch_up(struct finisher *f, struct err *err)
{
    int64_t highest = 0;
    enum rc rc = highest_change(f, &highest, err);

    return rc == RC_OK ? wait_for_changes(f, highest, err) : rc;
}

static enum rc
complete(struct finisher *f, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    if ((rc = fail_point("finisher.completing", err)) == RC_OK)
        rc = exec(f, "SELECT reembed.complete($1)", &params, NULL, err);
    params_clear(&params);
    if (rc == RC_OK)
        rc = fail_point("finisher.completed", err);
    if (rc == RC_OK)
        run_completed(f->run);
    return rc == RC_REFUSED ? RC_AGAIN : rc; /* another process did it, or something changed: look again */
}

/* --- the comparison that a gate asks for --- */

static enum rc
comparison_wanted(struct finisher *f, bool *ret_wanted, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    rc = exec(f, sql_comparison_wanted, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_wanted = result_bool(result, 0, "wanted");
    PQclear(result);
    return rc;
}

/* Made when nothing else is missing, since it asks the models; what it finds decides the gate. */
static enum rc
compare_where_wanted(struct finisher *f, struct err *err)
{
    struct run *run = f->run;
    struct comparison *comparison = NULL;
    struct embed_usage usage = {0};
    bool wanted = false;
    const struct compare_settings settings = {.seed = 1};
    struct permit_waiter waiter = {.run = run, .db = f->db, .stop = &run->stopping, .err = ERR_INIT};
    struct embed_policy policy = run_policy(run);
    const struct compare_environment environment = {
        .db = f->db,
        .migration = run->migration,
        .embedders = {[SIDE_TARGET] = run->embedders[EMBEDDER_TARGET], [SIDE_SOURCE] = run->embedders[EMBEDDER_SOURCE]},
        .target_options = &run->file->target.provider,
        .common = &run->options->common,
        .exec = exec_for_sweep,
        .context = f,
        .going = still_mine,
        .cancel = &run->stopping,
        .usage = &usage,
        .target_policy = run->file->target.provider.kind == PROVIDER_OPENAI ? &policy : NULL,
    };
    enum rc rc = comparison_wanted(f, &wanted, err);

    if (rc != RC_OK || !wanted)
        return rc;
    policy.cancel = &run->stopping;
    permit_policy(&waiter, &policy);
    tell(run, "comparing the models");
    rc = compare_models(&environment, &settings, &comparison, err);
    run_count_usage(run, &usage);
    if (rc == RC_CLOSED && waiter.rc != RC_OK) { /* not stopped: no permit could be asked for */
        *err = waiter.err;
        rc = waiter.rc;
    }
    if (rc == RC_OK)
        log_event(comparison->verdict == VERDICT_GO ? LOG_INFO : LOG_WARNING, "the models were compared",
                  LF_STR("verdict", verdict_name(comparison->verdict)), LF_STR("reason", comparison->reason));
    comparison_free(comparison);
    return rc == RC_REFUSED ? RC_OK : rc; /* no document to compare by: the gate says what is missing */
}

/* An exact walk is worth its while only when nothing but the coverage is in question. */
static enum rc
others_hold(struct finisher *f, bool *ret_hold, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    rc = exec(f, sql_gates_blocking, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_hold = !result_bool(result, 0, "others");
    PQclear(result);
    return rc;
}

/* Everything is done but the flip. Waits for gates that hold by themselves in time: those that only changes which are
 * still to be embedded hold back. Ends the run for the others. */
static enum rc
report_blocked(struct finisher *f, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, f->run->migration->id);
    rc = exec(f, sql_gates_blocking, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && !result_is_null(result, 0, "text") && result_bool(result, 0, "passing")) {
        run_note(f->run, "the flip waits for changes that are still to be embedded");
    } else if (rc == RC_OK && !result_is_null(result, 0, "text")) {
        struct err why;
        err_set(&why, RC_REFUSED, ERR_GATE, "only the flip is left, and it is held back by %s",
                result_string(result, 0, "text"));
        err_hint(&why, "reembed status %s; to flip nevertheless: reembed cutover %s --force", f->run->migration->id,
                 f->run->migration->id);
        run_stop(f->run, STOP_BLOCKED, RC_REFUSED, &why);
    }
    PQclear(result);
    return rc;
}

/* The exact figures of the gate are so old that changes may have made another one of them. */
static bool
measured_long_ago(const struct finisher *f)
{
    int64_t patience = 20 * f->measure_took_ms;

    return clock_now_ms() - f->measured_ms > (patience < MEASURE_AGAIN_MS ? MEASURE_AGAIN_MS : patience);
}

/* The backfill will be over before something that takes so long for each document would be. */
static bool
backfill_is_sooner(const struct stand *stand, double secs_a_document)
{
    double secs = (double)stand->total * secs_a_document;

    return !stand->backfilled && stand->eta_secs >= 0 && stand->eta_secs < (secs > 5 ? secs : 5);
}

/* The column is copied from a side table that is finished, exactly. */
static enum rc
place(struct finisher *f, const struct stand *stand, bool *ret_placed, struct err *err)
{
    enum rc rc;

    *ret_placed = false;
    if (!stand->backfilled)
        return RC_OK;
    if (!stand->sweep_clean) {
        atomic_store(&f->run->drain_allowed, true);
        if ((rc = enter_stage(f, "verify", err)) != RC_OK || (rc = sweep_until_clean(f, err)) != RC_OK)
            return rc;
    }
    if ((rc = enter_stage(f, "index", err)) != RC_OK)
        return rc;
    rc = column_step(f->run, f->db, still_mine, f, ret_placed, err);
    if (!*ret_placed)
        f->claimed_ms = 0; /* an index build may have outlasted the lease */
    return rc;
}

static enum rc
step(struct finisher *f, const struct stand *stand, struct err *err)
{
    double threshold = f->run->file->backfill.target_query_threshold;
    bool flipped = stand->flipped;
    bool placed = true;
    enum rc rc;

    if (f->run->migration->column.space_id && !flipped && (rc = place(f, stand, &placed, err)) != RC_OK)
        return rc;
    if (!placed)
        return RC_OK;
    if (!stand->indexed) {
        if ((stand->coverage < threshold && !stand->backfilled) || backfill_is_sooner(stand, INDEX_SECS_A_DOCUMENT))
            return RC_OK;
        if (stand->backfilled && (rc = enter_stage(f, "index", err)) != RC_OK)
            return rc;
        rc = index_build(f->run, f->db, err);
        f->claimed_ms = 0;
        return rc == RC_AGAIN ? RC_OK : rc;
    }
    if (stand->backfilled && (!stand->sweep_clean || (!flipped && measured_long_ago(f)))) {
        atomic_store(&f->run->drain_allowed, true);
        if ((rc = enter_stage(f, "verify", err)) != RC_OK || (rc = sweep_until_clean(f, err)) != RC_OK)
            return rc;
    }
    if (!flipped &&
        (stand->backfilled || (stand->coverage >= threshold && !backfill_is_sooner(stand, MEASURE_SECS_A_DOCUMENT)))) {
        bool hold = true;
        if (!stand->backfilled && (rc = others_hold(f, &hold, err)) != RC_OK)
            return rc;
        if (hold && !stand->backfilled && (f->measured_ms == 0 || clock_now_ms() - f->measured_ms > 30000) &&
            (rc = measure(f, err)) != RC_OK)
            return rc;
        if (hold && (rc = compare_where_wanted(f, err)) != RC_OK)
            return rc;
        if (hold && (rc = prewarm(f, err)) != RC_OK)
            return rc;
        if (hold && (rc = try_cutover(f, &flipped, err)) != RC_OK)
            return rc;
    }
    if (!stand->backfilled)
        return RC_OK;
    if (!flipped)
        return report_blocked(f, err);
    if ((rc = catch_up(f, err)) != RC_OK)
        return rc;
    if (f->run->migration->column.space_id && (rc = column_settle(f->run, f->db, still_mine, f, err)) != RC_OK)
        return rc;
    return complete(f, err);
}

void *
finisher_thread(void *argument)
{
    struct finisher f = {.run = argument};
    struct run *run = f.run;
    struct err err = ERR_INIT;
    struct stand stand;
    bool mine = false;
    enum rc rc = run_connect(run, &f.db, &err);

    while (rc == RC_OK && !run_stopping(run) && !atomic_load(&run->keep_only)) {
        if ((rc = claim_finish(&f, &mine, &err)) == RC_OK && mine && (rc = look(&f, &stand, &err)) == RC_OK &&
            stand.in_progress && stand.counted)
            rc = step(&f, &stand, &err);
        if (rc == RC_AGAIN || (rc == RC_CLOSED && !run_stopping(run)) || rc == RC_RETRY)
            rc = rc == RC_RETRY ? run_recover(run, f.db, 0, &err) : RC_OK;
        if (rc == RC_OK && atomic_load(&run->backfill_over))
            run_sleep(run, 20);
        else if (rc == RC_OK)
            run_sleep_during_backfill(run, LOOK_MS);
    }
    if (rc != RC_OK && rc != RC_CLOSED)
        run_stop(run, err_is_disk_full(&err) ? STOP_PAUSED : STOP_FAILED, rc, &err);
    db_close(f.db);
    atomic_fetch_sub(&run->threads_busy, 1);
    return NULL;
}
