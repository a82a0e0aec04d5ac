#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "worker/request.h"

enum { DEFAULT_ATTEMPTS = 6, DEFAULT_FIRST_MS = 500, DEFAULT_CAP_MS = 30000, CANCEL_STEP_MS = 50 };

static bool
cancelled(const struct embed_policy *policy)
{
    return policy->cancel && atomic_load_explicit(policy->cancel, memory_order_relaxed);
}

static enum rc
closed(struct request_batch *batch)
{
    return err_set(&batch->err, RC_CLOSED, ERR_NONE, "stopped while embedding");
}

unsigned
request_attempts(const struct embed_policy *policy)
{
    return policy->retry.attempts ? policy->retry.attempts : DEFAULT_ATTEMPTS;
}

/* False when the wait was cut short. */
static bool
pause_for(const struct embed_policy *policy, int64_t milliseconds)
{
    int64_t until = clock_now_ms() + milliseconds, left;

    if (policy->wait)
        return policy->wait(policy->context, milliseconds) && !cancelled(policy);
    while ((left = until - clock_now_ms()) > 0 && !cancelled(policy)) {
        int64_t step = left < CANCEL_STEP_MS ? left : CANCEL_STEP_MS;
        nanosleep(&(struct timespec){.tv_nsec = (long)step * 1000000}, NULL);
    }
    return !cancelled(policy);
}

static int64_t
pause_length(const struct embed_policy *policy, unsigned attempt, const struct request_outcome *outcome)
{
    int64_t first = policy->retry.first_ms > 0 ? policy->retry.first_ms : DEFAULT_FIRST_MS;
    int64_t cap = policy->retry.cap_ms > 0 ? policy->retry.cap_ms : DEFAULT_CAP_MS;
    int64_t backoff = clock_backoff_ms(attempt < 30 ? (int)attempt : 30, first, cap);

    return outcome->retry_after_ms > backoff ? outcome->retry_after_ms : backoff;
}

/* Permits of one call of the session, which may send several requests. */
struct permits {
    const struct embed_policy *policy;
    struct embed_usage told; /* of the call's usage, what after_request knows already */
    bool held;               /* a permit that after_request is owed for */
};

static void
permit_return(struct permits *permits, const struct request_outcome *outcome)
{
    struct request_outcome rest = *outcome;

    rest.usage.requests -= permits->told.requests;
    rest.usage.tokens -= permits->told.tokens;
    permits->told = outcome->usage;
    permits->held = false;
    if (permits->policy->after_request)
        permits->policy->after_request(permits->policy->context, &rest);
}

static bool
permit_take(struct permits *permits, size_t items, size_t tokens)
{
    const struct embed_policy *policy = permits->policy;

    permits->held = !policy->before_request || policy->before_request(policy->context, items, tokens);
    return permits->held;
}

/* A further request needs a permit of its own: the server may have asked for quiet meanwhile, and each one counts. */
static bool
permit_further(void *context, size_t items, size_t tokens, const struct embed_usage *so_far)
{
    struct permits *permits = context;
    const struct request_outcome answered = {.failure = REQUEST_OK, .usage = *so_far};

    permit_return(permits, &answered);
    return permit_take(permits, items, tokens);
}

/* One attempt. RC_CLOSED when flow control said stop; otherwise RC_OK and *ret_outcome tells. */
static enum rc
attempt_once(struct request_batch *batch, size_t count, size_t tokens, struct request_outcome *ret_outcome)
{
    const struct embed_policy *policy = batch->policy;
    struct permits permits = {.policy = policy};
    const struct request_gate gate = {permit_further, &permits};

    if (cancelled(policy) || !permit_take(&permits, count, tokens))
        return closed(batch);
    batch->err = (struct err)ERR_INIT;
    batch->attempts++;
    embed_session_set_gate(batch->session, &gate);
    (void)embed_session_embed(batch->session, batch->texts, count, batch->dimensions, batch->rows, batch->text_results,
                              ret_outcome, policy->cancel, batch->arena, &batch->err);
    embed_session_set_gate(batch->session, NULL);
    batch->usage->requests += ret_outcome->usage.requests;
    batch->usage->tokens += ret_outcome->usage.tokens;
    if (permits.held)
        permit_return(&permits, ret_outcome);
    return RC_OK;
}

