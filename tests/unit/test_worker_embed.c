#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "embed/hashing.h"
#include "scripted_provider.h"
#include "worker/embed.h"

enum { DIMENSIONS = 8, MAX_DOCUMENTS = 400 };

static const char canary[] = "a canary that any working model embeds"; /* no document is as long as this */

static struct {
    struct embedder *embedder;
    struct embed_session *session;
    struct arena *arena;
    struct provider_options options;
    struct embed_policy policy;
    struct document documents[MAX_DOCUMENTS];
    struct document_result results[MAX_DOCUMENTS];
    float vectors[MAX_DOCUMENTS * DIMENSIONS];
    struct embed_usage usage;
    struct err err;
    atomic_bool cancel;
    size_t before, after, waits, stop_before, stop_wait;
    int64_t longest_wait;
} t;

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

static void
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

static enum rc
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

static void
finish(void)
{
    t.session = embed_session_close(t.session);
    t.embedder = embedder_close(t.embedder);
    t.arena = arena_free(t.arena);
}

static void
set(size_t i, const char *text)
{
    t.documents[i] = (struct document){.bytes = text, .length = strlen(text)};
}

static const char *
numbered(const char *prefix, size_t i)
{
    return arena_printf(t.arena, "%s text number %zu", prefix, i);
}

static void
set_plain(size_t count)
{
    for (size_t i = 0; i < count; i++)
        set(i, numbered("", i));
}

static size_t
canary_calls(void)
{
    size_t calls = 0;
    for (size_t i = 1; i <= script.calls; i++)
        calls += script.call[i].count == 1 && script.call[i].first_length == strlen(canary);
    return calls;
}

static bool
has_vector_of(size_t i, const char *bytes, size_t length)
{
    float expected[DIMENSIONS];
    hashing_vector(7, bytes, length, DIMENSIONS, expected);
    return memcmp(expected, t.vectors + i * DIMENSIONS, sizeof expected) == 0;
}

static void
assert_embedded(size_t i)
{
    cr_assert_eq(t.results[i].status, DOCUMENT_EMBEDDED, "document %zu: %s", i,
                 t.results[i].detail ? t.results[i].detail : "");
    cr_assert(has_vector_of(i, t.documents[i].bytes, t.documents[i].length), "document %zu has another's vector", i);
}

static void
assert_failed(size_t i, enum document_reason reason)
{
    cr_assert_eq(t.results[i].status, DOCUMENT_FAILED, "document %zu", i);
    cr_assert_eq(t.results[i].reason, reason, "document %zu: %s", i, document_reason_name(t.results[i].reason));
    cr_assert_not_null(t.results[i].detail);
}

TestSuite(worker_embed, .init = start, .fini = finish);

Test(worker_embed, embeds_each_document_with_its_own_vector)
{
    set_plain(100);
    cr_assert_eq(run(100), RC_OK);
    cr_assert_eq(script.calls, 1);
    for (size_t i = 0; i < 100; i++) {
        assert_embedded(i);
        cr_assert_eq(t.results[i].attempts, 1);
        cr_assert_eq(t.results[i].tokens, (t.documents[i].length + 3) / 4);
    }
}

Test(worker_embed, sends_equal_texts_once)
{
    for (size_t i = 0; i < 90; i++)
        set(i, numbered("", i % 3));
    cr_assert_eq(run(90), RC_OK);
    cr_assert_eq(script.calls, 1);
    cr_assert_eq(script.call[1].count, 3);
    size_t tokens = 0;
    for (size_t i = 0; i < 90; i++) {
        assert_embedded(i);
        tokens += t.results[i].tokens;
    }
    cr_assert_eq(tokens, t.usage.tokens);
}

