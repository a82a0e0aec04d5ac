#include "scripted_provider.h"

#include <stdlib.h>
#include <string.h>

#include "embed/hashing.h"

struct script script;

uint64_t
scripted_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static bool
starts(const struct text *text, const char *word)
{
    return text->length >= strlen(word) && memcmp(text->bytes, word, strlen(word)) == 0;
}

static enum rc
open_scripted(const struct provider_options *options, void **ret_state, struct err *err)
{
    (void)options, (void)err;
    *ret_state = &script;
    return RC_OK;
}

static void
close_scripted(void *state)
{
    (void)state;
}

static size_t
scripted_dimensions(const void *state)
{
    return ((const struct script *)state)->dimensions;
}

static void
scripted_limits(void *state, struct embed_limits *ret_limits)
{
    *ret_limits = ((const struct script *)state)->limits;
}

static size_t
scripted_tokens(void *state, const char *bytes, size_t length)
{
    (void)state, (void)bytes;
    return (length + 3) / 4;
}

static enum rc
open_session(void *state, void **ret_session, struct err *err)
{
    (void)err;
    *ret_session = state;
    return RC_OK;
}

static enum rc
fail(struct request_outcome *outcome, enum request_failure failure, enum rc rc, enum err_class class, int status,
     struct err *err)
{
    outcome->failure = failure;
    err_set(err, rc, class, "scripted failure %d", status);
    err->http_status = status;
    return rc;
}

/* How many more times a "flaky:N:" text fails; the slot is the byte after the second colon. */
static bool
flaky_fails(struct script *s, const struct text *text)
{
    if (!starts(text, "flaky:") || text->length < 9)
        return false;
    size_t *seen = &s->flaky_seen[(unsigned char)text->bytes[8]];
    return (*seen)++ < (size_t)(text->bytes[6] - '0');
}

static enum rc
scripted_embed(void *session, const struct text *texts, size_t count, size_t dimensions, float *vectors,
               struct text_result *results, struct request_outcome *outcome, const atomic_bool *cancel,
               struct arena *arena, struct err *err)
{
    struct script *s = session;
    size_t call = ++s->calls, refused = 0;
    bool server = false;

    if (call >= SCRIPTED_MAX_CALLS)
        abort();
    s->call[call] = (struct scripted_call){.count = count, .first_length = texts[0].length};
    for (size_t i = 0; i < count; i++) {
        s->call[call].bytes += texts[i].length;
        if (texts[i].length > s->call[call].longest)
            s->call[call].longest = texts[i].length;
    }
    outcome->usage.requests = 1;
    if (s->on_call)
        s->on_call(s, call);
    if (cancel && atomic_load(cancel))
        return fail(outcome, REQUEST_CANCELLED, RC_CLOSED, ERR_NONE, 0, err);
    if (s->halt_from && call >= s->halt_from)
        return fail(outcome, REQUEST_HALT, RC_HALT, ERR_PROVIDER, 401, err);
    if (s->down_from && call >= s->down_from)
        return fail(outcome, REQUEST_TRANSPORT, RC_RETRY, ERR_TRANSIENT, 0, err);
    if (s->fail_5xx_from && call >= s->fail_5xx_from)
        return fail(outcome, REQUEST_SERVER, RC_RETRY, ERR_TRANSIENT, 500, err);
    if (s->overload_once == call) {
        outcome->retry_after_ms = 1234;
        return fail(outcome, REQUEST_OVERLOAD, RC_RETRY, ERR_TRANSIENT, 429, err);
    }
    if (s->transient && !s->last_was_transient && scripted_random(&s->random) % 100 < s->transient) {
        s->last_was_transient = true;
        switch (scripted_random(&s->random) % 3) {
        case 0:
            return fail(outcome, REQUEST_TRANSPORT, RC_RETRY, ERR_TRANSIENT, 0, err);
        case 1:
            return fail(outcome, REQUEST_OVERLOAD, RC_RETRY, ERR_TRANSIENT, 429, err);
        default:
            return fail(outcome, REQUEST_SERVER, RC_RETRY, ERR_TRANSIENT, 503, err);
        }
    }
    s->last_was_transient = false;
    if (s->refuse_all || (s->refuse_from && call >= s->refuse_from))
        return fail(outcome, REQUEST_REJECTED, RC_INVALID, ERR_PROVIDER, 400, err);
    if (s->hidden_items && count > s->hidden_items)
        return fail(outcome, REQUEST_TOO_MANY, RC_INVALID, ERR_PROVIDER, 413, err);

    for (size_t i = 0; i < count; i++)
        server |= starts(&texts[i], "server:") || flaky_fails(s, &texts[i]);
    if (server)
        return fail(outcome, REQUEST_SERVER, RC_RETRY, ERR_TRANSIENT, 500, err);

    for (size_t i = 0; i < count; i++) {
        results[i] = (struct text_result){.status = s->unsound_calls >= call ? TEXT_UNTRIED : TEXT_EMBEDDED};
        if (starts(&texts[i], "long:") || (s->hidden_bytes && texts[i].length > s->hidden_bytes)) {
            if (count == 1 && s->long_is_too_many)
                return fail(outcome, REQUEST_TOO_MANY, RC_INVALID, ERR_PROVIDER, 413, err);
            results[i].status = TEXT_TOO_LONG;
            results[i].http_status = 400;
            refused++;
        } else if (starts(&texts[i], "reject:")) {
            results[i].status = TEXT_REJECTED;
            results[i].http_status = 422;
            results[i].detail = arena_copy(arena, "not allowed", strlen("not allowed"));
            refused++;
        } else if (starts(&texts[i], "vector:")) {
            results[i].status = TEXT_INVALID_VECTOR;
        }
    }
    if (refused > 0 && !s->per_text && count > 1)
        return fail(outcome, REQUEST_REJECTED, RC_INVALID, ERR_PROVIDER, 400, err);
    for (size_t i = 0; i < count; i++) {
        if (results[i].status == TEXT_EMBEDDED && refused > 0 && count > 1 && !s->others_embedded)
            results[i].status = TEXT_UNTRIED;
        if (results[i].status == TEXT_EMBEDDED) {
            hashing_vector(7, texts[i].bytes, texts[i].length, dimensions, vectors + i * dimensions);
            results[i].tokens = (uint32_t)scripted_tokens(s, texts[i].bytes, texts[i].length);
            outcome->usage.tokens += results[i].tokens;
        }
    }
    return RC_OK;
}

const struct provider_ops scripted_provider = {
    .name = "scripted",
    .open = open_scripted,
    .close = close_scripted,
    .dimensions = scripted_dimensions,
    .limits = scripted_limits,
    .count_tokens = scripted_tokens,
    .session_open = open_session,
    .session_close = close_scripted,
    .embed = scripted_embed,
};
