/* The application, capture, and the chunks: cut, claim, read, write (db/statements/chunk_*.sql). */
#include <string.h>

#include "tests/model/protocol.h"

static bool
begin_transaction(int slot, int argument, struct model_state *s)
{
    int doc = argument / 4, content = argument % 4;

    if (s->writes_left == 0 || s->transactions[slot].doc || doc < 1 || doc > model_bounds.docs || content == UNREAD ||
        s->docs[doc - 1] == content)
        return false;
    for (int i = 0; i < MAX_TRANSACTIONS; i++)
        if (s->transactions[i].doc == doc) /* its row is locked */
            return false;
    s->writes_left--;
    s->transactions[slot].number = s->captured ? model_next_number(s) : 0;
    s->transactions[slot].doc = doc;
    s->transactions[slot].content = content;
    return true;
}

static bool
commit_transaction(int slot, struct model_state *s)
{
    int doc = s->transactions[slot].doc;

    if (!doc)
        return false;
    s->docs[doc - 1] = s->transactions[slot].content;
    if (s->transactions[slot].number)
        model_add_change(s, s->transactions[slot].number, doc);
    memset(&s->transactions[slot], 0, sizeof s->transactions[slot]);
    return true;
}

/* CREATE TRIGGER: its lock waits out every transaction that has written the documents. */
static bool
capture(enum mutant mutant, struct model_state *s)
{
    if (s->captured)
        return false;
    for (int i = 0; i < MAX_TRANSACTIONS; i++)
        if (s->transactions[i].doc && mutant != MUTANT_CAPTURE_WAITS_FOR_NOBODY)
            return false;
    s->captured = 1;
    for (int i = 0; i < model_bounds.docs; i++)
        s->vectors[i].left_over = s->vectors[i].there && s->docs[i] == GONE;
    return true;
}

/* reembed.count_documents */
static bool
read_bound(enum mutant mutant, struct model_state *s)
{
    if (s->counted_all || (!s->captured && mutant != MUTANT_BOUND_BEFORE_CAPTURE))
        return false;
    s->counted_all = 1;
    for (int d = 1; d <= model_bounds.docs; d++)
        if (s->docs[d - 1] != GONE)
            s->bound = d;
    s->cut_done = s->bound == 0;
    return true;
}

static bool
cut(struct model_state *s)
{
    int n = 0, hi = 0;

    if (!s->captured || !s->counted_all || s->cut_done)
        return false;
    for (int d = s->cut_upto + 1; d <= s->bound && n < model_bounds.chunk; d++) {
        if (s->docs[d - 1] == GONE)
            continue;
        n++;
        hi = d;
    }
    s->cut_done = n < model_bounds.chunk;
    if (n == 0)
        return true;
    s->chunks[s->chunk_count++] = (struct model_chunk){.hi = hi, .cursor = s->cut_upto};
    s->cut_upto = hi;
    return true;
}

/* --- leases --- */

static bool
claim(enum mutant mutant, struct model_worker *w, struct model_state *s)
{
    if (w->place != WORKER_IDLE)
        return false;
    for (int i = 0; i < s->chunk_count; i++) {
        struct model_chunk *chunk = &s->chunks[i];
        bool free = chunk->state == CHUNK_OPEN ||
                    (chunk->state == CHUNK_LEASED && chunk->expired && mutant != MUTANT_NO_TAKE_OVER);
        if (!free || chunk->locked) /* SKIP LOCKED */
            continue;
        w->epoch = model_next_token(s);
        w->place = WORKER_CLAIMING;
        w->chunk = i;
        chunk->locked = 1;
        return true;
    }
    return false;
}

static bool
commit_claim(struct model_worker *w, struct model_state *s)
{
    struct model_chunk *chunk = &s->chunks[w->chunk];

    if (w->place != WORKER_CLAIMING)
        return false;
    chunk->state = CHUNK_LEASED;
    chunk->epoch = w->epoch;
    chunk->expired = chunk->locked = 0;
    w->place = WORKER_LEASED;
    w->position = chunk->cursor;
    return true;
}

static void
forget(struct model_worker *w)
{
    memset(w, 0, sizeof *w);
}

static bool
holds(const struct model_worker *w, const struct model_chunk *chunk)
{
    return chunk->state == CHUNK_LEASED && chunk->epoch == w->epoch;
}

