#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

int64_t
clock_now_us(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_MONOTONIC, &now);
    assert(failed == 0); /* every Linux has it */
    (void)failed;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t
clock_now_ms(void)
{
    return clock_now_us() / 1000;
}

void
clock_wall_iso(char *out, unsigned long size)
{
    struct timespec now = {0};
    struct tm utc = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                   utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000));
}

int64_t
clock_backoff_ms(int attempt, int64_t first_ms, int64_t cap_ms)
{
    int64_t base = first_ms;
    for (int i = 0; i < attempt && base < cap_ms; i++)
        base = base > INT64_MAX / 2 ? INT64_MAX : base * 2;
    if (base > cap_ms)
        base = cap_ms;
    if (base <= 0)
        return 0;

    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = (uint64_t)clock_now_us();
    int64_t half = base / 2;
    return half + (int64_t)(random % (uint64_t)(base - half + 1));
}
