#include <assert.h>
#include <string.h>

#include "base/escape.h"
#include "worker/request.h"

enum { MAX_CUT_REQUESTS = 24, MAX_CUT_REFINEMENTS = 2, BYTES_PER_TOKEN_LEAST = 3 };

/* --- suspects --- */

static void
suspect_fail(struct request_batch *batch, const struct request_suspect *suspect)
{
    struct text_result result = {.http_status = suspect->http_status, .detail = suspect->detail};

    request_finish(batch, &suspect->item, DOCUMENT_FAILED, suspect->reason, &result, NULL);
}

/* The provider works, so the suspects are at fault themselves. */
static void
suspects_fail(struct request_batch *batch)
{
    for (size_t i = 0; i < batch->suspect_count; i++)
        suspect_fail(batch, &batch->suspects[i]);
    batch->suspect_count = 0;
}

static enum rc
suspects_ask(struct request_batch *batch)
{
    enum rc rc = request_ask_arbiter(batch);

    if (rc == RC_OK)
        suspects_fail(batch);
    return rc;
}

/* Two texts refused one after the other, with none embedded in between, are reason enough to ask. */
static enum rc
suspect_add(struct request_batch *batch, const struct request_item *item, enum document_reason reason,
            bool server_error, int http_status, const char *detail)
{
    assert(batch->suspect_count < batch->item_count);
    batch->suspects[batch->suspect_count++] =
        (struct request_suspect){*item, reason, server_error, http_status, detail};
    return batch->suspect_count >= 2 && request_has_arbiter(batch) ? suspects_ask(batch) : RC_OK;
}

enum rc
request_settle(struct request_batch *batch)
{
    const struct request_suspect *first = &batch->suspects[0];
    bool same_status = true, server_error = false;

    if (batch->suspect_count == 0)
        return RC_OK;
    if (request_has_arbiter(batch))
        return suspects_ask(batch);

    /* Nothing of this batch was embedded and there is nothing to ask with. */
    for (size_t i = 0; i < batch->suspect_count; i++) {
        server_error |= batch->suspects[i].server_error;
        same_status &= batch->suspects[i].http_status == first->http_status;
    }
    if (server_error) {
        err_set(&batch->err, RC_RETRY, ERR_TRANSIENT, "the server fails on every text: %.800s",
                first->detail ? first->detail : "no reason given");
        batch->err.http_status = first->http_status;
        return RC_RETRY;
    }
    if (batch->suspect_count == 1 || !same_status) {
        suspects_fail(batch);
        return RC_OK;
    }
    err_set(&batch->err, RC_HALT, ERR_PROVIDER, "the provider refuses every text: %.800s",
            first->detail ? first->detail : "no reason given");
    batch->err.http_status = first->http_status;
    err_hint(&batch->err, "no document is at fault: check the provider's model name, address and options");
    return RC_HALT;
}

/* --- sending items --- */

static struct text
text_of(const struct request_item *item)
{
    return (struct text){.bytes = item->bytes, .length = item->length, .query = item->query};
}

/* Requires count <= item_count: the scratch arrays are that long. */
static enum rc
send_items(struct request_batch *batch, struct request_item *items, size_t count, unsigned server_attempts,
           struct request_reply *ret_reply)
{
    uint32_t attempts_before = batch->attempts;
    size_t tokens = 0;
    enum rc rc;

    for (size_t i = 0; i < count; i++) {
        batch->texts[i] = text_of(&items[i]);
        tokens += items[i].tokens;
    }
    rc = request_send(batch, count, tokens, server_attempts, ret_reply);
    for (size_t i = 0; i < count; i++)
        items[i].attempts += batch->attempts - attempts_before;
    return rc;
}

static void
finish_too_large(struct request_batch *batch, const struct request_item *item, const struct text_result *said)
{
    struct text_result result = {.status = TEXT_TOO_LONG};
    bool skip = batch->options->on_too_long == POLICY_SKIP;

    if (said) {
        result.http_status = said->http_status;
        result.detail = said->detail;
    }
    if (!result.detail)
        result.detail = batch->limits.max_text_tokens
                            ? arena_printf(batch->arena, "content too large: %zu bytes (max %zu tokens)", item->length,
                                           batch->limits.max_text_tokens)
                            : arena_printf(batch->arena, "content too large: %zu bytes", item->length);
    request_finish(batch, item, skip ? DOCUMENT_SKIPPED : DOCUMENT_FAILED, REASON_CONTENT_TOO_LARGE, &result, NULL);
}

static enum rc refuse_text(struct request_batch *batch, struct request_item *item, const struct text_result *result,
                           bool works);

