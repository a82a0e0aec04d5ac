#include "coordinator/main_loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/batch.h"
#include "coordinator/measure.h"
#include "coordinator/throttle.h"
#include "db/result.h"
#include "db/statements.h"

#define PROGRESS_MS 500
#define BEAT_MS     500

/* --- leases --- */

/* The chunks that are leased now, each with a reference of the caller's. */
static struct chunk **
list_chunks(struct run *run, size_t *ret_count)
{
    size_t count = 0, i = 0;
    struct chunk **list;

    pthread_mutex_lock(&run->mutex);
    for (struct chunk *chunk = run->chunks; chunk; chunk = chunk->next)
        count++;
    list = calloc(count ? count : 1, sizeof(struct chunk *));
    if (list)
        for (struct chunk *chunk = run->chunks; chunk; chunk = chunk->next) {
            chunk_retain(chunk);
            list[i++] = chunk;
        }
    pthread_mutex_unlock(&run->mutex);
    *ret_count = i;
    return list;
}

static void
add_chunk_lease(struct params *params, const struct run *run, const struct chunk *chunk)
{
    params_reset(params);
    params_add_int8(params, run->migration->number);
    params_add_int8(params, chunk->no);
    params_add_uuid(params, chunk->owner);
    params_add_int8(params, chunk->epoch);
}

static bool
still_listed(struct run *run, const struct chunk *chunk)
{
    bool found = false;

    pthread_mutex_lock(&run->mutex);
    for (const struct chunk *c = run->chunks; c && !found; c = c->next)
        found = c == chunk;
    pthread_mutex_unlock(&run->mutex);
    return found;
}

static enum rc
renew_chunks(struct run *run, struct db *db, struct err *err)
{
    size_t count;
    struct chunk **list = list_chunks(run, &count);
    struct params params = PARAMS_INIT;
    enum rc rc = RC_OK;

    if (!list)
        return err_memory(err);
    for (size_t i = 0; i < count; i++) {
        PGresult *result = NULL;
        if (rc == RC_OK && !atomic_load(&list[i]->lost)) {
            add_chunk_lease(&params, run, list[i]);
            params_add_int8(&params, run->lease_ms);
            rc = db_exec(db, sql_chunk_renew, &params, &result, err);
            /* a chunk that was finished meanwhile is not leased any more either */
            if (rc == RC_OK && result_rows(result) == 0 && still_listed(run, list[i]) &&
                !atomic_exchange(&list[i]->lost, true)) {
                MEASURE_ADD(run->measurements->leases_lost, 1);
                log_event(LOG_INFO, "a lease went to another", LF_INT("chunk", list[i]->no));
            }
            PQclear(result);
            if (rc == RC_OK)
                rc = fail_point("main.renewed", err);
        }
        chunk_release(list[i]);
    }
    params_clear(&params);
    free(list);
    return rc;
}

void
release_chunks(struct run *run, struct db *db)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    while (run->chunks) { /* every other thread is gone */
        struct chunk *chunk = run->chunks;
        run->chunks = chunk->next;
        if (db && db_alive(db)) {
            add_chunk_lease(&params, run, chunk);
            db_exec(db, sql_chunk_release, &params, NULL, &ignored);
        }
        chunk_release(chunk);
    }
    params_clear(&params);
}

/* --- one beat --- */

static void
obey(struct run *run, const PGresult *beat)
{
    const char *state = result_string(beat, 0, "state");
    bool keep = atomic_load(&run->keep_only);
    struct err err;

    if (!state) {
        err_set(&err, RC_FATAL, ERR_DATABASE, "migration %s is gone from the database", run->migration->id);
        run_stop(run, STOP_FAILED, RC_FATAL, &err);
    } else if (strcmp(state, "paused") == 0) {
        run_stop(run, STOP_PAUSED, RC_OK, NULL);
    } else if (strcmp(state, "cancelled") == 0 || (strcmp(state, "rolled_back") == 0 && !keep)) {
        run_stop(run, STOP_CANCELLED, RC_OK, NULL);
    } else if (strcmp(state, "failed") == 0) {
        err_set(&err, RC_HALT, ERR_PROVIDER, "another process found that migration %s can't go on", run->migration->id);
        err_hint(&err, "reembed status %s tells why", run->migration->id);
        run_stop(run, STOP_FAILED, RC_FENCED, &err); /* it is failed already: nothing to record */
    } else if (strcmp(state, "completed") == 0 && !keep) {
        run_completed(run);
    }
    if (result_bool(beat, 0, "flipped")) {
        atomic_store(&run->flipped, true);
        atomic_store(&run->drain_allowed, true);
    }
}

