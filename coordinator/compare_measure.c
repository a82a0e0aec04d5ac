/* From lists of hits and ranks to figures with their uncertainty. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/compare_internal.h"
#include "coordinator/ranking.h"

enum { CORRELATED = 200 }; /* documents: Spearman's coefficient of 200 is known to 0.07 a query */

static const double threshold_shares[COMPARE_THRESHOLDS] = {0.1, 0.25, 0.5, 0.75, 0.9};

/* --- agreement --- */

static void
documents_of(const struct compare_lists *lists, size_t query, uint64_t *documents)
{
    for (size_t i = 0; i < lists->counts[query]; i++)
        documents[i] = lists->hits[query * lists->depth + i].document;
}

static enum rc
measure_overlap(struct compare_work *work, struct err *err)
{
    struct comparison *c = work->result;
    const struct compare_lists *target = &work->lists[SIDE_TARGET], *source = &work->lists[SIDE_SOURCE];
    size_t count = work->queries.count;
    double *at_k = arena_array(work->arena, count + 1, sizeof *at_k);
    double *at_10 = arena_array(work->arena, count + 1, sizeof *at_10);
    uint64_t *a = arena_array(work->arena, target->depth, sizeof *a);
    uint64_t *b = arena_array(work->arena, source->depth, sizeof *b);

    if (!at_k || !at_10 || !a || !b)
        return err_memory(err);
    for (size_t i = 0; i < count; i++) {
        documents_of(target, i, a);
        documents_of(source, i, b);
        at_k[i] = ranking_overlap(a, target->counts[i], b, source->counts[i], c->k);
        at_10[i] = ranking_overlap(a, target->counts[i], b, source->counts[i], 10);
        c->overlap_counts[(size_t)(at_10[i] * 10 + 0.5)]++;
    }
    c->overlap = estimate_mean(at_k, count, c->seed);
    c->overlap_10 = estimate_mean(at_10, count, c->seed);
    return RC_OK;
}

/* Random documents as both spaces see them from every query: the rank correlation, and what a document that has
 * nothing to do with a query is like. */
static enum rc
measure_randoms(struct compare_work *work, float *distances[SIDES], size_t *ret_documents, struct err *err)
{
    struct comparison *c = work->result;
    size_t count = 0, held = 0, queries = work->queries.count;
    struct doc_key *ids = NULL;
    float *vectors[SIDES] = {NULL};
    bool found[CORRELATED] = {false};
    enum rc rc = compare_pick(work, "correlation", CORRELATED, &ids, &count, err);

    for (int side = 0; rc == RC_OK && side < SIDES; side++) {
        vectors[side] = arena_array(work->arena, CORRELATED * work->sides[side].dimensions + 1, sizeof(float));
        distances[side] = arena_array(work->arena, CORRELATED * queries + 1, sizeof(float));
        if (!vectors[side] || !distances[side])
            rc = err_memory(err);
    }
    if (rc == RC_OK)
        rc = compare_read_vectors(work, ids, count, vectors, found, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < count; i++)
        held += found[i];
    for (int side = 0; side < SIDES; side++) {
        const struct compare_side *s = &work->sides[side];
        for (size_t q = 0; s->present && distances[side] && vectors[side] && q < queries; q++)
            for (size_t i = 0, at = 0; i < count; i++)
                if (found[i])
                    distances[side][q * held + at++] =
                        compare_distance(s->metric, work->queries.vectors[side] + q * s->dimensions,
                                         vectors[side] + i * s->dimensions, s->dimensions);
    }
    *ret_documents = held;
    if (!c->has_source || held < 2)
        return RC_OK;
    double *correlations = arena_array(work->arena, queries + 1, sizeof *correlations);
    void *scratch = arena_alloc(work->arena, ranking_scratch_size(held));
    if (!correlations || !scratch)
        return err_memory(err);
    for (size_t q = 0; q < queries; q++)
        correlations[q] =
            ranking_spearman(distances[SIDE_TARGET] + q * held, distances[SIDE_SOURCE] + q * held, held, scratch);
    c->rank_correlation = estimate_mean(correlations, queries, c->seed);
    return RC_OK;
}

/* --- quality --- */

static struct relevance
judge_query(const struct compare_work *work, size_t query, int side, double *ranks)
{
    const struct compare_query *q = &work->queries.queries[query];
    size_t held = 0;

    for (size_t i = 0; i < q->count; i++) {
        const struct compare_relevant *r = &work->queries.relevant[q->first + i];
        if (r->held) /* those that are equally near share the mean of their ranks: all-equal vectors find nothing */
            ranks[held++] = 1 + (double)r->nearer[side] + (double)(r->equal[side] > 1 ? r->equal[side] - 1 : 0) / 2;
    }
    return ranking_relevance(ranks, held);
}

static bool
is_judged(const struct compare_work *work, size_t query)
{
    const struct compare_query *q = &work->queries.queries[query];

    for (size_t i = 0; i < q->count; i++)
        if (work->queries.relevant[q->first + i].held)
            return true;
    return false;
}

