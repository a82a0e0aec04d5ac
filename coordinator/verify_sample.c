#include "coordinator/verify_sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coordinator/command_session.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"

/* Vectors of the same text by the same model differ by rounding alone: other batches, threads, a halfvec. */
#define SAME_VECTOR_COSINE 0.9999

enum { SAMPLE_BATCH = 100 };

/* --- the provider --- */

static double
cosine(const float *a, const float *b, size_t dimensions)
{
    double dot = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < dimensions; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0; /* of a NaN: NaN, which is never enough */
}

static struct embed_policy
sample_policy(void)
{
    return (struct embed_policy){.canary = provider_canary, .canary_length = strlen(provider_canary)};
}

/* The canary alone, and between a shorter and a longer text: some providers' vectors depend on the texts beside it. */
static enum rc
measure_repeatability(struct verify_sample *s, struct err *err)
{
    static const char *const texts[] = {
        "short",
        provider_canary,
        "a text that is a good deal longer than the others, so that whoever pads all texts of a request to the longest "
        "of them has something to pad, and whoever rounds by the largest number of a request meets another one",
    };
    enum { COUNT = sizeof texts / sizeof texts[0] };
    const struct migration *m = s->migration;
    struct embed_policy with = sample_policy();
    size_t dimensions = m->target.dimensions;
    struct document documents[COUNT];
    struct document_result results[COUNT];
    struct embed_usage usage = {0};
    float *vectors = arena_array(s->arena, (COUNT + 1) * dimensions, sizeof *vectors), *alone;

    if (!vectors)
        return err_memory(err);
    alone = vectors + COUNT * dimensions;
    for (size_t i = 0; i < COUNT; i++)
        documents[i] = (struct document){.bytes = texts[i], .length = strlen(texts[i])};
    enum rc rc = provider_embed(s->embedder, &with, provider_canary, false, dimensions, alone, err);
    if (rc == RC_OK)
        rc = provider_same_model(&m->types, m->target.id, m->target.model, alone, dimensions, s->db, err);
    if (rc == RC_OK)
        rc = embed_documents(s->session, &with, documents, COUNT, dimensions, vectors, results, &usage, s->arena, err);
    if (rc != RC_OK || results[1].status != DOCUMENT_EMBEDDED)
        return rc;
    double repeated = cosine(alone, vectors + dimensions, dimensions);
    if (repeated < SAME_VECTOR_COSINE)
        s->same = 1 - 2 * (1 - repeated); /* other texts may fare somewhat worse than this one */
    return RC_OK;
}

enum rc
verify_sample_open(struct verify_sample *s, const struct verify_options *o, const struct migration *migration,
                   struct db *db, struct err *err)
{
    const struct space *target = &migration->target;
    enum rc rc;

    *s = (struct verify_sample){.migration = migration, .db = db, .same = SAME_VECTOR_COSINE, .min_cosine = 1};
    if (o->sample == 0)
        return RC_OK;
    if (!o->file) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--sample embeds documents again and needs the target's provider");
        err_hint(err, "give the migration file: reembed verify %s --sample %lld --file FILE", o->migration_id,
                 (long long)o->sample);
        return rc;
    }
    if ((rc = migration_file_read(o->file, &s->file, err)) != RC_OK)
        return rc;
    if (strcasecmp(s->file->target.model, target->model) != 0 ||
        strcmp(s->file->collection, migration->collection) != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s is about %s of collection %s, migration %s about %s of %s",
                       o->file, s->file->target.model, s->file->collection, migration->id, target->model,
                       migration->collection);
    if (!(s->arena = arena_new(0)))
        return err_memory(err);
    if ((rc = provider_open(&s->file->target.provider, &o->common, target->dimensions, &s->embedder, err)) != RC_OK ||
        (rc = embed_session_open(s->embedder, &s->session, err)) != RC_OK)
        return rc;
    rc = measure_repeatability(s, err);
    arena_reset(s->arena);
    return rc;
}

/* --- the documents --- */

