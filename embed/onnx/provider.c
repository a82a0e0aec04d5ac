/* Models in process, by ONNX Runtime. An embedder holds the graph, the tokenizer and the threads that run it; a session
 * only the scratch memory of the tokenizer. One call may hold a whole batch: its texts are sorted and cut into groups
 * of nearly equal length here (embed/onnx/groups.h). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "embed/embedder.h"
#include "embed/onnx/graph.h"
#include "embed/onnx/groups.h"
#include "embed/onnx/model_folder.h"
#include "embed/onnx/pool_vectors.h"
#include "embed/onnx/runner.h"

enum { MAX_THREADS = 1024 };

struct onnx {
    const struct provider_options *options;
    struct model_folder folder;
    struct graph *graph;
    struct runner *runner;
    size_t dimensions;
};

struct onnx_session {
    struct onnx *onnx;
    struct wordpiece_ids ids;
};

/* A call on its way through the runner. Groups write different rows, so nothing here needs a lock. */
struct onnx_job {
    const struct onnx *onnx;
    const struct text_group *groups;
    const uint32_t **ids;    /* by length */
    const uint32_t *lengths; /* ascending */
    const size_t *text;      /* which text of the call it is */
    float *vectors;
    struct text_result *results;
    const atomic_bool *cancel;
};

static enum rc
run_group(void *argument, size_t number, void *scratch, struct err *err)
{
    const struct onnx_job *job = argument;
    const struct onnx *onnx = job->onnx;
    const struct text_group *group = &job->groups[number];
    const struct graph_batch batch = {
        .ids = (const uint32_t *const *)job->ids + group->first,
        .lengths = job->lengths + group->first,
        .count = group->count,
        .length = group->longest,
        .pad_id = wordpiece_pad_id(onnx->folder.tokenizer),
    };
    struct graph_output output;
    enum rc rc;

    if (job->cancel && atomic_load_explicit(job->cancel, memory_order_relaxed))
        return err_set(err, RC_CLOSED, ERR_NONE, "cancelled");
    rc = graph_run(onnx->graph, &batch, scratch, &output, err);
    if (rc != RC_OK)
        return rc;
    if (output.dimensions != onnx->dimensions) {
        graph_release(onnx->graph, &output);
        return err_set(err, RC_FATAL, ERR_SYSTEM, "the model's output changed from %zu to %zu numbers",
                       onnx->dimensions, output.dimensions);
    }
    for (size_t i = 0; i < group->count; i++) {
        size_t text = job->text[group->first + i];
        float *vector = job->vectors + text * onnx->dimensions;

        if (output.rank == 3)
            pool_tokens(output.numbers + i * group->longest * onnx->dimensions, batch.lengths[i], onnx->dimensions,
                        onnx->folder.pooling, vector);
        else
            memcpy(vector, output.numbers + i * onnx->dimensions, onnx->dimensions * sizeof *vector);
        if (onnx->folder.normalize ? !vector_normalize(vector, onnx->dimensions)
                                   : !vector_is_valid(vector, onnx->dimensions)) {
            job->results[text].status = TEXT_INVALID_VECTOR;
            job->results[text].detail = "the model gave a vector that is not finite, or all zero";
        }
    }
    graph_release(onnx->graph, &output);
    return RC_OK;
}

static void
clear_scratch(void *scratch)
{
    graph_buffers_clear(scratch);
}

/* --- the embedder --- */

static void
close_onnx(void *state)
{
    struct onnx *onnx = state;

    onnx->runner = runner_close(onnx->runner);
    onnx->graph = graph_close(onnx->graph);
    model_folder_close(&onnx->folder);
    free(onnx);
}

/* Runs the shortest text there is: shows that the graph works, and how many numbers it gives. */
static enum rc
measure_dimensions(struct onnx *onnx, struct err *err)
{
    struct wordpiece_ids ids = {.ids = NULL};
    struct graph_buffers buffers = {.capacity = 0};
    struct graph_output output;
    enum rc rc = wordpiece_encode(onnx->folder.tokenizer, "a", 1, 0, &ids);

    if (rc != RC_OK)
        return err_memory(err);
    uint32_t length = (uint32_t)ids.count;
    const uint32_t *row = ids.ids;
    const struct graph_batch batch = {.ids = &row, .lengths = &length, .count = 1, .length = length};
    rc = graph_run(onnx->graph, &batch, &buffers, &output, err);
    if (rc == RC_OK) {
        onnx->dimensions = output.dimensions;
        graph_release(onnx->graph, &output);
    } else if (err) {
        rc = RC_INVALID;
        err->class = ERR_USAGE;
        err_hint(err, "%s may not fit its tokenizer, or is no sentence encoder", onnx->folder.graph);
    }
    graph_buffers_clear(&buffers);
    wordpiece_ids_free(&ids);
    return rc;
}

