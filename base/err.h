/* base/err.h - how a function says what went wrong.
 *
 * `enum rc` tells the caller what to do next; `struct err` tells the person what happened. The struct is filled
 * once, by the lowest level that knows; callers pass it up untouched. Only the CLI and a thread's top loop print it.
 * Threads: plain data, owned by whoever declared it.
 */
#ifndef REEMBED_BASE_ERR_H
#define REEMBED_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum rc {
    RC_OK = 0,
    RC_AGAIN,   /* nothing to do now: no row, an empty queue, a gate that does not hold yet */
    RC_RETRY,   /* may pass (connection, deadlock, 5xx): the caller retries by its policy */
    RC_FENCED,  /* the lease is another's: drop the work, store nothing */
    RC_CLOSED,  /* shutting down, or the queue is closed and empty */
    RC_INVALID, /* the input or the configuration is wrong */
    RC_REFUSED, /* not allowed in this state, or a gate does not hold */
    RC_HALT,    /* the provider refused for good */
    RC_FATAL,   /* out of memory, broken invariant, anything unexpected */
};

/* What kind of trouble, for exit codes and log lines. */
enum err_class {
    ERR_NONE = 0,
    ERR_USAGE,       /* command line or migration file: exit 2 */
    ERR_UNREACHABLE, /* database away or refuses us: exit 4 */
    ERR_DATABASE,    /* a statement failed: exit 1 */
    ERR_PROVIDER,    /* key, quota, unknown model, wrong dimensions, other model: exit 5 */
    ERR_STATE,       /* refused transition: exit 6 */
    ERR_GATE,        /* gate or verification: exit 7 */
    ERR_TRANSIENT,   /* provider away, overloaded: retried */
    ERR_SYSTEM,      /* memory, threads, files: exit 1 */
};

struct err {
    enum err_class class;
    char sqlstate[6];   /* "" unless Postgres said it */
    int http_status;    /* 0 unless a server said it */
    char message[1024]; /* one line, no secrets, what happened */
    char hint[512];     /* one line, what to do; may be empty */
};

#define ERR_INIT                                                                                                       \
    {                                                                                                                  \
        .class = ERR_NONE                                                                                              \
    }

/* Fills *err (which may be NULL) and returns `rc`, so that a failing function can end with
 * `return err_set(err, RC_INVALID, ERR_USAGE, "...")`. Clears sqlstate, http_status and hint. */
enum rc err_set(struct err *err, enum rc rc, enum err_class class, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Adds what to do about it; `err` may be NULL. */
void err_hint(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The usual out-of-memory error: fills *err without allocating, returns RC_FATAL. */
enum rc err_memory(struct err *err);

/* A constant name for logs: "ok", "again", "retry", ... */
const char *rc_name(enum rc rc);

#endif