static void
finish_embedded(struct request_batch *batch, const struct request_item *item, const struct text_result *result,
                const float *row)
{
    if (result->truncated && batch->options->on_too_long != POLICY_TRUNCATE)
        finish_too_large(batch, item, result);
    else
        request_finish(batch, item, DOCUMENT_EMBEDDED, REASON_NONE, result, row);
    batch->known_good = text_of(item);
    suspects_fail(batch);
}

/* Where to try first: what the last text was cut to, else what the limit allows at few bytes a token, else half. */
static size_t
first_cut(const struct request_batch *batch, size_t length)
{
    size_t by_limit = batch->limits.max_text_tokens < SIZE_MAX / BYTES_PER_TOKEN_LEAST
                          ? batch->limits.max_text_tokens * BYTES_PER_TOKEN_LEAST
                          : 0;

    if (batch->accepted_length > 0 && batch->accepted_length < length)
        return batch->accepted_length;
    return by_limit > 0 && by_limit < length ? by_limit : length / 2;
}

/* Looks for the longest beginning that the provider takes, by halving and then a little refinement. */
static enum rc
cut_and_send(struct request_batch *batch, struct request_item *item, const struct text_result *said)
{
    size_t accepted = 0, refused = item->length, try = first_cut(batch, item->length), refinements = 0;
    struct text_result best = {.status = TEXT_TOO_LONG};
    float *best_row = NULL;
    enum rc rc = RC_OK;

    for (int requests = 0; requests < MAX_CUT_REQUESTS && try >= item->prefix_length + REQUEST_MIN_CUT_BYTES;
         requests++) {
        struct request_item shorter = *item;
        struct request_reply reply;
        bool known = try == batch->accepted_length;

        shorter.length = utf8_whole(item->bytes, try);
        shorter.tokens = shorter.length / 4 + 1;
        rc = send_items(batch, &shorter, 1, request_attempts(batch->policy), &reply);
        item->attempts = shorter.attempts;
        if (rc != RC_OK)
            break;
        const struct text_result *result = &batch->text_results[0];
        if (reply.failure == REQUEST_OK && result->status == TEXT_EMBEDDED) {
            best = *result;
            if (!best_row && !(best_row = arena_array(batch->arena, batch->dimensions, sizeof *best_row))) {
                rc = err_memory(&batch->err);
                break;
            }
            memcpy(best_row, batch->rows, batch->dimensions * sizeof *best_row);
            accepted = try;
            if (known || refused - accepted <= refused / 8 || refinements++ >= MAX_CUT_REFINEMENTS)
                break;
            try = accepted + (refused - accepted) / 2;
        } else if (reply.failure == REQUEST_TOO_MANY ||
                   (reply.failure == REQUEST_OK && result->status == TEXT_TOO_LONG)) {
            refused = try;
            if (accepted > 0 && refinements++ >= MAX_CUT_REFINEMENTS)
                break;
            try = accepted > 0 ? accepted + (refused - accepted) / 2 : refused / 2;
        } else if (accepted > 0) {
            break; /* a longer piece fails otherwise: what was accepted is good enough */
        } else if (reply.failure == REQUEST_OK) {
            struct text_result copy = *result;
            return refuse_text(batch, item, &copy, false);
        } else {
            return suspect_add(batch, item, REASON_PERMANENT_API_ERROR, reply.failure == REQUEST_SERVER,
                               reply.http_status, reply.detail);
        }
    }
    if (accepted > 0) {
        batch->accepted_length = accepted;
        item->cut = true;
        item->length = utf8_whole(item->bytes, accepted);
        finish_embedded(batch, item, &best, best_row);
    } else if (rc == RC_OK) {
        finish_too_large(batch, item, said);
    }
    return rc;
}

static enum rc
solve_too_long(struct request_batch *batch, struct request_item *item, const struct text_result *said)
{
    struct text_result copy = {.status = TEXT_TOO_LONG};

    if (said)
        copy = *said; /* it stands in scratch that further requests overwrite */
    if (batch->options->on_too_long == POLICY_TRUNCATE && !batch->limits.cuts)
        return cut_and_send(batch, item, &copy);
    finish_too_large(batch, item, &copy);
    return RC_OK;
}

