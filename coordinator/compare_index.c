/* The vector indexes, asked as an application asks them: how much of the exact answer the target's finds, at which
 * setting, and how long both spaces take. Round trips are measured, so the way to the server is in them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/compare_internal.h"
#include "coordinator/ranking.h"
#include "db/result.h"
#include "db/statements.h"

enum { SEARCHES = 200, SWEEP_SEARCHES = 100, POINTS = 6 };

static const int64_t hnsw_points[POINTS] = {10, 20, 40, 80, 160, 320};
static const int64_t ivfflat_points[POINTS] = {1, 2, 4, 8, 16, 32};

/* One round of searches over a space with the same settings. */
struct round {
    int side;
    bool forced;         /* the index must be used, whatever the planner thinks of a small table */
    const char *setting; /* NULL: as it is */
    int64_t value;
    size_t searches;
    double *milliseconds; /* of each search */
    double *recalls;      /* of each search; NULL: not wanted */
};

static enum rc
render_search(const struct compare_work *work, int side, char **ret_sql, struct err *err)
{
    const struct compare_side *s = &work->sides[side];
    const struct migration *m = work->env->migration;
    char schema[80], vector[100];

    (void)snprintf(schema, sizeof schema, "\"%s\"", m->types.schema);
    (void)snprintf(vector, sizeof vector, "\"%s\".%s", m->types.schema,
                   s->space->kind == VECTOR_HALF ? "halfvec" : "vector");
    const struct template_value values[] = {{"space", s->searched}, {"space_id", s->id_column},
                                            {"space_column", s->vector_column},
                                            {
                                                "operator",
                                                s->operator},
                                                {"vector_schema", schema},
                                                {"vector", vector},
    };
    return template_render(sql_compare_nearest, values, sizeof values / sizeof *values, ret_sql, err);
}

static double
recall_of(const struct compare_work *work, size_t query, const PGresult *rows)
{
    const struct compare_lists *whole = &work->whole;
    const struct compare_hit *exact = whole->hits + query * whole->depth;
    size_t k = work->result->k, wanted = whole->counts[query] < k ? whole->counts[query] : k, found = 0;
    bool skips = work->queries.kind == QUERIES_DOCUMENTS;
    uint64_t own = skips ? document_number(work->queries.queries[query].document) : 0;
    int column = result_column(rows, "id");
    size_t taken = 0;

    for (int row = 0; row < result_rows(rows) && taken < k; row++) {
        uint64_t document = document_number(result_key_at(rows, row, column));
        if (skips && document == own)
            continue;
        taken++;
        for (size_t i = 0; i < wanted; i++)
            found += exact[i].document == document;
    }
    return wanted > 0 ? (double)found / (double)wanted : 1;
}

static enum rc
apply_settings(struct compare_work *work, const struct round *round, struct err *err)
{
    struct params params = PARAMS_INIT;
    char value[24];

    (void)snprintf(value, sizeof value, "%lld", (long long)round->value);
    params_add_bool(&params, round->forced);
    params_add_text(&params, round->setting ? round->setting : "");
    params_add_text(&params, round->setting ? value : NULL);
    enum rc rc = db_exec(work->env->db, sql_compare_settings, &params, NULL, err);
    params_clear(&params);
    return rc;
}

static enum rc
search_all(struct compare_work *work, const char *sql, const struct round *round, struct err *err)
{
    const struct compare_side *s = &work->sides[round->side];
    const struct migration *m = work->env->migration;
    bool own_too = work->queries.kind == QUERIES_DOCUMENTS;
    struct params params = PARAMS_INIT;
    enum rc rc = apply_settings(work, round, err);

    for (size_t i = 0; rc == RC_OK && i < round->searches; i++) {
        PGresult *rows = NULL;
        params_reset(&params);
        params_add_vector(&params, &m->types, s->space->kind, work->queries.vectors[round->side] + i * s->dimensions,
                          s->dimensions);
        params_add_int8(&params, (int64_t)work->result->k + own_too);
        int64_t began = clock_now_us();
        rc = db_exec(work->env->db, sql, &params, &rows, err);
        round->milliseconds[i] = (double)(clock_now_us() - began) / 1000;
        if (rc == RC_OK && round->recalls)
            round->recalls[i] = recall_of(work, i, rows);
        PQclear(rows);
    }
    params_clear(&params);
    return rc;
}

