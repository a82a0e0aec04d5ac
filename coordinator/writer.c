/* The writer: stores finished batches in fenced statements, in the order of each chunk, and joins what is finished
 * while it would otherwise wait for the commit before: the commit is the cost.
 *
 * A batch that was cut short (shutdown, a halted provider) leaves a gap. What was embedded in it and behind it was paid
 * for, so it is stored all the same, without moving the cursor: it will be met again and found current. */
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

#define JOIN_BYTES (2 << 20) /* of vectors a statement, when that many are finished; measured in bench/pipeline */
#define JOIN_LEAST 250       /* documents a statement, whatever their bytes */
#define JOIN_MOST  1000
#define DEPTH      2 /* statements in flight: one is prepared while the other is executed */

/* Consecutive batches of one chunk that go into one statement. */
struct group {
    struct chunk *chunk;
    struct batch *batches; /* ascending */
    struct batch **end;
    size_t count; /* documents, whatever became of them */
    bool whole;   /* every document has an outcome, and so has everything before it: moves the cursor */
    bool last;
    struct doc_key before; /* the cursor that this group builds on; in the first batch's arena */
    struct doc_key after;  /* the cursor afterwards */
    struct params params;
    int64_t sent_us;
};

struct writer {
    struct run *run;
    struct db *db;
    struct queue *finished;
    struct chunk **chunks; /* that have waiting batches; no references of their own, the batches hold them */
    size_t chunk_count;
    size_t chunk_room;
    struct group groups[DEPTH]; /* in flight, a ring */
    size_t first;
    size_t in_flight;
    size_t join; /* documents a statement at least, when that many are finished */
};

/* --- batches on their way in --- */

static void
drop_batch(struct run *run, struct batch *batch)
{
    atomic_fetch_sub(&run->in_flight, (long long)batch->count);
    batch_discount(batch);
    batch_free(batch);
}

static bool
keep_chunk(struct writer *w, struct chunk *chunk)
{
    for (size_t i = 0; i < w->chunk_count; i++)
        if (w->chunks[i] == chunk)
            return true;
    if (w->chunk_count == w->chunk_room) {
        size_t room = w->chunk_room ? w->chunk_room * 2 : 8;
        struct chunk **chunks = realloc(w->chunks, room * sizeof(struct chunk *));
        if (!chunks)
            return false;
        w->chunks = chunks;
        w->chunk_room = room;
    }
    w->chunks[w->chunk_count++] = chunk;
    return true;
}

static void
forget_chunk(struct writer *w, size_t i)
{
    w->chunks[i] = w->chunks[--w->chunk_count];
}

static void
take_in(struct writer *w, struct batch *batch)
{
    struct batch **place = &batch->chunk->waiting;

    if (atomic_load(&batch->chunk->lost) || !keep_chunk(w, batch->chunk)) {
        drop_batch(w->run, batch);
        return;
    }
    while (*place && (*place)->sequence < batch->sequence)
        place = &(*place)->next;
    batch->next = *place;
    *place = batch;
}

static void
drop_waiting(struct writer *w, struct chunk *chunk)
{
    while (chunk->waiting) {
        struct batch *batch = chunk->waiting;
        chunk->waiting = batch->next;
        bool final = !chunk->waiting;
        drop_batch(w->run, batch); /* the last one may free the chunk */
        if (final)
            break;
    }
}

/* --- leases --- */

/* Takes the chunk out of the run's list; the list's reference goes. */
static void
unlist_chunk(struct run *run, struct chunk *chunk)
{
    struct chunk **place;
    bool found = false;

    pthread_mutex_lock(&run->mutex);
    for (place = &run->chunks; *place; place = &(*place)->next) {
        if (*place == chunk) {
            *place = chunk->next;
            found = true;
            break;
        }
    }
    pthread_mutex_unlock(&run->mutex);
    if (found)
        chunk_release(chunk);
}

static void
lose_chunk(struct writer *w, struct chunk *chunk, const char *why)
{
    if (!atomic_exchange(&chunk->lost, true)) {
        MEASURE_ADD(w->run->measurements->leases_lost, 1);
        log_event(LOG_INFO, "chunk given up", LF_INT("chunk", chunk->no), LF_STR("why", why));
    }
    unlist_chunk(w->run, chunk);
}

