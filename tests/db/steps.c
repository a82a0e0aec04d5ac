#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "tests/db/steps_internal.h"
#include "tests/db/support.h"

enum { CONTENT_LIMIT = 100000 };

/* --- chunks --- */

bool
cut(struct worker *worker, int documents)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    params_add_int4(&params, documents);
    PGresult *result = step_execute(worker, CHUNK_CUT, TARGET, &params);
    bool one = !result_is_null(result, 0, "no");
    PQclear(result);
    return one;
}

bool
claim(struct worker *worker, int64_t lease_ms, struct lease *ret_lease)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    params_add_int8(&params, lease_ms);
    PGresult *row = step_execute(worker, CHUNK_CLAIM, TARGET, &params);
    if (result_rows(row) == 0) {
        PQclear(row);
        return false;
    }
    *ret_lease = (struct lease){
        .row = row,
        .no = result_int64(row, 0, "no"),
        .epoch = result_int64(row, 0, "epoch"),
        .hi = result_key(row, 0, "hi"),
        .cursor = result_key(row, 0, "cursor"),
        .done = result_int64(row, 0, "done"),
    };
    memcpy(ret_lease->owner, result_uuid(row, 0, "owner"), sizeof ret_lease->owner);
    return true;
}

void
lease_free(struct lease *lease)
{
    PQclear(lease->row);
    *lease = (struct lease){0};
}

static bool
touch_lease(struct worker *worker, enum statement statement, const struct lease *lease, const int64_t *lease_ms)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    params_add_int8(&params, lease->no);
    params_add_uuid(&params, lease->owner);
    params_add_int8(&params, lease->epoch);
    if (lease_ms != NULL)
        params_add_int8(&params, *lease_ms);
    PGresult *result = step_execute(worker, statement, TARGET, &params);
    bool held = result_rows(result) == 1;
    PQclear(result);
    return held;
}

bool
renew(struct worker *worker, const struct lease *lease, int64_t lease_ms)
{
    return touch_lease(worker, CHUNK_RENEW, lease, &lease_ms);
}

bool
release(struct worker *worker, const struct lease *lease)
{
    return touch_lease(worker, CHUNK_RELEASE, lease, NULL);
}

void
read_chunk(struct worker *worker, const struct lease *lease, int limit, struct reading *ret_reading)
{
    struct params params = PARAMS_INIT;
    params_add_key(&params, worker->id_type, lease->cursor);
    params_add_key(&params, worker->id_type, lease->hi);
    params_add_int4(&params, limit);
    params_add_int4(&params, CONTENT_LIMIT);
    params_add_int8(&params, worker->number);
    params_add_int8(&params, worker->spaces[TARGET].id);
    PGresult *rows = step_execute(worker, CHUNK_READ, TARGET, &params);
    int count = result_rows(rows);
    *ret_reading = (struct reading){
        .rows = rows,
        .count = count,
        .last = count < limit || doc_key_equal(result_key(rows, count - 1, "id"), lease->hi),
    };
}

void
reading_free(struct reading *reading)
{
    PQclear(reading->rows);
    *reading = (struct reading){0};
}

int
reading_to_embed(const struct reading *reading)
{
    int count = 0;
    for (int row = 0; row < reading->count; row++)
        count += result_int64(reading->rows, row, "work") == TO_EMBED;
    return count;
}

bool
write_chunk(struct worker *worker, struct lease *lease, const struct reading *reading)
{
    struct write_set set = write_set_gather(reading);
    struct params params = PARAMS_INIT;
    struct doc_key after = reading->count > 0 ? result_key(reading->rows, reading->count - 1, "id") : lease->cursor;

    params_add_int8(&params, worker->number);
    params_add_int8(&params, lease->no);
    params_add_uuid(&params, lease->owner);
    params_add_int8(&params, lease->epoch);
    params_add_key(&params, worker->id_type, lease->cursor);
    params_add_key(&params, worker->id_type, after);
    params_add_bool(&params, reading->last);
    params_add_int4(&params, reading->count);
    params_add_int4(&params, 0);
    params_add_int8(&params, LEASE_MS);
    write_set_add_rows(worker, TARGET, &params, &set);
    write_set_add_failures(worker, &params, &set);
    params_add_int8(&params, worker->spaces[TARGET].id);
    params_add_key_array(&params, worker->id_type, set.known_ids, set.known);
    PGresult *result = step_execute(worker, CHUNK_WRITE, TARGET, &params);
    bool fenced = result_int64(result, 0, "fenced") == 1;
    PQclear(result);
    write_set_discard(&set);
    if (fenced && after.bytes != NULL) {
        cr_assert_leq(after.length, sizeof lease->cursor_room);
        memmove(lease->cursor_room, after.bytes, after.length);
        lease->cursor = (struct doc_key){(const char *)lease->cursor_room, after.length};
    }
    if (fenced)
        lease->finished = reading->last;
    return fenced;
}

