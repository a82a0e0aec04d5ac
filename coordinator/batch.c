#include "coordinator/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"

static struct doc_key
copy_key(struct arena *arena, struct doc_key key)
{
    char *bytes = key.bytes ? arena_copy(arena, key.bytes, key.length) : NULL;
    return (struct doc_key){.bytes = bytes, .length = bytes ? key.length : 0};
}

struct batch *
batch_from_rows(struct run *run, const PGresult *rows, int first, int count)
{
    int id = PQfnumber(rows, "id"), hash = PQfnumber(rows, "content_hash"), work = PQfnumber(rows, "work");
    int body = PQfnumber(rows, "body"), cut = PQfnumber(rows, "cut");
    struct batch *batch = calloc(1, sizeof *batch);
    size_t n = (size_t)count;

    if (!batch || !(batch->arena = arena_new(0)))
        goto failed;
    batch->run = run;
    batch->count = n;
    batch->ids = arena_array(batch->arena, n, sizeof *batch->ids);
    batch->hashes = arena_array(batch->arena, n, sizeof *batch->hashes);
    batch->work = arena_array(batch->arena, n, sizeof *batch->work);
    batch->places = arena_array(batch->arena, n, sizeof *batch->places);
    batch->documents = arena_array(batch->arena, n, sizeof *batch->documents);
    if (!batch->ids || !batch->hashes || !batch->work || !batch->places || !batch->documents)
        goto failed;

    for (size_t i = 0; i < n; i++) {
        int row = first + (int)i;
        batch->ids[i] = copy_key(batch->arena, result_key_at(rows, row, id));
        batch->work[i] = (enum document_work)result_int64_at(rows, row, work);
        batch->hashes[i] = NULL;
        if (!batch->ids[i].bytes)
            goto failed;
        if (!result_is_null_at(rows, row, hash)) {
            batch->hashes[i] = (unsigned char *)arena_copy(batch->arena, result_uuid_at(rows, row, hash), 16);
            if (!batch->hashes[i])
                goto failed;
        }
        if (batch->work[i] == WORK_EMBED) {
            struct db_text text = result_text_at(rows, row, body);
            char *copy = arena_copy(batch->arena, text.bytes ? text.bytes : "", text.length);
            if (!copy)
                goto failed;
            batch->places[batch->embed_count] = i;
            batch->documents[batch->embed_count++] =
                (struct document){.bytes = copy, .length = text.length, .cut = result_bool_at(rows, row, cut)};
            batch->bytes += text.length;
        }
    }
    batch->cursor = n > 0 ? batch->ids[n - 1] : (struct doc_key){NULL, 0};
    return batch;
failed:
    batch_free(batch);
    return NULL;
}

struct batch *
batch_free(struct batch *batch)
{
    if (!batch)
        return NULL;
    chunk_release(batch->chunk);
    arena_free(batch->arena);
    free(batch);
    return NULL;
}

void
batch_count(const struct batch *batch)
{
    pthread_mutex_lock(&batch->run->mutex);
    batch->run->read_documents += batch->count;
    batch->run->read_bytes += batch->bytes;
    pthread_mutex_unlock(&batch->run->mutex);
}

