#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/escape.h"

enum {
    SECRETS_MAX = 32,
    SECRET_LENGTH_MIN = 4,
    LINE_MAX_BYTES = 16 * 1024,
    LINE_RESERVE = 32,    /* kept free for `truncated` and the end of the line */
    STRING_MAX = 4 * 1024 /* of one value in a line, escaped */
};

/* Written once each, then only read: `secret_count` is raised after its entry is complete. */
static char *secrets[SECRETS_MAX];
static size_t secret_lengths[SECRETS_MAX];
static atomic_size_t secret_count;
static pthread_mutex_t secret_mutex = PTHREAD_MUTEX_INITIALIZER;

static atomic_int line_format = LOG_TEXT;
static atomic_int line_level = LOG_INFO;

/* Held while a line is written, so that lines never interleave; also guards the two hooks. */
static pthread_mutex_t write_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*hook_before)(void);
static void (*hook_after)(void);

/* A line under construction, on the stack: logging must work when memory is out. */
struct line {
    char bytes[LINE_MAX_BYTES];
    size_t length;
    bool full;
};

void
log_open(enum log_format format, enum log_level level)
{
    atomic_store(&line_format, (int)format);
    atomic_store(&line_level, (int)level);
}

bool
log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&line_level, memory_order_relaxed);
}

void
log_around(void (*before)(void), void (*after)(void))
{
    pthread_mutex_lock(&write_mutex);
    hook_before = before;
    hook_after = after;
    pthread_mutex_unlock(&write_mutex);
}

void
log_secret(const char *secret)
{
    size_t length = secret == NULL ? 0 : strlen(secret);
    if (length < SECRET_LENGTH_MIN)
        return;

    pthread_mutex_lock(&secret_mutex);
    size_t count = atomic_load(&secret_count);
    bool known = false;
    for (size_t i = 0; i < count && !known; i++)
        known = strcmp(secrets[i], secret) == 0;
    if (!known && count < SECRETS_MAX) {
        secrets[count] = strdup(secret);
        secret_lengths[count] = length;
        if (secrets[count] != NULL)
            atomic_store(&secret_count, count + 1);
    }
    pthread_mutex_unlock(&secret_mutex);
}

/* Length of the stretch of `text` that starts with a secret and is covered by it and by secrets that overlap it. */
static size_t
secret_stretch(const char *text, size_t left)
{
    size_t count = atomic_load(&secret_count);
    size_t covered = 0;

    for (size_t at = 0; at == 0 || at < covered; at++) {
        for (size_t i = 0; i < count; i++) {
            size_t length = secret_lengths[i];
            if (length <= left - at && at + length > covered && memcmp(text + at, secrets[i], length) == 0)
                covered = at + length;
        }
    }
    return covered;
}

void
log_scrub(char *text)
{
    size_t length = strlen(text);
    size_t written = 0;

    if (atomic_load(&secret_count) == 0)
        return;
    for (size_t at = 0; at < length;) {
        size_t stretch = secret_stretch(text + at, length - at);
        if (stretch > 0) {
            memcpy(text + written, "***", 3);
            written += 3;
            at += stretch;
        } else {
            text[written++] = text[at++];
        }
    }
    text[written] = '\0';
}

