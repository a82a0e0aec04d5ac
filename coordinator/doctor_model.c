/* Which model made the vectors: some documents are embedded again and compared. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/doctor.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"
#include "worker/embed.h"

/* Another batch, thread, runtime or half precision moves a vector less than this; another model moves it far more. */
#define SAME_MODEL_COSINE 0.999

enum { CONTENT_READ = 65536 };

struct comparison {
    int compared;
    int same;
    double median;
};

static const char *
fix_of(const struct err *err)
{
    return err->hint[0] ? err->hint : "mend this provider in the migration file, or start its server";
}

static struct embed_policy
try_policy(void)
{
    return (struct embed_policy){
        .retry = {.attempts = 2}, .canary = provider_canary, .canary_length = strlen(provider_canary)};
}

static double
cosine(const float *a, const float *b, size_t dimensions)
{
    double dot = 0, aa = 0, bb = 0;

    assert(a && b);
    for (size_t i = 0; i < dimensions; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    double result = aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : 0;
    return isfinite(result) ? result : 0;
}

static int
by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* `query`: the texts are sent with the query prefix. */
static enum rc
compare(const struct doctor *d, const PGresult *rows, struct embedder *embedder, bool query, size_t dimensions,
        struct comparison *ret, struct err *err)
{
    struct embed_policy policy = try_policy();
    struct arena *arena = arena_new(0);
    struct embed_session *session = NULL;
    size_t count = (size_t)result_rows(rows);
    struct document documents[DOCTOR_EMBEDDED];
    struct document_result results[DOCTOR_EMBEDDED];
    double cosines[DOCTOR_EMBEDDED];
    struct embed_usage usage = {0};
    float *vectors = arena ? arena_array(arena, (count + 1) * dimensions, sizeof *vectors) : NULL;
    int column = result_column(rows, "embedding");
    enum rc rc = vectors ? embed_session_open(embedder, &session, err) : err_memory(err);

    *ret = (struct comparison){0};
    if (rc != RC_OK)
        goto out;
    for (size_t i = 0; i < count; i++) {
        struct db_text body = result_text(rows, (int)i, "body");
        documents[i] = (struct document){
            .bytes = body.bytes, .length = body.length, .cut = result_bool(rows, (int)i, "cut"), .query = query};
    }
    rc = embed_documents(session, &policy, documents, count, dimensions, vectors, results, &usage, arena, err);
    if (rc != RC_OK)
        goto out;
    float *stored = vectors + count * dimensions;
    for (size_t i = 0; i < count; i++) {
        if (results[i].status != DOCUMENT_EMBEDDED ||
            result_vector_at(rows, (int)i, column, &d->types, stored, dimensions) != dimensions)
            continue;
        double c = cosine(vectors + i * dimensions, stored, dimensions);
        cosines[ret->compared++] = c;
        ret->same += c >= SAME_MODEL_COSINE;
    }
    if (ret->compared > 0) {
        qsort(cosines, (size_t)ret->compared, sizeof *cosines, by_value);
        ret->median = cosines[ret->compared / 2];
    }
out:
    embed_session_close(session);
    arena_free(arena);
    return rc;
}

/* What the file may have got wrong. The text is the end of "they are those of the model ...". NULL: no other setting
 * gives these vectors either. */
static const char *
find_setting(const struct doctor *d, const struct doctor_column *c, const PGresult *rows, struct embedder *embedder,
             size_t dimensions)
{
    const struct provider_options *given = c->provider;
    const struct {
        const char *says;
        const char *prefix;
        enum pooling pooling;
        bool wanted;
    } settings[] = {
        {"without the document prefix: \"document_prefix\": \"\"", "", POOLING_UNSET,
         embed_prefix(embedder, false)[0] != '\0'},
        {"with the mean of the tokens: \"pooling\": \"mean\"", NULL, POOLING_MEAN, given->kind == PROVIDER_ONNX},
        {"with the first token: \"pooling\": \"cls\"", NULL, POOLING_CLS, given->kind == PROVIDER_ONNX},
    };
    struct comparison found;
    struct err ignored = ERR_INIT;

    if (embed_prefix(embedder, true)[0] != '\0' &&
        compare(d, rows, embedder, true, dimensions, &found, &ignored) == RC_OK && found.compared > 0 &&
        found.same * 2 > found.compared)
        return "with the query prefix before each document";
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct provider_options with = *given;
        struct embedder *other = NULL;
        if (!settings[i].wanted)
            continue;
        if (settings[i].prefix)
            with.document_prefix = settings[i].prefix;
        if (settings[i].pooling != POOLING_UNSET)
            with.pooling = settings[i].pooling;
        bool same = provider_open(&with, &d->options->common, dimensions, &other, &ignored) == RC_OK &&
                    compare(d, rows, other, false, dimensions, &found, &ignored) == RC_OK && found.compared > 0 &&
                    found.same * 2 > found.compared;
        embedder_close(other);
        if (same)
            return settings[i].says;
    }
    return NULL;
}