/* A whole reply in which no text was decided would never end. */
static bool
decides_nothing(const struct request_batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (batch->text_results[i].status != TEXT_UNTRIED)
            return false;
    }
    return true;
}

enum rc
request_send(struct request_batch *batch, size_t count, size_t tokens, unsigned server_attempts,
             struct request_reply *ret_reply)
{
    unsigned no_answers = 0, server_errors = 0;

    assert(server_attempts > 0 && count > 0);
    for (unsigned attempt = 0;; attempt++) {
        struct request_outcome outcome = {.failure = REQUEST_OK};
        enum rc rc = attempt_once(batch, count, tokens, &outcome);

        if (rc != RC_OK)
            return rc;
        if (outcome.failure == REQUEST_OK && decides_nothing(batch, count)) {
            err_set(&batch->err, RC_RETRY, ERR_TRANSIENT, "the provider's answer decides about none of %zu texts",
                    count);
            outcome.failure = REQUEST_TRANSPORT;
        }
        *ret_reply = (struct request_reply){.failure = outcome.failure, .http_status = batch->err.http_status};

        switch (outcome.failure) {
        case REQUEST_OK:
            return RC_OK;
        case REQUEST_TOO_MANY:
        case REQUEST_REJECTED:
            ret_reply->detail = arena_copy(batch->arena, batch->err.message, strlen(batch->err.message));
            return RC_OK;
        case REQUEST_SERVER:
            if (++server_errors >= server_attempts) {
                ret_reply->detail = arena_copy(batch->arena, batch->err.message, strlen(batch->err.message));
                return RC_OK;
            }
            break;
        case REQUEST_TRANSPORT:
        case REQUEST_OVERLOAD:
            if (++no_answers >= request_attempts(batch->policy)) {
                batch->err.class = ERR_TRANSIENT;
                return RC_RETRY;
            }
            break;
        case REQUEST_HALT:
            batch->err.class = ERR_PROVIDER;
            return RC_HALT;
        case REQUEST_CANCELLED:
            return closed(batch);
        case REQUEST_FATAL:
            return RC_FATAL;
        }
        if (!pause_for(batch->policy, pause_length(batch->policy, attempt, &outcome)))
            return closed(batch);
        batch->usage->retries++;
    }
}

bool
request_has_arbiter(const struct request_batch *batch)
{
    return batch->policy->canary || batch->known_good.bytes;
}

enum rc
request_ask_arbiter(struct request_batch *batch)
{
    const struct embed_policy *policy = batch->policy;
    struct request_reply reply;
    const char *said = NULL;
    int http_status = 0;
    enum rc rc;

    batch->texts[0] =
        policy->canary ? (struct text){.bytes = policy->canary, .length = policy->canary_length} : batch->known_good;
    rc = request_send(batch, 1, batch->texts[0].length / 4 + 1, request_attempts(policy), &reply);
    if (rc != RC_OK)
        return rc;
    if (reply.failure == REQUEST_SERVER) {
        batch->err.class = ERR_TRANSIENT;
        return RC_RETRY;
    }
    if (reply.failure == REQUEST_OK) {
        if (batch->text_results[0].status == TEXT_EMBEDDED)
            return RC_OK;
        said = batch->text_results[0].detail;
        http_status = batch->text_results[0].http_status;
    } else {
        said = reply.detail;
        http_status = reply.http_status;
    }
    err_set(&batch->err, RC_HALT, ERR_PROVIDER, "the provider refuses every text, one that must be fine too: %.700s",
            said ? said : "no reason given");
    batch->err.http_status = http_status;
    err_hint(&batch->err, "no document is at fault: check the provider's model name, address and options");
    return RC_HALT;
}
