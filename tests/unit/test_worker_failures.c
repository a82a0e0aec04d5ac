#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "embed/hashing.h"
#include "embed_batch.h"

TestSuite(worker_failures, .init = start, .fini = finish);

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

Test(worker_failures, finds_one_refused_text_in_logarithmically_many_requests)
{
    for (size_t n = 1; n <= 130; n++) {
        for (size_t at = 0; at < n; at++) {
            find_one_poison(n, at, "reject:", REASON_PERMANENT_API_ERROR);
            cr_assert_eq(t.results[at].http_status, 422);
            cr_assert_str_eq(t.results[at].detail, "not allowed");
        }
    }
}

Test(worker_failures, spends_the_bound_at_the_first_place_and_less_at_the_last)
{
    find_one_poison(128, 0, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls, 2 * 7 + 1);
    find_one_poison(128, 127, "reject:", REASON_PERMANENT_API_ERROR);
    cr_assert_eq(script.calls - canary_calls(), 7 + 2);
}

Test(worker_failures, needs_no_bisection_where_the_reply_names_the_text)
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

Test(worker_failures, fails_no_document_when_everything_is_refused)
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

Test(worker_failures, fails_no_document_when_everything_is_refused_and_there_is_no_canary)
{
    t.policy.canary = NULL;
    script.refuse_all = true;
    script.limits.max_items = 1; /* each text is in a request of its own */
    set_plain(10);
    cr_assert_eq(run(10), RC_HALT);
    for (size_t i = 0; i < 10; i++)
        cr_assert_eq(t.results[i].status, DOCUMENT_PENDING);
}

Test(worker_failures, takes_an_earlier_text_for_a_canary)
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

Test(worker_failures, believes_a_working_canary_when_all_texts_are_refused)
{
    for (size_t i = 0; i < 5; i++)
        set(i, numbered("reject:", i));
    cr_assert_eq(run(5), RC_OK);
    cr_assert_geq(canary_calls(), 1);
    for (size_t i = 0; i < 5; i++)
        assert_failed(i, REASON_PERMANENT_API_ERROR);
}

Test(worker_failures, halts_when_no_text_gets_a_usable_vector)
{
    t.policy.canary = "vector: the canary too";
    t.policy.canary_length = strlen(t.policy.canary);
    for (size_t i = 0; i < 5; i++)
        set(i, numbered("vector:", i));
    cr_assert_eq(run(5), RC_HALT);
    cr_assert_eq(t.results[0].status, DOCUMENT_PENDING);
}

Test(worker_failures, finds_the_text_that_breaks_the_server)
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

Test(worker_failures, blames_no_document_for_a_server_that_is_down)
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

Test(worker_failures, retries_what_may_pass_and_then_gives_the_batch_back)
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

Test(worker_failures, waits_as_long_as_the_provider_asks)
{
    script.overload_once = 1;
    t.policy.retry = (struct request_retry){.attempts = 3, .first_ms = 10, .cap_ms = 20};
    set_plain(3);
    cr_assert_eq(run(3), RC_OK);
    cr_assert_eq(t.longest_wait, 1234);
    cr_assert_eq(t.results[0].attempts, 2);
}

Test(worker_failures, retries_a_reply_that_decides_nothing)
{
    script.unsound_calls = 2;
    set_plain(3);
    cr_assert_eq(run(3), RC_OK);
    cr_assert_eq(script.calls, 3);
    script.unsound_calls = SCRIPTED_MAX_CALLS;
    cr_assert_eq(run(3), RC_RETRY);
}

Test(worker_failures, halts_at_once)
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

Test(worker_failures, gives_every_document_its_own_outcome_whatever_fails, .timeout = 120)
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

Test(worker_failures, fails_cleanly_without_memory)
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
