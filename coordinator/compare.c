#include "coordinator/compare.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/compare_internal.h"
#include "db/result.h"
#include "db/statements.h"

enum { NAMES = 16 };

bool
compare_going(const struct compare_work *work)
{
    return !work->env->going || work->env->going(work->env->context);
}

enum rc
compare_exec(struct compare_work *work, const char *text, const char *know, const struct params *params,
             PGresult **ret_result, struct err *err)
{
    struct template_value values[NAMES + 1];
    char *sql = NULL;

    memcpy(values, work->names, work->name_count * sizeof *values);
    values[work->name_count] = (struct template_value){"text", know};
    for (size_t i = 0; !know && i < work->name_count; i++)
        if (strcmp(work->names[i].name, "content") == 0)
            values[work->name_count].sql = work->names[i].sql;
    enum rc rc = template_render(text, values, work->name_count + 1, &sql, err);
    if (rc == RC_OK)
        rc = work->env->exec(work->env->context, work->env->db, sql, params, ret_result, err);
    free(sql);
    return rc;
}

/* --- the two sides --- */

static const char *
fact(struct arena *arena, const PGresult *facts, const char *name)
{
    struct db_text text = result_text(facts, 0, name);
    return text.bytes ? arena_copy(arena, text.bytes, text.length) : NULL;
}

static enum compare_metric
metric_of(const char *name)
{
    return strcmp(name, "inner_product") == 0 ? BY_INNER_PRODUCT : strcmp(name, "l2") == 0 ? BY_L2 : BY_COSINE;
}

static void
read_side(struct compare_work *work, const PGresult *facts, int side)
{
    static const char *const names[SIDES] = {"target", "source"};
    const struct migration *m = work->env->migration;
    struct compare_side *s = &work->sides[side];
    char column[40];

#define FACT(suffix) (snprintf(column, sizeof column, "%s_" suffix, names[side]), column)
    s->space = side == SIDE_TARGET ? &m->target : &m->source;
    s->present = s->space->id != 0;
    if (!s->present)
        return;
    s->table = s->space->table;
    s->dimensions = s->space->dimensions;
    s->searched = fact(work->arena, facts, FACT("searched"));
    s->id_column = fact(work->arena, facts, FACT("id"));
    s->vector_column = fact(work->arena, facts, FACT("column"));
    s->operator= fact(work->arena, facts, FACT("operator"));
    s->indexed = result_bool(facts, 0, FACT("indexed"));
    work->result->models[side] = arena_copy(work->result->arena, s->space->model, strlen(s->space->model));
    work->result->metrics[side] = fact(work->result->arena, facts, FACT("metric"));
    s->metric = metric_of(work->result->metrics[side]);
#undef FACT
}

static struct optional_number
optional(const PGresult *facts, const char *name)
{
    bool given = !result_is_null(facts, 0, name);
    return (struct optional_number){.given = given, .value = given ? result_float64(facts, 0, name) : 0};
}

static enum rc
name_all(struct compare_work *work, const PGresult *facts, struct err *err)
{
    const struct migration *m = work->env->migration;
    const struct compare_side *target = &work->sides[SIDE_TARGET], *source = &work->sides[SIDE_SOURCE];
    struct template_value *names = arena_array(work->arena, NAMES, sizeof *names);

    if (!source->present) /* the statements read the target twice then, and nobody looks at the second one */
        source = target;
    const struct template_value values[] = {
        {"docs", m->docs_table},
        {"alias", fact(work->arena, facts, "docs_alias")},
        {"id", fact(work->arena, facts, "id_column")},
        {"id_type", fact(work->arena, facts, "id_type")},
        {"content", fact(work->arena, facts, "content")},
        {"filter", fact(work->arena, facts, "filter")},
        {"target", target->table},
        {"source", source->table},
        {"source_id", source->id_column},
        {"source_column", source->vector_column},
        {"vector_schema", arena_printf(work->arena, "\"%s\"", m->types.schema)},
    };
    _Static_assert(sizeof values / sizeof *values <= NAMES, "there is room for all");
    if (!names)
        return err_memory(err);
    work->name_count = sizeof values / sizeof *values;
    for (size_t i = 0; i < work->name_count; i++)
        if (!values[i].sql)
            return err_memory(err);
    memcpy(names, values, sizeof values);
    work->names = names;
    return RC_OK;
}

/* A source column without a size: a stored vector tells. */
static enum rc
find_dimensions(struct compare_work *work, struct err *err)
{
    struct compare_side *s = &work->sides[SIDE_SOURCE];
    char schema[80], *sql = NULL;
    PGresult *result = NULL;

    if (!s->present || s->dimensions > 0)
        return RC_OK;
    (void)snprintf(schema, sizeof schema, "\"%s\"", work->env->migration->types.schema);
    const struct template_value values[] = {
        {"vector_schema", schema}, {"space", s->table}, {"space_column", s->vector_column}};
    enum rc rc = template_render(sql_search_dimensions, values, 3, &sql, err);
    if (rc == RC_OK)
        rc = work->env->exec(work->env->context, work->env->db, sql, NULL, &result, err);
    free(sql);
    if (rc != RC_OK)
        return rc;
    if (result_rows(result) == 1)
        s->dimensions = (size_t)result_int64(result, 0, "dimensions");
    else
        rc = err_set(err, RC_REFUSED, ERR_STATE, "%s holds no vectors to compare with", s->table);
    PQclear(result);
    return rc;
}

