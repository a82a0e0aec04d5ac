#include "cli/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/format.h"
#include "cli/status_text.h"

enum { REDRAW_MS = 100, LOG_MS = 10000, LINE_MAX = 4096, BAR_MIN = 10, BAR_MAX = 40, WORD_MAX = 32 };

/* --- the line --- */

static const char *
stage_of(const struct progress_view *view)
{
    if (view->stage != NULL && view->state != NULL && strcmp(view->state, "in_progress") == 0)
        return view->stage;
    return view->state == NULL ? "starting" : view->state;
}

static double
share_of(const struct progress_view *view)
{
    if (view->index_share >= 0)
        return view->index_share;
    return view->total > 0 ? (double)view->processed / (double)view->total : view->pending == 0 ? 1 : 0;
}

/* Appends a field if it fits; a field that does not fit is left out whole. */
static void
add_field(struct strbuf *line, size_t width, const char *field)
{
    size_t used = format_width(strbuf_text(line));
    if (field[0] != '\0' && used + 2 + format_width(field) <= width)
        strbuf_printf(line, "  %s", field);
}

void
progress_line(const struct progress_view *view, size_t width, bool utf8, struct strbuf *line)
{
    char text[FORMAT_SIZE];
    char other[FORMAT_SIZE];
    char field[256] = "";
    bool flipped = view->routing != NULL && strcmp(view->routing, "target") == 0;

    strbuf_printf(line, "%-8s", stage_of(view));
    size_t bar = width / 4 > BAR_MAX ? BAR_MAX : width / 4;
    if (bar >= BAR_MIN) {
        /* Once queries have gone over there is nothing left to mark. */
        strbuf_puts(line, " ");
        bar_draw(line, bar, share_of(view), flipped || view->index_share >= 0 ? -1 : view->threshold, utf8);
    }
    strbuf_printf(line, " %6s", format_share(share_of(view), text));

    if (view->throughput >= 0 && view->index_share < 0)
        add_field(line, width, format_rate(view->throughput, text));
    if (view->eta_secs > 0) {
        (void)snprintf(field, sizeof field, "ETA %s", format_duration(view->eta_secs, text));
        add_field(line, width, field);
    }
    if (view->failed > 0) {
        (void)snprintf(field, sizeof field, "%s failed", format_count(view->failed, text));
        add_field(line, width, field);
    }
    if (view->skipped > 0) {
        (void)snprintf(field, sizeof field, "%s skipped", format_count(view->skipped, text));
        add_field(line, width, field);
    }
    if (view->changes_pending > 0) {
        (void)snprintf(field, sizeof field, "%s changes", format_count(view->changes_pending, text));
        add_field(line, width, field);
    }
    if (view->note != NULL) {
        struct strbuf note;
        strbuf_init(&note, LINE_MAX);
        format_fit(view->note, 60, &note);
        add_field(line, width, strbuf_text(&note));
        strbuf_free(&note);
    }
    (void)snprintf(field, sizeof field, "%s/%s", format_count(view->processed, text), format_count(view->total, other));
    add_field(line, width, field);
    if (flipped)
        add_field(line, width, utf8 ? "→ target" : "-> target");
}

/* --- the process's one progress --- */

