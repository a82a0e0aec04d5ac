#include "embed/http/exchange.h"

#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    BYTES_PER_NUMBER = 48, /* of a pretty-printed reply with numbers of 64 bits; a fair one has 10 to 24 */
    BYTES_PER_ITEM = 1024,
    BYTES_PER_REPLY = 65536,
    MESSAGE_MAX = 4096, /* more than is kept: secrets are taken out while they are whole */
};

void
learn_lower(atomic_size_t *limit, size_t value)
{
    size_t known = atomic_load_explicit(limit, memory_order_relaxed);

    while (value > 0 && (known == 0 || value < known))
        if (atomic_compare_exchange_weak_explicit(limit, &known, value, memory_order_relaxed, memory_order_relaxed))
            break;
}

size_t
estimate_tokens(size_t length)
{
    return length / BYTES_PER_TOKEN + (length % BYTES_PER_TOKEN != 0);
}

enum rc
exchange_rc(enum request_failure failure)
{
    switch (failure) {
    case REQUEST_OK:
        return RC_OK;
    case REQUEST_TRANSPORT:
    case REQUEST_OVERLOAD:
    case REQUEST_SERVER:
        return RC_RETRY;
    case REQUEST_TOO_MANY:
    case REQUEST_REJECTED:
        return RC_INVALID;
    case REQUEST_HALT:
        return RC_HALT;
    case REQUEST_CANCELLED:
        return RC_CLOSED;
    case REQUEST_FATAL:
        break;
    }
    return RC_FATAL;
}

enum answer
exchange_fail(struct call *call, enum request_failure failure, long status, const char *format, ...)
{
    enum rc rc = exchange_rc(failure);
    enum err_class class = rc == RC_RETRY ? ERR_TRANSIENT : rc == RC_CLOSED ? ERR_NONE : ERR_PROVIDER;
    char message[MESSAGE_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    call->outcome->failure = failure;
    if (failure == REQUEST_FATAL)
        (void)err_memory(call->err);
    else
        (void)err_set(call->err, rc, class, "%s", message);
    if (call->err != NULL)
        call->err->http_status = (int)status;
    return ANSWER_FAILED;
}

enum answer
exchange_fail_memory(struct call *call)
{
    return exchange_fail(call, REQUEST_FATAL, 0, "out of memory");
}

static void
learn_limit(struct call *call, const struct refusal *refusal, size_t count, size_t tokens)
{
    struct provider *provider = call->session->provider;
    size_t limit = (size_t)refusal->limit, bytes = call->session->body.length;

    switch (refusal->kind) {
    case REFUSAL_ITEMS:
        learn_lower(&provider->max_items, limit > 0 && limit < count ? limit : count / 2);
        break;
    case REFUSAL_TOKENS:
        /* The estimate may be below the server's count: then the limit, too, is lowered in estimated tokens. */
        learn_lower(&provider->max_request_tokens, limit > 0 && limit < tokens ? limit : tokens / 4 * 3);
        break;
    case REFUSAL_BYTES:
        learn_lower(&provider->max_request_bytes, limit > 0 && limit < bytes ? limit : bytes / 2);
        break;
    default:
        break;
    }
}

static enum answer
refused(struct call *call, const struct refusal *refusal, long status, struct request_choice choice, size_t count,
        size_t tokens, int64_t retry_after)
{
    struct provider *provider = call->session->provider;
    const char *where = provider->endpoint.shown;

    switch (refusal->kind) {
    case REFUSAL_QUOTA:
        exchange_fail(call, REQUEST_HALT, status, "%s has no quota left: %s (HTTP %ld)", where, refusal->message,
                      status);
        err_hint(call->err, "pay or raise the quota at the provider, then run again: nothing that was stored is lost");
        return ANSWER_FAILED;
    case REFUSAL_KEY:
        exchange_fail(call, REQUEST_HALT, status, "%s refuses the key: %s (HTTP %ld)", where, refusal->message, status);
        err_hint(call->err, provider->options.api_key != NULL
                                ? "look at the variable that provider.api_key_env names"
                                : "name the variable that holds the key in provider.api_key_env");
        return ANSWER_FAILED;
    case REFUSAL_MODEL:
        exchange_fail(call, REQUEST_HALT, status,
                      "%s knows no model \"%s\", or nothing is at this address: %s (HTTP %ld)", where,
                      provider->options.model, refusal->message, status);
        err_hint(call->err,
                 "provider.url is the base, such as \"https://host/v1\"; provider.dialect (now \"%s\") adds "
                 "the rest",
                 provider->dialect->name);
        return ANSWER_FAILED;
    case REFUSAL_REDIRECT:
        exchange_fail(call, REQUEST_HALT, status, "%s answers with a redirect, which is not followed: %s (HTTP %ld)",
                      where, refusal->message, status);
        err_hint(call->err, "set provider.url to the address that really answers");
        return ANSWER_FAILED;
    case REFUSAL_ITEMS:
    case REFUSAL_TOKENS:
    case REFUSAL_BYTES:
        if (count == 1 && refusal->kind != REFUSAL_ITEMS) /* then it is this text */
            return ANSWER_TOO_LONG;
        learn_limit(call, refusal, count, tokens);
        return exchange_fail(call, count > 1 ? REQUEST_TOO_MANY : REQUEST_REJECTED, status,
                             "%s does not take %zu texts at once: %s (HTTP %ld)", where, count, refusal->message,
                             status);
    case REFUSAL_TOO_LONG:
        return ANSWER_TOO_LONG;
    case REFUSAL_ENCODING:
        if (choice.base64)
            return ANSWER_ENCODING;
        break;
    case REFUSAL_DIMENSIONS:
        if (choice.dimensions)
            return ANSWER_DIMENSIONS;
        break;
    case REFUSAL_OVERLOAD:
        call->outcome->retry_after_ms = retry_after > 0 ? retry_after : refusal->retry_after_ms;
        return exchange_fail(call, REQUEST_OVERLOAD, status, "%s is overloaded or limits the rate: %s (HTTP %ld)",
                             where, refusal->message, status);
    case REFUSAL_TRANSPORT:
        return exchange_fail(call, REQUEST_TRANSPORT, status, "%s gave up: %s (HTTP %ld)", where, refusal->message,
                             status);
    case REFUSAL_SERVER:
        return exchange_fail(call, REQUEST_SERVER, status, "%s failed: %s (HTTP %ld)", where, refusal->message, status);
    case REFUSAL_NO_MEMORY: /* without its words a refusal might be laid to a document's charge */
        return exchange_fail_memory(call);
    case REFUSAL_OTHER:
        break;
    }
    /* Some servers do not name the parameter they stumble over. */
    if (choice.base64 && (status == 400 || status == 415 || status == 422 || status == 501) &&
        atomic_load_explicit(&provider->encoding, memory_order_relaxed) == ENCODING_UNTRIED)
        return ANSWER_ENCODING;
    return exchange_fail(call, REQUEST_REJECTED, status, "%s refuses the request: %s (HTTP %ld)", where,
                         refusal->message, status);
}

/* --- one exchange --- */

static bool
take_reply(void *context, const char *bytes, size_t length)
{
    struct session *session = context;
    size_t room = ANSWER_HEAD - session->head_length;
    size_t kept = length < room ? length : room;

    memcpy(session->head + session->head_length, bytes, kept);
    session->head_length += kept;
    return reply_feed(&session->reply, bytes, length);
}

static size_t
max_answer(size_t count, size_t dimensions)
{
    size_t item = dimensions * BYTES_PER_NUMBER + BYTES_PER_ITEM; /* dimensions are small: see http_embed */

    return count > (SIZE_MAX / 2 - BYTES_PER_REPLY) / item ? SIZE_MAX / 2 : count * item + BYTES_PER_REPLY;
}

/* A 2xx that carries {"error": …}: gateways do that. */
static long
status_inside(const struct session *session)
{
    cJSON *root = cJSON_ParseWithLength(session->head, session->head_length);
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "error"), "code");
    double value = cJSON_IsNumber(code) ? cJSON_GetNumberValue(code) : 0;

    cJSON_Delete(root);
    return value >= 400 && value < 600 ? (long)value : 500;
}

