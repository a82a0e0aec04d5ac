/* What the migration will cost: documents are counted, tokens are those of a random sample, the rest follows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "coordinator/command_session.h"
#include "coordinator/plan.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"

enum { SAMPLE = 1000, READ_BATCH = 100, PROBE = 16 };

/* A document of the sample, as a request would hold it. */
struct sampled {
    size_t tokens; /* 0: it will not be sent */
    size_t bytes;
};

struct estimate {
    struct plan *plan;
    int64_t documents;
    struct sampled *sample; /* owned, SAMPLE entries */
    size_t count;
    struct arena *arena;          /* owned; of the probe's documents */
    struct document probe[PROBE]; /* the first of the sample that have text */
    size_t probe_tokens;          /* of them, as counted here */
    size_t probe_count;
    double tokens_a_document; /* < 0: unknown */
    double rate;              /* documents a second of one request after the other; < 0: not measured */
};

/* --- reading --- */

static enum rc
exec_on_documents(struct estimate *e, const char *text, const struct params *params, PGresult **ret_result,
                  struct err *err)
{
    const PGresult *d = e->plan->documents;
    const struct template_value values[] = {
        {"docs", result_string(d, 0, "docs_table")}, {"alias", result_string(d, 0, "docs_alias")},
        {"id", result_string(d, 0, "id_column")},    {"id_type", result_string(d, 0, "id_type")},
        {"content", result_string(d, 0, "content")}, {"filter", result_string(d, 0, "filter")},
    };
    char *sql = NULL;
    enum rc rc = template_render(text, values, sizeof values / sizeof *values, &sql, err);

    if (rc == RC_OK)
        rc = command_exec(NULL, e->plan->db, sql, params, ret_result, err);
    free(sql);
    return rc;
}

