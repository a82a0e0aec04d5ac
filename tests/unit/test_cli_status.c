/* What status says, and what it tells a person to do next. */
#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/status_text.h"

static const char running[] =
    "{\"migration_id\":\"docs-a-to-b\",\"collection\":\"docs\",\"source_model\":\"a\",\"target_model\":\"b\","
    "\"state\":\"in_progress\",\"stage\":\"backfill\",\"reason\":null,\"total\":1000000,\"processed\":482113,"
    "\"skipped\":12,\"failed\":3,\"pending\":517872,\"in_flight\":400,\"changes_pending\":14,\"changes_applied\":2311,"
    "\"change_lag_secs\":0.4,\"progress\":0.482113,\"throughput\":1240,\"eta_secs\":418,\"tokens\":9000,\"requests\":70,"
    "\"cost\":0.25,\"truncated\":17,\"stalled\":false,\"flipped_at\":null,"
    "\"routing\":{\"query_model\":\"a\",\"write_models\":[\"a\",\"b\"]},"
    "\"gates\":[{\"gate\":\"coverage\",\"holds\":false,\"required\":0.8,\"text\":\"48.21 % of 80 %\"},"
    "{\"gate\":\"change_lag\",\"holds\":true,\"text\":\"fine\"},{\"gate\":\"approval\",\"holds\":true,\"text\":\"given\"}],"
    "\"workers\":[{\"host\":\"h1\",\"pid\":12,\"alive\":true,\"processed\":300000,\"note\":null},"
    "{\"host\":\"h2\",\"pid\":13,\"alive\":false,\"processed\":1}]}";

static const char more_of_running[] =
    "{\"window_left\":null,\"finalized\":false,\"failures\":[{\"kind\":\"failed\",\"reason\":\"invalid_vector\","
    "\"documents\":3,\"example\":\"17\",\"detail\":\"NaN\"}]}";

static char *bytes;
static size_t length;

/* Prints with `change`, an object whose members replace those of the running migration. */
static const char *
text_of(const char *change, const char *more_text, bool next_only)
{
    struct err err = ERR_INIT;
    cJSON *status = cJSON_Parse(running);
    cJSON *changes = cJSON_Parse(change);
    cJSON *more = cJSON_Parse(more_text);
    cr_assert(status != NULL && changes != NULL && more != NULL ? 1 : 0);
    while (changes->child != NULL) {
        cJSON *member = cJSON_DetachItemViaPointer(changes, changes->child);
        cJSON_DeleteItemFromObjectCaseSensitive(status, member->string);
        cJSON_AddItemToObject(status, member->string, member);
    }

    free(bytes);
    bytes = NULL;
    struct output out = {.stream = open_memstream(&bytes, &length)};
    if (!next_only)
        cr_assert_eq(status_print(&out, status, more, &err), RC_OK, "%s", err.message);
    status_print_next(&out, status, more);
    (void)fclose(out.stream);
    cJSON_Delete(status);
    cJSON_Delete(changes);
    cJSON_Delete(more);
    return bytes;
}

static void
next_is(const char *change, const char *more, const char *expected)
{
    const char *text = text_of(change, more, true);
    cr_expect_not_null(strstr(text, expected), "%s %s\n  says   %s  not    %s", change, more, text, expected);
}

