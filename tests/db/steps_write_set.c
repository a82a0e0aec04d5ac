#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "tests/db/steps_internal.h"
#include "tests/db/support.h"

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

void *
step_room(size_t count, size_t size)
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

struct write_set
write_set_gather(const struct reading *reading)
{
    size_t n = (size_t)reading->count;
    struct write_set set = {
        .ids = step_room(n, sizeof *set.ids),
        .failed_ids = step_room(n, sizeof *set.ids),
        .known_ids = step_room(n, sizeof *set.ids),
        .gone_ids = step_room(n, sizeof *set.ids),
        .same_ids = step_room(n, sizeof *set.ids),
        .hashes = step_room(n, sizeof *set.hashes),
        .failed_hashes = step_room(n, sizeof *set.hashes),
        .same_hashes = step_room(n, sizeof *set.hashes),
        .rows = step_room(n, sizeof *set.rows),
        .vectors = step_room(n, DIMENSIONS * sizeof(float)),
        .kinds = step_room(n, sizeof *set.kinds),
        .reasons = step_room(n, sizeof *set.kinds),
        .details = step_room(n, sizeof *set.kinds),
        .attempts = step_room(n, sizeof *set.attempts),
        .statuses = step_room(n, sizeof *set.statuses),
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

void
write_set_discard(struct write_set *set)
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

void
write_set_add_rows(struct worker *worker, int space, struct params *params, const struct write_set *set)
{
    params_add_key_array(params, worker->id_type, set->ids, set->count);
    params_add_uuid_array(params, set->hashes, set->count);
    params_add_vectors(params, &worker->types, worker->spaces[space].kind, set->rows, set->count, DIMENSIONS);
}

void
write_set_add_failures(struct worker *worker, struct params *params, const struct write_set *set)
{
    params_add_key_array(params, worker->id_type, set->failed_ids, set->failed);
    params_add_uuid_array(params, set->failed_hashes, set->failed);
    params_add_text_array(params, set->kinds, set->failed);
    params_add_text_array(params, set->reasons, set->failed);
    params_add_text_array(params, set->details, set->failed);
    params_add_int8_array(params, set->attempts, set->failed);
    params_add_int8_array(params, set->statuses, set->failed);
}
