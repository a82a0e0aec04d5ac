/* base/log.h - one line an event to stderr, as text or JSON.
 *
 * Text: `12:00:00.123 info  message key=value key="with blank"`. JSON: one object a line with at, level, message and
 * the fields. Fields are given as a NULL-ended list of (name, printf format, value...) by the LOG_* helpers below.
 * Secrets registered with log_secret are replaced by *** wherever they would appear, in any field or message.
 * Threads: every function may be called from any thread once log_open has returned; lines never interleave.
 */
#ifndef REEMBED_BASE_LOG_H
#define REEMBED_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_open(enum log_format format, enum log_level level);
bool log_enabled(enum log_level level);

/* Registers a secret (copied; at most 32, shorter than 4 bytes are ignored). */
void log_secret(const char *secret);

/* Replaces registered secrets in place by *** (never longer than before: a secret has at least 4 bytes). */
void log_scrub(char *text);

struct log_field {
    const char *name; /* NULL ends the list */
    enum { LOG_STRING, LOG_INTEGER, LOG_REAL, LOG_BOOLEAN } type;
    const char *string;
    int64_t integer;
    double real;
};
#define LF_STR(n, v)  ((struct log_field){.name = (n), .type = LOG_STRING, .string = (v)})
#define LF_INT(n, v)  ((struct log_field){.name = (n), .type = LOG_INTEGER, .integer = (int64_t)(v)})
#define LF_REAL(n, v) ((struct log_field){.name = (n), .type = LOG_REAL, .real = (v)})
#define LF_BOOL(n, v) ((struct log_field){.name = (n), .type = LOG_BOOLEAN, .integer = (v)})

/* log_event(LOG_INFO, "chunk claimed", LF_INT("chunk", no), LF_STR("owner", owner)); at most 15 fields */
#define log_event(level, message, ...)                                                                                 \
    log_write((level), (message), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})
void log_write(enum log_level level, const char *message, const struct log_field *fields);

/* When a progress bar owns the last line of the terminal it registers these, called around each line (may be NULL). */
void log_around(void (*before)(void), void (*after)(void));

#endif
