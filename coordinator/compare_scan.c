/* One exact pass over the target and what the source holds of the same documents: the nearest documents of every query
 * in both spaces, and how many are nearer than what it should have found. Each vector is read once, whatever the number
 * of queries; the database is not asked to sort. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/compare_internal.h"
#include "coordinator/ranking.h"
#include "db/result.h"
#include "db/statements.h"

enum { WINDOW_BYTES = 4 << 20, WINDOW_ROWS_MAX = 4000, LANES = 8, RELEVANT_BATCH = 200 };

/* --- distances --- */

/* Several sums side by side: the compiler may not change the order of additions by itself. */
static float
dot(const float *a, const float *b, size_t dimensions)
{
    float sums[LANES] = {0}, rest = 0;
    size_t i = 0;

    for (; i + LANES <= dimensions; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            sums[lane] += a[i + lane] * b[i + lane];
    for (; i < dimensions; i++)
        rest += a[i] * b[i];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest;
}

static float
squared_distance(const float *a, const float *b, size_t dimensions)
{
    float sums[LANES] = {0}, rest = 0;
    size_t i = 0;

    for (; i + LANES <= dimensions; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++) {
            float apart = a[i + lane] - b[i + lane];
            sums[lane] += apart * apart;
        }
    }
    for (; i < dimensions; i++)
        rest += (a[i] - b[i]) * (a[i] - b[i]);
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest;
}

static void
to_unit_length(float *vector, size_t dimensions)
{
    float norm = sqrtf(dot(vector, vector, dimensions));

    for (size_t i = 0; norm > 0 && i < dimensions; i++)
        vector[i] /= norm;
}

/* Of vectors that were prepared: for the cosine they are of length one. */
static float
prepared_distance(enum compare_metric metric, const float *a, const float *b, size_t dimensions)
{
    switch (metric) {
    case BY_COSINE:
        return 1 - dot(a, b, dimensions);
    case BY_INNER_PRODUCT:
        return -dot(a, b, dimensions);
    case BY_L2:
        break;
    }
    return sqrtf(squared_distance(a, b, dimensions));
}

float
compare_distance(enum compare_metric metric, const float *a, const float *b, size_t dimensions)
{
    float scale = 1;

    if (metric != BY_COSINE)
        return prepared_distance(metric, a, b, dimensions);
    scale = sqrtf(dot(a, a, dimensions)) * sqrtf(dot(b, b, dimensions));
    return scale > 0 ? 1 - dot(a, b, dimensions) / scale : 1;
}

/* --- lists --- */

static enum rc
open_lists(struct compare_work *work, struct compare_lists *lists, struct err *err)
{
    size_t count = work->queries.count;

    lists->depth = (work->result->k > 10 ? work->result->k : 10);
    lists->hits = arena_array(work->arena, count * lists->depth + 1, sizeof *lists->hits);
    lists->counts = arena_array(work->arena, count + 1, sizeof *lists->counts);
    if (!lists->hits || !lists->counts)
        return err_memory(err);
    memset(lists->counts, 0, count * sizeof *lists->counts);
    return RC_OK;
}

static void
offer(struct compare_lists *lists, size_t query, float distance, uint64_t document)
{
    struct compare_hit *hits = lists->hits + query * lists->depth;
    size_t at = lists->counts[query];

    if (at == lists->depth) {
        if (distance >= hits[at - 1].distance)
            return;
        at--;
    } else {
        lists->counts[query]++;
    }
    for (; at > 0 && hits[at - 1].distance > distance; at--)
        hits[at] = hits[at - 1];
    hits[at] = (struct compare_hit){distance, document};
}

/* --- what should be found --- */

