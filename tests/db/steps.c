#include "tests/db/steps.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"
#include "db/template.h"
#include "tests/db/support.h"

enum { DIMENSIONS = 4, CHUNK = 100, BATCH = 40, WINDOW = 250, PASSES = 1000, CONTENT_LIMIT = 100000, VALUES = 13 };

/* --- the statements of a migration --- */

static const char *
template_of(enum statement statement, bool side, bool in_documents)
{
    switch (statement) {
    case CHUNK_CUT:
        return sql_chunk_cut;
    case CHUNK_CLAIM:
        return sql_chunk_claim;
    case CHUNK_READ:
        return sql_chunk_read;
    case CHUNK_WRITE:
        return sql_chunk_write;
    case CHUNK_RENEW:
        return sql_chunk_renew;
    case CHUNK_RELEASE:
        return sql_chunk_release;
    case DRAIN_CLAIM:
        return sql_drain_claim;
    case DRAIN_LIST:
        return sql_drain_list;
    case DRAIN_READ:
        return sql_drain_read;
    case DRAIN_SAME:
        return sql_drain_same;
    case DRAIN_WRITE:
        return sql_drain_write;
    case DRAIN_RELEASE:
        return sql_drain_release;
    case PLAIN_READ:
        return sql_plain_read;
    case PLAIN_WRITE:
        return in_documents ? sql_plain_write_column : sql_plain_write_table;
    case TRUNCATE_KICK:
        return sql_truncate_kick;
    case TRUNCATE_EXPAND:
        return side ? sql_truncate_expand : in_documents ? sql_plain_truncate_column : sql_plain_truncate_table;
    case PURGE:
        return sql_purge;
    case SWEEP_BOUND:
        return sql_sweep_bound;
    case SWEEP_WINDOW:
        return sql_sweep_window;
    case STATEMENTS:
        break;
    }
    lab_fail("no such statement");
}

static bool
is_plain(enum statement statement)
{
    return statement == PLAIN_READ || statement == PLAIN_WRITE;
}

static void
render(struct worker *worker, const struct template_value *values, int space, bool in_documents,
       const struct mutant *mutant)
{
    struct err err = ERR_INIT;
    for (int i = 0; i < STATEMENTS; i++) {
        bool side = worker->spaces[space].side;
        if (side && is_plain((enum statement)i))
            continue;
        char *text = mutant_apply(mutant, (enum statement)i, template_of((enum statement)i, side, in_documents));
        if (text == NULL)
            lab_fail("mutant '%s' does not apply to its statement any more", mutant->name);
        if (template_render(text, values, VALUES, &worker->sql[i][space], &err) != RC_OK)
            lab_fail("%s", err.message);
        free(text);
    }
}

static const char *
fact(const PGresult *facts, const char *name)
{
    return result_is_null(facts, 0, name) ? NULL : lab_printf("%s", result_string(facts, 0, name));
}

void
worker_open(struct worker *worker, struct db *db, const char *migration_id, const struct mutant *mutant)
{
    struct params params = PARAMS_INIT;
    PGresult *facts = NULL;
    struct err err = ERR_INIT;

    *worker = (struct worker){.db = db, .id = lab_printf("%s", migration_id)};
    params_add_text(&params, migration_id);
    if (schema_vector_types(db, &worker->types, &err) != RC_OK ||
        db_exec(db, sql_collection_facts, &params, &facts, &err) != RC_OK || result_rows(facts) != 1)
        lab_fail("facts of %s: %s", migration_id, err.message);
    params_clear(&params);

    worker->number = result_int64(facts, 0, "number");
    worker->id_type = (Oid)result_int64(facts, 0, "id_oid");
    worker->spaces[TARGET].side = true;
    worker->spaces[TARGET].id = result_int64(facts, 0, "target_space");
    bool halves[SPACES] = {strcmp(fact(facts, "target_type"), "halfvec") == 0, false};
    bool has_source = !result_is_null(facts, 0, "source_space");
    if (has_source) {
        worker->spaces[SOURCE].id = result_int64(facts, 0, "source_space");
        worker->spaces[SOURCE].side = result_bool(facts, 0, "source_side");
        halves[SOURCE] = strcmp(fact(facts, "source_type"), "halfvec") == 0;
    }
    for (int space = TARGET; space <= (has_source ? SOURCE : TARGET); space++) {
        worker->spaces[space].kind = halves[space] ? VECTOR_HALF : VECTOR_FLOAT4;
        struct template_value values[VALUES] = {
            {"docs", fact(facts, "docs_table")},
            {"alias", fact(facts, "docs_alias")},
            {"id", fact(facts, "id_column")},
            {"id_type", fact(facts, "id_type")},
            {"content", fact(facts, "content")},
            {"filter", fact(facts, "filter")},
            {"target", fact(facts, space == TARGET ? "target_table" : "source_table")},
            {"changes", fact(facts, "changes_table")},
            {"vector", lab_printf("\"%s\".%s", worker->types.schema, halves[space] ? "halfvec" : "vector")},
            {"source", fact(facts, "source_table")},
            {"source_id", fact(facts, "source_id")},
            {"source_column", fact(facts, "source_column")},
            {"source_not_null", result_bool(facts, 0, "source_not_null") ? "true" : "false"},
        };
        render(worker, values, space, has_source && result_bool(facts, 0, "source_in_documents"), mutant);
    }
    PQclear(facts);
}

