/* The provider "openai": any embeddings server that a dialect describes. */
#include <assert.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "embed/embedder.h"
#include "embed/http/exchange.h"

enum {
    INFO_TIMEOUT_MS = 5000,
    ROUNDS_MAX = 8,   /* requests until encoding and dimensions are agreed upon */
    LONG_BYTES = 256, /* a shorter text is too long for no model: the smallest in use take 128 tokens */
};

/* --- finding out how the server wants to be asked --- */

static enum answer
halt_for_size(struct call *call, bool asked)
{
    struct provider *provider = call->session->provider;
    const struct reply *reply = &call->session->reply;

    exchange_fail(call, REQUEST_HALT, 200, "%s sends vectors of %zu dimensions for model \"%s\", not %zu%s",
                  provider->endpoint.shown, reply->other_size, provider->options.model, call->dimensions,
                  asked ? ", although it was asked for those" : "");
    err_hint(call->err, "set target.dimensions to %zu, or name the model that has %zu", reply->other_size,
             call->dimensions);
    return ANSWER_FAILED;
}

/* Asks until the server and we agree on encoding and dimensions: ANSWER_VECTORS, _TOO_LONG or _FAILED. */
static enum answer
settle(struct call *call, bool truncate, const struct part *part, struct refusal *ret_refusal)
{
    struct provider *provider = call->session->provider;
    bool may_learn = provider->options.send_dimensions < 0;

    for (int round = 0; round < ROUNDS_MAX; round++) {
        struct request_choice choice = {
            .base64 = provider->dialect->encoding_base64 != NULL &&
                      atomic_load_explicit(&provider->encoding, memory_order_relaxed) != ENCODING_FLOATS,
            .dimensions = atomic_load_explicit(&provider->asking, memory_order_relaxed) == ASKING_ON,
            .truncate = truncate,
            .query = part->texts[0].query,
        };
        enum answer answer = exchange(call, choice, part, ret_refusal);

        switch (answer) {
        case ANSWER_ENCODING:
            if (ret_refusal->kind == REFUSAL_ENCODING) {
                atomic_store_explicit(&provider->encoding, ENCODING_FLOATS, memory_order_relaxed);
                continue;
            }
            /* Only a guess: what comes now decides, and nothing is learned from another refusal. */
            choice.base64 = false;
            answer = exchange(call, choice, part, ret_refusal);
            if (answer != ANSWER_DIMENSIONS && answer != ANSWER_OTHER_SIZE)
                return answer;
            atomic_store_explicit(&provider->encoding, ENCODING_FLOATS, memory_order_relaxed);
            continue;
        case ANSWER_DIMENSIONS:
            if (!may_learn) {
                exchange_fail(call, REQUEST_HALT, 400, "%s can't be asked for dimensions: %s", provider->endpoint.shown,
                              ret_refusal->message);
                err_hint(call->err, "set provider.send_dimensions to false");
                return ANSWER_FAILED;
            }
            atomic_store_explicit(&provider->asking, ASKING_NEVER, memory_order_relaxed);
            continue;
        case ANSWER_OTHER_SIZE: {
            int off = ASKING_OFF;
            if (may_learn)
                (void)atomic_compare_exchange_strong_explicit(&provider->asking, &off, ASKING_ON, memory_order_relaxed,
                                                              memory_order_relaxed);
            /* Another session may have found out while this request was under way. */
            if (choice.dimensions || atomic_load_explicit(&provider->asking, memory_order_relaxed) != ASKING_ON)
                return halt_for_size(call, choice.dimensions);
            continue;
        }
        default:
            return answer;
        }
    }
    return exchange_fail(call, REQUEST_REJECTED, 400, "%s refuses every form of the request: %s",
                         provider->endpoint.shown, ret_refusal->message);
}

/* --- texts that are too long --- */

/* The text that the server refused as too long, at `at` of the part. The server is asked to cut it where it can; the
 * caller cuts what stays TEXT_TOO_LONG, and sends the others again without it. */
