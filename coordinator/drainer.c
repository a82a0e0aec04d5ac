/* The drainer of one space: takes the changes of documents from the change log, embeds what changed and settles it. One
 * drainer a space holds the lease, the others look now and then whether it is free.
 *
 * The read token is drawn by the listing statement, after its snapshot; the bodies are read in the next statement. The
 * newer token wins, so a drain and a chunk that meet on a document settle it by the order of their reads. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/batch.h"
#include "coordinator/measure.h"
#include "coordinator/run.h"
#include "db/result.h"
#include "db/statements.h"

#define LIST         1000 /* changes a pass, at most */
#define FLOOR_PASSES 8    /* passes after which smaller numbers are looked for again */
#define PURGE_MS     10000
#define PURGE_LIMIT  10000

struct drainer {
    struct run *run;
    const struct space *space;
    struct migration *own; /* where names changed since the run began; `space` is of it then */
    size_t embedder;
    struct db *db;
    bool leased;
    unsigned char owner[16];
    int64_t epoch;
    int64_t renewed_ms;
    int64_t purged_ms;
    int64_t floor;
    int list; /* changes a pass */
    int passes;
    int renamed;       /* run_names_changed */
    bool skipped_some; /* the last pass left changes for later */

    /* tasks of the pass that are under way */
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    size_t open;
};

/* One pass: a list of changes and the documents behind them. Its token and its numbers mean nothing to another server than
 * the one that gave them, and what that one said may have been lost with it. */
struct pass {
    struct arena *arena;
    int64_t token;
    int64_t *numbers; /* of the changes */
    size_t count;
    struct db_server server;
    struct doc_key *ids; /* of the documents, as listed */
    size_t id_count;
    int64_t *markers; /* changes that stand for a TRUNCATE */
    size_t marker_count;
    int64_t highest;
};

static void
add_lease(struct params *params, const struct drainer *d)
{
    params_add_int8(params, d->space->id);
    params_add_uuid(params, d->owner);
    params_add_int8(params, d->epoch);
    params_add_int8(params, d->run->lease_ms);
}

/* --- the lease --- */

/* A plain space is written by the name of its column, which a cutover or rollback may give to another: it takes the lease
 * away then. So the names that are read after the lease was got are good for as long as it holds. */
static enum rc
read_names(struct drainer *d, struct err *err)
{
    struct migration *now = NULL;
    const struct space *space;
    enum rc rc = migration_load(d->db, d->run->migration->id, &now, err);

    if (rc != RC_OK)
        return rc;
    space = d->embedder == EMBEDDER_TARGET ? &now->target : &now->source;
    if (space->id != d->space->id) { /* it is gone: nobody can claim it again */
        migration_free(now);
        d->leased = false;
        return RC_OK;
    }
    migration_free(d->own);
    d->own = now;
    d->space = space;
    return RC_OK;
}

static enum rc
claim(struct drainer *d, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, d->space->id);
    params_add_int8(&params, d->run->lease_ms);
    rc = run_exec(d->run, d->db, sql_drain_claim, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    d->leased = result_rows(result) == 1;
    if (d->leased) {
        memcpy(d->owner, result_uuid(result, 0, "owner"), sizeof d->owner);
        d->epoch = result_int64(result, 0, "epoch");
        d->renewed_ms = clock_now_ms();
        d->floor = 0;
    }
    PQclear(result);
    if (d->leased && !d->space->side && (rc = read_names(d, err)) != RC_OK)
        return rc;
    return d->leased ? fail_point("drainer.claimed", err) : RC_OK;
}

static enum rc
renew(struct drainer *d, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    if (clock_now_ms() - d->renewed_ms < d->run->lease_ms / 3)
        return RC_OK;
    add_lease(&params, d);
    rc = run_exec(d->run, d->db, sql_drain_renew, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(result) == 0)
        d->leased = false;
    d->renewed_ms = clock_now_ms();
    PQclear(result);
    return rc == RC_OK ? fail_point("drainer.renewed", err) : rc;
}

static void
release(struct drainer *d)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    if (!d->leased || !db_alive(d->db))
        return;
    (void)fail_point("drainer.releasing", NULL);
    db_set_stop(d->db, NULL);
    params_add_int8(&params, d->space->id);
    params_add_uuid(&params, d->owner);
    params_add_int8(&params, d->epoch);
    db_exec(d->db, sql_drain_release, &params, NULL, &ignored);
    params_clear(&params);
    d->leased = false;
}

/* --- one pass --- */