static enum answer
malformed(struct call *call, long status, const char *problem)
{
    struct session *session = call->session;
    const char *kind = "";

    session->head[session->head_length] = '\0';
    if (strcasestr(session->head, "<html") != NULL || strcasestr(session->head, "<!doctype") != NULL)
        kind = ", an HTML page";
    return exchange_fail(call, REQUEST_TRANSPORT, status, "%s sent an answer that can't be used%s: %s",
                         session->provider->endpoint.shown, kind, problem);
}

static enum answer
vectors_came(struct call *call, enum reply_verdict verdict, const struct part *part)
{
    struct session *session = call->session;
    struct provider *provider = session->provider;
    const struct reply *reply = &session->reply;

    if (provider->dialect->model_is_told && reply->model[0] != '\0' &&
        !dialect_same_model(provider->options.model, reply->model)) {
        exchange_fail(call, REQUEST_HALT, 200, "%s answered with model \"%s\", not \"%s\"", provider->endpoint.shown,
                      reply->model, provider->options.model);
        err_hint(call->err, "set provider.model to the name that the server answers with, if it is the model you mean");
        return ANSWER_FAILED;
    }
    if (reply->saw_base64)
        atomic_store_explicit(&provider->encoding, ENCODING_BASE64, memory_order_relaxed);
    else if (reply->saw_floats)
        atomic_store_explicit(&provider->encoding, ENCODING_FLOATS, memory_order_relaxed);

    bool seen = atomic_load_explicit(&provider->right_size_seen, memory_order_relaxed);
    if (verdict == REPLY_OTHER_DIMENSIONS) {
        /* A single odd vector from a server that has sent good ones is that text's trouble alone. */
        if (part->count > 1 || !seen)
            return ANSWER_OTHER_SIZE;
        return ANSWER_VECTORS;
    }
    for (size_t i = 0; i < part->count && !seen; i++)
        seen = call->results[part->places[i]].status == TEXT_EMBEDDED;
    if (seen) {
        atomic_store_explicit(&provider->right_size_seen, true, memory_order_relaxed);
        atomic_store_explicit(&provider->dimensions, call->dimensions, memory_order_relaxed);
    }
    return ANSWER_VECTORS;
}