static bool
renew(const struct model_worker *w, struct model_state *s)
{
    struct model_chunk *chunk = &s->chunks[w->chunk];

    if (w->place != WORKER_LEASED || chunk->locked || !holds(w, chunk) || !chunk->expired)
        return false;
    chunk->expired = 0;
    return true;
}

static bool
release(struct model_worker *w, struct model_state *s)
{
    struct model_chunk *chunk = &s->chunks[w->chunk];

    if (w->place != WORKER_LEASED || chunk->locked)
        return false;
    if (holds(w, chunk)) {
        chunk->state = CHUNK_OPEN;
        chunk->epoch = chunk->expired = 0;
    }
    forget(w);
    return true;
}

static bool
crash(struct model_worker *w, struct model_state *s)
{
    if (w->place == WORKER_IDLE)
        return false;
    if (w->place == WORKER_CLAIMING)
        s->chunks[w->chunk].locked = 0;
    forget(w);
    return true;
}

/* --- reading --- */

static bool
read_window(struct model_worker *w, struct model_state *s)
{
    const struct model_chunk *chunk = &s->chunks[w->chunk];
    struct model_batch *batch = NULL;
    int d = w->position + 1;

    if (w->place != WORKER_LEASED || w->finished_reading || w->unsure)
        return false;
    for (int i = 0; i < model_bounds.ahead && !batch; i++)
        if (!w->batches[i].used)
            batch = &w->batches[i];
    if (!batch)
        return false;
    while (d <= chunk->hi && s->docs[d - 1] == GONE)
        d++;
    *batch = (struct model_batch){.used = 1, .before = w->position, .after = w->position, .last = 1};
    if (d <= chunk->hi) {
        batch->doc = batch->after = d;
        batch->content = s->docs[d - 1];
        batch->embed = !model_is_current(s, d);
        batch->last = d == chunk->hi;
    }
    w->position = batch->after;
    w->finished_reading = batch->last;
    return true;
}

/* --- writing --- */

static void
store_vector(enum mutant mutant, const struct model_worker *w, struct model_state *s)
{
    const struct model_batch *batch = &w->batches[0];
    int i = batch->doc - 1, token = mutant == MUTANT_TOKEN_AT_WRITE ? model_next_token(s) : w->epoch;

    if (!batch->doc || !batch->embed)
        return;
    if (s->vectors[i].there && s->vectors[i].token >= token && mutant != MUTANT_NO_TOKEN_GUARD)
        return;
    s->vectors[i].there = 1;
    s->vectors[i].token = token;
    s->vectors[i].content = batch->content;
    s->vectors[i].left_over = 0;
}

static void
move_cursor(const struct model_worker *w, struct model_state *s)
{
    const struct model_batch *batch = &w->batches[0];
    struct model_chunk *chunk = &s->chunks[w->chunk];

    chunk->cursor = batch->after;
    chunk->expired = 0;
    if (batch->last)
        chunk->state = CHUNK_DONE;
    if (batch->doc && s->counted[batch->doc - 1] < 2)
        s->counted[batch->doc - 1]++;
}

static void
batch_written(struct model_worker *w)
{
    bool last = w->batches[0].last;

    for (int i = 0; i + 1 < MAX_AHEAD; i++)
        w->batches[i] = w->batches[i + 1];
    memset(&w->batches[MAX_AHEAD - 1], 0, sizeof w->batches[0]);
    w->place = WORKER_LEASED;
    w->unsure = 0;
    if (last)
        forget(w);
}

static bool
fence_holds(enum mutant mutant, const struct model_worker *w, const struct model_state *s)
{
    const struct model_chunk *chunk = &s->chunks[w->chunk];

    if (mutant == MUTANT_NO_FENCE)
        return true;
    return holds(w, chunk) && (chunk->cursor == w->batches[0].before || mutant == MUTANT_CURSOR_NOT_CHECKED);
}

static bool
ready_to_write(const struct model_worker *w, const struct model_state *s)
{
    return w->place == WORKER_LEASED && w->batches[0].used && !w->unsure && !s->chunks[w->chunk].locked;
}