static void
line_add(struct line *line, const char *bytes, size_t length)
{
    if (line->full || length > LINE_MAX_BYTES - LINE_RESERVE - line->length) {
        line->full = true;
        return;
    }
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static void
line_puts(struct line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

/* The text without secrets, escaped, cut at STRING_MAX. */
static void
line_escaped(struct line *line, enum log_format format, bool quoted, const char *text)
{
    size_t length = strlen(text);
    size_t stop = line->length + STRING_MAX;

    for (size_t at = 0; at < length && !line->full;) {
        if (line->length >= stop) {
            line_puts(line, "\xE2\x80\xA6"); /* an ellipsis */
            return;
        }
        size_t stretch = secret_stretch(text + at, length - at);
        if (stretch > 0) {
            line_puts(line, "***");
            at += stretch;
            continue;
        }
        char escaped[ESCAPE_MAX];
        size_t taken = 0;
        /* Quoted text is escaped as JSON is, so that one parser reads both. */
        size_t size = format == LOG_JSON || quoted ? escape_json(text + at, length - at, escaped, &taken)
                                                   : escape_text(text + at, length - at, escaped, &taken);
        line_add(line, escaped, size);
        at += taken;
    }
}

static void
line_string(struct line *line, enum log_format format, const char *text)
{
    bool quoted = format == LOG_JSON || text[0] == '\0' || strpbrk(text, " \t\r\n\"=\\") != NULL;

    if (quoted)
        line_puts(line, "\"");
    line_escaped(line, format, quoted, text);
    if (quoted)
        line_puts(line, "\"");
}

static void
line_value(struct line *line, enum log_format format, const struct log_field *field)
{
    char number[64];

    switch (field->type) {
    case LOG_STRING:
        if (field->string == NULL)
            line_puts(line, format == LOG_JSON ? "null" : "-");
        else
            line_string(line, format, field->string);
        return;
    case LOG_INTEGER:
        (void)snprintf(number, sizeof number, "%lld", (long long)field->integer);
        break;
    case LOG_REAL:
        if (format == LOG_JSON && !isfinite(field->real))
            (void)snprintf(number, sizeof number, "null");
        else
            (void)snprintf(number, sizeof number, "%.6g", field->real);
        break;
    case LOG_BOOLEAN:
        (void)snprintf(number, sizeof number, "%s", field->integer != 0 ? "true" : "false");
        break;
    }
    line_puts(line, number);
}

static void
line_fields(struct line *line, enum log_format format, const struct log_field *fields)
{
    for (const struct log_field *field = fields; field->name != NULL; field++) {
        size_t start = line->length;
        if (format == LOG_JSON) {
            line_puts(line, ",\"");
            line_escaped(line, format, true, field->name);
            line_puts(line, "\":");
        } else {
            line_puts(line, " ");
            line_puts(line, field->name);
            line_puts(line, "=");
        }
        line_value(line, format, field);
        if (line->full) { /* a field is there as a whole or not at all */
            line->length = start;
            return;
        }
    }
}

static void
line_write(struct line *line)
{
    pthread_mutex_lock(&write_mutex);
    if (hook_before != NULL)
        hook_before();
    for (size_t done = 0; done < line->length;) {
        ssize_t wrote = write(STDERR_FILENO, line->bytes + done, line->length - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break; /* nowhere left to complain */
        done += (size_t)wrote;
    }
    if (hook_after != NULL)
        hook_after();
    pthread_mutex_unlock(&write_mutex);
}

void
log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    static const char *const json_names[] = {"error", "warning", "info", "debug"};
    static const char *const text_names[] = {" error ", " warn  ", " info  ", " debug "};

    if (!log_enabled(level))
        return;

    int saved_errno = errno;
    enum log_format format = (enum log_format)atomic_load(&line_format);
    char now[32];
    struct line line;
    line.length = 0;
    line.full = false;

    clock_wall_iso(now, sizeof now);
    if (format == LOG_JSON) {
        line_puts(&line, "{\"at\":\"");
        line_puts(&line, now);
        line_puts(&line, "\",\"level\":\"");
        line_puts(&line, json_names[level]);
        line_puts(&line, "\",\"message\":\"");
        line_escaped(&line, format, true, message);
        line_puts(&line, "\"");
    } else {
        line_add(&line, now + strlen("2026-01-31T"), strlen("12:00:00.123"));
        line_puts(&line, text_names[level]);
        line_escaped(&line, format, false, message);
    }
    line_fields(&line, format, fields);

    /* LINE_RESERVE keeps room for this. */
    bool truncated = line.full;
    const char *end =
        format == LOG_JSON ? (truncated ? ",\"truncated\":true}\n" : "}\n") : (truncated ? " truncated=true\n" : "\n");
    memcpy(line.bytes + line.length, end, strlen(end));
    line.length += strlen(end);
    line_write(&line);
    errno = saved_errno;
}