static enum answer
not_answered(struct call *call, const struct transport_answer *answer)
{
    const char *where = call->session->provider->endpoint.shown;

    switch (answer->end) {
    case TRANSPORT_NO_MEMORY:
        return exchange_fail_memory(call);
    case TRANSPORT_CANCELLED:
        return exchange_fail(call, REQUEST_CANCELLED, 0, "cancelled");
    case TRANSPORT_TOO_LARGE:
        return exchange_fail(call, REQUEST_TRANSPORT, answer->status,
                             "%s sent an answer that can't be used: it is too large", where);
    default:
        break;
    }
    if (answer->certificate) {
        exchange_fail(call, REQUEST_HALT, 0, "%s has a certificate that is not trusted: %s", where, answer->problem);
        err_hint(call->err, "install the certificate authority's certificate on this machine");
        return ANSWER_FAILED;
    }
    return exchange_fail(call, REQUEST_TRANSPORT, answer->status, "%s: %s", where, answer->problem);
}

/* What the request cost: the server's count, or the estimate where it may have worked without saying. */
static uint64_t
tokens_used(const struct transport_answer *answer, const struct reply *reply, size_t estimate)
{
    uint64_t tokens;

    if (!answer->sent || answer->status >= 300)
        return 0;
    if (answer->end == TRANSPORT_ANSWERED && answer->has_tokens)
        return answer->tokens;
    return reply_tokens(reply, &tokens) ? tokens : estimate;
}

enum answer
exchange(struct call *call, struct request_choice choice, const struct part *part, struct refusal *ret_refusal)
{
    struct session *session = call->session;
    struct provider *provider = session->provider;
    struct transport_answer answer;
    size_t estimate = 0;
    const char *problem;

    strbuf_reset(&session->body);
    request_write(provider->form, choice, part->texts, part->count, &session->body);
    if (session->body.failed)
        return exchange_fail_memory(call);
    for (size_t i = 0; i < part->count; i++)
        estimate += estimate_tokens(part->texts[i].length);
    if (call->again && session->gate != NULL &&
        !session->gate->further(session->gate->context, part->count, estimate, &call->outcome->usage))
        return exchange_fail(call, REQUEST_CANCELLED, 0, "cancelled");
    call->again = true;

    session->head_length = 0;
    const struct reply_target target = {part->count,   call->dimensions, part->places,
                                        call->vectors, call->results,    call->arena};
    if (!reply_begin(&session->reply, &provider->shape, &target))
        return exchange_fail_memory(call);

    const struct transport_request request = {
        .url = provider->endpoint.url,
        .body = session->body.bytes,
        .length = session->body.length,
        .timeout_ms =
            provider->options.timeout_secs > 0 ? (int64_t)(provider->options.timeout_secs * 1000) : DEFAULT_TIMEOUT_MS,
        .max_answer = max_answer(part->count, call->dimensions),
        .tokens_header = provider->dialect->tokens_header,
        .cancel = call->cancel,
        .take = take_reply,
        .context = session,
    };
    transport_exchange(session->transport, &request, &answer);
    call->outcome->usage.requests += answer.sent;
    call->outcome->usage.tokens += tokens_used(&answer, &session->reply, estimate);

    if (answer.end != TRANSPORT_ANSWERED && answer.end != TRANSPORT_GIVEN_UP)
        return not_answered(call, &answer);

    int64_t retry_after = retry_after_ms(&answer.retry, (int64_t)time(NULL));
    if (answer.status < 200 || answer.status >= 300) {
        refusal_read(provider->dialect->name, answer.status, retry_after > 0, answer.refusal, answer.refusal_length,
                     ret_refusal);
        if (ret_refusal->kind == REFUSAL_REDIRECT && answer.location[0] != '\0')
            (void)snprintf(ret_refusal->message, sizeof ret_refusal->message, "to %s", answer.location);
        return refused(call, ret_refusal, answer.status, choice, part->count, estimate, retry_after);
    }
    enum reply_verdict verdict = reply_end(&session->reply, &problem);
    switch (verdict) {
    case REPLY_NO_MEMORY:
        return exchange_fail_memory(call);
    case REPLY_MALFORMED:
        return malformed(call, answer.status, problem);
    case REPLY_ERROR:
        answer.status = status_inside(session);
        refusal_read(provider->dialect->name, answer.status, retry_after > 0, session->head, session->head_length,
                     ret_refusal);
        return refused(call, ret_refusal, answer.status, choice, part->count, estimate, retry_after);
    case REPLY_OTHER_DIMENSIONS:
    case REPLY_VECTORS:
        break;
    }
    return vectors_came(call, verdict, part);
}
