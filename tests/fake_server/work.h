/* tests/fake_server/work.h - one request under way, shared by the parts that make its answer. */
#ifndef REEMBED_TESTS_FAKE_SERVER_WORK_H
#define REEMBED_TESTS_FAKE_SERVER_WORK_H

#include <cjson/cJSON.h>

#include "tests/fake_server/answer.h"
#include "tests/fake_server/shapes.h"

enum { BYTES_PER_TOKEN = 4, DIMENSIONS_MAX = 65536 };

#define OUT_MAX ((size_t)2 << 30)

struct work {
    struct fake *fake;
    const struct shape *shape;
    struct answer *answer;
    int64_t now;
    uint64_t number;
    char model[SETTING_TEXT];
    char key[SETTING_TEXT + 16]; /* as it came, with its prefix */
    cJSON *root;
    size_t count;
    const char **texts;
    size_t *lengths;
    bool base64;
    size_t dimensions;
    uint64_t tokens;
    bool accepts_gzip;
    bool violation;
    const struct fault *fault; /* of the whole request; NULL: none */
    struct fault spoiled;      /* what `fault` points to */
    const char *outcome;       /* for the journal */
    int status;
};

/* --- respond.c: whole answers --- */

/* Head and body; `headers` are whole lines. */
void respond(struct work *work, int status, const char *type, const char *headers, struct strbuf *body);

void respond_error(struct work *work, const struct shape_error *error, int64_t limit, int64_t given, int64_t index,
                   const char *headers, int64_t retry_ms);

/* The same with a wait, told in the given style and remembered for finding violations. */
void respond_overload(struct work *work, const struct shape_error *error, enum retry_style style, int64_t ms);

/* An error that is no kind of its own in the shapes. */
void respond_plain(struct work *work, int status, const char *type, const char *message);

/* --- reply.c: vectors --- */

/* The reply with vectors, spoiled as work->fault says. */
void respond_vectors(struct work *work);

#endif
