/* serve/history.h - how a migration went: a point now and then, over its whole length in bounded memory.
 *
 * When there is no room every other point is dropped and the distance doubles, so the curve always begins where this
 * process began to look. Another migration begins it anew.
 * Threads: one at a time; the sampler's lock.
 */
#ifndef REEMBED_SERVE_HISTORY_H
#define REEMBED_SERVE_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

enum { HISTORY_POINTS = 480, HISTORY_FIRST_MS = 5000, HISTORY_ID = 256 };

struct history_point {
    int64_t at_ms; /* clock_now_ms */
    int64_t processed;
    int64_t changes_applied;
    double coverage;
};

struct history {
    char id[HISTORY_ID];
    int64_t distance_ms; /* 0: no point yet */
    size_t count;
    struct history_point points[HISTORY_POINTS];
};

/* When the next point is due, in clock_now_ms. */
int64_t history_due_ms(const struct history *history);

/* Keeps the point if one is due, or if it is of another migration than the ones before. */
void history_add(struct history *history, const char *id, struct history_point point);

/* [[seconds ago, processed, changes applied, coverage], ...], oldest first; [] for another migration. */
void history_json(const struct history *history, const char *id, int64_t now_ms, struct strbuf *out);

#endif
