#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "embed/hashing.h"
#include "embed_batch.h"

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