Test(worker_embed, keeps_a_query_apart_from_a_document_of_the_same_text)
{
    t.options.document_prefix = "d: ";
    t.options.query_prefix = "q: ";
    set(0, "cats");
    set(1, "cats");
    t.documents[1].query = true;
    cr_assert_eq(run(2), RC_OK);
    cr_assert_eq(script.call[1].count, 2);
    cr_assert(has_vector_of(0, "d: cats", 7));
    cr_assert(has_vector_of(1, "q: cats", 7));
    finish();

    t.arena = arena_new(0);
    t.options.document_prefix = t.options.query_prefix = ""; /* a server may be told which is which */
    cr_assert_eq(run(2), RC_OK);
    cr_assert_eq(script.call[1].count, 2);
}

Test(worker_embed, uses_the_known_prefix_of_a_model_unless_one_is_given)
{
    t.options.model = "intfloat/Multilingual_E5-small";
    set(0, "cats");
    cr_assert_eq(run(1), RC_OK);
    cr_assert(has_vector_of(0, "passage: cats", 13));
    finish();

    t.arena = arena_new(0);
    t.options.document_prefix = "";
    cr_assert_eq(run(1), RC_OK);
    cr_assert(has_vector_of(0, "cats", 4));
}

Test(worker_embed, sets_empty_and_broken_texts_aside_without_a_request)
{
    set(0, "");
    set(1, " \t\r\n\v\f");
    set(2, "bad \xFF byte");
    t.documents[3] = (struct document){.bytes = "a\0b", .length = 3};
    set(4, "good");
    set(5, "eight by\xC0\xAFtes");
    t.documents[6] = (struct document){.bytes = "12345678\0", .length = 9};
    t.documents[7] = (struct document){.bytes = NULL, .length = 0};
    cr_assert_eq(run(8), RC_OK);
    cr_assert_eq(script.call[1].count, 1);
    for (size_t i = 0; i < 8; i++) {
        if (i == 4)
            assert_embedded(i);
        else if (i == 0 || i == 1 || i == 7)
            cr_assert(t.results[i].status == DOCUMENT_SKIPPED && t.results[i].reason == REASON_EMPTY_CONTENT);
        else
            assert_failed(i, REASON_INVALID_ENCODING);
    }
    cr_assert_str_eq(t.results[2].detail, "no valid UTF-8 at byte 4");
    cr_assert_str_eq(t.results[6].detail, "U+0000 at byte 8");
}

Test(worker_embed, fails_empty_texts_where_the_policy_says_so)
{
    t.options.on_empty = POLICY_FAIL;
    set(0, " ");
    cr_assert_eq(run(1), RC_OK);
    assert_failed(0, REASON_EMPTY_CONTENT);
    cr_assert_eq(script.calls, 0);
}

Test(worker_embed, counts_what_the_reader_cut_as_truncated)
{
    set(0, "a text that was cut inside the letter \xC3");
    t.documents[0].cut = true;
    cr_assert_eq(run(1), RC_OK);
    cr_assert_eq(t.results[0].status, DOCUMENT_EMBEDDED);
    cr_assert(t.results[0].truncated);
    cr_assert(has_vector_of(0, t.documents[0].bytes, t.documents[0].length - 1));
}

Test(worker_embed, refuses_what_the_reader_cut_where_cutting_is_no_option)
{
    t.options.on_too_long = POLICY_SKIP;
    set(0, "a text that was cut");
    t.documents[0].cut = true;
    cr_assert_eq(run(1), RC_OK);
    cr_assert(t.results[0].status == DOCUMENT_SKIPPED && t.results[0].reason == REASON_CONTENT_TOO_LARGE);
}

