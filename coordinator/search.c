/* The command `search`: a text, embedded with the model of the space that is searched, and the nearest documents. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration_file.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"
#include "db/template.h"

enum { CONTENT_SHOWN = 200, EF_SEARCH_MAX = 1000 };

struct search {
    const struct search_options *options;
    enum search_side side; /* whose space is looked at now; fused searches look at both, one after the other */
    struct db *db;
    struct migration_file *file;
    struct embedder *embedder;
    struct vector_types types;
    PGresult *space; /* the one that is searched */
    PGresult *names; /* NULL, or what its column is called now */
    size_t dimensions;
    float *vector; /* of the query */
};

/* --- the space --- */

static enum rc
read_space(struct search *s, struct err *err)
{
    static const char *const sides[] = {
        [SEARCH_ROUTED] = "routed", [SEARCH_SOURCE] = "source", [SEARCH_TARGET] = "target"};
    const struct search_options *o = s->options;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, o->collection);
    params_add_text(&params, sides[s->side]);
    rc = command_exec(NULL, s->db, sql_search_space, &params, &s->space, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    if (result_rows(s->space) == 0) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "unknown collection '%s'", o->collection);
        err_hint(err, "reembed list shows the known ones");
    } else if (result_is_null(s->space, 0, "space_id")) {
        rc = s->side == SEARCH_ROUTED
                 ? err_set(err, RC_INVALID, ERR_USAGE, "collection %s has no vectors to search yet", o->collection)
                 : err_set(err, RC_INVALID, ERR_USAGE, "collection %s has no %s space", o->collection, sides[s->side]);
        err_hint(err, "reembed status shows where it stands");
    }
    return rc;
}

static enum rc
exec_in_space(struct search *s, const char *text, const struct params *params, PGresult **ret_result, struct err *err)
{
    char vector[80];
    char schema[80];
    char *sql = NULL;
    const PGresult *r = s->space;

    (void)snprintf(vector, sizeof vector, "\"%s\".%s", s->types.schema, result_string(r, 0, "vector_type"));
    (void)snprintf(schema, sizeof schema, "\"%s\"", s->types.schema);
    const struct template_value values[] = {
        {"space", result_string(r, 0, "table_name")},
        {"space_id", result_string(r, 0, "id_column")},
        {"space_column", result_string(s->names ? s->names : r, 0, "vector_column")},
        {"operator", result_string(r, 0, "operator")},
        {"vector_schema", schema},
        {"vector", vector},
        {"docs", result_string(r, 0, "docs_table")},
        {"alias", result_string(r, 0, "docs_alias")},
        {"id", result_string(r, 0, "docs_id")},
        {"id_type", result_string(r, 0, "id_type")},
        {"content", result_string(r, 0, "content")},
        {"filter", result_string(r, 0, "filter")},
    };
    enum rc rc = template_render(text, values, sizeof values / sizeof *values, &sql, err);
    if (rc == RC_OK)
        rc = db_exec(s->db, sql, params, ret_result, err);
    free(sql);
    return rc;
}

/* --- the query's vector --- */

/* The provider in the file whose model made the space; the same model with other dimensions is told apart by them. */
static enum rc
choose_provider(const struct search *s, const struct provider_options **ret_provider, struct err *err)
{
    const struct migration_file *file = s->file;
    const char *model = result_string(s->space, 0, "model");
    bool is_target = strcasecmp(file->target.model, model) == 0;
    bool is_source = file->source.present && strcasecmp(file->source.model, model) == 0;

    if (is_target && is_source)
        is_target = result_bool(s->space, 0, "side") && s->dimensions == (size_t)file->target.dimensions;
    if (is_target) {
        *ret_provider = &file->target.provider;
        return RC_OK;
    }
    if (is_source && file->source.has_provider) {
        *ret_provider = &file->source.provider;
        return RC_OK;
    }
    if (is_source) {
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                             "%s: source.provider is absent, so the text can't be embedded with %s, the model that is "
                             "searched",
                             file->path, model);
        err_hint(err, "name source.provider in the file, or search the other side: --model target");
        return rc;
    }
    enum rc rc =
        err_set(err, RC_INVALID, ERR_USAGE, "%s speaks of other models than %s, which is searched", file->path, model);
    err_hint(err, "give the migration file that has a provider of %s", model);
    return rc;
}

