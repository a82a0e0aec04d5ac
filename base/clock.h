/* base/clock.h - durations by CLOCK_MONOTONIC. Leases and windows go by the database's clock, never by this one. */
#ifndef REEMBED_BASE_CLOCK_H
#define REEMBED_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_now_ms(void);                         /* monotonic milliseconds */
int64_t clock_now_us(void);                         /* monotonic microseconds */
void clock_wall_iso(char *out, unsigned long size); /* UTC, "2026-01-31T12:00:00.123Z"; size >= 25 */

/* Full jitter: a random duration in [base/2, base] where base = first_ms * 2^attempt, at most cap_ms. */
int64_t clock_backoff_ms(int attempt, int64_t first_ms, int64_t cap_ms);

#endif