/* chunk_write.sql: fence, vectors, counters and cursor. */
static bool
write_batch(enum mutant mutant, struct model_worker *w, struct model_state *s, bool answered)
{
    bool written = fence_holds(mutant, w, s);

    if (mutant == MUTANT_CHECK_THEN_WRITE || mutant == MUTANT_CURSOR_BEFORE_DATA || !ready_to_write(w, s))
        return false;
    if (written) {
        store_vector(mutant, w, s);
        move_cursor(w, s);
    }
    if (!answered)
        w->unsure = 1;
    else if (written)
        batch_written(w);
    else
        forget(w);
    return true;
}

/* The same in two statements: the fence is asked first (or the cursor moved first), the rest follows. */
static bool
begin_two_statements(enum mutant mutant, struct model_worker *w, struct model_state *s)
{
    if (!ready_to_write(w, s))
        return false;
    if (!fence_holds(mutant, w, s)) {
        forget(w);
        return true;
    }
    w->place = mutant == MUTANT_CHECK_THEN_WRITE ? WORKER_CHECKED : WORKER_MOVED;
    if (w->place == WORKER_MOVED)
        move_cursor(w, s);
    return true;
}

static bool
end_two_statements(enum mutant mutant, struct model_worker *w, struct model_state *s)
{
    if (w->place != WORKER_CHECKED && w->place != WORKER_MOVED)
        return false;
    store_vector(mutant, w, s);
    if (w->place == WORKER_CHECKED)
        move_cursor(w, s);
    batch_written(w);
    return true;
}

/* The connection broke before the statement reached the server. */
static bool
lose_write(enum mutant mutant, struct model_worker *w, struct model_state *s)
{
    if (mutant == MUTANT_CHECK_THEN_WRITE || mutant == MUTANT_CURSOR_BEFORE_DATA || !ready_to_write(w, s))
        return false;
    w->unsure = 1;
    return true;
}

/* chunk_fence.sql, and what the writer concludes from it. */
static bool
look_at_fence(enum mutant mutant, struct model_worker *w, struct model_state *s)
{
    const struct model_chunk *chunk = &s->chunks[w->chunk];
    const struct model_batch *batch = &w->batches[0];

    if (w->place != WORKER_LEASED || !w->unsure)
        return false;
    if (mutant == MUTANT_CURSOR_NOT_CHECKED)
        w->unsure = 0; /* blindly again */
    else if (chunk->state == CHUNK_OPEN || chunk->epoch != w->epoch)
        forget(w);
    else if (batch->last ? chunk->state == CHUNK_DONE : chunk->cursor == batch->after)
        batch_written(w);
    else if (chunk->cursor == batch->before)
        w->unsure = 0;
    else
        forget(w);
    return true;
}

bool
model_chunk_step(enum mutant mutant, struct action action, struct model_state *s)
{
    struct model_worker *w = &s->workers[action.actor < MAX_WORKERS ? action.actor : 0];

    switch (action.step) {
    case STEP_BEGIN:
        return begin_transaction(action.actor, action.argument, s);
    case STEP_COMMIT:
        return commit_transaction(action.actor, s);
    case STEP_CAPTURE:
        return capture(mutant, s);
    case STEP_BOUND:
        return read_bound(mutant, s);
    case STEP_CUT:
        return cut(s);
    case STEP_EXPIRE: {
        struct model_chunk *chunk = &s->chunks[action.argument];
        if (action.argument >= s->chunk_count || chunk->state != CHUNK_LEASED || chunk->expired)
            return false;
        chunk->expired = 1;
        return true;
    }
    case STEP_CLAIM:
        return claim(mutant, w, s);
    case STEP_CLAIM_COMMIT:
        return commit_claim(w, s);
    case STEP_READ:
        return read_window(w, s);
    case STEP_CHECK:
        return mutant == MUTANT_CHECK_THEN_WRITE && begin_two_statements(mutant, w, s);
    case STEP_MOVE:
        return mutant == MUTANT_CURSOR_BEFORE_DATA && begin_two_statements(mutant, w, s);
    case STEP_WRITE:
        return end_two_statements(mutant, w, s) || write_batch(mutant, w, s, true);
    case STEP_WRITE_ANSWER_LOST:
        return write_batch(mutant, w, s, false);
    case STEP_WRITE_LOST:
        return lose_write(mutant, w, s);
    case STEP_LOOK_AT_FENCE:
        return look_at_fence(mutant, w, s);
    case STEP_RENEW:
        return renew(w, s);
    case STEP_RELEASE:
        return release(w, s);
    case STEP_CRASH:
        return crash(w, s);
    default:
        return false;
    }
}
