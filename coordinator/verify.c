/* The command `verify`: the exact walk over documents and target, the vectors themselves, and a sample of them that is
 * embedded again. */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration.h"
#include "coordinator/migration_file.h"
#include "coordinator/provider.h"
#include "coordinator/sweep.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"

/* Vectors of the same text by the same model differ by rounding alone: other batches, threads, a halfvec. */
#define SAME_VECTOR_COSINE 0.9999

enum { VECTORS_WINDOW = 20000, SAMPLE_BATCH = 100 };

struct sample {
    int64_t documents;
    int64_t differing;
    double min_cosine;
};

struct verify {
    const struct verify_options *options;
    struct db *db;
    struct migration *migration;
    struct migration_file *file;
    struct embedder *embedder; /* NULL: no sample is wanted */
    struct embed_session *session;
    struct arena *arena; /* of one batch of the sample */
    bool repairs;        /* what is found may be put into the change log */
    struct sweep_counts counts;
    int64_t unusable;
    struct sample sample;
    bool sampled;
};

/* --- what is needed, before anything is walked --- */

static enum rc
read_stand(struct verify *v, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, v->migration->number);
    rc = command_exec(NULL, v->db, sql_verify_stand, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    v->repairs = !result_is_null(result, 0, "repairs") && result_bool(result, 0, "repairs");
    if (!result_bool(result, 0, "target")) {
        rc = err_set(err, RC_REFUSED, ERR_STATE,
                     "migration %s is %s and its target was dropped: nothing is left to verify", v->migration->id,
                     result_string(result, 0, "state"));
    }
    PQclear(result);
    return rc;
}

static enum rc
open_target(struct verify *v, struct err *err)
{
    const struct verify_options *o = v->options;
    const struct space *target = &v->migration->target;
    enum rc rc;

    if (o->sample == 0)
        return RC_OK;
    if (!o->file) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "--sample embeds documents again and needs the target's provider");
        err_hint(err, "give the migration file: reembed verify %s --sample %lld --file FILE", o->migration_id,
                 (long long)o->sample);
        return rc;
    }
    if ((rc = migration_file_read(o->file, &v->file, err)) != RC_OK)
        return rc;
    if (strcasecmp(v->file->target.model, target->model) != 0 ||
        strcmp(v->file->collection, v->migration->collection) != 0)
        return err_set(err, RC_INVALID, ERR_USAGE, "%s is about %s of collection %s, migration %s about %s of %s",
                       o->file, v->file->target.model, v->file->collection, v->migration->id, target->model,
                       v->migration->collection);
    if ((rc = provider_open(&v->file->target.provider, &o->common, target->dimensions, &v->embedder, err)) != RC_OK ||
        (rc = embed_session_open(v->embedder, &v->session, err)) != RC_OK)
        return rc;
    return (v->arena = arena_new(0)) ? RC_OK : err_memory(err);
}

/* --- the vectors --- */

static enum rc
walk_vectors(struct verify *v, struct err *err)
{
    const struct migration *m = v->migration;
    struct params params = PARAMS_INIT;
    PGresult *window = NULL, *before = NULL; /* `after` points into the window before */
    struct doc_key after = {NULL, 0};
    enum rc rc;

    do {
        params_reset(&params);
        params_add_key(&params, m->id_type, after);
        params_add_int8(&params, VECTORS_WINDOW);
        params_add_int4(&params, (int32_t)m->target.dimensions);
        if ((rc = command_exec(NULL, v->db, m->verify_vectors, &params, &window, err)) != RC_OK)
            break;
        v->unusable += result_int64(window, 0, "unusable");
        after = result_is_null(window, 0, "hi") ? (struct doc_key){NULL, 0} : result_key(window, 0, "hi");
        PQclear(before);
        before = window;
        window = NULL;
    } while (after.bytes);
    PQclear(before);
    params_clear(&params);
    return rc;
}

/* --- the sample --- */

static double
cosine(const float *a, const float *b, size_t dimensions)
{
    double dot = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < dimensions; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0;
}

static void
compare(struct verify *v, const PGresult *rows, const struct document_result *results, const float *vectors,
        float *stored)
{
    const struct migration *m = v->migration;
    size_t dimensions = m->target.dimensions;
    int column = result_column(rows, "embedding");

    for (int row = 0; row < result_rows(rows); row++) {
        const float *again = vectors + (size_t)row * dimensions;
        size_t found = result_vector_at(rows, row, column, &m->types, stored, dimensions);
        bool comparable = results[row].status == DOCUMENT_EMBEDDED && found == dimensions;
        double same = comparable ? cosine(again, stored, dimensions) : 0;

        v->sample.documents++;
        v->sample.differing += same < SAME_VECTOR_COSINE;
        if (same < v->sample.min_cosine)
            v->sample.min_cosine = same;
    }
}

static enum rc
embed_rows(struct verify *v, const PGresult *rows, struct err *err)
{
    const struct embed_policy policy = {.canary = provider_canary, .canary_length = strlen(provider_canary)};
    size_t count = (size_t)result_rows(rows), dimensions = v->migration->target.dimensions;
    struct document *documents = arena_array(v->arena, count + 1, sizeof *documents);
    struct document_result *results = arena_array(v->arena, count + 1, sizeof *results);
    float *vectors = arena_array(v->arena, (count + 1) * dimensions, sizeof *vectors);
    struct embed_usage usage = {0};

    if (!documents || !results || !vectors)
        return err_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct db_text body = result_text(rows, (int)i, "body");
        documents[i] =
            (struct document){.bytes = body.bytes, .length = body.length, .cut = result_bool(rows, (int)i, "cut")};
    }
    enum rc rc =
        embed_documents(v->session, &policy, documents, count, dimensions, vectors, results, &usage, v->arena, err);
    if (rc == RC_OK)
        compare(v, rows, results, vectors, vectors + count * dimensions);
    return rc;
}