static struct {
    pthread_mutex_t lock; /* the bar is drawn by the run loop and moved aside by whoever logs */
    enum progress_mode mode;
    bool open;
    bool utf8;
    bool drawn;
    int64_t last_ms; /* of the last drawing or log line; 0: none yet */
    struct strbuf line;
    char state[WORD_MAX]; /* as last shown, to see changes */
    char stage[WORD_MAX];
    char routing[WORD_MAX];
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum progress_mode
progress_choose(bool no_progress)
{
    const char *terminal = getenv("TERM");
    bool dumb = terminal == NULL || strcmp(terminal, "dumb") == 0;
    return !no_progress && !dumb && isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_LOG;
}

static void
write_line(const char *before, const char *text)
{
    struct strbuf out;
    strbuf_init(&out, (size_t)LINE_MAX * 2);
    strbuf_puts(&out, before);
    strbuf_puts(&out, text);
    /* One write, so that nothing of another process falls in between; a terminal that is gone is no reason to stop. */
    if (write(STDERR_FILENO, strbuf_text(&out), out.length) < 0)
        progress.drawn = false;
    strbuf_free(&out);
}

/* Both are called around a log line; the lock is held in between. */
static void
before_log(void)
{
    (void)pthread_mutex_lock(&progress.lock);
    if (progress.drawn)
        write_line("\r\033[K", "");
}

static void
after_log(void)
{
    if (progress.drawn)
        write_line("\r", strbuf_text(&progress.line));
    (void)pthread_mutex_unlock(&progress.lock);
}

void
progress_open(enum progress_mode mode)
{
    progress.mode = mode;
    progress.utf8 = terminal_is_utf8();
    progress.open = true;
    strbuf_init(&progress.line, LINE_MAX);
    if (mode == PROGRESS_BAR)
        log_around(before_log, after_log);
}

/* Whether a word is another than last time; remembers it. */
static bool
changed(char known[WORD_MAX], const char *word)
{
    const char *now = word == NULL ? "" : word;
    if (strncmp(known, now, WORD_MAX - 1) == 0)
        return false;
    (void)snprintf(known, WORD_MAX, "%s", now);
    return true;
}

static void
draw(const struct progress_view *view)
{
    (void)pthread_mutex_lock(&progress.lock);
    size_t width = terminal_width(STDERR_FILENO);
    strbuf_reset(&progress.line);
    /* The last column stays free: some terminals wrap when it is filled. */
    progress_line(view, width > 1 ? width - 1 : 79, progress.utf8, &progress.line);
    progress.drawn = true;
    write_line("\r\033[K", strbuf_text(&progress.line));
    (void)pthread_mutex_unlock(&progress.lock);
}

/* What is not known is left out of the line. */
static void
log_progress(const struct progress_view *view)
{
    enum { FIELDS = 16 };
    struct log_field fields[FIELDS];
    char share[FORMAT_SIZE];
    size_t count = 0;

    fields[count++] = LF_STR("migration", view->migration_id);
    fields[count++] = LF_STR("state", view->state);
    if (view->stage != NULL)
        fields[count++] = LF_STR("stage", view->stage);
    fields[count++] = LF_STR("done", format_share(share_of(view), share));
    fields[count++] = LF_INT("processed", view->processed);
    fields[count++] = LF_INT("total", view->total);
    fields[count++] = LF_INT("pending", view->pending);
    fields[count++] = LF_INT("skipped", view->skipped);
    fields[count++] = LF_INT("failed", view->failed);
    if (view->changes_pending > 0)
        fields[count++] = LF_INT("changes", view->changes_pending);
    if (view->throughput >= 0)
        fields[count++] = LF_REAL("per_second", view->throughput);
    if (view->eta_secs > 0)
        fields[count++] = LF_REAL("eta_secs", view->eta_secs);
    if (view->routing != NULL)
        fields[count++] = LF_STR("queries", view->routing);
    if (view->note != NULL)
        fields[count++] = LF_STR("note", view->note);
    fields[count] = (struct log_field){.name = NULL};
    log_write(LOG_INFO, "progress", fields);
}

void
progress_show(void *context, const struct progress_view *view)
{
    (void)context;
    int64_t now = clock_now_ms();
    bool news = changed(progress.state, view->state);
    news = changed(progress.stage, view->stage) || news;
    news = changed(progress.routing, view->routing) || news;

    int64_t pause = progress.mode == PROGRESS_BAR ? REDRAW_MS : LOG_MS;
    if (!progress.open || (!news && progress.last_ms != 0 && now - progress.last_ms < pause))
        return;
    progress.last_ms = now;
    if (progress.mode == PROGRESS_BAR)
        draw(view);
    else
        log_progress(view);
}

void
progress_close(void)
{
    if (!progress.open)
        return;
    if (progress.mode == PROGRESS_BAR) {
        log_around(NULL, NULL);
        if (progress.drawn)
            write_line("\r\033[K", "");
    }
    strbuf_free(&progress.line);
    progress.open = false;
    progress.drawn = false;
}
