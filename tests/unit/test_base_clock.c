#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

Test(clock, never_goes_back_and_both_units_agree)
{
    int64_t before = clock_now_us();
    int64_t middle = clock_now_ms();
    int64_t after = clock_now_us();

    cr_assert_leq(before, after);
    cr_assert_leq(before / 1000, middle);
    cr_assert_leq(middle, after / 1000);
}

Test(clock, wall_time_is_iso_8601_in_utc)
{
    char now[25];

    setenv("TZ", "Asia/Tokyo", 1);
    clock_wall_iso(now, sizeof now);
    cr_assert_eq(strlen(now), 24);
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0;
    int fields = sscanf(now, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &year, &month, &day, &hour, &minute, &second, &ms);
    cr_assert_eq(fields, 7, "%s", now);
    cr_assert_eq(now[23], 'Z');

    struct tm utc = {.tm_year = year - 1900,
                     .tm_mon = month - 1,
                     .tm_mday = day,
                     .tm_hour = hour,
                     .tm_min = minute,
                     .tm_sec = second};
    cr_assert_leq(llabs((long long)(time(NULL) - timegm(&utc))), 2, "%s is not the present time in UTC", now);
}

Test(clock, backoff_doubles_with_jitter_up_to_its_cap)
{
    const int64_t bases[] = {100, 200, 400, 800, 1000, 1000};

    for (int attempt = 0; attempt < 6; attempt++) {
        int64_t lowest = INT64_MAX;
        int64_t highest = 0;
        for (int i = 0; i < 2000; i++) {
            int64_t pause = clock_backoff_ms(attempt, 100, 1000);
            cr_assert_geq(pause, bases[attempt] / 2);
            cr_assert_leq(pause, bases[attempt]);
            lowest = pause < lowest ? pause : lowest;
            highest = pause > highest ? pause : highest;
        }
        cr_assert_geq(highest - lowest, bases[attempt] / 4, "attempt %d has no jitter", attempt);
    }
}

Test(clock, backoff_survives_extreme_arguments)
{
    cr_assert_eq(clock_backoff_ms(0, 0, 1000), 0);
    cr_assert_leq(clock_backoff_ms(1000000, 1, 5000), 5000);
    cr_assert_geq(clock_backoff_ms(1000000, 1, INT64_MAX), INT64_MAX / 2);
    cr_assert_leq(clock_backoff_ms(-3, 100, 1000), 100);
    cr_assert_leq(clock_backoff_ms(0, 5000, 1000), 1000);
}