/* Of those that differ: their numbers in `rows`. */
static size_t
compare(struct verify_sample *s, const PGresult *rows, const struct document_result *results, const float *vectors,
        float *stored, int *ret_differing)
{
    const struct migration *m = s->migration;
    size_t dimensions = m->target.dimensions, differing = 0;
    int column = result_column(rows, "embedding");

    for (int row = 0; row < result_rows(rows); row++) {
        const float *again = vectors + (size_t)row * dimensions;
        size_t found = result_vector_at(rows, row, column, &m->types, stored, dimensions);
        bool comparable = results[row].status == DOCUMENT_EMBEDDED && found == dimensions;
        double same = comparable ? cosine(again, stored, dimensions) : 0;

        s->documents++;
        if (!(same >= s->same))
            ret_differing[differing++] = row;
        if (!(same >= s->min_cosine))
            s->min_cosine = isnan(same) ? 0 : same;
    }
    s->differing += (int64_t)differing;
    return differing;
}

static enum rc
mark(struct verify_sample *s, const PGresult *rows, const int *differing, size_t count, struct err *err)
{
    const struct migration *m = s->migration;
    struct params params = PARAMS_INIT;
    struct doc_key ids[SAMPLE_BATCH];
    const unsigned char *hashes[SAMPLE_BATCH];
    PGresult *result = NULL;

    if (!s->mark || count == 0)
        return RC_OK;
    for (size_t i = 0; i < count; i++) {
        ids[i] = result_key(rows, differing[i], "id");
        hashes[i] = result_uuid(rows, differing[i], "content_hash");
    }
    params_add_int8(&params, m->target.id);
    params_add_key_array(&params, m->id_type, ids, count);
    params_add_uuid_array(&params, hashes, count);
    enum rc rc = command_exec(NULL, s->db, m->verify_mark, &params, &result, err);
    if (rc == RC_OK)
        s->queued += result_int64(result, 0, "noted");
    params_clear(&params);
    PQclear(result);
    return rc;
}

static enum rc
embed_rows(struct verify_sample *s, const PGresult *rows, struct err *err)
{
    struct embed_policy with = sample_policy();
    size_t count = (size_t)result_rows(rows), dimensions = s->migration->target.dimensions;
    struct document *documents = arena_array(s->arena, count + 1, sizeof *documents);
    struct document_result *results = arena_array(s->arena, count + 1, sizeof *results);
    float *vectors = arena_array(s->arena, (count + 1) * dimensions, sizeof *vectors);
    int differing[SAMPLE_BATCH];
    struct embed_usage usage = {0};

    if (!documents || !results || !vectors)
        return err_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct db_text body = result_text(rows, (int)i, "body");
        documents[i] =
            (struct document){.bytes = body.bytes, .length = body.length, .cut = result_bool(rows, (int)i, "cut")};
    }
    enum rc rc =
        embed_documents(s->session, &with, documents, count, dimensions, vectors, results, &usage, s->arena, err);
    if (rc != RC_OK)
        return rc;
    return mark(s, rows, differing, compare(s, rows, results, vectors, vectors + count * dimensions, differing), err);
}

enum rc
verify_sample_take(struct verify_sample *s, int64_t documents, struct err *err)
{
    const struct migration *m = s->migration;
    struct params params = PARAMS_INIT;
    PGresult *picked = NULL, *rows = NULL;
    struct doc_key ids[SAMPLE_BATCH];
    enum rc rc;

    if (!s->embedder)
        return RC_OK;
    params_add_int8(&params, documents);
    rc = command_exec(NULL, s->db, m->verify_pick, &params, &picked, err);
    for (int row = 0; rc == RC_OK && row < result_rows(picked);) {
        size_t count = 0;
        while (count < SAMPLE_BATCH && row < result_rows(picked))
            ids[count++] = result_key(picked, row++, "id");
        params_reset(&params);
        params_add_key_array(&params, m->id_type, ids, count);
        params_add_int4(&params, provider_content_limit(s->embedder));
        if ((rc = command_exec(NULL, s->db, m->verify_read, &params, &rows, err)) == RC_OK)
            rc = embed_rows(s, rows, err);
        PQclear(rows);
        rows = NULL;
        arena_reset(s->arena);
    }
    PQclear(picked);
    params_clear(&params);
    s->done = rc == RC_OK;
    return rc;
}

void
verify_sample_close(struct verify_sample *s)
{
    embed_session_close(s->session);
    embedder_close(s->embedder);
    arena_free(s->arena);
    migration_file_free(s->file);
}