void
worker_close(struct worker *worker)
{
    if (worker->leased)
        lease_free(&worker->lease);
    for (int i = 0; i < STATEMENTS; i++)
        for (int space = 0; space < SPACES; space++)
            free(worker->sql[i][space]);
    *worker = (struct worker){0};
}

static PGresult *
execute(struct worker *worker, enum statement statement, int space, struct params *params)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    if (worker->sql[statement][space] == NULL)
        lab_fail("statement %d is none of space %d", (int)statement, space);
    if (db_exec(worker->db, worker->sql[statement][space], params, &result, &err) != RC_OK)
        lab_fail("%.150s...\n%s (%s)", worker->sql[statement][space], err.message, err.sqlstate);
    params_clear(params);
    return result;
}

/* --- the model --- */

enum outcome { EMBEDDED, FAILED, SKIPPED };

static enum outcome
embed(struct db_text text, float vector[DIMENSIONS])
{
    uint64_t sum = 0;
    if (text.length == 0)
        return SKIPPED;
    if (memmem(text.bytes, text.length, "BAD", 3) != NULL)
        return FAILED;
    for (size_t i = 0; i < text.length; i++)
        sum += (i + 1) * (unsigned char)text.bytes[i];
    vector[0] = (float)(1 + sum % 1009);
    vector[1] = (float)(1 + text.length % 251);
    vector[2] = (float)(1 + (unsigned char)text.bytes[0]);
    vector[3] = 1;
    return EMBEDDED;
}

/* --- what a write statement takes --- */

enum work { CURRENT = 0, TO_EMBED = 1, KNOWN = 2, GONE = 3 };

struct write_set {
    size_t count, failed, known, gone, same;
    struct doc_key *ids, *failed_ids, *known_ids, *gone_ids, *same_ids;
    const unsigned char **hashes, **failed_hashes, **same_hashes;
    const float **rows;
    float *vectors;
    struct db_text *kinds, *reasons, *details;
    int64_t *attempts, *statuses;
};

static void *
room(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL)
        lab_fail("out of memory");
    return memory;
}

static struct db_text
text_of(const char *text)
{
    return (struct db_text){text, strlen(text)};
}

static void
add_row(struct write_set *set, struct doc_key id, const unsigned char *hash, const float *vector)
{
    set->ids[set->count] = id;
    set->hashes[set->count] = hash;
    set->rows[set->count++] = vector;
}

static void
add_embedded(struct write_set *set, struct doc_key id, const unsigned char *hash, struct db_text body)
{
    float *vector = set->vectors + set->count * DIMENSIONS;
    enum outcome outcome = embed(body, vector);
    if (outcome == EMBEDDED) {
        add_row(set, id, hash, vector);
        return;
    }
    add_row(set, id, NULL, NULL);
    set->failed_ids[set->failed] = id;
    set->failed_hashes[set->failed] = hash;
    set->kinds[set->failed] = text_of(outcome == FAILED ? "failed" : "skipped");
    set->reasons[set->failed] = text_of(outcome == FAILED ? "permanent_api_error" : "empty_content");
    set->details[set->failed] = text_of(outcome == FAILED ? "the text is bad" : "the text is empty");
    set->attempts[set->failed] = 1;
    set->statuses[set->failed++] = outcome == FAILED ? 400 : 0;
}

