/* embed/http/refusal.h - what a server means when it sends no vectors.
 *
 * Decided by status and body, in this order: no quota; key, model, path; too many items, tokens, bytes; one text too
 * long (which one, when the server says); an encoding or a parameter it doesn't know; overloaded; its own failure;
 * anything else. The rules are rows of data in refusal.c.
 * Threads: pure function.
 */
#ifndef REEMBED_EMBED_HTTP_REFUSAL_H
#define REEMBED_EMBED_HTTP_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum refusal_kind {
    REFUSAL_QUOTA,      /* nothing left to pay with: stop */
    REFUSAL_KEY,        /* stop */
    REFUSAL_MODEL,      /* unknown model, or a path that isn't there: stop */
    REFUSAL_REDIRECT,   /* stop: keys and texts follow no redirect */
    REFUSAL_ITEMS,      /* too many texts */
    REFUSAL_TOKENS,     /* too many tokens in all */
    REFUSAL_BYTES,      /* the request is too large */
    REFUSAL_TOO_LONG,   /* one text is too long */
    REFUSAL_ENCODING,   /* doesn't know the encoding that was asked for */
    REFUSAL_DIMENSIONS, /* can't be asked for dimensions */
    REFUSAL_OVERLOAD,   /* wait, then the same again */
    REFUSAL_TRANSPORT,  /* the same again */
    REFUSAL_SERVER,     /* its own failure, maybe because of a text */
    REFUSAL_OTHER,      /* this request, whatever it is about */
    REFUSAL_NO_MEMORY,  /* ours: what the answer says could not be read */
};

struct refusal {
    enum refusal_kind kind;
    long status;
    bool has_index;
    size_t index;           /* of the text that is too long, in the order sent */
    uint64_t limit;         /* what the server said it takes; 0: not said */
    int64_t retry_after_ms; /* said in the body; 0: not said */
    char message[400];      /* one line for people, never empty */
};

/* `dialect`: its name. `retry_after`: a header asked to wait. `body` may be anything. */
void refusal_read(const char *dialect, long status, bool retry_after, const char *body, size_t length,
                  struct refusal *ret_refusal);

/* Does the pattern occur in the text? `*` stands for anything, {limit} {index} {any} for a number; *ret_limit and
 * *ret_index are set where the pattern has them. Text and pattern in lower case. */
bool refusal_match(const char *pattern, const char *text, uint64_t *ret_limit, uint64_t *ret_index);

#endif