static enum answer
too_long(struct call *call, const struct part *part, size_t at, struct refusal *refusal)
{
    struct provider *provider = call->session->provider;
    const struct part alone = {&part->texts[at], &part->places[at], 1};
    struct text_result *result = &call->results[part->places[at]];

    if (refusal->kind == REFUSAL_TOO_LONG)
        learn_lower(&provider->max_text_tokens, (size_t)refusal->limit);
    for (size_t i = 0; i < part->count; i++)
        call->results[part->places[i]] = (struct text_result){.status = TEXT_UNTRIED};

    if (provider->options.on_too_long == POLICY_TRUNCATE && provider->dialect->truncate_on != NULL) {
        enum answer answer = settle(call, true, &alone, refusal);
        if (answer == ANSWER_VECTORS)
            result->truncated = true;
        if (answer != ANSWER_TOO_LONG)
            return answer;
    }
    *result = (struct text_result){.status = TEXT_TOO_LONG,
                                   .http_status = (int)refusal->status,
                                   .detail = arena_printf(call->arena, "content too large: %zu bytes (%s)",
                                                          part->texts[at].length, refusal->message)};
    return result->detail == NULL ? exchange_fail_memory(call) : ANSWER_VECTORS;
}

/* A text refused alone, in words that are not known. It may be too long all the same: then it is taken once the server
 * is allowed to cut it, and has been cut. */
static enum answer
maybe_too_long(struct call *call, const struct part *alone)
{
    struct refusal refusal = {.kind = REFUSAL_OTHER};
    enum answer answer = settle(call, true, alone, &refusal);

    if (answer == ANSWER_TOO_LONG)
        return too_long(call, alone, 0, &refusal);
    if (answer == ANSWER_VECTORS) {
        call->results[alone->places[0]].truncated = true;
        call->outcome->failure = REQUEST_OK;
        if (call->err != NULL)
            *call->err = (struct err)ERR_INIT;
    }
    return answer;
}

static enum answer
embed_part(struct call *call, const struct part *part)
{
    struct provider *provider = call->session->provider;
    struct refusal refusal = {.kind = REFUSAL_OTHER};
    enum answer answer = part->count == 0 ? ANSWER_VECTORS : settle(call, false, part, &refusal);

    if (answer == ANSWER_FAILED && call->outcome->failure == REQUEST_REJECTED && part->count == 1 &&
        part->texts[0].length >= LONG_BYTES && provider->options.on_too_long == POLICY_TRUNCATE &&
        provider->dialect->truncate_on != NULL)
        return maybe_too_long(call, part);
    if (answer != ANSWER_TOO_LONG)
        return answer;
    if (part->count == 1)
        return too_long(call, part, 0, &refusal);
    if (refusal.has_index && refusal.index < part->count)
        return too_long(call, part, refusal.index, &refusal);
    return exchange_fail(call, REQUEST_REJECTED, refusal.status, "%s: one of %zu texts is too long: %s",
                         provider->endpoint.shown, part->count, refusal.message);
}

static enum rc
http_embed(void *session_state, const struct text *texts, size_t count, size_t dimensions, float *vectors,
           struct text_result *results, struct request_outcome *ret_outcome, const atomic_bool *cancel,
           struct arena *arena, struct err *err)
{
    struct session *session = session_state;
    struct call call = {session, dimensions, vectors, results, ret_outcome, cancel, arena, err, false};
    struct part part = {arena_array(arena, count, sizeof(struct text)), arena_array(arena, count, sizeof(size_t)), 0};
    enum answer answer = ANSWER_VECTORS;
    int64_t begun = clock_now_us();