static struct write_set
gather(const struct reading *reading)
{
    size_t n = (size_t)reading->count;
    struct write_set set = {
        .ids = room(n, sizeof *set.ids),
        .failed_ids = room(n, sizeof *set.ids),
        .known_ids = room(n, sizeof *set.ids),
        .gone_ids = room(n, sizeof *set.ids),
        .same_ids = room(n, sizeof *set.ids),
        .hashes = room(n, sizeof *set.hashes),
        .failed_hashes = room(n, sizeof *set.hashes),
        .same_hashes = room(n, sizeof *set.hashes),
        .rows = room(n, sizeof *set.rows),
        .vectors = room(n, DIMENSIONS * sizeof(float)),
        .kinds = room(n, sizeof *set.kinds),
        .reasons = room(n, sizeof *set.kinds),
        .details = room(n, sizeof *set.kinds),
        .attempts = room(n, sizeof *set.attempts),
        .statuses = room(n, sizeof *set.statuses),
    };
    for (int row = 0; row < reading->count; row++) {
        struct doc_key id = result_key(reading->rows, row, "id");
        const unsigned char *hash = result_uuid(reading->rows, row, "content_hash");
        switch ((enum work)result_int64(reading->rows, row, "work")) {
        case CURRENT:
            set.same_ids[set.same] = id;
            set.same_hashes[set.same++] = hash;
            break;
        case TO_EMBED:
            add_embedded(&set, id, hash, result_text(reading->rows, row, "body"));
            break;
        case KNOWN:
            set.known_ids[set.known++] = id;
            add_row(&set, id, NULL, NULL);
            break;
        case GONE:
            set.gone_ids[set.gone++] = id;
            add_row(&set, id, NULL, NULL);
            break;
        }
    }
    return set;
}

static void
discard(struct write_set *set)
{
    free(set->ids);
    free(set->failed_ids);
    free(set->known_ids);
    free(set->gone_ids);
    free(set->same_ids);
    free(set->hashes);
    free(set->failed_hashes);
    free(set->same_hashes);
    free(set->rows);
    free(set->vectors);
    free(set->kinds);
    free(set->reasons);
    free(set->details);
    free(set->attempts);
    free(set->statuses);
}

static void
add_rows(struct worker *worker, int space, struct params *params, const struct write_set *set)
{
    params_add_key_array(params, worker->id_type, set->ids, set->count);
    params_add_uuid_array(params, set->hashes, set->count);
    params_add_vectors(params, &worker->types, worker->spaces[space].kind, set->rows, set->count, DIMENSIONS);
}

static void
add_failures(struct worker *worker, struct params *params, const struct write_set *set)
{
    params_add_key_array(params, worker->id_type, set->failed_ids, set->failed);
    params_add_uuid_array(params, set->failed_hashes, set->failed);
    params_add_text_array(params, set->kinds, set->failed);
    params_add_text_array(params, set->reasons, set->failed);
    params_add_text_array(params, set->details, set->failed);
    params_add_int8_array(params, set->attempts, set->failed);
    params_add_int8_array(params, set->statuses, set->failed);
}

/* --- chunks --- */

bool
cut(struct worker *worker, int documents)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    params_add_int4(&params, documents);
    PGresult *result = execute(worker, CHUNK_CUT, TARGET, &params);
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
    PGresult *row = execute(worker, CHUNK_CLAIM, TARGET, &params);
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
    PGresult *result = execute(worker, statement, TARGET, &params);
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
    PGresult *rows = execute(worker, CHUNK_READ, TARGET, &params);
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
    struct write_set set = gather(reading);
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
    add_rows(worker, TARGET, &params, &set);
    add_failures(worker, &params, &set);
    params_add_int8(&params, worker->spaces[TARGET].id);
    params_add_key_array(&params, worker->id_type, set.known_ids, set.known);
    PGresult *result = execute(worker, CHUNK_WRITE, TARGET, &params);
    bool fenced = result_int64(result, 0, "fenced") == 1;
    PQclear(result);
    discard(&set);
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
    PGresult *result = execute(worker, DRAIN_CLAIM, space, &params);
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
    PQclear(execute(worker, DRAIN_RELEASE, space, &params));
}

void
drain_list(struct worker *worker, int space, int limit, struct changes *ret_changes)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->spaces[space].id);
    params_add_int8(&params, 0);
    params_add_int4(&params, limit);
    PGresult *rows = execute(worker, DRAIN_LIST, space, &params);
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
    int64_t *numbers = room((size_t)changes->count, sizeof *numbers);
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
    struct doc_key *ids = room((size_t)changes->count, sizeof *ids);
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
    PGresult *rows = execute(worker, worker->spaces[space].side ? DRAIN_READ : PLAIN_READ, space, &params);
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
    add_rows(worker, space, &params, set);
    params_add_int4(&params, 0);
    params_add_int8(&params, worker->number);
    add_failures(worker, &params, set);
    return take_outcome(execute(worker, PLAIN_WRITE, space, &params), ret_settled);
}

