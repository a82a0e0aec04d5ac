/* The command `plan`: everything that `run` would check and do, without doing it. */
#include "coordinator/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/exit_code.h"
#include "coordinator/index_build.h"
#include "coordinator/provider.h"
#include "db/result.h"

/* --- the rows of the checks --- */

static void
add_check(struct plan *plan, const char *check, bool ok, const char *text, const char *fix)
{
    cJSON *row = cJSON_CreateObject();

    if (!row || !cJSON_AddStringToObject(row, "check", check) || !cJSON_AddBoolToObject(row, "ok", ok) ||
        !cJSON_AddStringToObject(row, "text", text) ||
        !(fix && fix[0] ? cJSON_AddStringToObject(row, "fix", fix) : cJSON_AddNullToObject(row, "fix")) ||
        !cJSON_AddItemToArray(plan->checks, row)) {
        cJSON_Delete(row);
        plan->broken = true;
    }
}

void
plan_holds(struct plan *plan, const char *check, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_check(plan, check, true, text, NULL);
}

void
plan_warns(struct plan *plan, const char *check, const char *fix, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add_check(plan, check, true, text, fix);
}

void
plan_fails_with(struct plan *plan, const char *check, int code, const struct err *err)
{
    if (plan->code == EXIT_DONE) {
        plan->code = code;
        plan->err = *err;
    }
    add_check(plan, check, false, err->message, err->hint);
}

void
plan_fails(struct plan *plan, const char *check, enum rc rc, const struct err *err)
{
    plan_fails_with(plan, check, exit_code_of(rc, err), err);
}

/* --- providers --- */

/* The place that texts are sent to: "api.openai.com"; NULL: they stay on this machine. */
static const char *
host_of(const struct provider_options *provider, char out[256])
{
    const char *host = provider->kind == PROVIDER_OPENAI && provider->url ? strstr(provider->url, "://") : NULL;

    if (!host)
        return NULL;
    host += 3;
    if (strncmp(host, "127.", 4) == 0 || strncmp(host, "localhost", 9) == 0 || strncmp(host, "[::1]", 5) == 0)
        return NULL;
    (void)snprintf(out, 256, "%.*s", (int)strcspn(host, "/?#"), host);
    return out;
}

static void
check_where_text_goes(struct plan *plan)
{
    char target[256], source[256];
    const struct migration_file *file = plan->file;
    const char *to = host_of(&file->target.provider, target);
    const char *also =
        file->source.present && file->source.has_provider ? host_of(&file->source.provider, source) : NULL;

    if (to && also && strcmp(to, also) == 0)
        also = NULL;
    if (!to && !also)
        plan_holds(plan, "text", "no document leaves this machine");
    else if (to && also)
        plan_holds(plan, "text", "the documents' text is sent to %s, that of changed ones also to %s", to, also);
    else
        plan_holds(plan, "text", "the text of %s documents is sent to %s", to ? "all" : "changed", to ? to : also);
}

/* Opens a provider and lets it embed one short text of ours: key, model name and dimensions are known to be right then,
 * and where a vector of it is kept, that it is still the same model. `space`: NULL where nothing is kept. */
static enum rc
try_provider(struct plan *plan, const struct provider_options *provider, const struct space *space, size_t dimensions,
             struct embedder **ret_embedder, struct err *err)
{
    const struct embed_policy policy = {
        .retry = {.attempts = 2}, .canary = provider_canary, .canary_length = strlen(provider_canary)};
    float *vector = NULL;
    enum rc rc = provider_open(provider, &plan->options->common, dimensions, ret_embedder, err);

    if (rc != RC_OK)
        return rc;
    if (dimensions == 0)
        dimensions = embedder_dimensions(*ret_embedder);
    if (dimensions == 0)
        return RC_OK; /* nobody knows before the first answer */
    if (!(vector = calloc(dimensions, sizeof *vector)))
        return err_memory(err);
    rc = provider_embed(*ret_embedder, &policy, provider_canary, false, dimensions, vector, err);
    if (rc == RC_OK && plan->db && space)
        rc = provider_same_model(&plan->migration->types, space->id, space->model, vector, dimensions, plan->db, err);
    free(vector);
    return rc;
}

static bool
check_provider(struct plan *plan, const char *check, const struct provider_options *provider, const char *model,
               const struct space *space, size_t dimensions, struct embedder **ret_embedder)
{
    static const char *const kinds[] = {
        [PROVIDER_HASHING] = "hashing", [PROVIDER_ONNX] = "onnx", [PROVIDER_OPENAI] = "openai"};
    struct err err = ERR_INIT;
    enum rc rc = try_provider(plan, provider, space, dimensions, ret_embedder, &err);

    if (rc == RC_OK)
        plan_holds(plan, check, "%s, %s, %zu dimensions", kinds[provider->kind], model,
                   dimensions ? dimensions : embedder_dimensions(*ret_embedder));
    else
        plan_fails(plan, check, rc, &err);
    return rc == RC_OK;
}

static void
check_providers(struct plan *plan)
{
    const struct migration_file *file = plan->file;
    const struct migration *m = plan->migration;
    const struct space *target = m && plan->canary[0] ? &m->target : NULL;
    const struct space *source = m && plan->canary[1] ? &m->source : NULL;
    struct embedder *of_source = NULL;

    plan->embeds = check_provider(plan, "provider", &file->target.provider, file->target.model, target,
                                  (size_t)file->target.dimensions, &plan->embedder);
    if (file->source.present && file->source.has_provider) {
        check_provider(plan, "source provider", &file->source.provider, file->source.model, source,
                       m ? m->source.dimensions : 0, &of_source);
        embedder_close(of_source);
    }
    check_where_text_goes(plan);
}