static enum rc
read_file(struct search *s, struct err *err)
{
    const char *path = s->options->file;

    if (!path) {
        enum rc rc = err_set(err, RC_INVALID, ERR_USAGE,
                             "the text must be embedded with %s, the model that is searched: give the migration file "
                             "that has its provider",
                             result_string(s->space, 0, "model"));
        err_hint(err, "reembed search %s TEXT --file FILE", s->options->collection);
        return rc;
    }
    enum rc rc = migration_file_read(path, &s->file, err);
    if (rc == RC_OK && strcmp(s->file->collection, s->options->collection) != 0)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s is about collection %s, not %s", path, s->file->collection,
                     s->options->collection);
    return rc;
}

/* Where neither the column nor the provider says how many dimensions there are, a stored vector does. */
static enum rc
find_dimensions(struct search *s, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = exec_in_space(s, sql_search_dimensions, NULL, &result, err);

    if (rc == RC_OK && result_rows(result) == 1)
        s->dimensions = (size_t)result_int64(result, 0, "dimensions");
    else if (rc == RC_OK)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s has no vectors to search yet",
                     result_string(s->space, 0, "table_name"));
    PQclear(result);
    return rc;
}

/* Another model behind the same name would find neighbours that mean nothing. */
static enum rc
check_model(struct search *s, const struct embed_policy *policy, struct err *err)
{
    const PGresult *r = s->space;

    if (!result_bool(r, 0, "has_canary"))
        return RC_OK;
    enum rc rc = provider_embed(s->embedder, policy, provider_canary, false, s->dimensions, s->vector, err);
    if (rc == RC_OK)
        rc = provider_same_model(&s->types, result_int64(r, 0, "space_id"), result_string(r, 0, "model"), s->vector,
                                 s->dimensions, s->db, err);
    return rc;
}

static enum rc
embed_text(struct search *s, struct err *err)
{
    const struct embed_policy policy = {
        .retry = {.attempts = 3}, .canary = provider_canary, .canary_length = strlen(provider_canary)};
    const struct provider_options *provider = NULL;
    enum rc rc;

    if (!result_is_null(s->space, 0, "dimensions"))
        s->dimensions = (size_t)result_int64(s->space, 0, "dimensions");
    if ((rc = read_file(s, err)) != RC_OK || (rc = choose_provider(s, &provider, err)) != RC_OK)
        return rc;
    if (s->dimensions == 0 && (rc = find_dimensions(s, err)) != RC_OK)
        return rc;
    if ((rc = provider_open(provider, &s->options->common, s->dimensions, &s->embedder, err)) != RC_OK)
        return rc;
    if (!(s->vector = calloc(s->dimensions, sizeof *s->vector)))
        return err_memory(err);
    if ((rc = check_model(s, &policy, err)) != RC_OK)
        return rc;
    return provider_embed(s->embedder, &policy, s->options->text, true, s->dimensions, s->vector, err);
}

/* --- the neighbours --- */

static cJSON *
hit_json(const PGresult *hits, int row, const char *model)
{
    cJSON *hit = cJSON_CreateObject();
    const char *content = result_string(hits, row, "content");

    if (hit && cJSON_AddStringToObject(hit, "doc_id", result_string(hits, row, "doc_id")) &&
        (result_is_null(hits, row, "distance")
             ? cJSON_AddNullToObject(hit, "distance")
             : cJSON_AddNumberToObject(hit, "distance", result_float64(hits, row, "distance"))) &&
        cJSON_AddStringToObject(hit, "model", model) &&
        (content ? cJSON_AddStringToObject(hit, "content", content) : cJSON_AddNullToObject(hit, "content")))
        return hit;
    cJSON_Delete(hit);
    return NULL;
}

/* `model`: of all hits; NULL: each row names its own. */
static enum rc
report_hits(const struct search_options *options, const char *model, const PGresult *hits, cJSON **ret_report,
            struct err *err)
{
    cJSON *report = cJSON_CreateObject();
    cJSON *list = NULL;
    bool built = report && cJSON_AddStringToObject(report, "collection", options->collection) &&
                 cJSON_AddStringToObject(report, "model", model ? model : "fused") &&
                 (list = cJSON_AddArrayToObject(report, "hits"));

    for (int row = 0; built && row < result_rows(hits); row++) {
        cJSON *hit = hit_json(hits, row, model ? model : result_string(hits, row, "model"));
        built = hit && cJSON_AddItemToArray(list, hit);
    }
    if (!built) {
        cJSON_Delete(report);
        return err_memory(err);
    }
    *ret_report = report;
    return RC_OK;
}

/* While the text was embedded, a cutover or rollback may have given the name of the column to the other model's. Whoever has
 * looked into the table keeps the names as they are until the end of his transaction. */