/* What the migration took stands in the workers' rows: complete only when each has reported since. */
static enum rc
record_outcome(struct run *run, struct db *db, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    params_add_text(&params, run->migration->id);
    enum rc rc = db_exec(db, "SELECT reembed.record_outcome($1) AS recorded", &params, &result, err);
    if (rc == RC_OK)
        run->outcome_recorded = result_bool(result, 0, "recorded");
    params_clear(&params);
    PQclear(result);
    return rc;
}

enum rc
main_beat(struct run *run, struct db *db, bool last, struct err *err)
{
    char host[256] = "";
    char note[sizeof run->note] = "";
    struct params params = PARAMS_INIT;
    PGresult *beat = NULL;
    enum rc rc;

    if ((rc = fail_point("main.beating", err)) != RC_OK)
        return rc;
    gethostname(host, sizeof host - 1);
    pthread_mutex_lock(&run->mutex);
    if (clock_now_ms() < run->note_until_ms)
        memcpy(note, run->note, sizeof note);
    pthread_mutex_unlock(&run->mutex);

    params_add_uuid(&params, run->worker_id);
    params_add_text(&params, run->migration->id);
    params_add_text(&params, host);
    params_add_int4(&params, (int32_t)getpid());
    params_add_int8(&params, last ? 0 : atomic_load(&run->in_flight));
    params_add_int8(&params, atomic_load(&run->processed));
    params_add_int8(&params, (int64_t)atomic_load(&run->tokens));
    params_add_int8(&params, (int64_t)atomic_load(&run->requests));
    params_add_text(&params, note[0] ? note : NULL);
    params_add_bool(&params, last);
    rc = db_exec(db, "SELECT * FROM reembed.heartbeat($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", &params, &beat, err);
    params_clear(&params);
    if (rc == RC_OK)
        atomic_store(&run->measurements->beat_ms, clock_now_ms());
    if (rc == RC_OK && (rc = fail_point("main.beaten", err)) == RC_OK && !last) {
        obey(run, beat);
        rc = renew_chunks(run, db, err);
    }
    if (rc == RC_OK && !run->outcome_recorded && !result_is_null(beat, 0, "state") &&
        strcmp(result_string(beat, 0, "state"), "completed") == 0)
        rc = record_outcome(run, db, err);
    PQclear(beat);
    return rc;
}

/* --- progress --- */

/* What this process has seen done, and what some of its threads have ended for. */
struct seen {
    bool completed;
    bool backfilled;
};

/* A standby that takes over may have missed the last transactions: the completion, the last chunks, even the count of the
 * documents. No thread of ours would come back to them, so all begin anew. `seen` is from before the look, else what
 * was done between the two would seem undone. */
static void
look_for_losses(struct run *run, const struct seen *seen, const PGresult *r)
{
    const char *state = result_string(r, 0, "state");
    bool undone = strcmp(state, "planned") == 0;

    if (strcmp(state, "in_progress") == 0)
        undone =
            seen->completed || !result_bool(r, 0, "counted") || (seen->backfilled && !result_bool(r, 0, "backfilled"));
    if (undone && !run_stopping(run)) {
        log_event(LOG_WARNING, "the server lost what was done already: beginning anew");
        run_stop(run, STOP_UNDONE, RC_OK, NULL);
    }
}

static double
real_or_unknown(const PGresult *r, const char *name)
{
    return result_is_null(r, 0, name) ? -1 : result_float64(r, 0, name);
}

