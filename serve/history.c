#include "serve/history.h"

#include <stdio.h>
#include <string.h>

int64_t
history_due_ms(const struct history *history)
{
    return history->count == 0 ? 0 : history->points[history->count - 1].at_ms + history->distance_ms;
}

void
history_add(struct history *history, const char *id, struct history_point point)
{
    if (strcmp(history->id, id) != 0) {
        (void)snprintf(history->id, sizeof history->id, "%s", id);
        history->count = 0;
        history->distance_ms = HISTORY_FIRST_MS;
    } else if (point.at_ms < history_due_ms(history)) {
        return;
    }
    if (history->count == HISTORY_POINTS) {
        for (size_t i = 0; i < HISTORY_POINTS / 2; i++)
            history->points[i] = history->points[i * 2];
        history->count = HISTORY_POINTS / 2;
        history->distance_ms *= 2;
    }
    history->points[history->count++] = point;
}

void
history_json(const struct history *history, const char *id, int64_t now_ms, struct strbuf *out)
{
    strbuf_putc(out, '[');
    for (size_t i = 0; i < history->count && strcmp(history->id, id) == 0; i++) {
        const struct history_point *p = &history->points[i];
        strbuf_printf(out, "%s[%.1f,%lld,%lld,%.6f]", i == 0 ? "" : ",", (double)(now_ms - p->at_ms) / 1000,
                      (long long)p->processed, (long long)p->changes_applied, p->coverage);
    }
    strbuf_putc(out, ']');
}