/* The settings and the searches are one transaction: behind a pooler nothing else would hold them together. */
static enum rc
run_round(struct compare_work *work, const struct round *round, struct err *err)
{
    char *sql = NULL;
    enum rc rc = render_search(work, round->side, &sql, err);

    if (rc == RC_OK && (rc = db_begin(work->env->db, err)) == RC_OK &&
        (rc = search_all(work, sql, round, err)) == RC_OK)
        rc = db_commit(work->env->db, err);
    db_rollback(work->env->db);
    free(sql);
    if (rc == RC_OK)
        sort_ascending(round->milliseconds, round->searches);
    return rc;
}

static double
mean(const double *values, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

/* The extension must be loaded before its settings are known to the session; behind a pooler each transaction may be
 * in another one. */
static enum rc
read_setting(struct compare_work *work, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    params_add_text(&params, work->result->index_setting);
    enum rc rc = compare_exec(work, sql_compare_setting_now, NULL, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && !result_is_null(result, 0, "value"))
        work->result->index_setting_now = result_int64(result, 0, "value");
    PQclear(result);
    return rc;
}

static enum rc
sweep_settings(struct compare_work *work, struct round *round, struct err *err)
{
    struct comparison *c = work->result;
    const int64_t *points = strcmp(c->index_setting, "hnsw.ef_search") == 0 ? hnsw_points : ivfflat_points;
    enum rc rc = RC_OK;

    round->setting = c->index_setting;
    if (round->searches > SWEEP_SEARCHES)
        round->searches = SWEEP_SEARCHES;
    for (size_t i = 0; rc == RC_OK && i < POINTS; i++) {
        if (!compare_going(work))
            return RC_CLOSED;
        round->value = points[i];
        if ((rc = run_round(work, round, err)) != RC_OK)
            break;
        c->sweep[c->sweep_count++] = (struct compare_sweep_point){
            .setting = points[i],
            .recall = mean(round->recalls, round->searches),
            .p50_ms = quantile(round->milliseconds, round->searches, 0.5),
            .p95_ms = quantile(round->milliseconds, round->searches, 0.95),
        };
    }
    return rc;
}

static enum rc
measure_index(struct compare_work *work, struct round *round, double *recalls, struct err *err)
{
    struct comparison *c = work->result;
    enum rc rc = read_setting(work, err);

    round->side = SIDE_TARGET;
    round->forced = true;
    round->recalls = recalls;
    if (rc != RC_OK || (rc = run_round(work, round, err)) != RC_OK)
        return rc;
    c->index_recall = estimate_mean(recalls, round->searches, c->seed);
    return sweep_settings(work, round, err);
}

enum rc
compare_indexes(struct compare_work *work, struct err *err)
{
    struct comparison *c = work->result;
    double milliseconds[SEARCHES], recalls[SEARCHES];
    size_t searches = work->queries.count < SEARCHES ? work->queries.count : SEARCHES;
    struct round round = {.searches = searches, .milliseconds = milliseconds};
    enum rc rc = RC_OK;

    for (int side = 0; rc == RC_OK && side < SIDES && searches > 0; side++) {
        if (!work->sides[side].present)
            continue;
        if (!compare_going(work))
            return RC_CLOSED;
        round.side = side;
        if ((rc = run_round(work, &round, err)) != RC_OK)
            break;
        c->latency[side] = (struct compare_latency){.count = searches,
                                                    .p50_ms = quantile(milliseconds, searches, 0.5),
                                                    .p95_ms = quantile(milliseconds, searches, 0.95)};
    }
    if (rc == RC_OK && c->indexed && searches > 0)
        rc = measure_index(work, &round, recalls, err);
    return rc;
}
