/* embed/http/retry_after.h - how long a server asks to be left alone, from whichever header says it.
 *
 * Known: retry-after-ms, Retry-After (seconds or a date), x-ratelimit-reset-* ("1s", "6m0s", "20ms", seconds, a moment
 * in Unix seconds or ISO form), ratelimit-reset, x-ratelimit-reset. A date is measured from the answer's own Date
 * header where it has one, so that a wrong clock here does no harm.
 * Units: milliseconds, never above RETRY_AFTER_MAX_MS. Threads: plain data, pure functions.
 */
#ifndef REEMBED_EMBED_HTTP_RETRY_AFTER_H
#define REEMBED_EMBED_HTTP_RETRY_AFTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETRY_AFTER_MAX_MS ((int64_t)24 * 3600 * 1000)

/* -1: not told. */
struct retry_after {
    int64_t date;                                    /* of the answer, Unix seconds */
    int64_t milliseconds;                            /* retry-after-ms */
    int64_t header;                                  /* Retry-After, as milliseconds; a date is kept in `moment` */
    int64_t moment;                                  /* Retry-After as a date, Unix seconds */
    int64_t reset_requests, reset_tokens, reset_any; /* x-ratelimit-reset-requests, -tokens, all others */
    bool requests_left, tokens_left;                 /* x-ratelimit-remaining-* is above 0 */
};

void retry_after_begin(struct retry_after *retry);

/* One header line, "Name: value", with or without its line end. Others than the above are ignored. */
void retry_after_header(struct retry_after *retry, const char *line, size_t length);

/* How long to wait, 0 when no header says. `now`: Unix seconds, for an answer without Date. */
int64_t retry_after_ms(const struct retry_after *retry, int64_t now);

/* "1s", "6m0s", "1h2m3.5s", "20ms", "12", "1.5": milliseconds, or -1. */
int64_t retry_after_duration(const char *text, size_t length);

#endif