static void
judge(struct doctor *d, const struct doctor_column *c, const PGresult *rows, struct embedder *embedder,
      const struct comparison *found, size_t dimensions)
{
    if (found->compared == 0) {
        doctor_find(d, "model.unchecked", DOCTOR_WARNING, c->subject, NULL,
                    "none of the documents that were embedded again could be compared");
    } else if (found->same == found->compared) {
        doctor_find(d, "model.confirmed", DOCTOR_INFO, c->subject, NULL,
                    "%s made these vectors: %d documents, embedded again, give the same", c->model, found->compared);
    } else if (found->same * 2 > found->compared) {
        doctor_find(d, "model.partly", DOCTOR_WARNING, c->subject,
                    "their texts were edited, or another model wrote some: reembed run embeds all of them",
                    "%d of %d documents have another vector than %s gives their present text",
                    found->compared - found->same, found->compared, c->model);
    } else {
        const char *setting = find_setting(d, c, rows, embedder, dimensions);
        char fix[300];
        if (setting) {
            (void)snprintf(fix, sizeof fix, "they are those of %s %s", c->model, setting);
            doctor_find(d, "model.setting", DOCTOR_ERROR, c->subject, fix,
                        "%s, as the file has it, gives other vectors (cosine %.3f in the middle)", c->model,
                        found->median);
        } else {
            doctor_find(d, "model.differs", DOCTOR_ERROR, c->subject,
                        "name the model, prefix and content that made them; a rollback would mix two models",
                        "%s did not make these vectors: %d of %d documents differ, cosine %.3f in the middle", c->model,
                        found->compared - found->same, found->compared, found->median);
        }
    }
}

void
doctor_compare_model(struct doctor *d, const struct doctor_column *c)
{
    struct params params = PARAMS_INIT;
    struct embedder *embedder = NULL;
    struct comparison found;
    PGresult *rows = NULL;
    struct err err = ERR_INIT;
    float *none = NULL;
    enum rc rc;

    params_add_int8(&params, DOCTOR_EMBEDDED);
    params_add_int8(&params, DOCTOR_SAMPLE);
    params_add_int4(&params, CONTENT_READ);
    if (!doctor_query(d, "model.unchecked", c->subject, sql_doctor_pick, c, &params, &rows) || result_rows(rows) == 0)
        goto out;
    size_t dimensions =
        c->dimensions > 0 ? (size_t)c->dimensions : result_vector(rows, 0, "embedding", &d->types, none, 0);
    rc = provider_open(c->provider, &d->options->common, dimensions, &embedder, &err);
    if (rc == RC_OK)
        rc = compare(d, rows, embedder, false, dimensions, &found, &err);
    if (rc == RC_OK)
        judge(d, c, rows, embedder, &found, dimensions);
    else if (strstr(err.message, "dimensions"))
        doctor_find(d, "model.dimensions", DOCTOR_ERROR, c->subject, fix_of(&err), "%s", err.message);
    else
        doctor_find(d, "provider.unusable", DOCTOR_ERROR, "source.provider", fix_of(&err), "%s", err.message);
out:
    embedder_close(embedder);
    params_clear(&params);
    PQclear(rows);
}

void
doctor_try_provider(struct doctor *d, const char *subject, const struct provider_options *provider, size_t dimensions)
{
    struct embed_policy policy = try_policy();
    struct embedder *embedder = NULL;
    struct err err = ERR_INIT;
    float *vector = NULL;
    enum rc rc = provider_open(provider, &d->options->common, dimensions, &embedder, &err);

    if (rc == RC_OK && dimensions == 0)
        dimensions = embedder_dimensions(embedder);
    if (rc == RC_OK && dimensions > 0) {
        vector = calloc(dimensions, sizeof *vector);
        rc = vector ? provider_embed(embedder, &policy, provider_canary, false, dimensions, vector, &err)
                    : err_memory(&err);
    }
    if (rc == RC_OK)
        doctor_find(d, "provider.ok", DOCTOR_INFO, subject, NULL, "%s answers, %zu dimensions",
                    provider->model ? provider->model : "the model", dimensions);
    else
        doctor_find(d, "provider.unusable", DOCTOR_ERROR, subject, fix_of(&err), "%s", err.message);
    free(vector);
    embedder_close(embedder);
}
