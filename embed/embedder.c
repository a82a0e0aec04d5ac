#include "embed/embedder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"

struct embedder {
    const struct provider_ops *ops;
    struct provider_options options;
    void *state;
};

struct embed_session {
    struct embedder *embedder;
    void *state;
};

static const struct provider_ops *
provider_find(enum provider_kind kind)
{
    switch (kind) {
    case PROVIDER_HASHING:
        return &hashing_provider;
    case PROVIDER_ONNX:
        return &onnx_provider;
    case PROVIDER_OPENAI:
#ifdef REEMBED_WITH_HTTP
        return &http_provider;
#else
        return NULL;
#endif
    }
    return NULL;
}

enum rc
embedder_open(const struct provider_options *options, struct embedder **ret_embedder, struct err *err)
{
    const struct provider_ops *ops = provider_find(options->kind);

    if (!ops) {
        err_set(err, RC_INVALID, ERR_USAGE, "this build has no provider of kind \"%s\"",
                options->kind == PROVIDER_OPENAI ? "openai" : "?");
        err_hint(err, "build with libcurl, or use a provider of kind \"onnx\" or \"hashing\"");
        return RC_INVALID;
    }
    return embedder_open_provider(ops, options, ret_embedder, err);
}

enum rc
embedder_open_provider(const struct provider_ops *ops, const struct provider_options *options,
                       struct embedder **ret_embedder, struct err *err)
{
    struct embedder *embedder = calloc(1, sizeof *embedder);
    enum rc rc;

    if (!embedder)
        return err_memory(err);
    embedder->ops = ops;
    embedder->options = *options;
    rc = ops->open(&embedder->options, &embedder->state, err);
    if (rc != RC_OK) {
        free(embedder);
        return rc;
    }
    *ret_embedder = embedder;
    return RC_OK;
}

struct embedder *
embedder_close(struct embedder *embedder)
{
    if (embedder) {
        embedder->ops->close(embedder->state);
        free(embedder);
    }
    return NULL;
}

const struct provider_options *
embedder_options(const struct embedder *embedder)
{
    return &embedder->options;
}

size_t
embedder_dimensions(const struct embedder *embedder)
{
    return embedder->ops->dimensions(embedder->state);
}

void
embedder_limits(struct embedder *embedder, struct embed_limits *ret_limits)
{
    embedder->ops->limits(embedder->state, ret_limits);
}

size_t
embedder_count_tokens(struct embedder *embedder, const char *bytes, size_t length)
{
    return embedder->ops->count_tokens(embedder->state, bytes, length);
}

enum rc
embed_session_open(struct embedder *embedder, struct embed_session **ret_session, struct err *err)
{
    struct embed_session *session = calloc(1, sizeof *session);
    enum rc rc;

    if (!session)
        return err_memory(err);
    session->embedder = embedder;
    rc = embedder->ops->session_open(embedder->state, &session->state, err);
    if (rc != RC_OK) {
        free(session);
        return rc;
    }
    *ret_session = session;
    return RC_OK;
}

struct embed_session *
embed_session_close(struct embed_session *session)
{
    if (session) {
        session->embedder->ops->session_close(session->state);
        free(session);
    }
    return NULL;
}

struct embedder *
embed_session_embedder(const struct embed_session *session)
{
    return session->embedder;
}

void
embed_session_set_gate(struct embed_session *session, const struct request_gate *gate)
{
    if (session->embedder->ops->set_gate)
        session->embedder->ops->set_gate(session->state, gate);
}

enum rc
embed_session_embed(struct embed_session *session, const struct text *texts, size_t count, size_t dimensions,
                    float *vectors, struct text_result *results, struct request_outcome *ret_outcome,
                    const atomic_bool *cancel, struct arena *arena, struct err *err)
{
    int64_t started_us = clock_now_us();
    enum rc rc;

    assert(count > 0 && dimensions > 0);
    *ret_outcome = (struct request_outcome){.failure = REQUEST_OK};
    rc = session->embedder->ops->embed(session->state, texts, count, dimensions, vectors, results, ret_outcome, cancel,
                                       arena, err);
    ret_outcome->elapsed_us = clock_now_us() - started_us;
    assert((rc == RC_OK) == (ret_outcome->failure == REQUEST_OK));
    return rc;
}

bool
vector_is_valid(const float *vector, size_t dimensions)
{
    double sum = 0;

    /* A NaN or an infinity anywhere makes the sum one; the largest float squared fits into a double. */
    for (size_t i = 0; i < dimensions; i++)
        sum += (double)vector[i] * (double)vector[i];
    return isfinite(sum) && sum > 0;
}