Test(worker_embed, keeps_every_budget_of_a_request)
{
    static char text[MAX_DOCUMENTS][400];
    for (size_t i = 0; i < 200; i++) {
        snprintf(
            text[i], sizeof text[i], "%03zu %.*s", i, (int)(i * 37 % 300),
            "____________________________________________________________________________________________________"
            "____________________________________________________________________________________________________"
            "____________________________________________________________________________________________________");
        set(i, text[i]);
    }
    static const struct embed_limits limits[] = {
        {.max_items = 7},
        {.max_request_tokens = 300},
        {.max_request_bytes = 1000},
        {.max_padded_tokens = 400},
        {.max_padded_tokens = 400, .sort_by_length = true},
        {.max_items = 9, .max_request_tokens = 250, .max_request_bytes = 900, .max_padded_tokens = 350},
    };
    size_t calls[6];
    for (size_t k = 0; k < 6; k++) {
        script.limits = limits[k];
        cr_assert_eq(run(200), RC_OK);
        for (size_t i = 0; i < 200; i++)
            assert_embedded(i);
        for (size_t c = 1; c <= script.calls; c++) {
            const struct scripted_call *call = &script.call[c];
            cr_assert(!limits[k].max_items || call->count <= limits[k].max_items);
            cr_assert(!limits[k].max_request_bytes || call->bytes <= limits[k].max_request_bytes);
            cr_assert(!limits[k].max_request_tokens || call->bytes / 4 <= limits[k].max_request_tokens);
            cr_assert(!limits[k].max_padded_tokens ||
                      call->count * ((call->longest + 3) / 4) <= limits[k].max_padded_tokens);
        }
        calls[k] = script.calls;
    }
    cr_assert_eq(calls[0], 29);
    cr_assert(calls[4] < calls[3], "sorted texts waste less of a padded budget");
}

static size_t
log2_up(size_t n)
{
    size_t log = 0;
    while ((size_t)1 << log < n)
        log++;
    return log;
}

/* The canary is needed only where no text is left to show that the provider works. */
static void
find_one_poison(size_t n, size_t at, const char *kind, enum document_reason reason)
{
    arena_reset(t.arena);
    set_plain(n);
    set(at, numbered(kind, at));
    cr_assert_eq(run(n), RC_OK, "n %zu at %zu: %s", n, at, t.err.message);
    for (size_t i = 0; i < n; i++) {
        if (i != at)
            assert_embedded(i);
    }
    assert_failed(at, reason);
    size_t asked = canary_calls();
    cr_assert_leq(asked, at == n - 1 ? 1 : 0, "n %zu at %zu", n, at);
    cr_assert_leq(script.calls - asked, 2 * log2_up(n) + 1, "n %zu at %zu: %zu calls", n, at, script.calls);
}

Test(worker_embed, finds_one_refused_text_in_logarithmically_many_requests)
{
    for (size_t n = 1; n <= 130; n++) {
        for (size_t at = 0; at < n; at++) {
            find_one_poison(n, at, "reject:", REASON_PERMANENT_API_ERROR);
            cr_assert_eq(t.results[at].http_status, 422);
            cr_assert_str_eq(t.results[at].detail, "not allowed");
        }
    }
}

Test(worker_embed, spends_the_bound_at_the_first_place_and_less_at_the_last)
{
    find_one_poison(128, 0, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls, 2 * 7 + 1);
    find_one_poison(128, 127, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls - canary_calls(), 7 + 2);
}

Test(worker_embed, needs_no_bisection_where_the_reply_names_the_text)
{
    script.per_text = true;
    find_one_poison(100, 40, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls, 2);
    script.others_embedded = true;
    find_one_poison(100, 99, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls, 1);
    find_one_poison(100, 99, "vector:", REASON_INVALID_VECTOR);
    cr_assert_eq(script.calls, 1);
}

Test(worker_embed, fails_no_document_when_everything_is_refused)
{
    script.refuse_all = true;
    for (size_t n = 1; n <= 100; n += 11) {
        set_plain(n);
        cr_assert_eq(run(n), RC_HALT);
        cr_assert_eq(t.err.class, ERR_PROVIDER);
        cr_assert_eq(t.err.http_status, 400);
        cr_assert_leq(script.calls, log2_up(n) + 3);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(t.results[i].status, DOCUMENT_PENDING);
    }
}

Test(worker_embed, fails_no_document_when_everything_is_refused_and_there_is_no_canary)
{
    t.policy.canary = NULL;
    script.refuse_all = true;
    script.limits.max_items = 1; /* each text is in a request of its own */
    set_plain(10);
    cr_assert_eq(run(10), RC_HALT);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(t.results[i].status, DOCUMENT_PENDING);
}