static enum rc
place_batch(struct compare_work *work, size_t from, size_t count, float *vectors[SIDES], struct err *err)
{
    struct compare_queries *q = &work->queries;
    struct doc_key ids[RELEVANT_BATCH];
    bool found[RELEVANT_BATCH];

    for (size_t i = 0; i < count; i++)
        ids[i] = q->relevant[from + i].id;
    enum rc rc = compare_read_vectors(work, ids, count, vectors, found, err);
    for (size_t i = 0; rc == RC_OK && i < count; i++) {
        struct compare_relevant *r = &q->relevant[from + i];
        r->held = found[i];
        for (int side = 0; r->held && side < SIDES; side++) {
            const struct compare_side *s = &work->sides[side];
            if (!s->present)
                continue;
            if (s->metric == BY_COSINE)
                to_unit_length(vectors[side] + i * s->dimensions, s->dimensions);
            r->distance[side] = prepared_distance(s->metric, q->vectors[side] + r->query * s->dimensions,
                                                  vectors[side] + i * s->dimensions, s->dimensions);
        }
    }
    return rc;
}

static enum rc
place_relevant(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    float *vectors[SIDES] = {NULL};
    enum rc rc = RC_OK;

    for (int side = 0; side < SIDES; side++)
        if (work->sides[side].present &&
            !(vectors[side] = arena_array(work->arena, RELEVANT_BATCH * work->sides[side].dimensions, sizeof(float))))
            return err_memory(err);
    for (size_t from = 0; rc == RC_OK && from < q->relevant_count; from += RELEVANT_BATCH) {
        size_t left = q->relevant_count - from;
        rc = place_batch(work, from, left < RELEVANT_BATCH ? left : RELEVANT_BATCH, vectors, err);
    }
    return rc;
}

/* --- the pass --- */

struct window {
    size_t rows;
    float *vectors[SIDES]; /* of all rows; rubbish where a side has none */
    bool *has[SIDES];
    uint64_t *documents;
};

static void
count_nearer(struct compare_queries *q, const struct compare_query *query, int side, float distance)
{
    for (size_t i = 0; i < query->count; i++) {
        struct compare_relevant *r = &q->relevant[query->first + i];
        r->nearer[side] += r->held && distance < r->distance[side];
        r->equal[side] += r->held && distance == r->distance[side];
    }
}

static void
search_window(struct compare_work *work, const struct window *window, int side, const uint64_t *own)
{
    struct compare_queries *q = &work->queries;
    const struct compare_side *s = &work->sides[side];

    for (size_t query = 0; query < q->count; query++) {
        const float *vector = q->vectors[side] + query * s->dimensions;
        for (size_t row = 0; row < window->rows; row++) {
            if (!window->has[side][row] || (own && own[query] == window->documents[row]))
                continue;
            float distance =
                prepared_distance(s->metric, vector, window->vectors[side] + row * s->dimensions, s->dimensions);
            if (side == SIDE_TARGET)
                offer(&work->whole, query, distance, window->documents[row]);
            if (window->has[SIDE_TARGET][row] && window->has[SIDE_SOURCE][row]) {
                offer(&work->lists[side], query, distance, window->documents[row]);
                count_nearer(q, &q->queries[query], side, distance);
            }
        }
    }
}

static void
read_window(struct compare_work *work, const PGresult *rows, struct window *window)
{
    static const char *const names[SIDES] = {"target", "source"};
    int id = result_column(rows, "id");

    window->rows = (size_t)result_rows(rows);
    for (size_t row = 0; row < window->rows; row++)
        window->documents[row] = document_number(result_key_at(rows, (int)row, id));
    for (int side = 0; side < SIDES; side++) {
        const struct compare_side *s = &work->sides[side];
        int column = result_column(rows, names[side]);
        assert(window->has[side] && window->has[SIDE_TARGET]);
        for (size_t row = 0; row < window->rows; row++) {
            if (!s->present) { /* a collection without a source: its documents are all that there are */
                window->has[side][row] = window->has[SIDE_TARGET][row];
                continue;
            }
            float *vector = window->vectors[side] + row * s->dimensions;
            window->has[side][row] = !result_is_null_at(rows, (int)row, column) &&
                                     result_vector_at(rows, (int)row, column, &work->env->migration->types, vector,
                                                      s->dimensions) == s->dimensions;
            if (window->has[side][row] && s->metric == BY_COSINE)
                to_unit_length(vector, s->dimensions);
        }
    }
    for (size_t row = 0; row < window->rows; row++) {
        work->result->target_vectors += window->has[SIDE_TARGET][row];
        work->result->documents += window->has[SIDE_TARGET][row] && window->has[SIDE_SOURCE][row];
    }
}