    assert(count > 0 && dimensions > 0 && dimensions < 1u << 20);
    *ret_outcome = (struct request_outcome){.failure = REQUEST_OK};
    if (part.texts == NULL || part.places == NULL) {
        answer = exchange_fail_memory(&call);
        goto out;
    }
    for (int query = 0; query < 2 && answer == ANSWER_VECTORS; query++) {
        part.count = 0;
        for (size_t i = 0; i < count; i++) {
            if (texts[i].query != (query == 1))
                continue;
            part.texts[part.count] = texts[i];
            part.places[part.count++] = i;
        }
        answer = embed_part(&call, &part);
    }
out:
    ret_outcome->elapsed_us = clock_now_us() - begun;
    return answer == ANSWER_VECTORS ? RC_OK : exchange_rc(ret_outcome->failure);
}

/* --- sessions --- */

static bool
take_info(void *context, const char *bytes, size_t length)
{
    struct strbuf *buf = context;

    strbuf_add(buf, bytes, length);
    return !buf->failed;
}

static size_t
info_number(const cJSON *info, const char *name)
{
    const cJSON *item = name != NULL ? cJSON_GetObjectItemCaseSensitive(info, name) : NULL;
    double value = cJSON_IsNumber(item) ? cJSON_GetNumberValue(item) : 0;

    return value >= 1 && value < 1e9 ? (size_t)value : 0;
}

/* Whatever goes wrong here, the first request will say better. */
static void
read_info(struct session *session)
{
    struct provider *provider = session->provider;
    struct transport_answer answer;
    struct strbuf text;

    strbuf_init(&text, TRANSPORT_REFUSAL_MAX);
    const struct transport_request request = {
        .url = provider->endpoint.info_url,
        .timeout_ms = INFO_TIMEOUT_MS,
        .max_answer = TRANSPORT_REFUSAL_MAX,
        .take = take_info,
        .context = &text,
    };
    transport_exchange(session->transport, &request, &answer);
    if (answer.end == TRANSPORT_ANSWERED && answer.status >= 200 && answer.status < 300) {
        cJSON *info = cJSON_ParseWithLength(strbuf_text(&text), text.length);
        size_t items = info_number(info, provider->dialect->info_max_items);
        atomic_store_explicit(&provider->max_items, items, memory_order_relaxed);
        learn_lower(&provider->max_text_tokens, info_number(info, provider->dialect->info_max_text_tokens));
        cJSON_Delete(info);
    }
    /* A server that is still starting is asked again by the next session. */
    provider->info_known = answer.end == TRANSPORT_ANSWERED && answer.status < 500;
    strbuf_free(&text);
}

static void
session_close(void *state)
{
    struct session *session = state;

    transport_close(session->transport);
    strbuf_free(&session->body);
    free(session);
}

static void
set_gate(void *state, const struct request_gate *gate)
{
    struct session *session = state;

    session->gate = gate;
}

static enum rc
session_open(void *state, void **ret_session, struct err *err)
{
    struct provider *provider = state;
    struct session *session = calloc(1, sizeof *session);

    if (session == NULL)
        return err_memory(err);
    session->provider = provider;
    strbuf_init(&session->body, SIZE_MAX / 4);
    enum rc rc = transport_open(&provider->endpoint, &session->transport, err);
    if (rc != RC_OK) {
        session_close(session);
        return rc;
    }
    if (provider->endpoint.info_url != NULL) {
        pthread_mutex_lock(&provider->info_mutex);
        if (!provider->info_known)
            read_info(session);
        pthread_mutex_unlock(&provider->info_mutex);
    }
    *ret_session = session;
    return RC_OK;
}

/* --- the provider --- */

static void
http_close(void *state)
{
    struct provider *provider = state;

    request_form_free(provider->form);
    endpoint_free(&provider->endpoint);
    pthread_mutex_destroy(&provider->info_mutex);
    free(provider);
}

static int
first_asking(const struct dialect *dialect, const struct provider_options *options)
{
    const struct model_facts *facts = model_find(options->model);

    if (options->dimensions == 0 || options->send_dimensions == 0)
        return ASKING_OFF;
    if (options->send_dimensions > 0 || dialect->sends_dimensions)
        return ASKING_ON;
    return facts != NULL && facts->dimensions_parameter ? ASKING_ON : ASKING_OFF;
}