static enum rc
check_dimensions(const struct onnx *onnx, struct err *err)
{
    size_t wanted = onnx->options->dimensions;

    if (wanted == 0 || wanted == onnx->dimensions)
        return RC_OK;
    err_set(err, RC_INVALID, ERR_USAGE, "the model in %s has %zu dimensions, not %zu", onnx->options->path,
            onnx->dimensions, wanted);
    err_hint(err, "set \"dimensions\" to %zu, or correct \"path\"", onnx->dimensions);
    return RC_INVALID;
}

static enum rc
open_onnx(const struct provider_options *options, void **ret_state, struct err *err)
{
    struct onnx *onnx = calloc(1, sizeof *onnx);
    struct runner_options runner = {
        .threads = options->threads > 0 ? (size_t)options->threads : runner_cores(),
        .scratch_size = sizeof(struct graph_buffers),
        .scratch_clear = clear_scratch,
        .run = run_group,
    };
    struct graph_options graph = {.output = options->output, .library = options->library};
    enum rc rc;

    if (!onnx)
        return err_memory(err);
    onnx->options = options;
    graph.path = onnx->folder.graph;
    if (options->threads < 0 || options->threads > MAX_THREADS)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "threads is %d; it must be from 1 to %d, or 0 for all cores",
                     options->threads, MAX_THREADS);
    else if ((rc = model_folder_open(options, &onnx->folder, err)) == RC_OK &&
             (rc = graph_open(&graph, &onnx->graph, err)) == RC_OK && (rc = measure_dimensions(onnx, err)) == RC_OK &&
             (rc = check_dimensions(onnx, err)) == RC_OK)
        rc = runner_open(&runner, &onnx->runner, err);
    if (rc != RC_OK) {
        close_onnx(onnx);
        return rc;
    }
    *ret_state = onnx;
    return RC_OK;
}

static size_t
onnx_dimensions(const void *state)
{
    return ((const struct onnx *)state)->dimensions;
}

/* No limits of a request: what is given is cut into runs of bounded size. */
static void
onnx_limits(void *state, struct embed_limits *ret_limits)
{
    const struct onnx *onnx = state;

    *ret_limits = (struct embed_limits){
        .max_text_tokens = onnx->folder.max_tokens,
        .cuts = onnx->options->on_too_long == POLICY_TRUNCATE,
        .exact_tokens = true,
    };
}

static size_t
onnx_count_tokens(void *state, const char *bytes, size_t length)
{
    const struct onnx *onnx = state;
    struct wordpiece_ids ids = {.ids = NULL};
    size_t count = 0;

    if (wordpiece_encode(onnx->folder.tokenizer, bytes, length, 0, &ids) == RC_OK)
        count = ids.count;
    wordpiece_ids_free(&ids);
    return count;
}

static enum rc
open_session(void *state, void **ret_session, struct err *err)
{
    struct onnx_session *session = calloc(1, sizeof *session);

    if (!session)
        return err_memory(err);
    session->onnx = state;
    *ret_session = session;
    return RC_OK;
}

static void
close_session(void *state)
{
    struct onnx_session *session = state;

    wordpiece_ids_free(&session->ids);
    free(session);
}

/* --- one call --- */

struct tokenized {
    const uint32_t *ids;
    uint32_t length;
    size_t text;
};

static int
compare_tokenized(const void *left, const void *right)
{
    const struct tokenized *a = left, *b = right;

    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return a->text < b->text ? -1 : a->text > b->text;
}