static enum rc
read_facts(struct compare_work *work, struct err *err)
{
    const struct migration *m = work->env->migration;
    struct comparison *c = work->result;
    struct params params = PARAMS_INIT;
    PGresult *facts = NULL;

    params_add_int8(&params, m->number);
    enum rc rc = work->env->exec(work->env->context, work->env->db, sql_compare_facts, &params, &facts, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (m->target.id == 0) {
        rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is %s and its target was dropped: nothing to compare",
                     m->id, result_string(facts, 0, "state"));
        PQclear(facts);
        return rc;
    }
    read_side(work, facts, SIDE_TARGET);
    read_side(work, facts, SIDE_SOURCE);
    c->has_source = work->sides[SIDE_SOURCE].present;
    work->documents_total = (double)result_int64(facts, 0, "total");
    c->indexed = work->sides[SIDE_TARGET].indexed;
    c->gates.min_overlap_at_10 = optional(facts, "min_overlap_at_10");
    c->gates.min_recall_change = optional(facts, "min_recall_change");
    c->gates.min_index_recall = optional(facts, "min_index_recall");
    if (c->indexed) {
        c->index_name = fact(c->arena, facts, "target_index");
        c->index_setting =
            strcmp(result_string(facts, 0, "target_method"), "hnsw") == 0 ? "hnsw.ef_search" : "ivfflat.probes";
    }
    rc = name_all(work, facts, err);
    PQclear(facts);
    return rc == RC_OK ? find_dimensions(work, err) : rc;
}

/* --- the whole --- */

static enum rc
record_event(const struct compare_work *work, struct err *err)
{
    struct params params = PARAMS_INIT;
    cJSON *report = compare_report(work->result);
    char *text = report ? cJSON_PrintUnformatted(report) : NULL;
    enum rc rc = text ? RC_OK : err_memory(err);

    if (rc == RC_OK) {
        params_add_text(&params, work->env->migration->id);
        params_add_json(&params, text);
        rc = work->env->exec(work->env->context, work->env->db, sql_comparison_record, &params, NULL, err);
    }
    params_clear(&params);
    cJSON_free(text);
    cJSON_Delete(report);
    return rc;
}

/* Columns are read by their names, which a cutover or rollback gives to others: what was read would be of both models. */
static enum rc
same_names(const struct compare_work *work, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *facts = NULL;
    const struct compare_side *target = &work->sides[SIDE_TARGET], *source = &work->sides[SIDE_SOURCE];

    params_add_int8(&params, work->env->migration->number);
    enum rc rc = work->env->exec(work->env->context, work->env->db, sql_compare_facts, &params, &facts, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    const char *searched = result_string(facts, 0, "target_column"), *left = result_string(facts, 0, "source_column");
    if (!searched || strcmp(searched, target->vector_column) != 0 ||
        (source->present && (!left || strcmp(left, source->vector_column) != 0)))
        rc = err_set(err, RC_REFUSED, ERR_STATE, "queries of %s went over or back while it was compared: compare again",
                     work->env->migration->id);
    PQclear(facts);
    return rc;
}

static enum rc
measure(struct compare_work *work, struct err *err)
{
    struct comparison *c = work->result;
    enum rc rc = read_facts(work, err);

    if (rc != RC_OK || (rc = compare_choose_queries(work, err)) != RC_OK)
        return rc;
    c->kind = work->queries.kind;
    c->queries = work->queries.count;
    if (c->queries == 0) {
        rc = err_set(err, RC_REFUSED, ERR_STATE, "%s has no document that could be a query", work->env->migration->id);
        err_hint(err, "documents are compared that have a vector in both spaces: reembed run FILE --until 0.2 embeds "
                      "a random fifth");
        return rc;
    }
    log_event(LOG_INFO, "comparing", LF_STR("migration", c->migration_id), LF_INT("queries", c->queries),
              LF_STR("kind", query_kind_name(c->kind)));
    if ((rc = compare_scan(work, err)) != RC_OK || (rc = compare_measure(work, err)) != RC_OK ||
        (rc = compare_indexes(work, err)) != RC_OK)
        return rc;
    rc = compare_check_stored(work, err);
    return rc == RC_OK ? compare_check_settings(work, err) : rc;
}

enum rc
compare_models(const struct compare_environment *environment, const struct compare_settings *settings,
               struct comparison **ret_comparison, struct err *err)
{
    int64_t began_ms = clock_now_ms();
    struct comparison *c = calloc(1, sizeof *c);
    struct compare_work work = {.env = environment, .settings = settings, .result = c};
    enum rc rc = RC_OK;

    if (!c || !(c->arena = arena_new(0)) || !(work.arena = arena_new(0)) ||
        !(c->migration_id = arena_copy(c->arena, environment->migration->id, strlen(environment->migration->id)))) {
        rc = err_memory(err);
        goto out;
    }
    c->k = settings->k > 0 ? (size_t)settings->k : 10;
    c->seed = settings->seed;
    c->overlap = c->overlap_10 = c->rank_correlation = c->index_recall = estimate_mean(NULL, 0, 0);
    c->defaults.mrr_change = estimate_mean(NULL, 0, 0);
    if ((rc = measure(&work, err)) != RC_OK)
        goto out;
    if (work.documents_total > 0)
        c->coverage = (double)c->target_vectors / work.documents_total;
    if (c->coverage > 1)
        c->coverage = 1;
    c->seconds = (double)(clock_now_ms() - began_ms) / 1000;
    if ((rc = same_names(&work, err)) != RC_OK || (rc = compare_judge(c, err)) != RC_OK ||
        (rc = record_event(&work, err)) != RC_OK)
        goto out;
    *ret_comparison = c;
    c = NULL;
out:
    comparison_free(c);
    arena_free(work.arena);
    return rc;
}

struct comparison *
comparison_free(struct comparison *comparison)
{
    if (!comparison)
        return NULL;
    arena_free(comparison->arena);
    free(comparison);
    return NULL;
}