static enum rc
open_window(struct compare_work *work, size_t *ret_rows, struct window *window, struct err *err)
{
    size_t bytes = 0, rows;

    for (int side = 0; side < SIDES; side++)
        bytes += work->sides[side].present ? work->sides[side].dimensions * sizeof(float) : 0;
    assert(bytes > 0); /* the target is always there */
    rows = WINDOW_BYTES / bytes + 1;
    if (rows > WINDOW_ROWS_MAX)
        rows = WINDOW_ROWS_MAX;
    window->documents = arena_array(work->arena, rows, sizeof *window->documents);
    if (!window->documents)
        return err_memory(err);
    for (int side = 0; side < SIDES; side++) {
        window->has[side] = arena_array(work->arena, rows, sizeof *window->has[side]);
        window->vectors[side] = arena_array(work->arena, rows * work->sides[side].dimensions, sizeof(float));
        if (!window->has[side] || !window->vectors[side])
            return err_memory(err);
    }
    *ret_rows = rows;
    return RC_OK;
}

static enum rc
walk(struct compare_work *work, const uint64_t *own, struct err *err)
{
    Oid id_type = work->env->migration->id_type;
    struct params params = PARAMS_INIT;
    PGresult *rows = NULL, *before = NULL; /* `after` points into the window before */
    struct doc_key after = {NULL, 0};
    struct window window = {0};
    size_t most = 0;
    enum rc rc = open_window(work, &most, &window, err);

    while (rc == RC_OK) {
        if (!compare_going(work)) {
            rc = RC_CLOSED;
            break;
        }
        params_reset(&params);
        params_add_key(&params, id_type, after);
        params_add_int8(&params, (int64_t)most);
        if ((rc = compare_exec(work, sql_compare_scan, NULL, &params, &rows, err)) != RC_OK)
            break;
        read_window(work, rows, &window);
        for (int side = 0; side < SIDES; side++)
            if (work->sides[side].present)
                search_window(work, &window, side, own);
        PQclear(before);
        before = rows;
        rows = NULL;
        if (window.rows < most)
            break;
        after = result_key(before, (int)window.rows - 1, "id");
    }
    PQclear(before);
    params_clear(&params);
    return rc;
}

enum rc
compare_scan(struct compare_work *work, struct err *err)
{
    struct compare_queries *q = &work->queries;
    uint64_t *own = NULL;
    enum rc rc = open_lists(work, &work->whole, err);

    for (int side = 0; rc == RC_OK && side < SIDES; side++) {
        const struct compare_side *s = &work->sides[side];
        if (!s->present)
            continue;
        rc = open_lists(work, &work->lists[side], err);
        for (size_t i = 0; s->metric == BY_COSINE && i < q->count; i++)
            to_unit_length(q->vectors[side] + i * s->dimensions, s->dimensions);
    }
    if (rc == RC_OK && q->kind == QUERIES_DOCUMENTS) { /* a document is no answer to itself */
        own = arena_array(work->arena, q->count + 1, sizeof *own);
        if (!own)
            return err_memory(err);
        for (size_t i = 0; i < q->count; i++)
            own[i] = document_number(q->queries[i].document);
    }
    if (rc == RC_OK)
        rc = place_relevant(work, err);
    return rc == RC_OK ? walk(work, own, err) : rc;
}