static enum rc
http_open(const struct provider_options *options, void **ret_state, struct err *err)
{
    struct provider *provider;
    enum rc rc;

    if (options->model == NULL || options->model[0] == '\0')
        return err_set(err, RC_INVALID, ERR_USAGE, "provider.model is missing");
    if (options->timeout_secs < 0 || options->timeout_secs > 86400)
        return err_set(err, RC_INVALID, ERR_USAGE, "provider.timeout_secs must be from 0 to 86400");
    provider = calloc(1, sizeof *provider);
    if (provider == NULL)
        return err_memory(err);
    provider->options = *options;
    pthread_mutex_init(&provider->info_mutex, NULL);
    atomic_init(&provider->dimensions, options->dimensions);

    if ((rc = dialect_find(options->dialect, &provider->dialect, err)) != RC_OK ||
        (rc = endpoint_make(provider->dialect, options, &provider->endpoint, err)) != RC_OK ||
        (rc = request_form_make(provider->dialect, dialect_model(provider->dialect, options->model),
                                options->dimensions, options->extra, &provider->form, err)) != RC_OK)
        goto out;
    if (!reply_shape_compile(&provider->dialect->reply, &provider->shape)) {
        rc = err_set(err, RC_FATAL, ERR_SYSTEM, "the paths of dialect \"%s\" are wrong", provider->dialect->name);
        goto out;
    }
    if (options->dimensions == 0) {
        const struct model_facts *facts = model_find(options->model);
        atomic_init(&provider->dimensions, facts != NULL ? facts->dimensions : 0);
    }
    atomic_init(&provider->asking, first_asking(provider->dialect, options));
    *ret_state = provider;
out:
    if (rc != RC_OK)
        http_close(provider);
    return rc;
}

static size_t
http_dimensions(const void *state)
{
    const struct provider *provider = state;

    return atomic_load_explicit(&provider->dimensions, memory_order_relaxed);
}

/* The user's own number, else the dialect's; what the server said is lower or says more than the dialect knows. */
static size_t
limit_of(size_t given, size_t dialect, size_t learned)
{
    if (given > 0)
        return learned > 0 && learned < given ? learned : given;
    return learned > 0 ? learned : dialect;
}

static void
http_limits(void *state, struct embed_limits *ret_limits)
{
    struct provider *provider = state;
    const struct provider_options *options = &provider->options;
    const struct dialect *dialect = provider->dialect;

    *ret_limits = (struct embed_limits){
        .max_items = limit_of(options->max_items, dialect->max_items,
                              atomic_load_explicit(&provider->max_items, memory_order_relaxed)),
        .max_request_tokens = limit_of(options->max_request_tokens, dialect->max_request_tokens,
                                       atomic_load_explicit(&provider->max_request_tokens, memory_order_relaxed)),
        .max_request_bytes = limit_of(options->max_request_bytes, dialect->max_request_bytes,
                                      atomic_load_explicit(&provider->max_request_bytes, memory_order_relaxed)),
        .max_text_tokens =
            limit_of(options->max_tokens, 0, atomic_load_explicit(&provider->max_text_tokens, memory_order_relaxed)),
        .cuts = false, /* the server may; the caller cuts what comes back as too long */
    };
}

static size_t
count_tokens(void *state, const char *bytes, size_t length)
{
    (void)state, (void)bytes;
    return estimate_tokens(length);
}

const struct provider_ops http_provider = {
    .name = "openai",
    .open = http_open,
    .close = http_close,
    .dimensions = http_dimensions,
    .limits = http_limits,
    .count_tokens = count_tokens,
    .session_open = session_open,
    .session_close = session_close,
    .set_gate = set_gate,
    .embed = http_embed,
};