Test(worker_embed, takes_an_earlier_text_for_a_canary)
{
    t.policy.canary = NULL;
    script.limits.max_items = 4;
    script.refuse_from = 2;
    set_plain(8);
    cr_assert_eq(run(8), RC_HALT);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(t.results[i].status, i < 4 ? DOCUMENT_EMBEDDED : DOCUMENT_PENDING);

    script.refuse_from = 0;
    set(7, "reject: the last");
    cr_assert_eq(run(8), RC_OK);
    assert_failed(7, REASON_PERMANENT_API_ERROR);
}

Test(worker_embed, believes_a_working_canary_when_all_texts_are_refused)
{
    for (size_t i = 0; i < 5; i++)
        set(i, numbered("reject:", i));
    cr_assert_eq(run(5), RC_OK);
    cr_assert_geq(canary_calls(), 1);
    for (size_t i = 0; i < 5; i++)
        assert_failed(i, REASON_PERMANENT_API_ERROR);
}

Test(worker_embed, halts_when_no_text_gets_a_usable_vector)
{
    t.policy.canary = "vector: the canary too";
    t.policy.canary_length = strlen(t.policy.canary);
    for (size_t i = 0; i < 5; i++)
        set(i, numbered("vector:", i));
    cr_assert_eq(run(5), RC_HALT);
    cr_assert_eq(t.results[0].status, DOCUMENT_PENDING);
}

Test(worker_embed, finds_the_text_that_breaks_the_server)
{
    for (size_t at = 0; at < 20; at++) {
        set_plain(20);
        set(at, numbered("server:", at));
        cr_assert_eq(run(20), RC_OK);
        for (size_t i = 0; i < 20; i++) {
            if (i != at)
                assert_embedded(i);
        }
        assert_failed(at, REASON_PERMANENT_API_ERROR);
        cr_assert_eq(t.results[at].http_status, 500);
    }
}

Test(worker_embed, blames_no_document_for_a_server_that_is_down)
{
    for (size_t from = 1; from < 30; from++) {
        script.fail_5xx_from = from;
        script.limits.max_items = 10;
        set_plain(100);
        set(33, "server: breaks it");
        enum rc rc = run(100);
        cr_assert(rc == RC_RETRY || (rc == RC_OK && script.calls < from));
        for (size_t i = 0; i < 100; i++)
            cr_assert(t.results[i].status == DOCUMENT_EMBEDDED || t.results[i].status == DOCUMENT_PENDING ||
                      (i == 33 && t.results[i].status == DOCUMENT_FAILED));
        if (from == 1)
            cr_assert_leq(script.calls, 12, "the halves of a request are not asked of a dead server");
        if (rc == RC_RETRY)
            cr_assert_eq(t.err.class, ERR_TRANSIENT);
    }
}

Test(worker_embed, retries_what_may_pass_and_then_gives_the_batch_back)
{
    script.down_from = 2;
    script.limits.max_items = 5;
    t.policy.retry.attempts = 4;
    set_plain(10);
    cr_assert_eq(run(10), RC_RETRY);
    cr_assert_eq(script.calls, 1 + 4);
    cr_assert_eq(t.waits, 3);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(t.results[i].status, i < 5 ? DOCUMENT_EMBEDDED : DOCUMENT_PENDING);
}

Test(worker_embed, waits_as_long_as_the_provider_asks)
{
    script.overload_once = 1;
    t.policy.retry = (struct request_retry){.attempts = 3, .first_ms = 10, .cap_ms = 20};
    set_plain(3);
    cr_assert_eq(run(3), RC_OK);
    cr_assert_eq(t.longest_wait, 1234);
    cr_assert_eq(t.results[0].attempts, 2);
}

Test(worker_embed, retries_a_reply_that_decides_nothing)
{
    script.unsound_calls = 2;
    set_plain(3);
    cr_assert_eq(run(3), RC_OK);
    cr_assert_eq(script.calls, 3);
    script.unsound_calls = SCRIPTED_MAX_CALLS;
    cr_assert_eq(run(3), RC_RETRY);
}

