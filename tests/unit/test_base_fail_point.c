#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail_point.h"

/* Each test is a process of its own, so the rules are read anew. */
static void
rules(const char *text)
{
    setenv("REEMBED_FAIL_POINTS", text, 1);
}

Test(fail_point, an_error_comes_once_at_its_time_and_says_where)
{
    struct err err = ERR_INIT;

    rules("reader.read=error@3");
    cr_assert_eq(fail_point("reader.read", &err), RC_OK);
    cr_assert_eq(fail_point("reader.claimed", &err), RC_OK);
    cr_assert_eq(fail_point("reader.read", &err), RC_OK);
    cr_assert_eq(fail_point("reader.read", &err), RC_FATAL);
    cr_assert_str_eq(err.message, "fail point reader.read");
    cr_assert_eq(fail_point("reader.read", &err), RC_OK);
}

Test(fail_point, an_error_comes_again_at_every_nth_time)
{
    static const enum rc expected[] = {RC_OK, RC_RETRY, RC_OK, RC_OK, RC_RETRY, RC_OK, RC_OK, RC_RETRY};

    rules("writer.sent=error:retry@2/3");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_eq(fail_point("writer.sent", NULL), expected[i], "the time number %zu", i + 1);
}

Test(fail_point, an_error_may_have_a_sqlstate)
{
    struct err err = ERR_INIT;

    rules("main.beaten=error,db.statement=error:40P01");
    cr_assert_eq(fail_point("db.statement", &err), RC_FATAL);
    cr_assert_str_eq(err.sqlstate, "40P01");
    cr_assert_eq(fail_point("main.beaten", &err), RC_FATAL);
    cr_assert_str_eq(err.sqlstate, "");
    cr_assert(fail_point_known("main.beaten"));
    cr_assert_not(fail_point_known("main"));
}

Test(fail_point, a_delay_is_slept_and_goes_on)
{
    int64_t before = clock_now_ms();

    rules("worker.asking=delay:60");
    cr_assert_eq(fail_point("worker.asking", NULL), RC_OK);
    cr_assert_geq(clock_now_ms() - before, 60);
}

Test(fail_point, kill_ends_the_process, .signal = SIGKILL)
{
    rules("run.started=kill");
    (void)fail_point("run.started", NULL);
}

Test(fail_point, without_rules_nothing_happens)
{
    unsetenv("REEMBED_FAIL_POINTS");
    cr_assert_eq(fail_point("run.started", NULL), RC_OK);
}

/* The exit code of a process that comes by with this rule. */
static int
refused(const char *text)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        rules(text);
        (void)fail_point("x", NULL);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(fail_point, a_rule_that_cannot_be_read_is_an_error)
{
    static const char *const wrong[] = {
        "x",        "x=explode", "x=delay",   "x=delay:",  "x=delay:soon",       "x=kill:9",
        "x=kill@0", "x=kill@y",  "x=kill@1/", "=kill@2/0", "x=error:toolongtext"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert_eq(refused(wrong[i]), 2, "%s", wrong[i]);
    cr_assert_eq(refused("x=error"), 0);
    cr_assert_eq(refused("y=stop@2/3,z=delay:5@7"), 0);
}