static enum rc
embed_sample(struct verify *v, struct err *err)
{
    const struct migration *m = v->migration;
    struct params params = PARAMS_INIT;
    PGresult *picked = NULL, *rows = NULL;
    struct doc_key ids[SAMPLE_BATCH];
    enum rc rc;

    if (!v->embedder)
        return RC_OK;
    v->sample.min_cosine = 1;
    params_add_int8(&params, v->options->sample);
    rc = command_exec(NULL, v->db, m->verify_pick, &params, &picked, err);
    for (int row = 0; rc == RC_OK && row < result_rows(picked);) {
        size_t count = 0;
        while (count < SAMPLE_BATCH && row < result_rows(picked))
            ids[count++] = result_key(picked, row++, "id");
        params_reset(&params);
        params_add_key_array(&params, m->id_type, ids, count);
        params_add_int4(&params, provider_content_limit(v->embedder));
        if ((rc = command_exec(NULL, v->db, m->verify_read, &params, &rows, err)) == RC_OK)
            rc = embed_rows(v, rows, err);
        PQclear(rows);
        rows = NULL;
        arena_reset(v->arena);
    }
    PQclear(picked);
    params_clear(&params);
    v->sampled = rc == RC_OK;
    return rc;
}

/* --- the report --- */

static bool
holds(const struct verify *v)
{
    const struct sweep_counts *c = &v->counts;
    return c->missing == 0 && c->stale == 0 && c->orphaned == 0 && v->unusable == 0 && v->sample.differing == 0;
}

static bool
add_sample(cJSON *report, const struct verify *v)
{
    if (!v->sampled)
        return cJSON_AddNullToObject(report, "sample") != NULL;
    cJSON *sample = cJSON_AddObjectToObject(report, "sample");
    return sample && cJSON_AddNumberToObject(sample, "documents", (double)v->sample.documents) &&
           cJSON_AddNumberToObject(sample, "differing", (double)v->sample.differing) &&
           cJSON_AddNumberToObject(sample, "min_cosine", v->sample.min_cosine);
}

static enum rc
make_report(const struct verify *v, cJSON **ret_report, struct err *err)
{
    const struct sweep_counts *c = &v->counts;
    const struct {
        const char *key;
        int64_t value;
    } figures[] = {
        {"documents", c->eligible}, {"current", c->current},   {"missing", c->missing},
        {"stale", c->stale},        {"orphaned", c->orphaned}, {"excused", c->excused + c->failed},
        {"queued", c->queued},      {"unusable", v->unusable},
    };
    cJSON *report = cJSON_CreateObject();
    bool built = report && cJSON_AddStringToObject(report, "migration_id", v->migration->id) &&
                 cJSON_AddBoolToObject(report, "holds", holds(v));

    for (size_t i = 0; built && i < sizeof figures / sizeof figures[0]; i++)
        built = cJSON_AddNumberToObject(report, figures[i].key, (double)figures[i].value) != NULL;
    if (!built || !add_sample(report, v)) {
        cJSON_Delete(report);
        return err_memory(err);
    }
    *ret_report = report;
    return RC_OK;
}

static enum rc
judge(const struct verify *v, struct err *err)
{
    const struct sweep_counts *c = &v->counts;

    if (holds(v))
        return RC_OK;
    enum rc rc = err_set(err, RC_REFUSED, ERR_GATE,
                         "%s does not hold: %lld missing, %lld stale, %lld orphaned, %lld unusable, %lld of the sample "
                         "differ",
                         v->migration->id, (long long)c->missing, (long long)c->stale, (long long)c->orphaned,
                         (long long)v->unusable, (long long)v->sample.differing);
    if (c->queued > 0)
        err_hint(err, "what is queued is repaired by: reembed run FILE");
    else if (v->unusable > 0 || v->sample.differing > 0)
        err_hint(err, "delete such rows from %s and verify again: what is missing is queued and embedded anew",
                 v->migration->target.table);
    return rc;
}

int
verify_command(const struct verify_options *options, struct cJSON **ret_report, struct err *err)
{
    struct verify v = {.options = options};
    struct err failed = ERR_INIT;
    enum rc rc, sample_rc = RC_OK;

    *ret_report = NULL;
    if ((rc = command_connect(&options->common, &v.db, err)) == RC_OK && (rc = schema_check(v.db, err)) == RC_OK &&
        (rc = migration_load(v.db, options->migration_id, &v.migration, err)) == RC_OK &&
        (rc = read_stand(&v, err)) == RC_OK && (rc = open_target(&v, err)) == RC_OK &&
        (rc = sweep(v.db, v.migration, v.repairs, command_exec, NULL, NULL, &v.counts, err)) == RC_OK &&
        (rc = walk_vectors(&v, err)) == RC_OK) {
        sample_rc = embed_sample(&v, &failed);
        rc = make_report(&v, ret_report, err);
    }
    if (rc == RC_OK && sample_rc != RC_OK) {
        *err = failed;
        rc = sample_rc;
    } else if (rc == RC_OK) {
        rc = judge(&v, err);
    }
    embed_session_close(v.session);
    embedder_close(v.embedder);
    arena_free(v.arena);
    migration_file_free(v.file);
    migration_free(v.migration);
    db_close(v.db);
    return exit_code_of(rc, err);
}