Test(worker_embed, halts_at_once)
{
    script.halt_from = 3;
    script.limits.max_items = 2;
    set_plain(20);
    cr_assert_eq(run(20), RC_HALT);
    cr_assert_eq(script.calls, 3);
    cr_assert_eq(t.err.class, ERR_PROVIDER);
    cr_assert_eq(t.results[3].status, DOCUMENT_EMBEDDED);
    cr_assert_eq(t.results[4].status, DOCUMENT_PENDING);
}

static void
raise_cancel(struct script *s, size_t call)
{
    (void)s;
    if (call == 3)
        atomic_store(&t.cancel, true);
}

Test(worker_embed, stops_on_cancel_and_keeps_what_is_done)
{
    script.on_call = raise_cancel;
    script.limits.max_items = 2;
    set_plain(20);
    cr_assert_eq(run(20), RC_CLOSED);
    cr_assert_eq(script.calls, 3);
    for (size_t i = 0; i < 4; i++)
        assert_embedded(i);
}

Test(worker_embed, stops_when_flow_control_says_so)
{
    script.limits.max_items = 2;
    t.stop_before = 3;
    set_plain(20);
    cr_assert_eq(run(20), RC_CLOSED);
    cr_assert_eq(script.calls, 2);
}

Test(worker_embed, stops_when_a_wait_is_cut_short)
{
    script.down_from = 1;
    t.stop_wait = 2;
    set_plain(2);
    cr_assert_eq(run(2), RC_CLOSED);
    cr_assert_eq(script.calls, 2);
}

Test(worker_embed, a_wait_of_its_own_ends_when_cancelled)
{
    atomic_store(&t.cancel, false);
    t.policy.wait = NULL;
    t.policy.retry = (struct request_retry){.attempts = 3, .first_ms = 1, .cap_ms = 2};
    script.down_from = 1;
    set_plain(1);
    cr_assert_eq(run(1), RC_RETRY);
    cr_assert_eq(script.calls, 3);
}

Test(worker_embed, halves_a_request_that_is_too_many_and_remembers)
{
    script.hidden_items = 7;
    set_plain(56);
    cr_assert_eq(run(56), RC_OK);
    for (size_t i = 0; i < 56; i++)
        assert_embedded(i);
    cr_assert_leq(script.calls, 15);

    script.limits.max_items = 14; /* four ranges: only the first one is too many */
    cr_assert_eq(run(56), RC_OK);
    cr_assert_eq(script.calls, 3 + 6);
}

static size_t
accepted_prefix(size_t i)
{
    for (size_t length = t.documents[i].length; length > 0; length--) {
        if (has_vector_of(i, t.documents[i].bytes, length))
            return length;
    }
    return 0;
}

Test(worker_embed, cuts_a_text_to_nearly_the_most_that_the_server_takes)
{
    char *bytes = arena_alloc(t.arena, 50000);
    for (size_t i = 0; i < 25000; i++)
        memcpy(bytes + 2 * i, i % 40 == 0 ? "x " : "\xC3\xA9", 2);
    for (int too_many = 0; too_many < 2; too_many++) {
        script.hidden_bytes = 1001;
        script.long_is_too_many = too_many;
        set_plain(10);
        t.documents[4] = (struct document){.bytes = bytes, .length = 50000};
        t.documents[8] = (struct document){.bytes = bytes + 80, .length = 9000};
        cr_assert_eq(run(10), RC_OK);
        for (size_t i = 0; i < 10; i++) {
            cr_assert_eq(t.results[i].status, DOCUMENT_EMBEDDED);
            cr_assert_eq(t.results[i].truncated, i == 4 || i == 8);
            if (i != 4 && i != 8) {
                assert_embedded(i);
                continue;
            }
            size_t length = accepted_prefix(i);
            cr_assert(length >= 800 && length <= 1001, "%zu bytes", length);
            cr_assert((t.documents[i].bytes[length] & 0xC0) != 0x80, "cut inside a letter");
        }
        cr_assert_leq(t.results[8].attempts, 6, "the length that was taken before is tried first");
    }
}