static void
add_drain_write(struct worker *worker, int space, struct params *params, const struct drainer *drainer,
                const struct changes *changes, const struct write_set *set)
{
    add_drainer(worker, space, params, drainer);
    params_add_int8(params, LEASE_MS);
    params_add_int8(params, changes->token);
    add_numbers(params, changes, false);
    add_rows(worker, space, params, set);
    params_add_int4(params, 0);
    params_add_int8(params, worker->number);
    add_failures(worker, params, set);
    params_add_key_array(params, worker->id_type, set->known_ids, set->known);
    params_add_key_array(params, worker->id_type, set->gone_ids, set->gone);
}

void
drain_write_send(struct worker *worker, const struct drainer *drainer, const struct changes *changes,
                 const struct reading *reading)
{
    struct write_set set = gather(reading);
    struct params params = PARAMS_INIT;
    struct err err = ERR_INIT;
    add_drain_write(worker, TARGET, &params, drainer, changes, &set);
    if (db_send(worker->db, worker->sql[DRAIN_WRITE][TARGET], &params, &err) != RC_OK)
        lab_fail("%s", err.message);
    params_clear(&params);
    discard(&set);
}

bool
drain_write(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
            const struct reading *reading, int64_t *ret_settled)
{
    struct write_set set = gather(reading);
    struct params params = PARAMS_INIT;
    bool fenced;

    if (!worker->spaces[space].side) {
        fenced = drain_write_plain(worker, space, drainer, changes, &set, ret_settled);
        discard(&set);
        return fenced;
    }
    add_drain_write(worker, space, &params, drainer, changes, &set);
    fenced = take_outcome(execute(worker, DRAIN_WRITE, space, &params), ret_settled);
    discard(&set);
    return fenced;
}

bool
drain_same(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes,
           const struct reading *reading, int64_t *ret_settled)
{
    struct write_set set = gather(reading);
    struct params params = PARAMS_INIT;
    add_drainer(worker, space, &params, drainer);
    params_add_int8(&params, LEASE_MS);
    params_add_int8(&params, changes->token);
    add_numbers(&params, changes, false);
    params_add_key_array(&params, worker->id_type, set.same_ids, set.same);
    params_add_uuid_array(&params, set.same_hashes, set.same);
    params_add_int8(&params, worker->number);
    bool fenced = take_outcome(execute(worker, DRAIN_SAME, space, &params), ret_settled);
    discard(&set);
    return fenced;
}

void
truncate_kick(struct worker *worker)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    PQclear(execute(worker, TRUNCATE_KICK, TARGET, &params));
}

void
truncate_expand(struct worker *worker, int space, const struct drainer *drainer, const struct changes *changes)
{
    struct params params = PARAMS_INIT;
    add_drainer(worker, space, &params, drainer);
    params_add_int8(&params, LEASE_MS);
    add_numbers(&params, changes, true);
    PQclear(execute(worker, TRUNCATE_EXPAND, space, &params));
}

int64_t
purge(struct worker *worker, const struct drainer *drainer, int limit)
{
    struct params params = PARAMS_INIT;
    params_add_int8(&params, worker->number);
    add_drainer(worker, TARGET, &params, drainer);
    params_add_int4(&params, limit);
    PGresult *result = execute(worker, PURGE, TARGET, &params);
    int64_t purged = result_affected(result);
    PQclear(result);
    return purged;
}

/* --- as a run does it --- */

static bool
next_lease(struct worker *worker)
{
    while (!worker->leased) {
        worker->leased = claim(worker, LEASE_MS, &worker->lease);
        if (!worker->leased && !cut(worker, CHUNK))
            return false;
    }
    return true;
}

int64_t
backfill(struct worker *worker, int64_t wanted)
{
    int64_t written = 0;
    while (written < wanted && next_lease(worker)) {
        struct reading reading;
        read_chunk(worker, &worker->lease, wanted - written < BATCH ? (int)(wanted - written) : BATCH, &reading);
        int count = reading.count;
        bool stored = write_chunk(worker, &worker->lease, &reading);
        reading_free(&reading);
        if (stored)
            written += count;
        if (!stored || worker->lease.finished) {
            lease_free(&worker->lease);
            worker->leased = false;
        }
    }
    return written;
}