static enum rc
count_documents(struct estimate *e, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = db_set_timeouts(e->plan->db, DB_NO_TIMEOUT, DB_NO_TIMEOUT, err);

    if (rc == RC_OK)
        rc = exec_on_documents(e, sql_plan_count, NULL, &result, err);
    if (rc == RC_OK)
        e->documents = result_int64(result, 0, "documents");
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
measure(struct estimate *e, const struct db_text *body, struct err *err)
{
    struct embedder *embedder = e->plan->embedder;
    const char *prefix = embed_prefix(embedder, false);
    struct sampled *sampled = &e->sample[e->count++];
    size_t prefix_length = strlen(prefix);
    struct embed_limits limits;

    *sampled = (struct sampled){0};
    if (is_blank(body))
        return RC_OK;
    char *text = malloc(prefix_length + body->length);
    if (!text)
        return err_memory(err);
    memcpy(text, prefix, prefix_length);
    memcpy(text + prefix_length, body->bytes, body->length);
    sampled->bytes = prefix_length + body->length;
    sampled->tokens = embedder_count_tokens(embedder, text, sampled->bytes);
    free(text);

    embedder_limits(embedder, &limits);
    if (limits.max_text_tokens && sampled->tokens > limits.max_text_tokens)
        sampled->tokens = embedder_options(embedder)->on_too_long == POLICY_TRUNCATE ? limits.max_text_tokens : 0;
    if (sampled->tokens > 0 && e->probe_count < PROBE) {
        struct document *document = &e->probe[e->probe_count++];
        *document = (struct document){.bytes = arena_copy(e->arena, body->bytes, body->length), .length = body->length};
        e->probe_tokens += sampled->tokens;
        if (!document->bytes)
            return err_memory(err);
    }
    return RC_OK;
}

static enum rc
read_sample(struct estimate *e, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *picked = NULL, *rows = NULL;
    struct doc_key ids[READ_BATCH];

    params_add_int8(&params, SAMPLE);
    enum rc rc = exec_on_documents(e, sql_plan_pick, &params, &picked, err);
    for (int row = 0; rc == RC_OK && row < result_rows(picked);) {
        size_t count = 0;
        while (count < READ_BATCH && row < result_rows(picked))
            ids[count++] = result_key(picked, row++, "id");
        params_reset(&params);
        params_add_key_array(&params, result_type(picked, "id"), ids, count);
        params_add_int4(&params, provider_content_limit(e->plan->embedder));
        rc = exec_on_documents(e, sql_plan_read, &params, &rows, err);
        for (int i = 0; rc == RC_OK && i < result_rows(rows); i++) {
            struct db_text body = result_text(rows, i, "body");
            rc = measure(e, &body, err);
        }
        PQclear(rows);
        rows = NULL;
    }
    PQclear(picked);
    params_clear(&params);
    return rc;
}

/* --- requests --- */

static int
by_tokens(const void *left, const void *right)
{
    size_t a = ((const struct sampled *)left)->tokens, b = ((const struct sampled *)right)->tokens;
    return a < b ? -1 : a > b;
}

static bool
over(size_t value, size_t limit)
{
    return limit > 0 && value > limit;
}

/* Requests that one batch is cut into under the provider's limits, in the order in which the worker fills them. */
static size_t
requests_of_batch(const struct sampled *batch, size_t count, const struct embed_limits *limits)
{
    size_t requests = 0, items = 0, tokens = 0, bytes = 0, longest = 0;

    for (size_t i = 0; i < count; i++) {
        const struct sampled *s = &batch[i];
        if (s->tokens == 0)
            continue;
        size_t most = s->tokens > longest ? s->tokens : longest;
        if (items == 0 || over(items + 1, limits->max_items) || over(tokens + s->tokens, limits->max_request_tokens) ||
            over(bytes + s->bytes, limits->max_request_bytes) || over(most * (items + 1), limits->max_padded_tokens)) {
            requests++;
            items = tokens = bytes = 0;
            most = s->tokens;
        }
        items++;
        tokens += s->tokens;
        bytes += s->bytes;
        longest = most;
    }
    return requests;
}

/* < 0: unknown. Batches are filled from the sample, which is gone through as often as it takes. */
static double
count_requests(const struct estimate *e, struct err *err, enum rc *ret_rc)
{
    size_t size = (size_t)e->plan->file->backfill.batch_size;
    size_t batches, next = 0, requests = 0;
    struct embed_limits limits;

    if (e->count == 0)
        return 0;
    if ((int64_t)size > e->documents)
        size = (size_t)e->documents;
    batches = e->count / size > 0 ? e->count / size : 1;
    struct sampled *batch = calloc(size, sizeof *batch);
    if (!batch) {
        *ret_rc = err_memory(err);
        return -1;
    }
    embedder_limits(e->plan->embedder, &limits);
    for (size_t b = 0; b < batches; b++) {
        for (size_t i = 0; i < size; i++)
            batch[i] = e->sample[next++ % e->count];
        if (limits.sort_by_length)
            qsort(batch, size, sizeof *batch, by_tokens);
        requests += requests_of_batch(batch, size, &limits);
    }
    free(batch);
    return ceil((double)e->documents * e->plan->share / (double)size) * (double)requests / (double)batches;
}

/* --- the probe --- */

static enum rc
probe(struct estimate *e, cJSON **ret_probe, struct err *err)
{
    const struct embed_policy policy = {
        .retry = {.attempts = 2}, .canary = provider_canary, .canary_length = strlen(provider_canary)};
    size_t dimensions = (size_t)e->plan->file->target.dimensions;
    struct document_result results[PROBE];
    struct embed_usage usage = {0};
    struct embed_session *session = NULL;
    float *vectors = calloc(PROBE * dimensions, sizeof *vectors);
    enum rc rc;

    if (!vectors)
        return err_memory(err);
    if ((rc = embed_session_open(e->plan->embedder, &session, err)) != RC_OK)
        goto out;
    int64_t begun = clock_now_us();
    rc = embed_documents(session, &policy, e->probe, e->probe_count, dimensions, vectors, results, &usage, e->arena,
                         err);
    double seconds = (double)(clock_now_us() - begun) / 1e6;
    if (rc != RC_OK) {
        plan_fails(e->plan, "probe", rc, err);
        rc = RC_OK;
        goto out;
    }
    double tokens = usage.tokens > 0 ? (double)usage.tokens : (double)e->probe_tokens;
    if (seconds > 0)
        e->rate = (double)e->probe_count / seconds;
    /* what a server counts corrects an estimate by bytes */
    struct embed_limits limits;
    embedder_limits(e->plan->embedder, &limits);
    if (!limits.exact_tokens && e->probe_tokens > 0)
        e->tokens_a_document *= tokens / (double)e->probe_tokens;

    cJSON *report = cJSON_CreateObject();
    if (!report || !cJSON_AddNumberToObject(report, "documents", (double)e->probe_count) ||
        !cJSON_AddNumberToObject(report, "seconds", seconds) ||
        !cJSON_AddNumberToObject(report, "documents_per_second", e->rate > 0 ? e->rate : 0) ||
        !cJSON_AddNumberToObject(report, "tokens_per_document", tokens / (double)e->probe_count)) {
        cJSON_Delete(report);
        rc = err_memory(err);
        goto out;
    }
    *ret_probe = report;
out:
    embed_session_close(session);
    free(vectors);
    return rc;
}

/* Requests to a server overlap; a model in this process has only the machine's cores, and ONNX Runtime uses all of them
 * for one request unless it is told otherwise. */
static double
requests_at_once(const struct plan *plan)
{
    const struct provider_options *provider = &plan->file->target.provider;
    double wanted = (double)plan->file->backfill.max_concurrent;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (provider->kind == PROVIDER_OPENAI)
        return wanted;
    if (provider->kind == PROVIDER_ONNX && provider->threads == 0)
        return 1;
    double room = (double)(cores > 0 ? cores : 1) / (provider->threads > 0 ? provider->threads : 1);
    return fmax(1, fmin(wanted, room));
}

/* The slowest of what was measured and what the file allows; < 0: unknown. */
static double
seconds_of(const struct estimate *e, double documents, double requests, double tokens)
{
    const struct migration_limits *limits = &e->plan->file->limits;
    double seconds = -1;

    if (e->rate > 0)
        seconds = documents / (e->rate * requests_at_once(e->plan));
    if (limits->requests_per_minute.given && requests >= 0)
        seconds = fmax(seconds, requests / limits->requests_per_minute.value * 60);
    if (limits->tokens_per_minute.given && tokens >= 0)
        seconds = fmax(seconds, tokens / limits->tokens_per_minute.value * 60);
    if (limits->max_documents_per_second.given)
        seconds = fmax(seconds, documents / limits->max_documents_per_second.value);
    return seconds;
}

/* --- the report --- */

static const char *
index_method(const struct plan *plan)
{
    if (plan->migration && plan->migration->index_method)
        return plan->migration->index_method;
    return plan->file->target.index.method == INDEX_AS_SOURCE
               ? NULL
               : migration_index_method_name(plan->file->target.index.method);
}

static void
check_budget(struct plan *plan, double tokens, double cost)
{
    const struct migration_limits *limits = &plan->file->limits;

    if (limits->max_tokens.given && tokens > limits->max_tokens.value)
        plan_warns(plan, "budget", "raise limits.max_tokens, or resume with a higher one when the run has paused",
                   "about %.0f tokens are needed, limits.max_tokens is %.0f: the run will pause", tokens,
                   limits->max_tokens.value);
    if (limits->max_cost.given && cost > limits->max_cost.value)
        plan_warns(plan, "budget", "raise limits.max_cost, or resume with a higher one when the run has paused",
                   "it costs about %.2f, limits.max_cost is %.2f: the run will pause", cost, limits->max_cost.value);
}

static enum rc
report(struct estimate *e, cJSON **ret_estimate, struct err *err)
{
    struct plan *plan = e->plan;
    const struct migration_limits *limits = &plan->file->limits;
    double documents = (double)e->documents, left = documents * plan->share;
    double tokens = e->tokens_a_document < 0 ? -1 : e->tokens_a_document * left;
    enum rc rc = RC_OK;
    double requests = plan->embedder ? count_requests(e, err, &rc) : -1;
    double cost = limits->price_per_million_tokens.given && tokens >= 0
                      ? tokens * limits->price_per_million_tokens.value / 1e6
                      : -1;
    struct plan_size size;

    if (rc != RC_OK)
        return rc;
    plan_size(&plan->file->target, result_string(plan->documents, 0, "id_type"), index_method(plan), documents,
              plan->share, !plan->migration || plan->index, &size);
    check_budget(plan, tokens, cost);
    const struct {
        const char *key;
        double value; /* < 0: null */
        bool whole;
    } figures[] = {
        {"documents", documents, true},
        {"tokens", tokens, true},
        {"requests", requests, true},
        {"cost", cost, false},
        {"seconds", seconds_of(e, left, requests, tokens), false},
        {"table_bytes", size.table_bytes, true},
        {"wal_bytes", size.wal_bytes, true},
        {"index_bytes", size.index_bytes, true},
        {"index_memory_bytes", size.index_memory_bytes, true},
    };
    cJSON *estimate = cJSON_CreateObject();
    bool built = estimate != NULL;
    for (size_t i = 0; built && i < sizeof figures / sizeof figures[0]; i++)
        built = figures[i].value < 0
                    ? cJSON_AddNullToObject(estimate, figures[i].key) != NULL
                    : cJSON_AddNumberToObject(estimate, figures[i].key,
                                              figures[i].whole ? ceil(figures[i].value) : figures[i].value) != NULL;
    if (!built) {
        cJSON_Delete(estimate);
        return err_memory(err);
    }
    *ret_estimate = estimate;
    return RC_OK;
}

static double
mean_tokens(const struct estimate *e)
{
    double sum = 0;

    for (size_t i = 0; i < e->count; i++)
        sum += (double)e->sample[i].tokens;
    return e->count > 0 ? sum / (double)e->count : 0;
}

enum rc
plan_estimate(struct plan *plan, cJSON **ret_estimate, cJSON **ret_probe, double *ret_documents, struct err *err)
{
    struct estimate e = {.plan = plan, .tokens_a_document = -1, .rate = -1};
    enum rc rc = RC_OK;

    if (!plan->db || !plan->documents)
        return RC_OK;
    e.sample = calloc(SAMPLE, sizeof *e.sample);
    e.arena = arena_new(0);
    if (!e.sample || !e.arena)
        rc = err_memory(err);
    if (rc == RC_OK && (rc = count_documents(&e, err)) == RC_OK && plan->embedder &&
        (rc = read_sample(&e, err)) == RC_OK) {
        e.tokens_a_document = mean_tokens(&e);
        if (plan->options->probe && plan->embeds && e.probe_count > 0)
            rc = probe(&e, ret_probe, err);
    }
    if (rc != RC_OK && rc != RC_FATAL) {
        plan_fails(plan, "documents", rc, err);
        rc = RC_OK;
    } else if (rc == RC_OK) {
        *ret_documents = (double)e.documents;
        rc = report(&e, ret_estimate, err);
    }
    arena_free(e.arena);
    free(e.sample);
    return rc;
}
