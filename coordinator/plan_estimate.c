/* What the migration will cost: documents are counted, tokens are those of a random sample or of all of a small
 * collection, the rest follows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/plan_sample.h"
#include "coordinator/provider.h"
#include "db/result.h"
#include "db/statements.h"
#include "db/template.h"

struct estimate {
    struct plan *plan;
    int64_t documents;
    struct plan_sample sample;
    double requests;   /* < 0: unknown */
    double tokens;     /* of what is still to be embedded; < 0: unknown */
    double rate;       /* documents a second of one request after the other; < 0: not measured */
    const char *basis; /* of the tokens: "counted", "sampled", "estimated" (four bytes a token), "probed" */
};

/* --- requests --- */

static int
by_tokens(const void *left, const void *right)
{
    const struct sampled *a = left, *b = right;

    if (a->tokens != b->tokens)
        return a->tokens < b->tokens ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static int
by_hash(const void *left, const void *right)
{
    const struct sampled *a = left, *b = right;

    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static int
by_place(const void *left, const void *right)
{
    int64_t a = ((const struct sampled *)left)->place, b = ((const struct sampled *)right)->place;
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

/* Of equal texts of a batch only the first is sent. */
static void
drop_repeated(struct sampled *batch, size_t count)
{
    qsort(batch, count, sizeof *batch, by_hash);
    for (size_t i = 1, first = 0; i < count; i++) {
        if (batch[i].hash == batch[first].hash && batch[i].bytes == batch[first].bytes)
            batch[i].tokens = 0;
        else
            first = i;
    }
    qsort(batch, count, sizeof *batch, by_place);
}

/* Batches are filled as the reader fills them where all documents are known; else from the sample, which is gone
 * through as often as it takes. */
static enum rc
count_requests(struct estimate *e, struct err *err)
{
    const struct plan_sample *sample = &e->sample;
    double left = (double)e->documents * e->plan->share;
    size_t size = (size_t)e->plan->file->backfill.batch_size, batches, next = 0, requests = 0, tokens = 0;
    struct embed_limits limits;

    e->requests = e->tokens = 0;
    if (sample->count == 0)
        return RC_OK;
    if (size > (size_t)e->documents)
        size = (size_t)e->documents;
    batches = sample->all ? (sample->count + size - 1) / size : sample->count / size;
    batches = batches > 0 ? batches : 1;
    struct sampled *batch = calloc(size, sizeof *batch);
    if (!batch)
        return err_memory(err);
    embedder_limits(e->plan->embedder, &limits);
    for (size_t b = 0; b < batches; b++) {
        size_t count = 0;
        while (count < size && (!sample->all || next < sample->count))
            batch[count++] = sample->entries[next++ % sample->count];
        if (sample->all)
            drop_repeated(batch, count);
        if (limits.sort_by_length)
            qsort(batch, count, sizeof *batch, by_tokens);
        requests += requests_of_batch(batch, count, &limits);
        for (size_t i = 0; i < count; i++)
            tokens += batch[i].tokens;
    }
    free(batch);
    if (sample->all) {
        e->requests = ceil((double)requests * e->plan->share);
        e->tokens = (double)tokens * e->plan->share;
    } else {
        e->requests = ceil(left / (double)size) * (double)requests / (double)batches;
        e->tokens = sample->tokens * left;
    }
    e->basis = !limits.exact_tokens ? "estimated" : sample->all ? "counted" : "sampled";
    return RC_OK;
}

/* --- the probe --- */

static enum rc
probe(struct estimate *e, cJSON **ret_probe, struct err *err)
{
    const struct embed_policy policy = {
        .retry = {.attempts = 2}, .canary = provider_canary, .canary_length = strlen(provider_canary)};
    size_t dimensions = (size_t)e->plan->file->target.dimensions;
    struct plan_sample *sample = &e->sample;
    struct document_result results[PLAN_PROBE];
    struct embed_usage usage = {0};
    struct embed_session *session = NULL;
    float *vectors = calloc(PLAN_PROBE * dimensions, sizeof *vectors);
    enum rc rc;

    if (!vectors)
        return err_memory(err);
    if ((rc = embed_session_open(e->plan->embedder, &session, err)) != RC_OK)
        goto out;
    int64_t begun = clock_now_us();
    rc = embed_documents(session, &policy, sample->probe, sample->probe_count, dimensions, vectors, results, &usage,
                         sample->arena, err);
    double seconds = (double)(clock_now_us() - begun) / 1e6;
    if (rc != RC_OK) {
        plan_fails(e->plan, "probe", rc, err);
        rc = RC_OK;
        goto out;
    }
    double tokens = usage.tokens > 0 ? (double)usage.tokens : (double)sample->probe_tokens;
    if (seconds > 0)
        e->rate = (double)sample->probe_count / seconds;
    /* what a server counts corrects an estimate by bytes */
    struct embed_limits limits;
    embedder_limits(e->plan->embedder, &limits);
    if (!limits.exact_tokens && sample->probe_tokens > 0) {
        e->tokens *= tokens / (double)sample->probe_tokens;
        e->basis = "probed";
    }

    cJSON *report = cJSON_CreateObject();
    if (!report || !cJSON_AddNumberToObject(report, "documents", (double)sample->probe_count) ||
        !cJSON_AddNumberToObject(report, "seconds", seconds) ||
        !cJSON_AddNumberToObject(report, "documents_per_second", e->rate > 0 ? e->rate : 0) ||
        !cJSON_AddNumberToObject(report, "tokens_per_document", tokens / (double)sample->probe_count)) {
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
check_budget(struct estimate *e, double cost)
{
    struct plan *plan = e->plan;
    const struct migration_limits *limits = &plan->file->limits;
    struct err err = ERR_INIT;

    if (limits->max_tokens.given && e->tokens > limits->max_tokens.value)
        plan_warns(plan, "budget", "raise limits.max_tokens, or resume with a higher one when the run has paused",
                   "about %.0f tokens are needed, limits.max_tokens is %.0f: the run will pause", e->tokens,
                   limits->max_tokens.value);
    if (!limits->max_cost.given || cost <= limits->max_cost.value)
        return;
    if (plan->begun) {
        plan_warns(plan, "budget", "raise limits.max_cost, or resume with a higher one when the run has paused",
                   "it costs about another %.4g, limits.max_cost is %.4g: the run will pause", cost,
                   limits->max_cost.value);
        return;
    }
    (void)err_set(&err, RC_REFUSED, ERR_STATE, "it would cost about %.4g, limits.max_cost is %.4g: nothing is begun",
                  cost, limits->max_cost.value);
    err_hint(&err,
             "raise limits.max_cost, or choose fewer documents or another model; to stop in the middle: max_tokens");
    plan_fails_with(plan, "budget", EXIT_PAUSED, &err);
}

/* What the server gives to the build of an index. */
static enum rc
read_memory(struct plan *plan, struct index_means *ret_means, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc = command_exec(NULL, plan->db, sql_plan_settings, NULL, &result, err);

    if (rc == RC_OK)
        *ret_means = (struct index_means){.memory_bytes = result_float64(result, 0, "maintenance_work_mem"),
                                          .workers = (int)result_int64(result, 0, "parallel_workers")};
    PQclear(result);
    return rc;
}

static void
check_memory(struct plan *plan, const struct plan_size *size, const struct index_means *means)
{
    char fix[256];
    double wanted = ceil(size->index_memory_bytes * 1.1 / 1e6);

    if (size->index_bytes <= 0 || size->index_memory_bytes <= means->memory_bytes) {
        if (size->index_bytes > 0)
            plan_holds(plan, "index memory", "the index is built in memory: %.0f of %.0f MB (maintenance_work_mem)",
                       ceil(size->index_memory_bytes / 1e6), means->memory_bytes / 1e6);
        return;
    }
    (void)snprintf(fix, sizeof fix, "for the role that runs it: ALTER ROLE ... SET maintenance_work_mem = '%.0fMB'",
                   ceil(wanted * 1e6 / 1048576));
    plan_warns(
        plan, "index memory", fix,
        "building the index wants %.0f MB, maintenance_work_mem is %.0f MB: it is built, but takes many times as "
        "long",
        ceil(size->index_memory_bytes / 1e6), means->memory_bytes / 1e6);
}

static bool
add_figure(cJSON *object, const char *key, double value, bool whole)
{
    if (value < 0)
        return cJSON_AddNullToObject(object, key) != NULL;
    return cJSON_AddNumberToObject(object, key, whole ? ceil(value) : value) != NULL;
}

static enum rc
report(struct estimate *e, cJSON **ret_estimate, struct err *err)
{
    struct plan *plan = e->plan;
    const struct migration_limits *limits = &plan->file->limits;
    double documents = (double)e->documents, left = documents * plan->share;
    double cost = limits->price_per_million_tokens.given && e->tokens >= 0
                      ? e->tokens * limits->price_per_million_tokens.value / 1e6
                      : -1;
    bool index_missing = !plan->migration || plan->index;
    struct plan_size size;
    struct index_means means = {0};
    enum rc rc = read_memory(plan, &means, err);

    if (rc != RC_OK)
        return rc;
    plan_size(&plan->file->target, result_string(plan->documents, 0, "id_type"), index_method(plan), documents,
              plan->share, index_missing, &size);
    check_budget(e, cost);
    if (index_missing)
        check_memory(plan, &size, &means);
    bool placed = plan->file->target.placement == PLACEMENT_COLUMN;
    double wal_column = size.wal_bytes + plan_column_wal(plan, documents);
    const struct {
        const char *key;
        double value; /* < 0: null */
        bool whole;
    } figures[] = {
        {"documents", documents, true},
        {"tokens", e->tokens, true},
        {"requests", e->requests, true},
        {"cost", cost, false},
        {"seconds", seconds_of(e, left, e->requests, e->tokens), false},
        {"table_bytes", size.table_bytes, true},
        {"wal_bytes", placed ? wal_column : size.wal_bytes, true},
        {"wal_side_bytes", size.wal_bytes, true},
        {"wal_column_bytes", wal_column, true},
        {"index_bytes", size.index_bytes, true},
        {"index_memory_bytes", size.index_memory_bytes, true},
        {"maintenance_work_mem_bytes", means.memory_bytes, true},
        {"index_seconds",
         index_missing ? index_seconds(&plan->file->target, index_method(plan), &size, documents, &means) : 0, false},
    };
    cJSON *estimate = cJSON_CreateObject();
    bool built = estimate != NULL;
    for (size_t i = 0; built && i < sizeof figures / sizeof figures[0]; i++)
        built = add_figure(estimate, figures[i].key, figures[i].value, figures[i].whole);
    built = built && (e->basis ? cJSON_AddStringToObject(estimate, "tokens_basis", e->basis)
                               : cJSON_AddNullToObject(estimate, "tokens_basis")) != NULL;
    built = built && cJSON_AddNumberToObject(estimate, "sampled", (double)e->sample.count) != NULL;
    if (!built) {
        cJSON_Delete(estimate);
        return err_memory(err);
    }
    *ret_estimate = estimate;
    return RC_OK;
}

/* Less what a former migration to the same model left in the table that this one will take up. */
static enum rc
discount_taken_up(struct estimate *e, struct err *err)
{
    struct plan *plan = e->plan;
    PGresult *result = NULL;
    char *sql = NULL;
    bool there = false;

    if (!plan->migration || plan->begun || plan->migration->target.id == 0 || e->documents == 0)
        return RC_OK;
    enum rc rc = plan_is_there(plan, plan->migration->target.table, &there, err);
    if (rc != RC_OK || !there)
        return rc;
    const struct template_value value = {"target", plan->migration->target.table};
    rc = template_render(sql_plan_taken_up, &value, 1, &sql, err);
    if (rc == RC_OK)
        rc = command_exec(NULL, plan->db, sql, NULL, &result, err);
    if (rc == RC_OK)
        plan->share *= fmax(0, 1 - (double)result_int64(result, 0, "vectors") / (double)e->documents);
    PQclear(result);
    free(sql);
    return rc;
}

static enum rc
make(struct estimate *e, cJSON **ret_estimate, cJSON **ret_probe, struct err *err)
{
    struct plan *plan = e->plan;
    enum rc rc = db_set_timeouts(plan->db, DB_NO_TIMEOUT, DB_NO_TIMEOUT, err);

    if (rc != RC_OK || (rc = plan_count_documents(plan, &e->documents, err)) != RC_OK ||
        (rc = discount_taken_up(e, err)) != RC_OK)
        return rc;
    if (plan->embedder) {
        if ((rc = plan_sample_read(plan, e->documents, &e->sample, err)) != RC_OK ||
            (rc = count_requests(e, err)) != RC_OK)
            return rc;
        if (plan->options->probe && plan->embeds && e->sample.probe_count > 0 &&
            (rc = probe(e, ret_probe, err)) != RC_OK)
            return rc;
    }
    return report(e, ret_estimate, err);
}

enum rc
plan_estimate(struct plan *plan, cJSON **ret_estimate, cJSON **ret_probe, double *ret_documents, struct err *err)
{
    struct estimate e = {.plan = plan, .requests = -1, .tokens = -1, .rate = -1};

    if (!plan->db || !plan->documents)
        return RC_OK;
    enum rc rc = make(&e, ret_estimate, ret_probe, err);
    if (rc != RC_OK && rc != RC_FATAL) {
        plan_fails(plan, "documents", rc, err);
        rc = RC_OK;
    } else if (rc == RC_OK) {
        *ret_documents = (double)e.documents;
    }
    plan_sample_free(&e.sample);
    return rc;
}