/* --- groups --- */

static bool
batch_is_whole(const struct batch *batch)
{
    if (batch->task.rc == RC_OK)
        return true;
    for (size_t i = 0; i < batch->embed_count; i++)
        if (!batch->task.results || batch->task.results[i].status == DOCUMENT_PENDING)
            return false;
    return true;
}

/* Documents of the chunk that could be written now. */
static size_t
ready_count(const struct writer *w, const struct chunk *chunk, bool final)
{
    size_t count = 0;
    uint64_t sequence = chunk->write_sequence;

    for (const struct batch *b = chunk->waiting; b; b = b->next) {
        if (!final && (b->sequence != sequence || !batch_is_whole(b)))
            break;
        count += b->count + (b->count == 0); /* an empty last batch is worth a statement */
        sequence = b->sequence + 1;
        if (count >= w->join)
            break;
    }
    return count;
}

/* Moves what can go into one statement from the chunk's waiting list into the group, and the chunk's cursor to where it
 * will be: the next group of this chunk may be sent before the answer to this one is there. False: out of memory. */
static bool
fill_group(const struct writer *w, struct group *group, struct chunk *chunk)
{
    *group = (struct group){.chunk = chunk, .whole = true, .params = group->params};
    group->end = &group->batches;
    if (chunk->cursor.bytes) {
        group->before.bytes = arena_copy(chunk->waiting->arena, chunk->cursor.bytes, chunk->cursor.length);
        group->before.length = chunk->cursor.length;
        if (!group->before.bytes)
            return false;
    }
    group->after = group->before;
    while (chunk->waiting && group->count < w->join) {
        struct batch *batch = chunk->waiting;
        bool whole = batch->sequence == chunk->write_sequence && batch_is_whole(batch);
        if (group->batches && whole != group->whole)
            break;
        chunk->waiting = batch->next;
        batch->next = NULL;
        *group->end = batch;
        group->end = &batch->next;
        group->count += batch->count;
        group->whole = whole;
        if (whole) {
            chunk->write_sequence++;
            group->last = batch->last;
            if (batch->cursor.bytes)
                group->after = batch->cursor;
        }
    }
    return chunk_move_cursor(chunk, group->after);
}

static void
group_done(struct writer *w, struct group *group, bool written)
{
    chunk_retain(group->chunk);
    if (group->sent_us > 0)
        histogram_add(&w->run->measurements->write, clock_now_us() - group->sent_us);
    if (written && group->whole)
        atomic_fetch_add(&w->run->processed, (long long)group->count);
    if (written && group->last)
        unlist_chunk(w->run, group->chunk);
    while (group->batches) {
        struct batch *batch = group->batches;
        group->batches = batch->next;
        if (written)
            measure_stored(batch, group->whole);
        else
            measure_dropped(batch);
        drop_batch(w->run, batch);
    }
    group->end = &group->batches;
    chunk_release(group->chunk);
    group->chunk = NULL;
}

/* A part of a group that is not whole: the vectors alone, without their failures. */
static void
keep_embedded_only(struct write_set *set)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++) {
        if (!set->vectors[i])
            continue;
        set->ids[kept] = set->ids[i];
        set->hashes[kept] = set->hashes[i];
        set->vectors[kept++] = set->vectors[i];
    }
    set->count = kept;
    set->failed_count = set->known_count = 0;
    set->truncated = 0;
}