static enum rc
list_changes(struct drainer *d, struct pass *pass, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *rows = NULL;
    enum rc rc;

    params_add_int8(&params, d->space->id);
    params_add_int8(&params, d->floor);
    params_add_int4(&params, d->list);
    rc = run_exec(d->run, d->db, d->space->list, &params, &rows, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    pass->server = *db_server(d->db);
    size_t n = (size_t)result_rows(rows);
    pass->numbers = arena_array(pass->arena, n + 1, sizeof *pass->numbers);
    pass->markers = arena_array(pass->arena, n + 1, sizeof *pass->markers);
    pass->ids = arena_array(pass->arena, n + 1, sizeof *pass->ids);
    if (!pass->numbers || !pass->markers || !pass->ids) {
        PQclear(rows);
        return err_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t number = result_int64(rows, (int)i, "seq");
        pass->token = result_int64(rows, (int)i, "token");
        pass->highest = number;
        if (result_is_null(rows, (int)i, "doc_id")) {
            pass->markers[pass->marker_count++] = number;
            continue;
        }
        struct doc_key key = result_key(rows, (int)i, "doc_id");
        char *copy = arena_copy(pass->arena, key.bytes, key.length);
        if (!copy) {
            PQclear(rows);
            return err_memory(err);
        }
        pass->ids[pass->id_count++] = (struct doc_key){.bytes = copy, .length = key.length};
        pass->numbers[pass->count++] = number;
    }
    PQclear(rows);
    return RC_OK;
}

/* A TRUNCATE: first every lease is taken away, then every vector without a document is logged as a change. */
static enum rc
settle_truncate(struct drainer *d, const struct pass *pass, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc = RC_OK;

    if (d->space->side) {
        params_add_int8(&params, d->run->migration->number);
        if ((rc = run_exec(d->run, d->db, sql_truncate_kick, &params, NULL, err)) != RC_OK ||
            (rc = fail_point("drainer.truncating", err)) != RC_OK)
            goto out;
    }
    params_reset(&params);
    add_lease(&params, d);
    params_add_int8_array(&params, pass->markers, pass->marker_count);
    rc = run_exec_on(d->run, d->db, &pass->server, d->space->truncate_expand, &params, NULL, err);
out:
    params_clear(&params);
    return rc;
}

static enum rc
read_documents(struct drainer *d, const struct pass *pass, PGresult **ret_rows, struct err *err)
{
    const struct migration *m = d->run->migration;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_key_array(&params, m->id_type, pass->ids, pass->id_count);
    params_add_int4(&params, (int32_t)d->run->content_limit);
    if (d->space->side) {
        params_add_int8(&params, m->number);
        params_add_int8(&params, d->space->id);
    }
    rc = run_exec_on(d->run, d->db, &pass->server, d->space->read, &params, ret_rows, err);
    params_clear(&params);
    return rc;
}

static void
task_returned(struct embed_task *task)
{
    struct drainer *d = task->context;

    if (!d->run->flow || d->embedder != EMBEDDER_TARGET) /* else request by request */
        run_count_usage(d->run, &task->usage);
    measure_task(d->run, task);
    if (task->rc == RC_HALT || task->rc == RC_FATAL)
        run_stop(d->run, STOP_FAILED, task->rc, &task->err);
    pthread_mutex_lock(&d->mutex);
    d->open--;
    pthread_cond_signal(&d->returned);
    pthread_mutex_unlock(&d->mutex);
}

static enum rc
wait_for_tasks(struct drainer *d, struct err *err)
{
    enum rc rc = RC_OK;

    pthread_mutex_lock(&d->mutex);
    while (d->open > 0) {
        struct timespec until;
        int64_t step = d->run->lease_ms / 4 < 250 ? d->run->lease_ms / 4 + 1 : 250;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += step * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&d->returned, &d->mutex, &until);
        pthread_mutex_unlock(&d->mutex);
        if (rc == RC_OK)
            rc = renew(d, err);
        pthread_mutex_lock(&d->mutex);
    }
    pthread_mutex_unlock(&d->mutex);
    return rc;
}

/* Embeds the batches of a pass, all at once; the pool limits what runs together. */
static enum rc
embed_batches(struct drainer *d, struct batch **batches, size_t count, struct err *err)
{
    enum rc rc = RC_OK, waited;

    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        struct batch *batch = batches[i];
        batch->task = (struct embed_task){
            .documents = batch->documents,
            .count = batch->embed_count,
            .embedder = d->embedder,
            .dimensions =
                d->space->dimensions ? d->space->dimensions : embedder_dimensions(d->run->embedders[d->embedder]),
            .arena = batch->arena,
            .urgent = true,
            .done = task_returned,
            .context = d,
        };
        if (batch->embed_count == 0)
            continue;
        pthread_mutex_lock(&d->mutex);
        d->open++;
        pthread_mutex_unlock(&d->mutex);
        if ((rc = pool_submit(d->run->pool, &batch->task)) != RC_OK) {
            pthread_mutex_lock(&d->mutex);
            d->open--;
            pthread_mutex_unlock(&d->mutex);
        }
    }
    waited = wait_for_tasks(d, err);
    return rc != RC_OK ? rc : waited;
}

