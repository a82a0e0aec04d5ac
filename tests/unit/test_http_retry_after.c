#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "embed/http/retry_after.h"

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT"
#define NOW  784111777 /* the same moment */

static int64_t
wait_of(const char *const *lines)
{
    struct retry_after retry;

    retry_after_begin(&retry);
    for (; *lines != NULL; lines++)
        retry_after_header(&retry, *lines, strlen(*lines));
    return retry_after_ms(&retry, NOW);
}

#define wait_for(...) wait_of((const char *const[]){__VA_ARGS__, NULL})

Test(retry_after, seconds)
{
    cr_assert_eq(wait_for("Retry-After: 7"), 7000);
    cr_assert_eq(wait_for("retry-after:7\r\n"), 7000);
    cr_assert_eq(wait_for("Retry-After:  0.25 "), 250);
    cr_assert_eq(wait_for("Retry-After: 0"), 0);
    cr_assert_eq(wait_for("Retry-After: 99999999"), RETRY_AFTER_MAX_MS);
}

Test(retry_after, a_date_is_measured_by_the_servers_own_clock)
{
    cr_assert_eq(wait_for("Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"), 10000);
    cr_assert_eq(wait_for("Date: Sun, 06 Nov 1994 08:49:40 GMT", "Retry-After: Sun, 06 Nov 1994 08:49:47 GMT"), 7000);
    cr_assert_eq(wait_for("Retry-After: Sun, 06 Nov 1994 08:49:47 GMT", "Date: Sun, 06 Nov 1994 08:49:40 GMT"), 7000);
    cr_assert_eq(wait_for("Retry-After: Sunday, 06-Nov-94 08:49:47 GMT"), 10000);
    cr_assert_eq(wait_for("Retry-After: Sun Nov  6 08:49:47 1994"), 10000);
    cr_assert_eq(wait_for("Retry-After: Sun, 06 Nov 1994 08:00:00 GMT"), 0);
}

Test(retry_after, milliseconds_win)
{
    cr_assert_eq(wait_for("Retry-After: 7", "retry-after-ms: 1250"), 1250);
    cr_assert_eq(wait_for("Retry-After-Ms: 1250.5"), 1251);
}

Test(retry_after, of_several_budgets_the_one_that_is_used_up_counts)
{
    cr_assert_eq(wait_for("x-ratelimit-reset-requests: 1s", "x-ratelimit-reset-tokens: 6m0s"), 360000);
    cr_assert_eq(wait_for("x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 1.5s",
                          "x-ratelimit-remaining-tokens: 1000", "x-ratelimit-reset-tokens: 6m0s"),
                 1500);
    cr_assert_eq(wait_for("x-ratelimit-reset-requests: 20ms"), 20);
    cr_assert_eq(wait_for("X-RateLimit-Reset: 12"), 12000);
    cr_assert_eq(wait_for("RateLimit-Reset: 3"), 3000);
    cr_assert_eq(wait_for(DATE, "x-ratelimit-reset-requests: 1994-11-06T08:49:39.123Z"), 2000);
    cr_assert_eq(wait_for("x-ratelimit-reset-requests: 1h2m3s", "Retry-After: 2"), 2000);
}

Test(retry_after, a_moment_in_unix_seconds_is_no_duration)
{
    cr_assert_eq(wait_for("Date: Sun, 09 Sep 2001 01:46:40 GMT", "x-ratelimit-reset: 1000000005"), 5000);
    cr_assert_eq(wait_for("Date: Sun, 09 Sep 2001 01:46:40 GMT", "x-ratelimit-reset: 1000000005000"), 5000);
    cr_assert_eq(wait_for("x-ratelimit-reset: 1000000005"), 0); /* by whose clock? */
}

Test(retry_after, nonsense_says_nothing)
{
    cr_assert_eq(wait_for("Retry-After: soon"), 0);
    cr_assert_eq(wait_for("Retry-After: -5"), 0);
    cr_assert_eq(wait_for("Retry-After:"), 0);
    cr_assert_eq(wait_for("Retry-After: 1e9"), 0);
    cr_assert_eq(wait_for("Retry-After: 5 minutes"), 0);
    cr_assert_eq(wait_for("Retry-After"), 0);
    cr_assert_eq(wait_for(""), 0);
    cr_assert_eq(wait_for("X-Retry-After: 5"), 0);
    cr_assert_eq(wait_for("Retry-After: 1994-11-06"), 0); /* no time of day */
    cr_assert_eq(wait_for("x-ratelimit-reset-requests: 5x"), 0);
    cr_assert_eq(wait_for("x-ratelimit-reset-requests: 1s2"), 0);
    cr_assert_eq(wait_for("Retry-After: 5", "Retry-After: nonsense"), 5000);
}

Test(retry_after, durations)
{
    cr_assert_eq(retry_after_duration("1s", 2), 1000);
    cr_assert_eq(retry_after_duration("34.4s", 5), 34400);
    cr_assert_eq(retry_after_duration("1h2m3.5s", 8), 3723500);
    cr_assert_eq(retry_after_duration("2d", 2), RETRY_AFTER_MAX_MS);
    cr_assert_eq(retry_after_duration("12", 2), 12000);
    cr_assert_eq(retry_after_duration("", 0), -1);
    cr_assert_eq(retry_after_duration("s", 1), -1);
    cr_assert_eq(retry_after_duration("1m30", 4), -1);
}