static enum rc
group_params(struct writer *w, struct group *group, struct err *err)
{
    const struct migration *m = w->run->migration;
    const struct chunk *chunk = group->chunk;
    struct params *params = &group->params;
    struct write_set set;
    size_t room = 0;
    enum rc rc;

    assert(group->batches);
    for (const struct batch *b = group->batches; b; b = b->next)
        room += b->count;
    if ((rc = write_set_init(&set, group->batches->arena, room, err)) != RC_OK)
        return rc;
    for (const struct batch *b = group->batches; b; b = b->next)
        if (b->task.rc == RC_OK || b->task.results)
            write_set_add(&set, b);
    if (!group->whole)
        keep_embedded_only(&set);

    params_reset(params);
    params_add_int8(params, m->number);
    params_add_int8(params, chunk->no);
    params_add_uuid(params, chunk->owner);
    params_add_int8(params, chunk->epoch);
    params_add_key(params, m->id_type, group->before);
    params_add_key(params, m->id_type, group->after);
    params_add_bool(params, group->whole && group->last);
    params_add_int4(params, group->whole ? (int32_t)group->count : 0);
    params_add_int4(params, (int32_t)set.truncated);
    params_add_int8(params, w->run->lease_ms);
    params_add_key_array(params, m->id_type, set.ids, set.count);
    params_add_uuid_array(params, set.hashes, set.count);
    params_add_vectors(params, &m->types, m->target.kind, set.vectors, set.count, m->target.dimensions);
    params_add_failures(params, m->id_type, &set);
    params_add_int8(params, m->target.id);
    params_add_key_array(params, m->id_type, set.known_ids, set.known_count);
    if (params->rc != RC_OK && err)
        *err = params->err;
    return params->rc;
}

/* --- the outcome of a write --- */

enum verdict { VERDICT_WRITTEN, VERDICT_NOT_WRITTEN, VERDICT_LOST };