static enum rc
show_progress(struct run *run, struct db *db, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    char note[sizeof run->note] = "";
    const struct seen seen = {
        .completed = atomic_load(&run->keep_only),
        .backfilled = atomic_load(&run->backfill_over),
    };
    enum rc rc;

    params_add_text(&params, run->migration->id);
    rc = db_exec(db, sql_run_progress, &params, &r, err);
    if (rc != RC_OK || result_rows(r) == 0)
        goto out;
    look_for_losses(run, &seen, r);
    pthread_mutex_lock(&run->mutex);
    run->remaining = result_int64(r, 0, "remaining");
    run->alive_workers = result_int64(r, 0, "workers");
    if (clock_now_ms() < run->note_until_ms)
        memcpy(note, run->note, sizeof note);
    pthread_mutex_unlock(&run->mutex);

    struct progress_view view = {
        .migration_id = run->migration->id,
        .state = result_string(r, 0, "state"),
        .stage = result_string(r, 0, "stage"),
        .routing = strcmp(result_string(r, 0, "route"), "target") == 0 ? "target" : "source",
        .note = note[0] ? note : NULL,
        .total = result_int64(r, 0, "total"),
        .processed = result_int64(r, 0, "processed"),
        .skipped = result_int64(r, 0, "skipped"),
        .failed = result_int64(r, 0, "failed"),
        .pending = result_int64(r, 0, "pending"),
        .changes_pending = result_int64(r, 0, "changes_pending"),
        .throughput = real_or_unknown(r, "throughput"),
        .eta_secs = real_or_unknown(r, "eta_secs"),
        .coverage = result_float64(r, 0, "effective_coverage"),
        .threshold = run->file->backfill.target_query_threshold,
        .index_share = real_or_unknown(r, "index_done"),
    };
    if (run->options->on_progress)
        run->options->on_progress(run->options->progress_context, &view);
    if (!result_is_null(r, 0, "indexing") && result_bool(r, 0, "indexing")) {
        params_reset(&params);
        params_add_int8(&params, run->migration->number);
        rc = db_exec(db, sql_index_progress, &params, NULL, err);
    }
out:
    params_clear(&params);
    PQclear(r);
    return rc;
}

/* --- the loop --- */

static void
look_for_reasons(struct run *run, bool reader_done)
{
    const struct run_options *o = run->options;

    if (o->stop && atomic_load(o->stop))
        run_stop(run, STOP_SIGNAL, RC_OK, NULL);
    else if (o->max_runtime_secs > 0 && (double)(clock_now_ms() - run->started_ms) / 1000 >= o->max_runtime_secs)
        run_stop(run, STOP_RUNTIME, RC_OK, NULL);
    else if (o->once && reader_done && !atomic_load(&run->backfill_over) && atomic_load(&run->in_flight) == 0 &&
             (atomic_load(&run->drained_once[EMBEDDER_TARGET]) || !atomic_load(&run->drain_allowed)))
        run_stop(run, STOP_ONCE, RC_OK, NULL);
    else if (run->sample_only && atomic_load(&run->drained_once[EMBEDDER_TARGET]))
        run_stop(run, STOP_UNTIL, RC_OK, NULL);
    else if (atomic_load(&run->keep_only) && (!o->follow || run->gone_back)) {
        bool drained = true;
        if (run->migration->target.captured)
            drained = drained && atomic_load(&run->drained_once[EMBEDDER_TARGET]);
        if (run->migration->source.captured && run->embedders[EMBEDDER_SOURCE])
            drained = drained && atomic_load(&run->drained_once[EMBEDDER_SOURCE]);
        if (run->migration->column.space_id)
            drained = drained && atomic_load(&run->column_drained);
        if (drained)
            run_stop(run, STOP_DONE, RC_OK, NULL);
    }
}

void
main_loop(struct run *run, struct db *db)
{
    int64_t beat_ms = 0, shown_ms = 0;
    int64_t every = run->lease_ms / 3 < BEAT_MS ? run->lease_ms / 3 + 1 : BEAT_MS;
    int attempt = 0;

    if (run->started_ms == 0)
        run->started_ms = clock_now_ms();
    atomic_store(&run->measurements->working, true);
    db_set_stop(db, run->options->stop); /* no statement of this loop is worth more than a signal */
    while (!run_stopping(run)) {
        struct err err = ERR_INIT;
        int64_t now = clock_now_ms();
        enum rc rc = RC_OK;

        rc = run_end_half_sent(run, db, &err); /* first: a beat may be among what is held up */
        if (rc == RC_OK && now - beat_ms >= every) {
            rc = main_beat(run, db, false, &err);
            beat_ms = now;
        }
        if (rc == RC_OK)
            rc = throttle_look(run, db, &err);
        if (rc == RC_OK && now - shown_ms >= PROGRESS_MS) {
            rc = show_progress(run, db, &err);
            shown_ms = now;
        }
        if (rc == RC_RETRY)
            rc = run_recover(run, db, attempt++, &err);
        else
            attempt = 0;
        if (rc != RC_OK && rc != RC_CLOSED)
            run_stop(run, STOP_FAILED, rc, &err);
        measure_queues(run);
        look_for_reasons(run, atomic_load(&run->reader_done));
        run_sleep(run, every < 100 ? every : 100);
    }
    db_set_stop(db, &run->abandon);
    struct err ignored = ERR_INIT;
    if (atomic_load(&run->stop_reason) == STOP_DONE && db_alive(db))
        show_progress(run, db, &ignored);
}