Test(cli_status, it_answers_the_questions_that_people_have)
{
    const char *text = text_of("{}", more_of_running, false);
    static const char *const parts[] = {
        "docs-a-to-b  in progress (backfill)\n",
        "docs: a -> b\n",
        "48.2 %  482,113 of 1,000,000 documents\n",
        "rate       1,240/s, all documents embedded in 6 min 58 s\n",
        "documents  482,113 embedded, 517,872 pending (400 in flight), 12 skipped, 3 failed\n",
        "truncated  17 texts were longer than the model takes\n",
        "changes    14 waiting, the oldest for 0.4 s; 2,311 applied\n",
        "spent      9,000 tokens in 70 requests, cost 0.25\n",
        "queries    a, the source\n",
        "writes     a and b\n",
        "-  coverage    48.21 % of 80 %\n",
        "+  change lag  fine\n",
        "3  failed  invalid_vector  such as 17: NaN\n",
        "h1 pid 12  300,000 done",
        "next: wait about 6 min 58 s; queries go over by themselves when every gate holds\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        cr_expect_not_null(strstr(text, parts[i]), "missing: %s\nin:\n%s", parts[i], text);
    cr_expect_null(strstr(text, "h2"), "a worker that is gone is not listed:\n%s", text);
}

Test(cli_status, the_side_that_answers_queries_is_named_after_the_flip)
{
    const char *text = text_of("{\"flipped_at\":\"2026-01-31T12:00:00Z\",\"routing\":{\"query_model\":\"b\","
                               "\"write_models\":[\"a\",\"b\"]}}",
                               "{\"flipped_ago\":60}", false);
    cr_expect_not_null(strstr(text, "queries    b, the target, since 1 min 0 s\n"), "%s", text);
    cr_expect_null(strstr(text, "gates"), "gates that were passed do not matter:\n%s", text);
    cr_expect_not_null(strstr(text, "next: wait: queries have gone over"), "%s", text);
}

Test(cli_status, a_source_without_provider_is_told)
{
    cr_expect_not_null(
        strstr(text_of("{\"source_kept\":false}", "{}", false), "the application keeps it current itself"));
    cr_expect_null(strstr(text_of("{\"source_kept\":true}", "{}", false), "the application keeps"));
}

Test(cli_status, unknown_rate_and_dead_workers_are_said)
{
    cr_expect_not_null(
        strstr(text_of("{\"throughput\":null,\"eta_secs\":null}", "{}", false), "rate       not known yet"));
    const char *text = text_of("{\"stalled\":true,\"workers\":[]}", "{}", false);
    cr_expect_not_null(strstr(text, "nothing moves: no worker is alive"), "%s", text);
    cr_expect_not_null(strstr(text, "next: no worker is alive; start one: reembed run FILE"), "%s", text);
}

Test(cli_status, a_reason_is_shown_and_cannot_move_the_cursor)
{
    const char *text = text_of("{\"state\":\"paused\",\"reason\":\"max_tokens \\u001b[2J reached\"}", "{}", false);
    cr_expect_not_null(strstr(text, "docs-a-to-b  paused: max_tokens "), "%s", text);
    cr_expect_null(strchr(text, '\033'));
}

Test(cli_status, the_next_step_follows_the_state)
{
    next_is("{\"state\":\"planned\"}", "{}", "start it: reembed run FILE");
    next_is("{\"state\":\"paused\"}", "{}", "reembed resume docs-a-to-b; or give up");
    next_is("{\"state\":\"paused\",\"workers\":[]}", "{}", "reembed resume docs-a-to-b, then reembed run FILE");
    next_is("{\"state\":\"failed\"}", "{}", "remove the cause, then: reembed run FILE");
    next_is("{\"state\":\"cancelled\"}", "{}", "nothing; a new migration needs another id");
    next_is("{\"state\":\"rolled_back\"}", "{\"finalized\":false}", "reembed cutover docs-a-to-b");
    next_is("{\"state\":\"rolled_back\"}", "{\"finalized\":true}", "nothing; it is over");
    next_is("{\"state\":\"completed\",\"failed\":0}", "{\"window_left\":3600}",
            "bad results: reembed rollback docs-a-to-b; good ones: reembed finalize docs-a-to-b --now");
    next_is("{\"state\":\"completed\",\"failed\":0}", "{\"window_left\":-1}", "reembed finalize docs-a-to-b");
    next_is("{\"state\":\"completed\",\"failed\":0}", "{\"finalized\":true}", "nothing; it is over");
    next_is("{\"state\":\"completed\"}", "{}", "reembed failures docs-a-to-b");
}

Test(cli_status, only_a_missing_approval_asks_for_a_person)
{
    next_is("{\"gates\":[{\"gate\":\"coverage\",\"holds\":true},{\"gate\":\"approval\",\"holds\":false}]}", "{}",
            "every gate holds; flip when you are ready: reembed cutover docs-a-to-b");
    next_is("{\"gates\":[{\"gate\":\"coverage\",\"holds\":false},{\"gate\":\"approval\",\"holds\":false}]}", "{}",
            "wait for the gates, then: reembed cutover docs-a-to-b");
    next_is("{\"pending\":0,\"eta_secs\":0}", "{}", "look at what failed: reembed failures docs-a-to-b");
}
