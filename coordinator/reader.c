/* The reader: claims chunks, cuts new ones when there is nothing to claim, reads their documents by keyset and hands
 * them to the pool. It stays only so far ahead of the writers that memory is bounded by documents and by bytes. */
#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/batch.h"
#include "coordinator/measure.h"
#include "coordinator/run.h"
#include "coordinator/throttle.h"
#include "db/result.h"
#include "db/statements.h"

#define WINDOW         500                /* documents a read statement; parsing it costs as much as 30 documents */
#define MAX_READ_BYTES ((size_t)32 << 20) /* content and vectors under way */

struct reader {
    struct run *run;
    struct db *db;
    int64_t started_ms;
    bool sharing; /* chunks are down to one batch: what is left is shared with other processes */
};

/* Documents that may be under way. Enough that no worker waits for the next one, and no more: what one process has read
 * the others can't have, and the last ones must not wait for each other. A quick model needs whole windows. */
static size_t
read_ahead(const struct reader *reader)
{
    const struct run *run = reader->run;
    int64_t elapsed_ms = clock_now_ms() - reader->started_ms + 1;
    size_t least = (reader->sharing ? run->threads + 2 : run->threads * 2 + 2) * run->batch_size;
    size_t quick = (size_t)(atomic_load(&run->processed) * (reader->sharing ? 50 : 250) / elapsed_ms);

    if (quick > 6 * WINDOW)
        quick = 6 * WINDOW;
    return quick > least ? quick : least;
}

/* One window is always admitted, however large. */
static enum rc
wait_for_room(const struct reader *reader)
{
    struct run *run = reader->run;

    pthread_mutex_lock(&run->mutex);
    while (!run_stopping(run) && run->read_documents > 0 &&
           (run->read_documents + run->batch_size > read_ahead(reader) || run->read_bytes > MAX_READ_BYTES))
        pthread_cond_wait(&run->changed, &run->mutex);
    pthread_mutex_unlock(&run->mutex);
    return run_stopping(run) ? RC_CLOSED : RC_OK;
}

static void
batch_embedded(struct embed_task *task)
{
    struct batch *batch = task->context;
    struct run *run = batch->run;

    if (!run->flow) /* else request by request */
        run_count_usage(run, &task->usage);
    measure_task(run, task);
    if (task->rc == RC_HALT)
        run_stop(run, STOP_FAILED, RC_HALT, &task->err);
    else if (task->rc == RC_FATAL)
        run_stop(run, STOP_FAILED, RC_FATAL, &task->err);
    if (queue_push(run->finished[(size_t)batch->chunk->no % run->writers], batch, true) != RC_OK) {
        batch_discount(batch); /* only when memory is gone: the lease runs out and the documents are read again */
        batch_free(batch);
    }
}

/* Batches of an empty embed list (all current, or the end of a chunk) go straight to the writer. */
static enum rc
submit(struct run *run, struct batch *batch)
{
    batch->task = (struct embed_task){
        .documents = batch->documents,
        .count = batch->embed_count,
        .embedder = EMBEDDER_TARGET,
        .dimensions = run->migration->target.dimensions,
        .arena = batch->arena,
        .done = batch_embedded,
        .context = batch,
    };
    batch->bytes += batch->embed_count * batch->task.dimensions * sizeof(float);
    batch_count(batch);
    atomic_fetch_add(&run->in_flight, (long long)batch->count);
    if (batch->embed_count == 0) {
        batch_embedded(&batch->task);
        return RC_OK;
    }
    enum rc rc = pool_submit(run->pool, &batch->task);
    if (rc != RC_OK) {
        atomic_fetch_sub(&run->in_flight, (long long)batch->count);
        batch_discount(batch);
        batch_free(batch);
    }
    return rc;
}

static enum rc
read_window(struct run *run, struct db *db, struct chunk *chunk, struct doc_key after, size_t limit,
            PGresult **ret_rows, struct err *err)
{
    const struct migration *m = run->migration;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_key(&params, m->id_type, after);
    params_add_key(&params, m->id_type, chunk->hi);
    params_add_int4(&params, (int32_t)limit);
    params_add_int4(&params, (int32_t)run->content_limit);
    params_add_int8(&params, m->number);
    params_add_int8(&params, m->target.id);
    int64_t began_us = clock_now_us();
    rc = run_exec(run, db, m->chunk_read, &params, ret_rows, err);
    histogram_add(&run->measurements->read, clock_now_us() - began_us);
    params_clear(&params);
    return rc;
}

/* Splits a window into batches. The last batch of a chunk carries the mark, with or without documents. */
static enum rc
hand_out(const struct reader *reader, struct chunk *chunk, const PGresult *rows, bool last, struct err *err)
{
    struct run *run = reader->run;
    int count = result_rows(rows), size = (int)run->batch_size, first = 0;

    do {
        int n = count - first < size ? count - first : size;
        struct batch *batch = batch_from_rows(run, rows, first, n);
        if (!batch)
            return err_memory(err);
        chunk_retain(chunk);
        batch->chunk = chunk;
        batch->sequence = chunk->read_sequence++;
        batch->server = *db_server(reader->db);
        first += n;
        batch->last = last && first >= count;
        enum rc rc = wait_for_room(reader);
        if (rc == RC_OK)
            rc = throttle_wait(run, batch->embed_count);
        if (rc != RC_OK) {
            batch_free(batch);
            return rc;
        }
        if ((rc = submit(run, batch)) != RC_OK || (rc = fail_point("reader.handed", err)) != RC_OK)
            return rc;
    } while (first < count);
    return RC_OK;
}

