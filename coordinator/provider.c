#include "coordinator/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"

/* A later start of the same model gives the same vector but for rounding; other models are far below. */
#define SAME_MODEL_COSINE 0.999

enum { CONTENT_MIN = 65536, CHARACTERS_A_TOKEN = 32, INVALID_ATTEMPTS = 3, HTTP_FAILED_DEPENDENCY = 424 };

const char provider_canary[] =
    "The canary sings every morning: a short text that tells one embedding model from another.";

enum rc
provider_open(const struct provider_options *options, const struct common_options *common, size_t dimensions,
              struct embedder **ret_embedder, struct err *err)
{
    struct provider_options with = *options;
    enum rc rc;

    /* what a folder holds is compared below, with the exit code of a provider that gives other dimensions */
    with.dimensions = with.kind == PROVIDER_ONNX ? 0 : dimensions ? dimensions : options->dimensions;
    if (common->onnxruntime && !with.library)
        with.library = common->onnxruntime;
    rc = embedder_open(&with, ret_embedder, err);
    if (rc != RC_OK)
        return rc;
    size_t found = embedder_dimensions(*ret_embedder);
    if (dimensions && found && found != dimensions) {
        *ret_embedder = embedder_close(*ret_embedder);
        rc = err_set(err, RC_HALT, ERR_PROVIDER, "model %s gives vectors of %zu dimensions, the space has %zu",
                     options->model ? options->model : "(unnamed)", found, dimensions);
        err_hint(err, "set the dimensions in the migration file to those of the model, or name the right model folder");
    }
    return rc;
}

/* A single text proves nothing: a server's own failure, or a vector that can't be used, may be gone the next time. */
static enum rc
not_embedded(const struct document_result *result, struct err *err)
{
    const char *detail = result->detail ? result->detail : "no reason given";

    if (result->http_status >= 500 || result->http_status == HTTP_FAILED_DEPENDENCY)
        return err_set(err, RC_RETRY, ERR_TRANSIENT, "%s", detail);
    return err_set(err, RC_HALT, ERR_PROVIDER, "the model refuses the text: %s", detail);
}

enum rc
provider_embed(struct embedder *embedder, const struct embed_policy *policy, const char *text, bool query,
               size_t dimensions, float *vector, struct err *err)
{
    struct document document = {.bytes = text, .length = strlen(text), .query = query};
    struct document_result result = {0};
    struct embed_usage usage = {0};
    struct embed_session *session = NULL;
    struct arena *arena = arena_new(0);
    enum rc rc;

    if (!arena)
        return err_memory(err);
    rc = embed_session_open(embedder, &session, err);
    for (int attempt = 0; rc == RC_OK && attempt < INVALID_ATTEMPTS; attempt++) {
        rc = embed_documents(session, policy, &document, 1, dimensions, vector, &result, &usage, arena, err);
        if (result.reason != REASON_INVALID_VECTOR)
            break;
    }
    if (rc == RC_OK && result.status != DOCUMENT_EMBEDDED)
        rc = not_embedded(&result, err);
    embed_session_close(session);
    arena_free(arena);
    return rc;
}

/* Of a result with the cosine of the canary's vectors, or without a row where none is kept. */
static enum rc
judge(const PGresult *result, const char *model, struct err *err)
{
    if (result_rows(result) == 0 || result_float64(result, 0, "cosine") >= SAME_MODEL_COSINE)
        return RC_OK;
    enum rc rc =
        err_set(err, RC_HALT, ERR_PROVIDER,
                "another model answers under the name %s: the canary text's vector has cosine %.4f to the one this "
                "space was begun with",
                model, result_float64(result, 0, "cosine"));
    err_hint(err,
             "put the old model, prefix and pooling back, or begin a migration under another id; nothing was stored");
    return rc;
}

enum rc
provider_same_model(const struct vector_types *types, int64_t space, const char *model, const float *canary,
                    size_t dimensions, struct db *db, struct err *err)
{
    char schema[80];
    char *sql = NULL;
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    (void)snprintf(schema, sizeof schema, "\"%s\"", types->schema);
    const struct template_value value = {"vector_schema", schema};
    enum rc rc = template_render(sql_canary_cosine, &value, 1, &sql, err);
    params_add_int8(&params, space);
    params_add_vector(&params, types, VECTOR_FLOAT4, canary, dimensions);
    if (rc == RC_OK && (rc = db_exec(db, sql, &params, &result, err)) == RC_OK)
        rc = judge(result, model, err);
    params_clear(&params);
    PQclear(result);
    free(sql);
    return rc;
}

enum rc
provider_check(struct embedder *embedder, const struct embed_policy *policy, const struct migration *migration,
               const struct space *space, struct db *db, struct err *err)
{
    size_t dimensions = space->dimensions ? space->dimensions : embedder_dimensions(embedder);
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    float *vector = calloc(dimensions ? dimensions : 1, sizeof *vector);
    enum rc rc;

    if (!vector)
        return err_memory(err);
    if ((rc = provider_embed(embedder, policy, provider_canary, false, dimensions, vector, err)) != RC_OK)
        goto out;
    params_add_int8(&params, space->id);
    params_add_vector(&params, &migration->types, VECTOR_FLOAT4, vector, dimensions);
    if ((rc = db_exec(db, space->canary_check, &params, &result, err)) != RC_OK)
        goto out;
    rc = judge(result, space->model, err);
out:
    params_clear(&params);
    PQclear(result);
    free(vector);
    return rc;
}

int32_t
provider_content_limit(struct embedder *embedder)
{
    struct embed_limits limits;

    embedder_limits(embedder, &limits);
    if (limits.max_text_tokens >= INT32_MAX / CHARACTERS_A_TOKEN)
        return INT32_MAX;
    int32_t most = (int32_t)limits.max_text_tokens * CHARACTERS_A_TOKEN;
    return most > CONTENT_MIN ? most : CONTENT_MIN;
}