/* A commit whose answer was lost is decided here and nowhere else: the fence row tells whether it happened. */
static enum rc
look_at_fence(struct writer *w, const struct group *group, enum verdict *ret_verdict, struct err *err)
{
    const struct migration *m = w->run->migration;
    struct params params = PARAMS_INIT;
    PGresult *row = NULL;
    enum rc rc;

    params_add_int8(&params, m->number);
    params_add_int8(&params, group->chunk->no);
    rc = run_exec(w->run, w->db, m->chunk_fence, &params, &row, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (result_rows(row) == 0) { /* finished, by whomever, and folded away: its documents are stored */
        *ret_verdict = VERDICT_WRITTEN;
    } else if (result_is_null(row, 0, "owner") || memcmp(result_uuid(row, 0, "owner"), group->chunk->owner, 16) != 0 ||
               result_int64(row, 0, "epoch") != group->chunk->epoch) {
        *ret_verdict = VERDICT_LOST;
    } else {
        struct doc_key cursor =
            result_is_null(row, 0, "cursor") ? (struct doc_key){NULL, 0} : result_key(row, 0, "cursor");
        bool moved = group->last ? result_int64(row, 0, "state") == 2 : doc_key_equal(cursor, group->after);
        bool unmoved = cursor.bytes ? doc_key_equal(cursor, group->before) : !group->before.bytes;
        *ret_verdict = group->whole && moved ? VERDICT_WRITTEN : unmoved ? VERDICT_NOT_WRITTEN : VERDICT_LOST;
    }
    PQclear(row);
    return RC_OK;
}

/* R8: what a server said that has crashed since may never have been committed there. */
static bool
same_server(const struct writer *w, const struct group *group)
{
    for (const struct batch *b = group->batches; b; b = b->next)
        if (!db_same_server(&b->server, db_server(w->db)))
            return false;
    return true;
}

/* Brings a group to its end, one statement at a time, after its first attempt went wrong in whatever way. */
static enum rc
settle_group(struct writer *w, struct group *group, bool *ret_written, struct err *err)
{
    enum verdict verdict = VERDICT_NOT_WRITTEN;
    enum rc rc;

    *ret_written = false;
    for (int attempt = 0;; attempt++) {
        if (atomic_load(&group->chunk->lost))
            return RC_OK;
        if ((rc = look_at_fence(w, group, &verdict, err)) != RC_OK ||
            (rc = fail_point("writer.settling", err)) != RC_OK)
            return rc;
        if (verdict == VERDICT_WRITTEN) {
            *ret_written = true;
            return RC_OK;
        }
        if (verdict == VERDICT_LOST || !same_server(w, group)) {
            lose_chunk(w, group->chunk,
                       verdict == VERDICT_LOST ? "its lease went to another" : "the server is another one");
            return RC_OK;
        }
        PGresult *result = NULL;
        if ((rc = group_params(w, group, err)) != RC_OK)
            return rc;
        rc = db_exec(w->db, w->run->migration->chunk_write, &group->params, &result, err);
        if (rc == RC_OK && result_int64(result, 0, "fenced") == 1)
            *ret_written = true;
        PQclear(result);
        if (*ret_written)
            return RC_OK;
        if (rc != RC_OK && rc != RC_RETRY)
            return rc;
        if (rc == RC_RETRY && (rc = run_recover(w->run, w->db, attempt, err)) != RC_OK)
            return rc;
    }
}

/* Takes the oldest answer. When it is not a plain success every answer is taken and the groups are settled in order:
 * a group behind a failed one of the same chunk was rightly fenced and must be written again. */
static enum rc
receive_group(struct writer *w, struct err *err)
{
    bool plain[DEPTH] = {false};
    enum rc rc = RC_OK;
    size_t taken = 0;

    do {
        PGresult *result = NULL;
        struct err why = ERR_INIT;
        enum rc outcome = db_receive(w->db, &result, &why);
        plain[taken] = outcome == RC_OK && result_int64(result, 0, "fenced") == 1;
        PQclear(result);
        if (outcome != RC_OK && outcome != RC_RETRY && rc == RC_OK) {
            rc = outcome;
            *err = why;
        }
        taken++;
        if (plain[0] && taken == 1)
            break;
    } while (taken < w->in_flight);
    if (rc == RC_OK)
        rc = fail_point("writer.answered", err);

    for (size_t i = 0; i < taken; i++) {
        struct group *group = &w->groups[w->first];
        bool written = plain[i];
        w->first = (w->first + 1) % DEPTH;
        w->in_flight--;
        if (!written && rc == RC_OK)
            rc = settle_group(w, group, &written, err);
        group_done(w, group, written);
    }
    return rc;
}

/* The chunk with the most documents that could be written now, at least `least`. */
static struct chunk *
choose_chunk(struct writer *w, bool final, size_t least)
{
    struct chunk *best = NULL;
    size_t most = least > 0 ? least - 1 : 0;

    for (size_t i = 0; i < w->chunk_count; i++) {
        struct chunk *chunk = w->chunks[i];
        size_t count = ready_count(w, chunk, final);
        if (count > most) {
            most = count;
            best = chunk;
        }
    }
    return best;
}

/* The group was read from another server than ours. Ours may be the old one: a connection that nothing was sent through
 * since does not know that its server is gone. One statement finds out, and connects again where it must. */
static enum rc
look_at_server(struct writer *w, struct err *err)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && w->in_flight > 0)
        rc = receive_group(w, err);
    return rc == RC_OK ? run_exec(w->run, w->db, "SELECT 1", NULL, NULL, err) : rc;
}

static enum rc
send_group(struct writer *w, struct chunk *chunk, struct err *err)
{
    struct group *group = &w->groups[(w->first + w->in_flight) % DEPTH];
    bool written = false;
    enum rc rc = RC_OK;

    if (!fill_group(w, group, chunk)) {
        lose_chunk(w, chunk, "out of memory");
        group_done(w, group, false);
        return err_memory(err);
    }
    for (size_t i = 0; i < w->chunk_count; i++)
        if (w->chunks[i] == chunk && !chunk->waiting)
            forget_chunk(w, i--);
    if (!same_server(w, group))
        rc = look_at_server(w, err);
    if (rc == RC_OK && !same_server(w, group)) {
        lose_chunk(w, chunk, "the server is another one");
        group_done(w, group, false);
        return RC_OK;
    }
    group->sent_us = clock_now_us();
    if (rc == RC_OK)
        rc = group_params(w, group, err);
    if (rc == RC_OK)
        rc = fail_point("writer.sending", err);
    if (rc == RC_OK && db_alive(w->db))
        rc = db_send(w->db, w->run->migration->chunk_write, &group->params, err);
    else if (rc == RC_OK)
        rc = RC_RETRY;
    if (rc == RC_OK) {
        w->in_flight++;
        return fail_point("writer.sent", err);
    }
    while (w->in_flight > 0 && (rc == RC_RETRY || rc == RC_AGAIN)) { /* settling needs the connection for itself */
        enum rc received = receive_group(w, err);
        if (received != RC_OK)
            rc = received;
    }
    if (rc == RC_RETRY || rc == RC_AGAIN)
        rc = settle_group(w, group, &written, err);
    group_done(w, group, written);
    return rc;
}

