#include "embed_batch.h"

#include <string.h>

#include "embed/hashing.h"

static const char canary[] = "a canary that any working model embeds"; /* no document is as long as this */

struct embed_batch t;

static bool
before_request(void *context, size_t items, size_t tokens)
{
    (void)context;
    cr_assert(items > 0 && tokens > 0);
    cr_assert_eq(t.before, t.after, "requests of one thread do not overlap");
    if (t.stop_before && t.before + 1 >= t.stop_before)
        return false;
    t.before++;
    return true;
}

static void
after_request(void *context, const struct request_outcome *outcome)
{
    (void)context, (void)outcome;
    t.after++;
}

static bool
no_wait(void *context, int64_t milliseconds)
{
    (void)context;
    t.waits++;
    if (milliseconds > t.longest_wait)
        t.longest_wait = milliseconds;
    return !(t.stop_wait && t.waits >= t.stop_wait);
}

void
start(void)
{
    script.dimensions = DIMENSIONS;
    t.options.model = "scripted";
    t.policy = (struct embed_policy){
        .canary = canary,
        .canary_length = strlen(canary),
        .cancel = &t.cancel,
        .before_request = before_request,
        .after_request = after_request,
        .wait = no_wait,
    };
    t.arena = arena_new(0);
}

enum rc
run(size_t count)
{
    if (!t.session) {
        cr_assert_eq(embedder_open_provider(&scripted_provider, &t.options, &t.embedder, &t.err), RC_OK);
        cr_assert_eq(embed_session_open(t.embedder, &t.session, &t.err), RC_OK);
    }
    script.calls = t.before = t.after = 0;
    t.usage = (struct embed_usage){0};
    enum rc rc = embed_documents(t.session, &t.policy, t.documents, count, DIMENSIONS, t.vectors, t.results, &t.usage,
                                 t.arena, &t.err);
    cr_assert_eq(t.before, t.after);
    cr_assert_eq(t.usage.requests, script.calls);
    return rc;
}

void
finish(void)
{
    t.session = embed_session_close(t.session);
    t.embedder = embedder_close(t.embedder);
    t.arena = arena_free(t.arena);
}

void
set(size_t i, const char *text)
{
    t.documents[i] = (struct document){.bytes = text, .length = strlen(text)};
}

const char *
numbered(const char *prefix, size_t i)
{
    return arena_printf(t.arena, "%s text number %zu", prefix, i);
}

void
set_plain(size_t count)
{
    for (size_t i = 0; i < count; i++)
        set(i, numbered("", i));
}

size_t
canary_calls(void)
{
    size_t calls = 0;
    for (size_t i = 1; i <= script.calls; i++)
        calls += script.call[i].count == 1 && script.call[i].first_length == strlen(canary);
    return calls;
}

bool
has_vector_of(size_t i, const char *bytes, size_t length)
{
    float expected[DIMENSIONS];
    hashing_vector(7, bytes, length, DIMENSIONS, expected);
    return memcmp(expected, t.vectors + i * DIMENSIONS, sizeof expected) == 0;
}

size_t
accepted_prefix(size_t i)
{
    for (size_t length = t.documents[i].length; length > 0; length--) {
        if (has_vector_of(i, t.documents[i].bytes, length))
            return length;
    }
    return 0;
}

void
assert_embedded(size_t i)
{
    cr_assert_eq(t.results[i].status, DOCUMENT_EMBEDDED, "document %zu: %s", i,
                 t.results[i].detail ? t.results[i].detail : "");
    cr_assert(has_vector_of(i, t.documents[i].bytes, t.documents[i].length), "document %zu has another's vector", i);
}

void
assert_failed(size_t i, enum document_reason reason)
{
    cr_assert_eq(t.results[i].status, DOCUMENT_FAILED, "document %zu", i);
    cr_assert_eq(t.results[i].reason, reason, "document %zu: %s", i, document_reason_name(t.results[i].reason));
    cr_assert_not_null(t.results[i].detail);
}