/* --- the SQL --- */

static bool
add_text(cJSON *list, const char *text)
{
    char *trimmed = strdup(text);
    size_t length = strlen(text);
    while (trimmed && length > 0 && strchr(" \n", trimmed[length - 1]))
        trimmed[--length] = '\0';
    cJSON *item = trimmed ? cJSON_CreateString(trimmed) : NULL;
    free(trimmed);
    if (item && cJSON_AddItemToArray(list, item))
        return true;
    cJSON_Delete(item);
    return false;
}

enum rc
plan_is_there(struct plan *plan, const char *object, bool *ret_there, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    params_add_text(&params, object);
    enum rc rc = db_exec(plan->db, "SELECT to_regclass($1) IS NOT NULL AS there", &params, &result, err);
    if (rc == RC_OK)
        *ret_there = result_bool(result, 0, "there");
    params_clear(&params);
    PQclear(result);
    return rc;
}

static enum rc
add_index(struct plan *plan, cJSON *list, double documents, struct err *err)
{
    char *sql = NULL;

    if (!plan->index)
        return RC_OK;
    enum rc rc = index_statement(plan->migration, &plan->file->target.index, plan->index, documents, &sql, err);
    if (rc == RC_OK && !add_text(list, sql))
        rc = err_memory(err);
    free(sql);
    return rc;
}

static enum rc
list_statements(struct plan *plan, double documents, cJSON *list, struct err *err)
{
    const PGresult *s = plan->statements;
    bool index_added = false;
    enum rc rc = RC_OK;

    if (!plan->db || !s)
        return RC_OK;
    if (plan->schema_missing) {
        char text[160];
        (void)snprintf(text, sizeof text, "-- schema reembed, version %d: reembed init --print shows it",
                       plan->schema_latest);
        if (!add_text(list, text))
            return err_memory(err);
    }
    for (int row = 0; rc == RC_OK && row < result_rows(s); row++) {
        bool there = false;
        if (result_bool(s, row, "last") && !index_added) {
            rc = add_index(plan, list, documents, err);
            index_added = true;
        }
        if (rc == RC_OK && !result_is_null(s, row, "object"))
            rc = plan_is_there(plan, result_string(s, row, "object"), &there, err);
        if (rc == RC_OK && !there && !add_text(list, result_string(s, row, "sql")))
            rc = err_memory(err);
    }
    if (rc == RC_OK && !index_added)
        rc = add_index(plan, list, documents, err);
    return rc;
}

/* --- the report --- */

/* Takes what it is given, on success and on failure. */
static enum rc
make_report(struct plan *plan, cJSON *estimate, cJSON *probe, cJSON *sql, cJSON **ret_report, struct err *err)
{
    cJSON *report = cJSON_CreateObject(), *locks = plan_locks(plan, sql);
    const struct {
        const char *key;
        cJSON *value;
    } members[] = {
        {"checks", plan->checks},
        {"estimate", estimate ? estimate : cJSON_CreateNull()},
        {"probe", probe ? probe : cJSON_CreateNull()},
        {"locks", locks},
        {"sql", sql},
    };
    bool built = report && cJSON_AddStringToObject(report, "migration_id", plan->file->id) &&
                 cJSON_AddStringToObject(report, "collection", plan->file->collection) &&
                 cJSON_AddBoolToObject(report, "ok", plan->code == EXIT_DONE);

    plan->checks = NULL;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (!built || !members[i].value || !cJSON_AddItemToObject(report, members[i].key, members[i].value)) {
            cJSON_Delete(members[i].value);
            built = false;
        }
    }
    if (!built || plan->broken) {
        cJSON_Delete(report);
        return err_memory(err);
    }
    *ret_report = report;
    return RC_OK;
}

static enum rc
read_file(struct plan *plan, struct err *err)
{
    enum rc rc = migration_file_read(plan->options->file, &plan->file, err);

    return rc;
}

static enum rc
examine(struct plan *plan, cJSON **ret_report, struct err *err)
{
    cJSON *estimate = NULL, *probe = NULL;
    cJSON *sql = cJSON_CreateArray();
    double documents = 0;

    if (!plan->checks || !sql) {
        cJSON_Delete(sql);
        return err_memory(err);
    }
    plan_database(plan);
    check_providers(plan);
    enum rc rc = plan_estimate(plan, &estimate, &probe, &documents, err);
    if (rc == RC_OK)
        rc = list_statements(plan, documents, sql, err);
    if (rc == RC_OK)
        return make_report(plan, estimate, probe, sql, ret_report, err);
    cJSON_Delete(estimate);
    cJSON_Delete(probe);
    cJSON_Delete(sql);
    return rc;
}

int
plan_command(const struct plan_options *options, struct cJSON **ret_report, struct err *err)
{
    struct plan plan = {.options = options, .code = EXIT_DONE, .share = 1, .checks = cJSON_CreateArray()};
    enum rc rc;

    *ret_report = NULL;
    if ((rc = read_file(&plan, err)) == RC_OK)
        rc = examine(&plan, ret_report, err);
    if (rc == RC_OK && plan.code != EXIT_DONE)
        *err = plan.err;
    cJSON_Delete(plan.checks);
    embedder_close(plan.embedder);
    PQclear(plan.documents);
    PQclear(plan.statements);
    PQclear(plan.index);
    migration_free(plan.migration);
    db_close(plan.db);
    migration_file_free(plan.file);
    return rc == RC_OK ? plan.code : exit_code_of(rc, err);
}