Test(worker_embed, never_cuts_a_text_down_to_its_prefix)
{
    t.options.document_prefix = "a prefix of some length, no document at all: ";
    script.hidden_bytes = 50;
    set(0, "something that goes on for longer than the few bytes that are left");
    set(1, "ok");
    cr_assert_eq(run(2), RC_OK);
    assert_failed(0, REASON_CONTENT_TOO_LARGE);
    cr_assert_eq(t.results[1].status, DOCUMENT_EMBEDDED);
}

Test(worker_embed, skips_or_fails_long_texts_by_policy)
{
    for (int fail = 0; fail < 2; fail++) {
        t.options.on_too_long = fail ? POLICY_FAIL : POLICY_SKIP;
        script.hidden_bytes = 30;
        set_plain(10);
        set(5, "a text of more than thirty bytes, which is too much here");
        cr_assert_eq(run(10), RC_OK);
        cr_assert_eq(t.results[5].status, fail ? DOCUMENT_FAILED : DOCUMENT_SKIPPED);
        cr_assert_eq(t.results[5].reason, REASON_CONTENT_TOO_LARGE);
        cr_assert_eq(t.results[5].http_status, 400);
        cr_assert_str_eq(t.results[5].detail, "content too large: 56 bytes");
        assert_embedded(6);
        finish();
        t.arena = arena_new(0);
    }
}

Test(worker_embed, cuts_what_no_request_can_hold)
{
    script.limits.max_request_bytes = 40;
    set(0, "0123456789012345678901234567890123456789 and more");
    cr_assert_eq(run(1), RC_OK);
    cr_assert(t.results[0].truncated && has_vector_of(0, t.documents[0].bytes, 40));
    finish();

    t.arena = arena_new(0);
    t.options.on_too_long = POLICY_FAIL;
    cr_assert_eq(run(1), RC_OK);
    assert_failed(0, REASON_CONTENT_TOO_LARGE);
    cr_assert_str_eq(t.results[0].detail, "content too large: 49 bytes (max 40)");
}

/* --- any mixture of faults --- */

enum kind { PLAIN, BLANK, BROKEN, REJECT, SERVER, VECTOR, FLAKY, LONG, TOO_BIG, KINDS };

static enum kind
random_document(size_t i, uint64_t *random)
{
    unsigned dice = (unsigned)(scripted_random(random) % 100);
    enum kind kind = dice < 70 ? PLAIN : (enum kind)(dice % KINDS);
    char *big;

    switch (kind) {
    case BLANK:
        set(i, "  ");
        break;
    case BROKEN:
        set(i, "\x80");
        break;
    case REJECT:
        set(i, numbered("reject:", i));
        break;
    case SERVER:
        set(i, numbered("server:", i));
        break;
    case VECTOR:
        set(i, numbered("vector:", i));
        break;
    case FLAKY:
        set(i, arena_printf(t.arena, "flaky:%u:%c", 1 + dice % 3, (int)(i % 250) + 1));
        break;
    case LONG:
        set(i, numbered("long:", i));
        break;
    case TOO_BIG:
        big = arena_alloc(t.arena, 700);
        memset(big, 'a' + (int)(i % 26), 700);
        t.documents[i] = (struct document){.bytes = big, .length = 700};
        break;
    default:
        kind = PLAIN;
        set(i, numbered("", scripted_random(random) % 60)); /* some are equal */
    }
    if (kind == FLAKY && (unsigned char)t.documents[i].bytes[8] >= 0x80) /* no UTF-8 */
        kind = BROKEN;
    return kind;
}

