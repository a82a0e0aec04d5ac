/* Whether the vectors that are stored are what the providers make: a sample of documents is embedded again. And whether
 * the provider is told to make what the model is made for. Vectors by another prefix, pooling or model, or under another
 * document's id, look like a worse model otherwise, or still like a better one than the source's. */
#include <math.h>
#include <string.h>

#include "coordinator/compare_internal.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"

enum { CHECKED = 48, DOUBTED = 300 };

/* Texts that have no vector again are no evidence. */
static enum rc
compare_again(struct compare_work *work, int side, const struct db_text *texts, const float *stored, const bool *known,
              size_t count, struct err *err)
{
    struct compare_stored *found = &work->result->stored[side];
    size_t dimensions = work->sides[side].dimensions, failed = 0;
    float *again = arena_array(work->arena, count * dimensions + 1, sizeof *again);
    double cosines[CHECKED];

    if (!again)
        return err_memory(err);
    enum rc rc = compare_embed(work, work->env->embedders[side], texts, count, false, dimensions, again, &failed, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        const float *vector = again + i * dimensions;
        if (!known[i] || !vector_is_valid(vector, dimensions))
            continue;
        double cosine = 1 - (double)compare_distance(BY_COSINE, vector, stored + i * dimensions, dimensions);
        cosines[found->documents++] = cosine;
        found->differing += cosine < COMPARE_SAME_COSINE;
    }
    if (found->documents > 0) {
        sort_ascending(cosines, found->documents);
        found->min_cosine = cosines[0];
        found->median_cosine = quantile(cosines, found->documents, 0.5);
    }
    return RC_OK;
}

static int32_t
content_limit(const struct compare_work *work)
{
    int32_t most = 0;

    for (int side = 0; side < SIDES; side++) {
        struct embedder *embedder = work->env->embedders[side];
        int32_t limit = embedder ? provider_content_limit(embedder) : 0;
        most = limit > most ? limit : most;
    }
    return most;
}

enum rc
compare_check_stored(struct compare_work *work, struct err *err)
{
    float *vectors[SIDES] = {NULL};
    struct doc_key *ids = NULL;
    bool known[CHECKED] = {false};
    size_t count = 0, with_text = 0;
    struct db_text texts[CHECKED];

    if (!work->env->embedders[SIDE_TARGET] && !work->env->embedders[SIDE_SOURCE])
        return RC_OK;
    enum rc rc = compare_pick(work, "stored", CHECKED, &ids, &count, err);
    if (rc != RC_OK || (rc = compare_read_texts(work, NULL, ids, count, content_limit(work), texts, err)) != RC_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (texts[i].bytes) {
            ids[with_text] = ids[i];
            texts[with_text++] = texts[i];
        }
    }
    for (int side = 0; side < SIDES; side++)
        if (work->sides[side].present &&
            !(vectors[side] = arena_array(work->arena, CHECKED * work->sides[side].dimensions, sizeof(float))))
            return err_memory(err);
    rc = compare_read_vectors(work, ids, with_text, vectors, known, err);
    for (int side = 0; rc == RC_OK && side < SIDES; side++)
        if (work->env->embedders[side] && work->sides[side].present)
            rc = compare_again(work, side, texts, vectors[side], known, with_text, err);
    return rc;
}

/* --- the settings of the file against the model's own --- */

/* The provider without the prefixes and the pooling that the file gives, where it is known what they should be: prefixes
 * of a model known by name, the pooling of a model folder. False: the file gives nothing to doubt. */
static bool
own_settings(const struct provider_options *given, struct provider_options *ret_own)
{
    const struct model_facts *facts = given->model ? model_find(given->model) : NULL;
    bool doubted = false;

    *ret_own = *given;
    if (facts && given->document_prefix &&
        strcmp(given->document_prefix, facts->document_prefix ? facts->document_prefix : "") != 0) {
        ret_own->document_prefix = NULL;
        doubted = true;
    }
    if (facts && given->query_prefix &&
        strcmp(given->query_prefix, facts->query_prefix ? facts->query_prefix : "") != 0) {
        ret_own->query_prefix = NULL;
        doubted = true;
    }
    if (given->kind == PROVIDER_ONNX && given->pooling != POOLING_UNSET) {
        ret_own->pooling = POOLING_UNSET;
        doubted = true;
    }
    return doubted;
}

struct trial {
    size_t count;
    struct doc_key ids[DOUBTED];
    struct db_text queries[DOUBTED];
    struct db_text texts[DOUBTED];
    bool known[DOUBTED];
    size_t query_numbers[DOUBTED];
    float *given_queries, *given_documents, *own_queries, *own_documents;
};