/* --- settling --- */

static enum rc
write_same(struct drainer *d, const struct pass *pass, const struct write_set *set, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    add_lease(&params, d);
    params_add_int8(&params, pass->token);
    params_add_int8_array(&params, pass->numbers, pass->count);
    params_add_key_array(&params, d->run->migration->id_type, set->same_ids, set->same_count);
    params_add_uuid_array(&params, set->same_hashes, set->same_count);
    params_add_int8(&params, d->run->migration->number);
    rc = run_exec_on(d->run, d->db, &pass->server, d->space->same, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_int64(result, 0, "fenced") == 0)
        d->leased = false;
    PQclear(result);
    return rc == RC_OK ? fail_point("drainer.raised", err) : rc;
}

/* Repeating it on the same server is harmless: the same token does not win over itself, and what was settled is gone from
 * the log. */
static enum rc
write_changed(struct drainer *d, const struct pass *pass, const struct write_set *set, struct err *err)
{
    const struct migration *m = d->run->migration;
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    add_lease(&params, d);
    if (d->space->side)
        params_add_int8(&params, pass->token);
    params_add_int8_array(&params, pass->numbers, pass->count);
    params_add_key_array(&params, m->id_type, set->ids, set->count);
    params_add_uuid_array(&params, set->hashes, set->count);
    params_add_vectors(&params, &m->types, d->space->kind, set->vectors, set->count,
                       d->space->dimensions ? d->space->dimensions
                                            : embedder_dimensions(d->run->embedders[d->embedder]));
    params_add_int8(&params, set->truncated);
    params_add_int8(&params, m->number);
    params_add_failures(&params, m->id_type, set);
    if (d->space->side) {
        params_add_key_array(&params, m->id_type, set->known_ids, set->known_count);
        params_add_key_array(&params, m->id_type, set->gone_ids, set->gone_count);
    }
    int64_t began_us = clock_now_us();
    rc = run_exec_on(d->run, d->db, &pass->server, d->space->write, &params, &result, err);
    histogram_add(&d->run->measurements->write, clock_now_us() - began_us);
    params_clear(&params);
    if (rc == RC_OK && result_int64(result, 0, "fenced") == 0)
        d->leased = false;
    if (rc == RC_OK && result_int64(result, 0, "settled") < (int64_t)set->count)
        d->skipped_some = true;
    PQclear(result);
    return rc == RC_OK ? fail_point("drainer.written", err) : rc;
}

static enum rc
settle(struct drainer *d, const struct pass *pass, struct batch **batches, size_t count, struct err *err)
{
    struct write_set set;
    enum rc rc = write_set_init(&set, pass->arena, pass->id_count, err);

    set.keep_hashes = !d->space->side;
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        if (batches[i]->embed_count > 0 && !batches[i]->task.results)
            continue;
        write_set_add(&set, batches[i]);
    }
    if (rc == RC_OK && set.same_count > 0)
        rc = write_same(d, pass, &set, err);
    if (rc == RC_OK && d->leased && set.count > 0)
        rc = write_changed(d, pass, &set, err);
    if (rc == RC_OK && d->leased)
        for (size_t i = 0; i < count; i++)
            measure_stored(batches[i], true);
    return rc;
}

static enum rc
drain_documents(struct drainer *d, const struct pass *pass, struct err *err)
{
    struct run *run = d->run;
    PGresult *rows = NULL;
    struct batch **batches = NULL;
    size_t count = 0, most;
    enum rc rc = read_documents(d, pass, &rows, err);

    if (rc != RC_OK)
        return rc;
    if ((rc = fail_point("drainer.read", err)) != RC_OK)
        goto out;
    most = (size_t)result_rows(rows) / run->batch_size + 1;
    if (!(batches = arena_array(pass->arena, most, sizeof(struct batch *)))) {
        rc = err_memory(err);
        goto out;
    }
    for (int first = 0; first < result_rows(rows); first += (int)run->batch_size) {
        int left = result_rows(rows) - first;
        if (!(batches[count] =
                  batch_from_rows(run, rows, first, left < (int)run->batch_size ? left : (int)run->batch_size))) {
            rc = err_memory(err);
            goto out;
        }
        count++;
    }
    PQclear(rows);
    rows = NULL;
    if ((rc = embed_batches(d, batches, count, err)) == RC_OK)
        rc = fail_point("drainer.embedded", err);
    if ((rc == RC_OK || rc == RC_CLOSED) && d->leased) {
        enum rc settled = settle(d, pass, batches, count, err);
        if (settled != RC_OK)
            rc = settled;
    }
out:
    PQclear(rows);
    for (size_t i = 0; i < count; i++)
        batch_free(batches[i]);
    return rc;
}