static void
drop_lost_chunks(struct writer *w)
{
    for (size_t i = 0; i < w->chunk_count; i++) {
        struct chunk *chunk = w->chunks[i];
        if (!atomic_load(&chunk->lost))
            continue;
        chunk_retain(chunk);
        drop_waiting(w, chunk);
        forget_chunk(w, i--);
        unlist_chunk(w->run, chunk);
        chunk_release(chunk);
    }
}

static enum rc
write_batches(struct writer *w, struct err *err)
{
    size_t most = db_max_in_flight(w->db), depth = most < DEPTH ? most : DEPTH;
    enum rc rc = RC_OK;
    bool closed = false;

    while (rc == RC_OK) {
        void *item;
        struct chunk *chunk;
        enum rc popped;

        while ((popped = queue_pop(w->finished, 0, &item)) == RC_OK)
            take_in(w, item);
        closed = popped == RC_CLOSED;
        drop_lost_chunks(w);
        if (w->in_flight < depth && (chunk = choose_chunk(w, closed, w->in_flight == 0 ? 1 : w->join / 2)))
            rc = send_group(w, chunk, err);
        else if (w->in_flight > 0)
            rc = receive_group(w, err);
        else if (closed)
            return fail_point("writer.closed", err);
        else if (queue_pop(w->finished, 1000, &item) == RC_OK)
            take_in(w, item);
    }
    return rc;
}

static size_t
joined(const struct migration *m)
{
    size_t join = JOIN_BYTES / (m->target.dimensions * sizeof(float));
    return join < JOIN_LEAST ? JOIN_LEAST : join > JOIN_MOST ? JOIN_MOST : join;
}

/* A statement needs the room of its vectors several times over. */
static enum rc
enlarge_heap(struct writer *w, struct err *err)
{
    struct params params = PARAMS_INIT;
    size_t bytes = 4 * w->join * w->run->migration->target.dimensions * sizeof(float);
    enum rc rc;

    params_add_int4(&params, (int32_t)(bytes < 16 << 20 ? bytes : 16 << 20));
    rc = run_exec(w->run, w->db, sql_enlarge_heap, &params, NULL, err);
    params_clear(&params);
    return rc;
}

void *
writer_thread(void *argument)
{
    const struct writer_argument *with = argument;
    struct run *run = with->run;
    struct writer w = {.run = run, .finished = run->finished[with->index], .join = joined(run->migration)};
    struct err err = ERR_INIT;
    void *item;
    enum rc rc = run_connect(run, &w.db, &err);

    if (rc == RC_OK && (rc = enlarge_heap(&w, &err)) == RC_OK)
        rc = write_batches(&w, &err);
    if (rc != RC_OK && rc != RC_CLOSED)
        run_stop(run, err_is_disk_full(&err) ? STOP_PAUSED : STOP_FAILED, rc, &err);

    /* after an error: what can't be written any more */
    while (w.in_flight > 0) {
        struct group *group = &w.groups[w.first];
        w.first = (w.first + 1) % DEPTH;
        w.in_flight--;
        group_done(&w, group, false);
    }
    while (queue_pop(w.finished, -1, &item) == RC_OK)
        drop_batch(run, item);
    while (w.chunk_count > 0) {
        struct chunk *chunk = w.chunks[0];
        forget_chunk(&w, 0);
        drop_waiting(&w, chunk);
    }
    for (size_t i = 0; i < DEPTH; i++)
        params_clear(&w.groups[i].params);
    free(w.chunks);
    db_close(w.db);
    atomic_fetch_sub(&run->writers_busy, 1);
    return NULL;
}