/* A text of a request that succeeded as a whole was not embedded. `works`: others of it were. */
static enum rc
refuse_text(struct request_batch *batch, struct request_item *item, const struct text_result *result, bool works)
{
    enum document_reason reason =
        result->status == TEXT_INVALID_VECTOR ? REASON_INVALID_VECTOR : REASON_PERMANENT_API_ERROR;

    assert(result->status != TEXT_EMBEDDED && result->status != TEXT_UNTRIED);
    if (result->status == TEXT_TOO_LONG)
        return solve_too_long(batch, item, result);
    if (works) {
        request_finish(batch, item, DOCUMENT_FAILED, reason, result, NULL);
        return RC_OK;
    }
    return suspect_add(batch, item, reason, false, result->http_status, result->detail);
}

/* Deals with all results of a request. The items that were not tried end up first, *ret_untried of them. Raises
 * *refused when one of the texts may be what a larger request was refused for. */
static enum rc
finish_request(struct request_batch *batch, struct request_item *items, size_t count, size_t *ret_untried,
               bool *refused)
{
    struct text_result *results = arena_array(batch->arena, count, sizeof *results);
    size_t untried = 0, embedded = 0;
    enum rc rc = RC_OK;

    if (!results)
        return err_memory(&batch->err);
    memcpy(results, batch->text_results, count * sizeof *results);

    /* Embedded ones first: the requests that the others may need overwrite the rows. */
    for (size_t i = 0; i < count; i++) {
        if (results[i].status == TEXT_EMBEDDED) {
            finish_embedded(batch, &items[i], &results[i], batch->rows + i * batch->dimensions);
            embedded++;
        }
    }
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        *refused |= results[i].status == TEXT_REJECTED || results[i].status == TEXT_TOO_LONG;
        if (results[i].status != TEXT_EMBEDDED && results[i].status != TEXT_UNTRIED)
            rc = refuse_text(batch, &items[i], &results[i], embedded > 0);
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i].status == TEXT_UNTRIED)
            items[untried++] = items[i];
    }
    *ret_untried = untried;
    return rc;
}

static enum rc solve_range(struct request_batch *batch, struct request_item *items, size_t count,
                           unsigned server_attempts, bool refused, bool *ret_refused);

/* `inherit`: a half whose sibling has nothing wrong with it must hold what the whole was refused for. */
static enum rc
solve_halves(struct request_batch *batch, struct request_item *items, size_t count, unsigned server_attempts,
             bool inherit, bool *ret_refused)
{
    size_t half = count / 2;
    bool left = false, right = false;
    enum rc rc = solve_range(batch, items, half, server_attempts, false, &left);

    if (rc == RC_OK)
        rc = solve_range(batch, items + half, count - half, server_attempts, inherit && !left, &right);
    *ret_refused = left || right;
    return rc;
}

/* `server_attempts` holds for requests of several texts; a text alone always gets all that the policy allows.
 * `refused`: the range is known to hold a text that is refused, so it is not sent as a whole. */
static enum rc
solve_range(struct request_batch *batch, struct request_item *items, size_t count, unsigned server_attempts,
            bool refused, bool *ret_refused)
{
    struct request_reply reply = {.failure = REQUEST_OK};
    enum rc rc = RC_OK;

    assert(count > 0);
    if (refused && count > 1)
        return solve_halves(batch, items, count, server_attempts, true, ret_refused);
    *ret_refused = false;
    for (;;) {
        rc = send_items(batch, items, count, count > 1 ? server_attempts : request_attempts(batch->policy), &reply);
        if (rc != RC_OK)
            return rc;
        if (reply.failure != REQUEST_OK)
            break;
        rc = finish_request(batch, items, count, &count, ret_refused);
        if (rc != RC_OK || count == 0)
            return rc;
    }
    if (reply.failure == REQUEST_TOO_MANY && count == 1)
        return solve_too_long(batch, &items[0],
                              &(struct text_result){.http_status = reply.http_status, .detail = reply.detail});
    if (reply.failure == REQUEST_TOO_MANY) {
        batch->item_cap = count / 2;
        return solve_halves(batch, items, count, server_attempts, false, ret_refused);
    }
    if (count == 1) {
        *ret_refused = true;
        return suspect_add(batch, &items[0], REASON_PERMANENT_API_ERROR, reply.failure == REQUEST_SERVER,
                           reply.http_status, reply.detail);
    }
    if (reply.failure == REQUEST_SERVER) {
        /* A server that is down must not be asked for each half and each quarter. */
        if (request_has_arbiter(batch) && (rc = request_ask_arbiter(batch)) != RC_OK)
            return rc;
        server_attempts = 1;
    }
    return solve_halves(batch, items, count, server_attempts, true, ret_refused);
}

enum rc
request_solve(struct request_batch *batch, size_t first, size_t count)
{
    bool refused;

    return solve_range(batch, batch->items + first, count, request_attempts(batch->policy), false, &refused);
}
