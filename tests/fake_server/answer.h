/* tests/fake_server/answer.h - from a request to the bytes of its answer and to how they are to be sent. */
#ifndef REEMBED_TESTS_FAKE_SERVER_ANSWER_H
#define REEMBED_TESTS_FAKE_SERVER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "tests/fake_server/settings.h"

struct counters {
    uint64_t requests; /* for embeddings */
    uint64_t texts;    /* embedded */
    uint64_t repeated; /* of them, those that had been embedded before */
    uint64_t tokens;
    uint64_t faults;
    uint64_t refused;    /* answers that are not 2xx, faults included */
    uint64_t packed;     /* answers in gzip */
    uint64_t violations; /* requests while asked to wait */
    uint64_t connections;
    uint64_t in_flight, max_in_flight;
};

/* A set of the texts seen, by hash: open addressing. */
struct seen {
    uint64_t *hashes;
    size_t count, capacity;
};

struct fake {
    struct settings settings;
    struct settings initial; /* what a reset goes back to */
    struct counters counters;
    struct seen seen;
    uint64_t random;
    int64_t minute_began;
    int64_t minute_requests;
    int64_t wait_told, wait_until; /* of the latest answer that asked to wait */
    FILE *journal;
    float *vector; /* scratch, of settings.dimensions at most 65536 */
};

struct http_request {
    char method[8];
    const char *path; /* with its query */
    const char *head; /* all header lines, NUL-terminated */
    const char *body;
    size_t length;
    uint64_t connection;
};

enum answer_end { END_KEEP, END_CLOSE, END_RESET, END_HANG };

struct answer {
    struct strbuf bytes; /* head and body */
    uint64_t blanks;     /* to send behind them */
    enum answer_end end;
    int64_t delay_ms;
    int64_t drip_bytes; /* 0: at once */
    int64_t drip_ms;
    bool counted; /* a request for embeddings, not one to the control */
};

/* False when out of memory. */
bool fake_open(struct fake *fake, const struct settings *settings);
void fake_close(struct fake *fake);

/* Appends to answer->bytes; `now` in monotonic milliseconds. */
void fake_answer(struct fake *fake, const struct http_request *request, int64_t now, struct answer *answer);

/* The value of a header, trimmed, in `out`; false when it isn't there. `name` in lower case. */
bool header_value(const char *head, const char *name, char *out, size_t size);

#endif
