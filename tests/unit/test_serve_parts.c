/* The parts of the server that need no server: metrics text, histogram, addresses, history. */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "serve/exposition.h"
#include "serve/history.h"
#include "serve/listener.h"
#include "serve/process.h"

static struct strbuf out;

static void
setup(void)
{
    strbuf_init(&out, 1 << 20);
}

static void
teardown(void)
{
    strbuf_free(&out);
}

TestSuite(serve, .init = setup, .fini = teardown);

Test(serve, label_values_are_escaped_and_numbers_keep_their_value)
{
    exposition_sample("m", "l", "a\"b\\c\nd", 0.1, &out);
    exposition_sample("m", NULL, NULL, 123456789012.25, &out);
    exposition_sample("m", NULL, NULL, 1e300 * 1e300, &out);
    cr_assert_str_eq(strbuf_text(&out), "m{l=\"a\\\"b\\\\c\\nd\"} 0.1\nm 123456789012.25\nm +Inf\n", "got: %s",
                     strbuf_text(&out));
}

Test(serve, a_histogram_is_cumulated_and_counts_what_lies_on_a_bound_below_it)
{
    static struct histogram histogram;
    histogram_add(&histogram, 500);
    histogram_add(&histogram, 501);
    histogram_add(&histogram, 61000000);
    histogram_add(&histogram, -5);
    exposition_histogram(process_family("reembed_run_read_duration_seconds"), &histogram, &out);
    cr_assert_not_null(strstr(strbuf_text(&out), "_bucket{le=\"0.0005\"} 2\n"));
    cr_assert_not_null(strstr(strbuf_text(&out), "_bucket{le=\"0.001\"} 3\n"));
    cr_assert_not_null(strstr(strbuf_text(&out), "_bucket{le=\"60\"} 3\n"));
    cr_assert_not_null(strstr(strbuf_text(&out), "_bucket{le=\"+Inf\"} 4\n"));
    cr_assert_not_null(strstr(strbuf_text(&out), "_sum 61.001001\n"));
    cr_assert_not_null(strstr(strbuf_text(&out), "_count 4\n"));
}

Test(serve, a_host_is_local_by_number_or_as_localhost_only)
{
    static const char *const local[] = {"localhost",     "LOCALHOST:80", "127.0.0.1",
                                        "10.0.0.1:9843", "[::1]",        "[::1]:9843"};
    static const char *const foreign[] = {
        "", ":", "[", "[]", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "1", "[evil]"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        cr_assert(listener_host_is_local(local[i]), "%s", local[i]);
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        cr_assert_not(listener_host_is_local(foreign[i]), "%s", foreign[i]);
}

Test(serve, only_addresses_of_this_machine_are_bound_when_nothing_else_is_allowed)
{
    struct listener listener;
    struct err err = ERR_INIT;
    static const char *const open[] = {"0.0.0.0:0", "[::]:0"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        cr_assert_eq(listener_open(open[i], true, &listener, &err), RC_INVALID, "%s", open[i]);
    cr_assert_eq(listener_open("127.0.0.1:0", true, &listener, &err), RC_OK);
    cr_assert(listener.loopback);
    cr_assert_eq(strncmp(listener.url, "http://127.0.0.1:", 17), 0);
    (void)close(listener.socket);
    cr_assert_eq(listener_open("0.0.0.0:0", false, &listener, &err), RC_OK);
    cr_assert_not(listener.loopback);
    (void)close(listener.socket);
}

Test(serve, the_history_keeps_its_beginning_and_its_end_in_bounded_room)
{
    static struct history history;
    int64_t at = 1000000;
    for (size_t i = 0; i < 10 * HISTORY_POINTS; i++, at += HISTORY_FIRST_MS)
        history_add(&history, "m", (struct history_point){.at_ms = at, .processed = (int64_t)i});
    cr_assert_leq(history.count, HISTORY_POINTS);
    cr_assert_geq(history.count, HISTORY_POINTS / 2);
    cr_assert_eq(history.points[0].processed, 0);
    cr_assert_geq(history.points[history.count - 1].processed, 10 * HISTORY_POINTS - 20);
    for (size_t i = 1; i < history.count; i++)
        cr_assert_gt(history.points[i].at_ms, history.points[i - 1].at_ms);
    history_json(&history, "other", at, &out);
    cr_assert_str_eq(strbuf_text(&out), "[]");
    history_add(&history, "other", (struct history_point){.at_ms = at, .processed = 7, .coverage = 0.5});
    cr_assert_eq(history.count, 1);
    strbuf_reset(&out);
    history_json(&history, "other", at + 1500, &out);
    cr_assert_str_eq(strbuf_text(&out), "[[1.5,7,0,0.500000]]");
}

Test(serve, a_lease_is_alive_only_while_the_heartbeat_is_fresh)
{
    static struct measurements run;
    cr_assert_not(process_lease_alive(&run));
    atomic_store(&run.working, true);
    cr_assert_not(process_lease_alive(&run), "there was no heartbeat yet");
    atomic_store(&run.beat_ms, 1);
    atomic_store(&run.lease_ms, INT64_MAX / 2);
    cr_assert(process_lease_alive(&run));
}