/* Queries that have an answer, each with the first of them. */
static enum rc
choose_pairs(struct compare_work *work, struct trial *trial, struct err *err)
{
    const struct compare_queries *q = &work->queries;
    struct db_text texts[DOUBTED];
    size_t count = 0;

    for (size_t i = 0; i < q->count && count < DOUBTED; i++) {
        if (!q->queries[i].text || q->queries[i].count == 0 || !q->relevant[q->queries[i].first].held)
            continue;
        trial->ids[count] = q->relevant[q->queries[i].first].id;
        trial->query_numbers[count++] = i;
    }
    enum rc rc = compare_read_texts(work, NULL, trial->ids, count, content_limit(work), texts, err);
    for (size_t i = 0; rc == RC_OK && i < count; i++) {
        const struct compare_query *query = &q->queries[trial->query_numbers[i]];
        if (!texts[i].bytes)
            continue;
        trial->ids[trial->count] = trial->ids[i];
        trial->query_numbers[trial->count] = trial->query_numbers[i];
        trial->queries[trial->count] = (struct db_text){query->text, query->length};
        trial->texts[trial->count++] = texts[i];
    }
    return rc;
}

static enum rc
embed_trial(struct compare_work *work, const struct provider_options *own, struct trial *trial, struct err *err)
{
    size_t dimensions = work->sides[SIDE_TARGET].dimensions, failed = 0;
    float *stored[SIDES] = {NULL};
    struct embedder *embedder = NULL;
    float **rows[] = {&trial->given_queries, &trial->given_documents, &trial->own_queries, &trial->own_documents};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!(*rows[i] = arena_array(work->arena, DOUBTED * dimensions, sizeof(float))))
            return err_memory(err);
    if (work->sides[SIDE_SOURCE].present &&
        !(stored[SIDE_SOURCE] = arena_array(work->arena, DOUBTED * work->sides[SIDE_SOURCE].dimensions, sizeof(float))))
        return err_memory(err);
    stored[SIDE_TARGET] = trial->given_documents;
    for (size_t i = 0; i < trial->count; i++)
        memcpy(trial->given_queries + i * dimensions,
               work->queries.vectors[SIDE_TARGET] + trial->query_numbers[i] * dimensions, dimensions * sizeof(float));
    enum rc rc = compare_read_vectors(work, trial->ids, trial->count, stored, trial->known, err);
    if (rc == RC_OK && (rc = provider_open(own, work->env->common, dimensions, &embedder, err)) == RC_OK &&
        (rc = compare_embed(work, embedder, trial->texts, trial->count, false, dimensions, trial->own_documents,
                            &failed, err)) == RC_OK)
        rc = compare_embed(work, embedder, trial->queries, trial->count, true, dimensions, trial->own_queries, &failed,
                           err);
    embedder_close(embedder);
    return rc;
}

/* 1 / rank of the query's own document among the documents of the trial. */
static double
reciprocal_rank(const struct compare_work *work, const struct trial *trial, const float *queries,
                const float *documents, size_t query)
{
    const struct compare_side *s = &work->sides[SIDE_TARGET];
    const float *vector = queries + query * s->dimensions;
    float own = compare_distance(s->metric, vector, documents + query * s->dimensions, s->dimensions);
    double rank = 1;

    for (size_t i = 0; i < trial->count; i++) {
        float other = compare_distance(s->metric, vector, documents + i * s->dimensions, s->dimensions);
        if (i != query && trial->known[i])
            rank += other < own ? 1 : other == own ? 0.5 : 0;
    }
    return 1 / rank;
}

static bool
settings_agree(const struct compare_work *work, const struct trial *trial)
{
    size_t d = work->sides[SIDE_TARGET].dimensions;

    for (size_t i = 0; i < trial->count; i++) {
        const float *given = trial->given_documents + i * d, *own = trial->own_documents + i * d;
        if (trial->known[i] && compare_distance(BY_COSINE, given, own, d) > 1 - COMPARE_SAME_COSINE)
            return false;
        given = trial->given_queries + i * d;
        own = trial->own_queries + i * d;
        if (compare_distance(BY_COSINE, given, own, d) > 1 - COMPARE_SAME_COSINE)
            return false;
    }
    return true;
}

enum rc
compare_check_settings(struct compare_work *work, struct err *err)
{
    struct compare_defaults *defaults = &work->result->defaults;
    struct provider_options own;
    size_t judged = 0;

    if (!work->env->target_options || work->queries.kind == QUERIES_DOCUMENTS ||
        !own_settings(work->env->target_options, &own))
        return RC_OK;
    struct trial *trial = arena_alloc(work->arena, sizeof *trial);
    double *changes = arena_array(work->arena, DOUBTED, sizeof *changes);
    if (!trial || !changes)
        return err_memory(err);
    memset(trial, 0, sizeof *trial);
    enum rc rc = choose_pairs(work, trial, err);
    if (rc != RC_OK || trial->count == 0 || (rc = embed_trial(work, &own, trial, err)) != RC_OK ||
        settings_agree(work, trial))
        return rc;
    for (size_t i = 0; i < trial->count; i++)
        if (trial->known[i])
            changes[judged++] = reciprocal_rank(work, trial, trial->own_queries, trial->own_documents, i) -
                                reciprocal_rank(work, trial, trial->given_queries, trial->given_documents, i);
    defaults->checked = true;
    defaults->queries = judged;
    defaults->mrr_change = estimate_mean(changes, judged, work->result->seed);
    return RC_OK;
}