static void
assert_outcome(size_t i, enum kind kind, uint64_t seed)
{
    const struct document_result *result = &t.results[i];
    enum document_reason reason = REASON_NONE;
    bool skip = kind == BLANK;

    switch (kind) {
    case PLAIN:
    case FLAKY:
        assert_embedded(i);
        return;
    case BLANK:
        reason = REASON_EMPTY_CONTENT;
        break;
    case BROKEN:
        reason = REASON_INVALID_ENCODING;
        break;
    case REJECT:
    case SERVER:
        reason = REASON_PERMANENT_API_ERROR;
        break;
    case VECTOR:
        reason = REASON_INVALID_VECTOR;
        break;
    case TOO_BIG:
        if (t.options.on_too_long == POLICY_TRUNCATE) {
            cr_assert_eq(result->status, DOCUMENT_EMBEDDED, "seed %zu document %zu: %s", (size_t)seed, i,
                         result->detail);
            cr_assert(result->truncated && accepted_prefix(i) <= 500 && accepted_prefix(i) > 100);
            return;
        }
        /* fall through */
    default:
        reason = REASON_CONTENT_TOO_LARGE;
        skip = t.options.on_too_long == POLICY_SKIP;
    }
    cr_assert_eq(result->status, skip ? DOCUMENT_SKIPPED : DOCUMENT_FAILED, "seed %zu document %zu kind %d",
                 (size_t)seed, i, (int)kind);
    cr_assert_eq(result->reason, reason, "seed %zu document %zu kind %d", (size_t)seed, i, (int)kind);
}

Test(worker_embed, gives_every_document_its_own_outcome_whatever_fails, .timeout = 120)
{
    size_t seeds_with[6] = {0};

    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t random = seed;
        size_t count = 1 + scripted_random(&random) % 120;
        enum kind kinds[MAX_DOCUMENTS];
        size_t outage = scripted_random(&random) % 10, from = 1 + scripted_random(&random) % 30;

        memset(&script, 0, offsetof(struct script, call));
        script.dimensions = DIMENSIONS;
        script.random = seed;
        script.hidden_bytes = 500;
        script.transient = (unsigned)(scripted_random(&random) % 3 * 10);
        script.per_text = scripted_random(&random) % 2;
        script.others_embedded = scripted_random(&random) % 2;
        script.long_is_too_many = scripted_random(&random) % 2;
        script.hidden_items = scripted_random(&random) % 3 ? 0 : 1 + scripted_random(&random) % 40;
        script.limits.max_items = scripted_random(&random) % 2 ? 0 : 1 + scripted_random(&random) % 50;
        script.limits.sort_by_length = scripted_random(&random) % 2;
        script.down_from = outage == 1 ? from : 0;
        script.halt_from = outage == 2 ? from : 0;
        script.fail_5xx_from = outage == 3 ? from : 0;
        script.refuse_from = outage == 4 ? from : 0;
        t.options.on_too_long = (enum text_policy)(scripted_random(&random) % 3);
        t.policy.retry.attempts = 10;
        for (size_t i = 0; i < count; i++)
            kinds[i] = random_document(i, &random);

        enum rc rc = run(count);
        switch (outage) {
        case 1:
        case 3:
            cr_assert(rc == RC_OK || rc == RC_RETRY, "seed %zu", (size_t)seed);
            break;
        case 2:
        case 4:
            cr_assert(rc == RC_OK || rc == RC_HALT, "seed %zu", (size_t)seed);
            break;
        default:
            cr_assert_eq(rc, RC_OK, "seed %zu: %s: %s", (size_t)seed, rc_name(rc), t.err.message);
        }
        seeds_with[rc == RC_OK ? 0 : outage]++;
        for (size_t i = 0; i < count; i++) {
            if (t.results[i].status != DOCUMENT_PENDING || rc == RC_OK)
                assert_outcome(i, kinds[i], seed);
        }
        finish();
        t.arena = arena_new(0);
    }
    for (size_t i = 0; i < 5; i++)
        cr_assert_gt(seeds_with[i], 50, "the seeds cover every outage");
}

Test(worker_embed, fails_cleanly_without_memory)
{
    set_plain(50);
    for (size_t limit = 16; limit < 40000; limit += 512) {
        struct arena *spare = t.arena;
        t.arena = arena_new(limit);
        enum rc rc = run(50);
        cr_assert(rc == RC_OK || rc == RC_FATAL);
        if (rc == RC_OK) {
            for (size_t i = 0; i < 50; i++)
                assert_embedded(i);
        }
        arena_free(t.arena);
        t.arena = spare;
    }
}