/* Fills `out` with the texts that are to be run and the results of those that are not. RC_FATAL without memory. */
static enum rc
tokenize(struct onnx_session *session, const struct text *texts, size_t count, struct text_result *results,
         struct tokenized *out, size_t *ret_count, struct arena *arena, struct err *err)
{
    const struct onnx *onnx = session->onnx;
    const struct wordpiece *tokenizer = onnx->folder.tokenizer;
    struct wordpiece_ids *ids = &session->ids;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        results[i] = (struct text_result){.status = TEXT_EMBEDDED};
        if (wordpiece_encode(tokenizer, texts[i].bytes, texts[i].length, onnx->folder.max_tokens, ids) != RC_OK)
            return err_memory(err);
        if (ids->truncated && onnx->options->on_too_long != POLICY_TRUNCATE) {
            results[i].status = TEXT_TOO_LONG;
            results[i].detail = arena_printf(arena, "content too large: %zu tokens (max %zu)",
                                             onnx_count_tokens(session->onnx, texts[i].bytes, texts[i].length),
                                             onnx->folder.max_tokens);
            continue;
        }
        if (ids->count == 0) { /* no special tokens, and nothing in the text that gives one */
            results[i].status = TEXT_REJECTED;
            results[i].detail = "the text gives no token";
            continue;
        }
        uint32_t *copy = arena_array(arena, ids->count, sizeof *copy);
        if (!copy)
            return err_memory(err);
        memcpy(copy, ids->ids, ids->count * sizeof *copy);
        results[i].truncated = ids->truncated;
        results[i].tokens = (uint32_t)ids->count;
        out[kept++] = (struct tokenized){.ids = copy, .length = (uint32_t)ids->count, .text = i};
    }
    *ret_count = kept;
    return RC_OK;
}

static enum rc
run_texts(struct onnx_session *session, const struct tokenized *sorted, size_t count, struct onnx_job *job,
          struct arena *arena, struct err *err)
{
    const uint32_t **ids = arena_array(arena, count, sizeof *ids);
    uint32_t *lengths = arena_array(arena, count, sizeof *lengths);
    size_t *text = arena_array(arena, count, sizeof *text), group_count;
    struct text_group *groups = NULL;

    if (!ids || !lengths || !text)
        return err_memory(err);
    for (size_t i = 0; i < count; i++) {
        ids[i] = sorted[i].ids;
        lengths[i] = sorted[i].length;
        text[i] = sorted[i].text;
    }
    group_count = groups_cut(lengths, count, arena, &groups);
    if (group_count == 0)
        return err_memory(err);
    job->ids = ids;
    job->lengths = lengths;
    job->text = text;
    job->groups = groups;
    return runner_run(session->onnx->runner, job, group_count, err);
}

static enum rc
onnx_embed(void *state, const struct text *texts, size_t count, size_t dimensions, float *vectors,
           struct text_result *results, struct request_outcome *ret_outcome, const atomic_bool *cancel,
           struct arena *arena, struct err *err)
{
    struct onnx_session *session = state;
    const struct onnx *onnx = session->onnx;
    struct onnx_job job = {.onnx = onnx, .vectors = vectors, .results = results, .cancel = cancel};
    struct tokenized *tokenized = arena_array(arena, count, sizeof *tokenized);
    size_t kept = 0;
    enum rc rc;

    if (dimensions != onnx->dimensions) {
        ret_outcome->failure = REQUEST_HALT;
        return err_set(err, RC_HALT, ERR_PROVIDER, "the model in %s has %zu dimensions, not %zu", onnx->options->path,
                       onnx->dimensions, dimensions);
    }
    rc = tokenized ? tokenize(session, texts, count, results, tokenized, &kept, arena, err) : err_memory(err);
    if (rc == RC_OK && kept > 0) {
        qsort(tokenized, kept, sizeof *tokenized, compare_tokenized);
        rc = run_texts(session, tokenized, kept, &job, arena, err);
    }
    if (rc != RC_OK) {
        ret_outcome->failure = rc == RC_CLOSED ? REQUEST_CANCELLED : REQUEST_FATAL;
        return rc;
    }
    ret_outcome->usage.requests = 1;
    for (size_t i = 0; i < count; i++)
        ret_outcome->usage.tokens += results[i].tokens;
    return RC_OK;
}

const struct provider_ops onnx_provider = {
    .name = "onnx",
    .open = open_onnx,
    .close = close_onnx,
    .dimensions = onnx_dimensions,
    .limits = onnx_limits,
    .count_tokens = onnx_count_tokens,
    .session_open = open_session,
    .session_close = close_session,
    .embed = onnx_embed,
};
