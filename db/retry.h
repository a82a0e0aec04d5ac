/* db/retry.h - how often and how patiently something is tried again.
 *
 *     struct retry retry = retry_start(&policy);
 *     while ((rc = attempt(..., err)) == RC_RETRY && retry_wait(&retry, stop) == RC_OK)
 *         ;
 *
 * Waits are random within a doubling base (clock_backoff_ms), so that many workers do not come back at once.
 * Threads: plain data, one owner.
 */
#ifndef REEMBED_DB_RETRY_H
#define REEMBED_DB_RETRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct retry_policy {
    int max_attempts;        /* the first one counts; 0: no limit */
    int64_t first_ms;        /* base of the first wait */
    int64_t cap_ms;          /* base of the longest wait */
    int64_t total_ms;        /* no wait begins or ends later than this after the start; 0: no limit */
    int64_t (*now_ms)(void); /* NULL: clock_now_ms */
};

struct retry {
    struct retry_policy policy;
    int64_t started_ms;
    int attempts; /* that have failed so far */
};

struct retry retry_start(const struct retry_policy *policy);

/* Counts a failed attempt. True: try again after *ret_wait_ms. False: give up. */
bool retry_next(struct retry *retry, int64_t *ret_wait_ms);

/* The same, and waits. RC_OK: try again; RC_RETRY: give up; RC_CLOSED: *stop became true (`stop` may be NULL). */
enum rc retry_wait(struct retry *retry, const atomic_bool *stop);

#endif