void
batch_discount(const struct batch *batch)
{
    struct run *run = batch->run;

    pthread_mutex_lock(&run->mutex);
    assert(run->read_documents >= batch->count && run->read_bytes >= batch->bytes);
    run->read_documents -= batch->count;
    run->read_bytes -= batch->bytes;
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

/* --- what is written --- */

enum rc
write_set_init(struct write_set *set, struct arena *arena, size_t capacity, struct err *err)
{
    *set = (struct write_set){.arena = arena};
#define ROOM(field)                                                                                                    \
    if (!(set->field = arena_array(arena, capacity ? capacity : 1, sizeof *set->field)))                               \
    return err_memory(err)
    ROOM(ids);
    ROOM(hashes);
    ROOM(vectors);
    ROOM(failed_ids);
    ROOM(failed_hashes);
    ROOM(kinds);
    ROOM(reasons);
    ROOM(details);
    ROOM(attempts);
    ROOM(statuses);
    ROOM(known_ids);
    ROOM(gone_ids);
    ROOM(same_ids);
    ROOM(same_hashes);
#undef ROOM
    return RC_OK;
}

static void
add_row(struct write_set *set, struct doc_key id, const unsigned char *hash, const float *vector)
{
    set->ids[set->count] = id;
    set->hashes[set->count] = vector || set->keep_hashes ? hash : NULL;
    set->vectors[set->count++] = vector;
}

static struct db_text
text_of(const char *text)
{
    return (struct db_text){.bytes = text, .length = text ? strlen(text) : 0};
}

static void
add_failure(struct write_set *set, struct doc_key id, const unsigned char *hash, const struct document_result *result)
{
    size_t i = set->failed_count++;
    set->failed_ids[i] = id;
    set->failed_hashes[i] = hash;
    set->kinds[i] = text_of(result->status == DOCUMENT_SKIPPED ? "skipped" : "failed");
    set->reasons[i] = text_of(document_reason_name(result->reason));
    set->details[i] = text_of(result->detail);
    set->attempts[i] = result->attempts;
    set->statuses[i] = result->http_status;
}

void
write_set_add(struct write_set *set, const struct batch *batch)
{
    size_t embedded = 0;

    for (size_t i = 0; i < batch->count; i++) {
        const struct document_result *result;
        switch (batch->work[i]) {
        case WORK_CURRENT:
            set->same_ids[set->same_count] = batch->ids[i];
            set->same_hashes[set->same_count++] = batch->hashes[i];
            break;
        case WORK_KNOWN_FAILURE:
            set->known_ids[set->known_count++] = batch->ids[i];
            add_row(set, batch->ids[i], NULL, NULL);
            break;
        case WORK_GONE:
            set->gone_ids[set->gone_count++] = batch->ids[i];
            add_row(set, batch->ids[i], NULL, NULL);
            break;
        case WORK_EMBED:
            assert(batch->places[embedded] == i);
            result = &batch->task.results[embedded];
            if (result->status == DOCUMENT_PENDING) { /* only in a batch that was cut short: see the writer */
                embedded++;
                break;
            }
            add_row(set, batch->ids[i], batch->hashes[i], batch_vector(batch, embedded));
            if (result->status != DOCUMENT_EMBEDDED)
                add_failure(set, batch->ids[i], batch->hashes[i], result);
            set->truncated += result->truncated && result->status == DOCUMENT_EMBEDDED;
            embedded++;
            break;
        }
    }
}

void
params_add_failures(struct params *params, Oid id_type, const struct write_set *set)
{
    params_add_key_array(params, id_type, set->failed_ids, set->failed_count);
    params_add_uuid_array(params, set->failed_hashes, set->failed_count);
    params_add_text_array(params, set->kinds, set->failed_count);
    params_add_text_array(params, set->reasons, set->failed_count);
    params_add_text_array(params, set->details, set->failed_count);
    params_add_int8_array(params, set->attempts, set->failed_count);
    params_add_int8_array(params, set->statuses, set->failed_count);
}

/* --- chunks --- */

struct chunk *
chunk_new(const PGresult *claimed)
{
    struct doc_key hi = result_key(claimed, 0, "hi");
    struct chunk *chunk = calloc(1, sizeof *chunk);
    char *bytes = malloc(hi.length ? hi.length : 1);

    if (!chunk || !bytes)
        goto failed;
    atomic_init(&chunk->references, 1);
    chunk->no = result_int64(claimed, 0, "no");
    chunk->epoch = result_int64(claimed, 0, "epoch");
    chunk->docs = result_int64(claimed, 0, "docs");
    memcpy(chunk->owner, result_uuid(claimed, 0, "owner"), sizeof chunk->owner);
    memcpy(bytes, hi.bytes, hi.length);
    chunk->hi = (struct doc_key){.bytes = bytes, .length = hi.length};
    if (!result_is_null(claimed, 0, "cursor") && !chunk_move_cursor(chunk, result_key(claimed, 0, "cursor")))
        goto failed;
    return chunk;
failed:
    free(bytes);
    free(chunk);
    return NULL;
}

void
chunk_retain(struct chunk *chunk)
{
    atomic_fetch_add(&chunk->references, 1);
}

void
chunk_release(struct chunk *chunk)
{
    if (!chunk || atomic_fetch_sub(&chunk->references, 1) != 1)
        return;
    assert(!chunk->waiting);
    free((char *)chunk->hi.bytes);
    free(chunk->cursor_long);
    free(chunk);
}

bool
chunk_move_cursor(struct chunk *chunk, struct doc_key to)
{
    char *room = chunk->cursor_room;

    if (!to.bytes)
        return true;
    if (to.length > sizeof chunk->cursor_room) {
        room = malloc(to.length);
        if (!room)
            return false;
        free(chunk->cursor_long);
        chunk->cursor_long = room;
    }
    memcpy(room, to.bytes, to.length);
    chunk->cursor = (struct doc_key){.bytes = room, .length = to.length};
    return true;
}