static enum rc
read_chunk(const struct reader *reader, struct chunk *chunk, struct err *err)
{
    struct run *run = reader->run;
    PGresult *rows = NULL, *before = NULL; /* the cursor points into the window before */
    struct doc_key cursor = chunk->cursor;
    size_t limit = run->batch_size > WINDOW ? run->batch_size : WINDOW / run->batch_size * run->batch_size;
    bool last = false;
    enum rc rc = RC_OK;

    while (rc == RC_OK && !last && !atomic_load(&chunk->lost)) {
        if ((rc = wait_for_room(reader)) != RC_OK ||
            (rc = read_window(run, reader->db, chunk, cursor, limit, &rows, err)) != RC_OK ||
            (rc = fail_point("reader.read", err)) != RC_OK)
            break;
        int count = result_rows(rows);
        last = (size_t)count < limit;
        if (count > 0) {
            cursor = result_key(rows, count - 1, "id");
            last = last || doc_key_equal(cursor, chunk->hi);
        }
        rc = hand_out(reader, chunk, rows, last, err);
        PQclear(before);
        before = rows;
        rows = NULL;
    }
    PQclear(rows);
    PQclear(before);
    return rc;
}

static void
remember_chunk(struct run *run, struct chunk *chunk)
{
    chunk_retain(chunk);
    pthread_mutex_lock(&run->mutex);
    chunk->next = run->chunks;
    run->chunks = chunk;
    pthread_mutex_unlock(&run->mutex);
}

/* RC_AGAIN: nothing to claim now. */
static enum rc
claim_chunk(struct run *run, struct db *db, struct chunk **ret_chunk, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, run->migration->number);
    params_add_int8(&params, run->lease_ms);
    rc = run_exec(run, db, run->migration->chunk_claim, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (result_rows(result) == 0) {
        rc = RC_AGAIN;
    } else if (!(*ret_chunk = chunk_new(result))) {
        rc = err_memory(err);
    } else {
        remember_chunk(run, *ret_chunk);
        measure_claim(run, result_int64(result, 0, "attempts") > 1);
        if (result_int64(result, 0, "attempts") > 1)
            log_event(LOG_INFO, "chunk taken over", LF_INT("chunk", (*ret_chunk)->no),
                      LF_INT("done", result_int64(result, 0, "done")));
    }
    PQclear(result);
    return rc;
}

/* Smaller towards the end, so that the last documents are spread over all processes. */
static int32_t
chunk_size(struct run *run)
{
    int64_t batch = (int64_t)run->batch_size, size;

    pthread_mutex_lock(&run->mutex);
    size = run->remaining / (4 * (run->alive_workers > 0 ? run->alive_workers : 1));
    pthread_mutex_unlock(&run->mutex);
    if (size > 50 * batch)
        size = 50 * batch;
    if (size > 10000)
        size = 10000;
    return (int32_t)(size < batch ? batch : size - size % batch);
}

/* RC_OK: a chunk was cut, or somebody else is cutting. RC_AGAIN: everything is cut. */
static enum rc
cut_chunk(struct run *run, struct db *db, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, run->migration->number);
    params_add_int4(&params, chunk_size(run));
    rc = run_exec(run, db, run->migration->chunk_cut, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_is_null(result, 0, "no") && result_int64(result, 0, "locked") == 0)
        rc = RC_AGAIN;
    PQclear(result);
    return rc == RC_OK ? fail_point("reader.cut", err) : rc;
}

static enum rc
look_at_backfill(struct run *run, struct db *db, bool *ret_cut, bool *ret_over, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, run->migration->number);
    rc = run_exec(run, db, sql_backfill_over, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK) {
        *ret_over = result_bool(result, 0, "over");
        *ret_cut = result_bool(result, 0, "cut_done");
    }
    PQclear(result);
    return rc;
}

static bool
holds_chunks(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    bool holds = run->chunks != NULL;
    pthread_mutex_unlock(&run->mutex);
    return holds;
}

static enum rc
work_chunks(struct run *run, struct db *db, struct err *err)
{
    struct reader reader = {.run = run, .db = db, .started_ms = clock_now_ms()};
    enum rc rc = RC_OK;
    bool over = false, cut = false;

    while (!run_stopping(run)) {
        struct chunk *chunk = NULL;
        if ((rc = wait_for_room(&reader)) != RC_OK) /* a chunk that only waits here could be read elsewhere */
            return rc;
        rc = claim_chunk(run, db, &chunk, err);
        if (rc == RC_OK) {
            reader.sharing = chunk->docs <= (int64_t)run->batch_size;
            if ((rc = fail_point("reader.claimed", err)) == RC_OK)
                rc = read_chunk(&reader, chunk, err);
            chunk_release(chunk);
        } else if (rc == RC_AGAIN && (rc = cut_chunk(run, db, err)) == RC_AGAIN) {
            if ((rc = look_at_backfill(run, db, &cut, &over, err)) != RC_OK)
                return rc;
            if (over) {
                run_backfill_over(run);
                return fail_point("reader.over", err);
            }
            if (cut && run->options->once && !holds_chunks(run))
                return RC_OK; /* what is left is leased by others */
            /* not cut yet: somebody else holds the row for a moment */
            run_sleep(run, !cut || holds_chunks(run) ? 5 : run->lease_ms / 4 < 100 ? run->lease_ms / 4 + 1 : 100);
        }
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

void *
reader_thread(void *argument)
{
    struct run *run = argument;
    struct db *db = NULL;
    struct err err = ERR_INIT;
    enum rc rc = run_connect(run, &db, &err);

    if (rc == RC_OK)
        rc = work_chunks(run, db, &err);
    if (rc != RC_OK && rc != RC_CLOSED)
        run_stop(run, STOP_FAILED, rc, &err);
    db_close(db);
    atomic_store(&run->reader_done, true);
    atomic_fetch_sub(&run->threads_busy, 1);
    return NULL;
}