/* --- changes --- */

bool
drain_claim(struct worker *worker, int space, int64_t lease_ms, struct drainer *ret_drainer)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->spaces[space].id);
    params_add_int8(&params, lease_ms);
    PGresult *result = step_execute(worker, DRAIN_CLAIM, space, &params);
    bool claimed = result_rows(result) == 1;
    if (claimed) {
        ret_drainer->epoch = result_int64(result, 0, "epoch");
        memcpy(ret_drainer->owner, result_uuid(result, 0, "owner"), sizeof ret_drainer->owner);
    }
    PQclear(result);
    return claimed;
}

static void
add_drainer(struct worker *worker, int space, struct params *params, const struct drainer *drainer)
{
    params_add_int8(params, worker->spaces[space].id);
    params_add_uuid(params, drainer->owner);
    params_add_int8(params, drainer->epoch);
}

void
drain_release(struct worker *worker, int space, const struct drainer *drainer)
{
    struct params params = PARAMS_INIT;
    add_drainer(worker, space, &params, drainer);
    PQclear(step_execute(worker, DRAIN_RELEASE, space, &params));
}

void
drain_list(struct worker *worker, int space, int limit, struct changes *ret_changes)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->spaces[space].id);
    params_add_int8(&params, 0);
    params_add_int4(&params, limit);
    PGresult *rows = step_execute(worker, DRAIN_LIST, space, &params);
    *ret_changes = (struct changes){.rows = rows, .count = result_rows(rows)};
    for (int row = 0; row < ret_changes->count; row++) {
        ret_changes->token = result_int64(rows, row, "token");
        if (result_is_null(rows, row, "doc_id"))
            ret_changes->truncated = true;
    }
}

void
changes_free(struct changes *changes)
{
    PQclear(changes->rows);
    *changes = (struct changes){0};
}

/* Of the markers of TRUNCATE, or of the documents. */
static void
add_numbers(struct params *params, const struct changes *changes, bool markers)
{
    int64_t *numbers = step_room((size_t)changes->count, sizeof *numbers);
    size_t count = 0;
    for (int row = 0; row < changes->count; row++)
        if (result_is_null(changes->rows, row, "doc_id") == markers)
            numbers[count++] = result_int64(changes->rows, row, "seq");
    params_add_int8_array(params, numbers, count);
    free(numbers);
}

void
drain_read(struct worker *worker, int space, const struct changes *changes, struct reading *ret_reading)
{
    struct params params = PARAMS_INIT;
    struct doc_key *ids = step_room((size_t)changes->count, sizeof *ids);
    size_t count = 0;
    for (int row = 0; row < changes->count; row++)
        if (!result_is_null(changes->rows, row, "doc_id"))
            ids[count++] = result_key(changes->rows, row, "doc_id");
    params_add_key_array(&params, worker->id_type, ids, count);
    params_add_int4(&params, CONTENT_LIMIT);
    if (worker->spaces[space].side) {
        params_add_int8(&params, worker->number);
        params_add_int8(&params, worker->spaces[space].id);
    }
    PGresult *rows = step_execute(worker, worker->spaces[space].side ? DRAIN_READ : PLAIN_READ, space, &params);
    *ret_reading = (struct reading){.rows = rows, .count = result_rows(rows)};
    free(ids);
}

static bool
take_outcome(PGresult *result, int64_t *ret_settled)
{
    bool fenced = result_int64(result, 0, "fenced") == 1;
    if (ret_settled != NULL)
        *ret_settled = result_int64(result, 0, "settled");
    PQclear(result);
    return fenced;
}