int64_t
drain(struct worker *worker, int space)
{
    struct drainer drainer;
    int64_t met = 0;
    cr_assert(drain_claim(worker, space, LEASE_MS, &drainer), "somebody else drains");
    for (int pass = 0;; pass++) {
        struct changes changes;
        struct reading reading;
        cr_assert_lt(pass, PASSES, "the change log does not get empty");
        drain_list(worker, space, 500, &changes);
        if (changes.count == 0) {
            changes_free(&changes);
            break;
        }
        if (changes.truncated) {
            truncate_kick(worker);
            truncate_expand(worker, space, &drainer, &changes);
        }
        drain_read(worker, space, &changes, &reading);
        met += reading.count;
        drain_write(worker, space, &drainer, &changes, &reading, NULL);
        if (worker->spaces[space].side)
            drain_same(worker, space, &drainer, &changes, &reading, NULL);
        reading_free(&reading);
        changes_free(&changes);
    }
    drain_release(worker, space, &drainer);
    return met;
}

int64_t
sweep(struct worker *worker)
{
    int64_t eligible = 0, current = 0, excused = 0, noted = 0;
    struct doc_key lo = {NULL, 0}, hi;
    PGresult *bound = NULL, *before = NULL;
    do {
        struct params params = PARAMS_INIT;
        params_add_key(&params, worker->id_type, lo);
        params_add_int4(&params, WINDOW);
        bound = execute(worker, SWEEP_BOUND, TARGET, &params);
        hi = result_key(bound, 0, "hi");

        params_add_key(&params, worker->id_type, lo);
        params_add_key(&params, worker->id_type, hi);
        params_add_int8(&params, worker->spaces[TARGET].id);
        params_add_int8(&params, worker->number);
        params_add_bool(&params, true);
        PGresult *counted = execute(worker, SWEEP_WINDOW, TARGET, &params);
        eligible += result_int64(counted, 0, "eligible");
        current += result_int64(counted, 0, "current");
        excused += result_int64(counted, 0, "excused");
        noted += result_int64(counted, 0, "noted");
        PQclear(counted);
        PQclear(before);
        before = bound;
        lo = hi;
    } while (hi.bytes != NULL);
    PQclear(bound);
    sql_text(worker->db, "select reembed.record_coverage('%s', %" PRId64 ", %" PRId64 ", %" PRId64 ")", worker->id,
             eligible, current, excused);
    sql_run(worker->db, "update reembed.migration set sweep_clean = %s where number = %" PRId64,
            noted == 0 ? "true" : "false", worker->number);
    return noted;
}

void
build_index(struct worker *worker, bool valid)
{
    const char *table = sql_text(worker->db, "select table_name from reembed.space where space_id = %" PRId64,
                                 worker->spaces[TARGET].id);
    sql_run(worker->db, "create index by_hand on %s using hnsw (embedding vector_cosine_ops)", table);
    sql_run(worker->db, "update reembed.space set index_name = 'reembed_data.by_hand' where space_id = %" PRId64,
            worker->spaces[TARGET].id);
    if (!valid) {
        struct db *super = lab_connect(NULL);
        sql_run(super, "update pg_index set indisvalid = false where indexrelid = 'reembed_data.by_hand'::regclass");
    }
}

void
complete(struct worker *worker)
{
    int64_t noted = 1;
    for (int pass = 0; noted > 0; pass++) {
        cr_assert_lt(pass, 20, "the sweep finds something to repair again and again");
        backfill(worker, INT64_MAX);
        drain(worker, TARGET);
        noted = sweep(worker);
    }
    cr_assert(
        sql_bool(worker->db, "select reembed.try_cutover('%s')", worker->id), "not flipped; gates:\n%s",
        sql_rows(worker->db, "select gate, holds, text from reembed.gates where migration_id = '%s'", worker->id));
    sql_text(worker->db, "select reembed.complete('%s')", worker->id);
}

struct verdict
check(struct worker *worker, const char *content, const char *filter, bool pending)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    const char *sql = lab_printf("select * from oracle.verdict('%s', $c$%s$c$, $c$%s$c$, %s)", worker->id, content,
                                 filter, pending ? "true" : "false");
    if (db_exec(worker->db, sql, NULL, &result, &err) != RC_OK)
        lab_fail("%s: %s", sql, err.message);
    struct verdict verdict = {result_int64(result, 0, "wrong"), result_int64(result, 0, "missing"),
                              result_int64(result, 0, "orphaned")};
    PQclear(result);
    return verdict;
}

void
expect_current(struct worker *worker, const char *content, const char *filter)
{
    struct verdict found = check(worker, content, filter, false);
    cr_assert(found.wrong == 0 && found.missing == 0 && found.orphaned == 0,
              "%" PRId64 " wrong, %" PRId64 " missing, %" PRId64 " orphaned", found.wrong, found.missing,
              found.orphaned);
}