static enum rc
keep_names(struct search *s, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_int8(&params, result_int64(s->space, 0, "space_id"));
    if ((rc = exec_in_space(s, "SELECT FROM {space} LIMIT 0", NULL, NULL, err)) == RC_OK)
        rc = db_exec(s->db, "SELECT vector_column FROM reembed.space WHERE space_id = $1", &params, &s->names, err);
    params_clear(&params);
    if (rc == RC_OK && result_rows(s->names) == 0) {
        rc = err_set(err, RC_REFUSED, ERR_STATE, "the vectors of %s were dropped meanwhile",
                     result_string(s->space, 0, "model"));
        err_hint(err, "search again");
    }
    return rc;
}

/* The settings of the scan and the scan are one transaction: behind a pooler nothing else would hold them together. */
static enum rc
find_nearest(struct search *s, PGresult **ret_hits, struct err *err)
{
    bool half = strcmp(result_string(s->space, 0, "vector_type"), "halfvec") == 0;
    struct params wanted = PARAMS_INIT;
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_int4(&wanted, (int32_t)(s->options->limit < EF_SEARCH_MAX ? s->options->limit : EF_SEARCH_MAX));
    params_add_vector(&params, &s->types, half ? VECTOR_HALF : VECTOR_FLOAT4, s->vector, s->dimensions);
    params_add_int8(&params, s->options->limit);
    params_add_int4(&params, CONTENT_SHOWN);
    if ((rc = db_begin(s->db, err)) == RC_OK && (rc = keep_names(s, err)) == RC_OK &&
        (rc = db_exec(s->db, sql_search_settings, &wanted, NULL, err)) == RC_OK &&
        (rc = exec_in_space(s, sql_search_nearest, &params, ret_hits, err)) == RC_OK)
        rc = db_commit(s->db, err);
    db_rollback(s->db);
    params_clear(&wanted);
    params_clear(&params);
    return rc;
}

/* --- one side, or both --- */

static enum rc
open_side(struct search *s, const struct vector_types *types, struct err *err)
{
    s->types = *types;
    enum rc rc = read_space(s, err);
    return rc == RC_OK ? embed_text(s, err) : rc;
}

static void
close_side(struct search *s)
{
    PQclear(s->space);
    PQclear(s->names);
    free(s->vector);
    embedder_close(s->embedder);
    migration_file_free(s->file);
}

static enum rc
search_one(const struct search_options *options, struct db *db, const struct vector_types *types, cJSON **ret_report,
           struct err *err)
{
    struct search s = {.options = options, .side = options->side, .db = db};
    PGresult *hits = NULL;
    enum rc rc = open_side(&s, types, err);

    if (rc == RC_OK && (rc = find_nearest(&s, &hits, err)) == RC_OK)
        rc = report_hits(options, result_string(s.space, 0, "model"), hits, ret_report, err);
    PQclear(hits);
    close_side(&s);
    return rc;
}

static enum rc
search_both(const struct search_options *options, struct db *db, const struct vector_types *types, cJSON **ret_report,
            struct err *err)
{
    struct search source = {.options = options, .side = SEARCH_SOURCE, .db = db};
    struct search target = {.options = options, .side = SEARCH_TARGET, .db = db};
    struct params params = PARAMS_INIT;
    PGresult *hits = NULL;
    enum rc rc = open_side(&source, types, err);

    if (rc == RC_OK && (rc = open_side(&target, types, err)) == RC_OK) {
        params_add_text(&params, options->collection);
        params_add_vector(&params, types, VECTOR_FLOAT4, source.vector, source.dimensions);
        params_add_vector(&params, types, VECTOR_FLOAT4, target.vector, target.dimensions);
        params_add_int4(&params, (int32_t)options->limit);
        params_add_int4(&params, CONTENT_SHOWN);
        if ((rc = exec_in_space(&target, sql_search_both, &params, &hits, err)) == RC_OK)
            rc = report_hits(options, NULL, hits, ret_report, err);
    }
    params_clear(&params);
    PQclear(hits);
    close_side(&source);
    close_side(&target);
    return rc;
}

int
search_command(const struct search_options *options, struct cJSON **ret_report, struct err *err)
{
    struct vector_types types;
    struct db *db = NULL;
    enum rc rc;

    *ret_report = NULL;
    if ((rc = command_connect(&options->common, &db, err)) == RC_OK && (rc = schema_check(db, err)) == RC_OK &&
        (rc = schema_vector_types(db, &types, err)) == RC_OK)
        rc = options->side == SEARCH_FUSED ? search_both(options, db, &types, ret_report, err)
                                           : search_one(options, db, &types, ret_report, err);
    db_close(db);
    return exit_code_of(rc, err);
}