static bool
drain_write_plain(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
                  const struct write_set *set, int64_t *ret_settled)
{
    struct params params = PARAMS_INIT;
    /* a document without a vector keeps its hash here: without one it would be gone */
    for (size_t i = 0; i < set->failed; i++)
        for (size_t row = 0; row < set->count; row++)
            if (doc_key_equal(set->ids[row], set->failed_ids[i]))
                set->hashes[row] = set->failed_hashes[i];
    add_drainer(worker, space, &params, drainer);
    params_add_int8(&params, LEASE_MS);
    add_numbers(&params, changes, false);
    write_set_add_rows(worker, space, &params, set);
    params_add_int4(&params, 0);
    params_add_int8(&params, worker->number);
    write_set_add_failures(worker, &params, set);
    return take_outcome(step_execute(worker, PLAIN_WRITE, space, &params), ret_settled);
}

static void
add_drain_write(struct worker *worker, int space, struct params *params, const struct drainer *drainer,
                const struct changes *changes, const struct write_set *set)
{
    add_drainer(worker, space, params, drainer);
    params_add_int8(params, LEASE_MS);
    params_add_int8(params, changes->token);
    add_numbers(params, changes, false);
    write_set_add_rows(worker, space, params, set);
    params_add_int4(params, 0);
    params_add_int8(params, worker->number);
    write_set_add_failures(worker, params, set);
    params_add_key_array(params, worker->id_type, set->known_ids, set->known);
    params_add_key_array(params, worker->id_type, set->gone_ids, set->gone);
}

void
drain_write_send(struct worker *worker, const struct drainer *drainer, const struct changes *changes,
                 const struct reading *reading)
{
    struct write_set set = write_set_gather(reading);
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    add_drain_write(worker, TARGET, &params, drainer, changes, &set);
    if (db_send(worker->db, worker->sql[DRAIN_WRITE][TARGET], &params, &err) != RC_OK)
        lab_fail("%s", err.message);
    params_clear(&params);
    write_set_discard(&set);
}

bool
drain_write(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
            const struct reading *reading, int64_t *ret_settled)
{
    struct write_set set = write_set_gather(reading);
    struct params params = PARAMS_INIT;
    bool fenced;

    if (!worker->spaces[space].side) {
        fenced = drain_write_plain(worker, space, drainer, changes, &set, ret_settled);
        write_set_discard(&set);
        return fenced;
    }
    add_drain_write(worker, space, &params, drainer, changes, &set);
    fenced = take_outcome(step_execute(worker, DRAIN_WRITE, space, &params), ret_settled);
    write_set_discard(&set);
    return fenced;
}

bool
drain_same(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
           const struct reading *reading, int64_t *ret_settled)
{
    struct write_set set = write_set_gather(reading);
    struct params params = PARAMS_INIT;
    add_drainer(worker, space, &params, drainer);
    params_add_int8(&params, LEASE_MS);
    params_add_int8(&params, changes->token);
    add_numbers(&params, changes, false);
    params_add_key_array(&params, worker->id_type, set.same_ids, set.same);
    params_add_uuid_array(&params, set.same_hashes, set.same);
    params_add_int8(&params, worker->number);
    bool fenced = take_outcome(step_execute(worker, DRAIN_SAME, space, &params), ret_settled);
    write_set_discard(&set);
    return fenced;
}

void
truncate_kick(struct worker *worker)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    PQclear(step_execute(worker, TRUNCATE_KICK, TARGET, &params));
}

void
truncate_expand(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes)
{
    struct params params = PARAMS_INIT;
    add_drainer(worker, space, &params, drainer);
    params_add_int8(&params, LEASE_MS);
    add_numbers(&params, changes, true);
    PQclear(step_execute(worker, TRUNCATE_EXPAND, space, &params));
}

int64_t
purge(struct worker *worker, const struct drainer *drainer, int limit)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    add_drainer(worker, TARGET, &params, drainer);
    params_add_int4(&params, limit);
    PGresult *result = step_execute(worker, PURGE, TARGET, &params);
    int64_t purged = result_affected(result);
    PQclear(result);
    return purged;
}
