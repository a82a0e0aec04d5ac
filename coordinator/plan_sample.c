#include "coordinator/plan_sample.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/command_session.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"
#include "embed/hashing.h"

enum {
    SAMPLE = 4000,       /* the mean of lengths that differ as much as their mean is then within 3 %, 19 times of 20 */
    ALL_COUNTED = 20000, /* of a model in this process: its tokenizer reads some megabytes a second */
    READ_BATCH = 100,
    READ_MAX_MS = 10000,
};

static enum rc
exec_on_documents(struct plan *plan, const char *text, const struct params *params, PGresult **ret_result,
                  struct err *err)
{
    const PGresult *d = plan->documents;
    const struct template_value values[] = {
        {"docs", result_string(d, 0, "docs_table")}, {"alias", result_string(d, 0, "docs_alias")},
        {"id", result_string(d, 0, "id_column")},    {"id_type", result_string(d, 0, "id_type")},
        {"content", result_string(d, 0, "content")}, {"filter", result_string(d, 0, "filter")},
    };
    char *sql = NULL;
    enum rc rc = template_render(text, values, sizeof values / sizeof *values, &sql, err);

    if (rc == RC_OK)
        rc = command_exec(NULL, plan->db, sql, params, ret_result, err);
    free(sql);
    return rc;
}

enum rc
plan_count_documents(struct plan *plan, int64_t *ret_documents, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = exec_on_documents(plan, sql_plan_count, NULL, &result, err);

    if (rc == RC_OK)
        *ret_documents = result_int64(result, 0, "documents");
    PQclear(result);
    return rc;
}

static bool
is_blank(const struct db_text *body)
{
    for (size_t i = 0; i < body->length; i++)
        if (!strchr(" \t\r\n\v\f", body->bytes[i]))
            return false;
    return true;
}

/* As worker/embed.c does it: prefix in front, cut at the model's limit or set aside. */
static enum rc
measure(struct plan *plan, struct plan_sample *sample, int64_t place, const struct db_text *body, struct err *err)
{
    struct embedder *embedder = plan->embedder;
    const char *prefix = embed_prefix(embedder, false);
    struct sampled *sampled = &sample->entries[sample->count++];
    size_t prefix_length = strlen(prefix);
    struct embed_limits limits;

    *sampled = (struct sampled){.place = place};
    if (is_blank(body))
        return RC_OK;
    char *text = malloc(prefix_length + body->length);
    if (!text)
        return err_memory(err);
    memcpy(text, prefix, prefix_length);
    memcpy(text + prefix_length, body->bytes, body->length);
    sampled->bytes = prefix_length + body->length;
    sampled->tokens = embedder_count_tokens(embedder, text, sampled->bytes);
    sampled->hash = hashing_xxh64(text, sampled->bytes, 0);
    free(text);

    embedder_limits(embedder, &limits);
    if (limits.max_text_tokens && sampled->tokens > limits.max_text_tokens)
        sampled->tokens = embedder_options(embedder)->on_too_long == POLICY_TRUNCATE ? limits.max_text_tokens : 0;
    if (sampled->tokens > 0 && sample->probe_count < PLAN_PROBE) {
        struct document *document = &sample->probe[sample->probe_count++];
        *document =
            (struct document){.bytes = arena_copy(sample->arena, body->bytes, body->length), .length = body->length};
        sample->probe_tokens += sampled->tokens;
        if (!document->bytes)
            return err_memory(err);
    }
    return RC_OK;
}

static enum rc
read_picked(struct plan *plan, const PGresult *picked, int first, int count, struct plan_sample *sample,
            struct err *err)
{
    struct params params = PARAMS_INIT;
    struct doc_key ids[READ_BATCH];
    bool placed = result_has_column(picked, "place");
    PGresult *rows = NULL;

    for (int i = 0; i < count; i++)
        ids[i] = result_key(picked, first + i, "id");
    params_add_key_array(&params, result_type(picked, "id"), ids, (size_t)count);
    params_add_int4(&params, provider_content_limit(plan->embedder));
    enum rc rc = exec_on_documents(plan, sql_plan_read, &params, &rows, err);
    for (int i = 0; rc == RC_OK && i < result_rows(rows); i++) {
        struct db_text body = result_text(rows, i, "body");
        int row = first + (int)result_int64(rows, i, "n") - 1;
        rc = measure(plan, sample, placed ? result_int64(picked, row, "place") : 0, &body, err);
    }
    params_clear(&params);
    PQclear(rows);
    return rc;
}

static int
by_place(const void *left, const void *right)
{
    int64_t a = ((const struct sampled *)left)->place, b = ((const struct sampled *)right)->place;
    return a < b ? -1 : a > b;
}

enum rc
plan_sample_read(struct plan *plan, int64_t documents, struct plan_sample *ret_sample, struct err *err)
{
    struct plan_sample sample = {0};
    struct params params = PARAMS_INIT;
    struct embed_limits limits;
    PGresult *picked = NULL;
    int64_t begun = clock_now_ms();
    enum rc rc;

    embedder_limits(plan->embedder, &limits);
    bool all = documents <= (limits.exact_tokens ? ALL_COUNTED : SAMPLE);
    if (!all)
        params_add_int8(&params, SAMPLE);
    rc = exec_on_documents(plan, all ? sql_plan_pick_all : sql_plan_pick, &params, &picked, err);
    if (rc == RC_OK) {
        sample.entries = calloc((size_t)result_rows(picked) + 1, sizeof *sample.entries);
        sample.arena = arena_new(0);
        if (!sample.entries || !sample.arena)
            rc = err_memory(err);
    }
    int row = 0;
    while (rc == RC_OK && row < result_rows(picked) && clock_now_ms() - begun < READ_MAX_MS &&
           !(plan->stop && atomic_load(plan->stop))) {
        int count = result_rows(picked) - row < READ_BATCH ? result_rows(picked) - row : READ_BATCH;
        rc = read_picked(plan, picked, row, count, &sample, err);
        row += count;
    }
    if (rc == RC_OK) {
        sample.all = all && row == result_rows(picked);
        if (sample.all && sample.count > 1)
            qsort(sample.entries, sample.count, sizeof *sample.entries, by_place);
        double sum = 0;
        for (size_t i = 0; i < sample.count; i++)
            sum += (double)sample.entries[i].tokens;
        sample.tokens = sample.count > 0 ? sum / (double)sample.count : 0;
        *ret_sample = sample;
    } else {
        plan_sample_free(&sample);
    }
    PQclear(picked);
    params_clear(&params);
    return rc;
}

void
plan_sample_free(struct plan_sample *sample)
{
    free(sample->entries);
    arena_free(sample->arena);
    *sample = (struct plan_sample){0};
}
