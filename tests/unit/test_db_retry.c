#include <criterion/criterion.h>

#include "base/clock.h"
#include "db/retry.h"

static int64_t pretended_ms;

static int64_t
pretended_now_ms(void)
{
    return pretended_ms;
}

Test(db_retry, attempts_are_counted_from_the_first)
{
    const struct retry_policy policy = {.max_attempts = 3, .first_ms = 10, .cap_ms = 100};
    struct retry retry = retry_start(&policy);
    int64_t wait_ms;
    cr_assert(retry_next(&retry, &wait_ms));
    cr_assert(retry_next(&retry, &wait_ms));
    cr_assert_not(retry_next(&retry, &wait_ms));
    cr_assert_not(retry_next(&retry, &wait_ms));
}

Test(db_retry, waits_double_up_to_the_cap)
{
    const struct retry_policy policy = {.first_ms = 10, .cap_ms = 80};
    static const int64_t bases[] = {10, 20, 40, 80, 80, 80};
    for (int repeat = 0; repeat < 100; repeat++) {
        struct retry retry = retry_start(&policy);
        for (int i = 0; i < 6; i++) {
            int64_t wait_ms = -1;
            cr_assert(retry_next(&retry, &wait_ms));
            cr_assert_geq(wait_ms, bases[i] / 2);
            cr_assert_leq(wait_ms, bases[i]);
        }
    }
}

Test(db_retry, time_ends_it_after_one_last_attempt)
{
    const struct retry_policy policy = {.first_ms = 100, .cap_ms = 100, .total_ms = 1000, .now_ms = pretended_now_ms};
    pretended_ms = 5000;
    struct retry retry = retry_start(&policy);
    int64_t wait_ms;
    cr_assert(retry_next(&retry, &wait_ms));
    pretended_ms = 5990;
    cr_assert(retry_next(&retry, &wait_ms));
    cr_assert_leq(wait_ms, 10);
    pretended_ms = 6000;
    cr_assert_not(retry_next(&retry, &wait_ms));
}

Test(db_retry, the_stop_flag_ends_a_wait)
{
    const struct retry_policy policy = {.first_ms = 60000, .cap_ms = 60000};
    atomic_bool stop = true;
    struct retry retry = retry_start(&policy);
    int64_t start_ms = clock_now_ms();
    cr_assert_eq(retry_wait(&retry, &stop), RC_CLOSED);
    cr_assert_lt(clock_now_ms() - start_ms, 5000);
}

Test(db_retry, waiting_says_when_to_go_on_and_when_to_give_up)
{
    const struct retry_policy policy = {.max_attempts = 2, .first_ms = 20, .cap_ms = 20};
    struct retry retry = retry_start(&policy);
    int64_t start_ms = clock_now_ms();
    cr_assert_eq(retry_wait(&retry, NULL), RC_OK);
    cr_assert_geq(clock_now_ms() - start_ms, 9);
    cr_assert_eq(retry_wait(&retry, NULL), RC_RETRY);
}