static struct estimate
estimate_of(const struct relevance *figures, size_t count, size_t offset, double *values, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        memcpy(&values[i], (const char *)&figures[i] + offset, sizeof *values);
    return estimate_mean(values, count, seed);
}

static struct compare_quality
quality_of(const struct relevance *figures, size_t count, double *values, uint64_t seed)
{
    return (struct compare_quality){
        .recall_1 = estimate_of(figures, count, offsetof(struct relevance, recall_1), values, seed),
        .recall_10 = estimate_of(figures, count, offsetof(struct relevance, recall_10), values, seed),
        .mrr_10 = estimate_of(figures, count, offsetof(struct relevance, mrr_10), values, seed),
        .ndcg_10 = estimate_of(figures, count, offsetof(struct relevance, ndcg_10), values, seed),
    };
}

static enum rc
measure_quality(struct compare_work *work, struct err *err)
{
    struct comparison *c = work->result;
    size_t count = work->queries.count;
    struct relevance *figures[SIDES], *change = arena_array(work->arena, count + 1, sizeof *change);
    double *ranks = arena_array(work->arena, work->queries.relevant_count + 1, sizeof *ranks);
    double *values = arena_array(work->arena, count + 1, sizeof *values);

    for (int side = 0; side < SIDES; side++)
        figures[side] = arena_array(work->arena, count + 1, sizeof *figures[side]);
    if (!change || !ranks || !values || !figures[SIDE_TARGET] || !figures[SIDE_SOURCE])
        return err_memory(err);
    for (size_t q = 0; q < count; q++) {
        if (!is_judged(work, q))
            continue;
        size_t at = c->judged++;
        for (int side = 0; side < SIDES; side++)
            if (work->sides[side].present)
                figures[side][at] = judge_query(work, q, side, ranks);
        if (!c->has_source)
            continue;
        const struct relevance *target = &figures[SIDE_TARGET][at], *source = &figures[SIDE_SOURCE][at];
        change[at] = (struct relevance){target->recall_1 - source->recall_1, target->recall_10 - source->recall_10,
                                        target->mrr_10 - source->mrr_10, target->ndcg_10 - source->ndcg_10};
    }
    for (int side = 0; side < SIDES; side++)
        if (work->sides[side].present)
            c->quality[side] = quality_of(figures[side], c->judged, values, c->seed);
    if (c->has_source)
        c->change = quality_of(change, c->judged, values, c->seed);
    return RC_OK;
}

/* --- distances --- */

static void
count_into(int64_t *bins, const struct compare_scores *scores, double distance)
{
    double width = (scores->high - scores->low) / COMPARE_HISTOGRAM;
    double place = width > 0 ? (distance - scores->low) / width : 0;

    bins[place < 0 ? 0 : place >= COMPARE_HISTOGRAM ? COMPARE_HISTOGRAM - 1 : (size_t)place]++;
}

static enum rc
measure_scores(struct compare_work *work, int side, const float *randoms, size_t random_count, struct err *err)
{
    struct compare_scores *scores = &work->result->scores[side];
    const struct compare_lists *lists = &work->lists[side];
    size_t count = 0, k = work->result->k;
    double *hits = arena_array(work->arena, work->queries.count * k + 1, sizeof *hits);

    if (!hits)
        return err_memory(err);
    for (size_t q = 0; q < work->queries.count; q++)
        for (size_t i = 0; i < lists->counts[q] && i < k; i++)
            hits[count++] = lists->hits[q * lists->depth + i].distance;
    if (count == 0)
        return RC_OK;
    sort_ascending(hits, count);
    for (size_t i = 0; i < COMPARE_THRESHOLDS; i++)
        scores->hit_quantiles[i] = quantile(hits, count, threshold_shares[i]);
    scores->low = hits[0];
    scores->high = hits[count - 1];
    for (size_t i = 0; i < random_count; i++)
        scores->high = randoms[i] > scores->high ? randoms[i] : scores->high;
    for (size_t i = 0; i < count; i++)
        count_into(scores->hits, scores, hits[i]);
    for (size_t i = 0; i < random_count; i++)
        count_into(scores->randoms, scores, randoms[i]);
    for (size_t i = 0; i < work->queries.relevant_count; i++)
        if (work->queries.relevant[i].held)
            count_into(scores->relevant, scores, work->queries.relevant[i].distance[side]);
    scores->known = true;
    return RC_OK;
}

enum rc
compare_measure(struct compare_work *work, struct err *err)
{
    float *randoms[SIDES] = {NULL};
    size_t documents = 0;
    enum rc rc = measure_randoms(work, randoms, &documents, err);

    if (rc == RC_OK && work->result->has_source)
        rc = measure_overlap(work, err);
    if (rc == RC_OK)
        rc = measure_quality(work, err);
    for (int side = 0; rc == RC_OK && side < SIDES; side++)
        if (work->sides[side].present)
            rc = measure_scores(work, side, randoms[side], documents * work->queries.count, err);
    return rc;
}