/* A pass whose lease is lost was for nothing, and meanwhile the log grows. Fewer changes are sooner done; a process that
 * stands still now and then would otherwise never end a pass. */
static void
adapt_list(struct drainer *d, const struct pass *pass)
{
    if (!d->leased)
        d->list = d->list / 2 > (int)d->run->batch_size ? d->list / 2 : (int)d->run->batch_size;
    else if (pass->count + pass->marker_count >= (size_t)d->list)
        d->list *= 2;
    if (d->list > LIST)
        d->list = LIST;
}

/* RC_AGAIN: nothing is waiting. */
static enum rc
drain_once(struct drainer *d, struct err *err)
{
    struct pass pass = {.arena = arena_new(0)};
    enum rc rc;

    if (!pass.arena)
        return err_memory(err);
    if (++d->passes % FLOOR_PASSES == 0)
        d->floor = 0;
    d->skipped_some = false;
    if ((rc = list_changes(d, &pass, err)) == RC_OK && pass.count + pass.marker_count > 0)
        rc = fail_point("drainer.listed", err);
    if (rc == RC_OK && pass.marker_count > 0)
        rc = settle_truncate(d, &pass, err);
    if (rc == RC_OK && pass.id_count > 0)
        rc = drain_documents(d, &pass, err);
    if (rc == RC_AGAIN) { /* the server is another one: its changes are listed anew */
        d->floor = 0;
        rc = RC_OK;
    } else if (rc == RC_OK && pass.count + pass.marker_count == 0) {
        rc = d->floor == 0 ? RC_AGAIN : RC_OK;
        d->floor = 0;
    } else if (rc == RC_OK) {
        d->floor = pass.highest;
    }
    adapt_list(d, &pass);
    arena_free(pass.arena);
    return rc;
}

static enum rc
purge(struct drainer *d, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    if (!d->space->side || clock_now_ms() - d->purged_ms < PURGE_MS)
        return RC_OK;
    d->purged_ms = clock_now_ms();
    params_add_int8(&params, d->run->migration->number);
    params_add_int8(&params, d->space->id);
    params_add_uuid(&params, d->owner);
    params_add_int8(&params, d->epoch);
    params_add_int4(&params, PURGE_LIMIT);
    rc = run_exec(d->run, d->db, d->space->purge, &params, NULL, err);
    params_clear(&params);
    return rc == RC_OK ? fail_point("drainer.purged", err) : rc;
}

static enum rc
drain(struct drainer *d, struct err *err)
{
    struct run *run = d->run;
    enum rc rc = RC_OK;

    while (!run_stopping(run) && (rc == RC_OK || rc == RC_AGAIN)) {
        if (!atomic_load(&run->drain_allowed) && d->embedder == EMBEDDER_TARGET) {
            run_sleep(run, 100);
            continue;
        }
        if (!d->leased && (rc = claim(d, err)) == RC_OK && !d->leased) {
            run_sleep(run, run->lease_ms / 4 < 500 ? run->lease_ms / 4 + 1 : 500);
            continue;
        }
        if (rc == RC_OK || rc == RC_AGAIN)
            rc = drain_once(d, err);
        if (rc == RC_AGAIN) {
            atomic_store(&run->drained_once[d->embedder], true);
            if ((rc = purge(d, err)) == RC_OK && (rc = renew(d, err)) == RC_OK)
                run_sleep(run, 100);
        }
        if (run_names_changed(rc, err, &d->renamed)) {
            d->leased = false;
            rc = RC_OK;
        } else if (rc == RC_OK && d->skipped_some) {
            run_sleep(run, 100); /* rows that the application holds locked, or changed again meanwhile */
        }
    }
    return rc;
}

void *
drainer_thread(void *argument)
{
    const struct drainer_argument *with = argument;
    struct drainer d = {.run = with->run, .space = with->space, .embedder = with->embedder, .list = LIST};
    struct err err = ERR_INIT;
    pthread_condattr_t monotonic;
    enum rc rc;

    pthread_mutex_init(&d.mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&d.returned, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = run_connect(d.run, &d.db, &err);
    if (rc == RC_OK)
        rc = drain(&d, &err);
    if (rc != RC_OK && rc != RC_AGAIN && rc != RC_CLOSED)
        run_stop(d.run, err_is_disk_full(&err) ? STOP_PAUSED : STOP_FAILED, rc, &err);
    if (d.db)
        release(&d);
    db_close(d.db);
    migration_free(d.own);
    pthread_cond_destroy(&d.returned);
    pthread_mutex_destroy(&d.mutex);
    atomic_fetch_sub(&d.run->threads_busy, 1);
    return NULL;
}
