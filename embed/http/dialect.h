/* embed/http/dialect.h - how the servers differ, as rows of data: a new server is a new row and no code.
 *
 * `body` and `text` are JSON in which strings stand for what is known only later:
 *   "$texts"       (the only element of an array) the texts, each wrapped as `text` says
 *   "$text"        one text
 *   "$model"       the model's name; also inside a longer string
 *   "$encoding"    encoding_floats or encoding_base64
 *   "$dimensions"  the number of dimensions
 *   "$input"       input_document or input_query
 *   "$truncate"    truncate_off or truncate_on
 * A member whose value is not there (NULL, no dimensions to send) is left out. Values in the columns are JSON, too.
 * Threads: constant data.
 */
#ifndef REEMBED_EMBED_HTTP_DIALECT_H
#define REEMBED_EMBED_HTTP_DIALECT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "embed/http/reply.h"

struct dialect {
    const char *name;

    /* where: base + path; what the base's end and the path's beginning have in common stands there once */
    const char *path;       /* with $model, percent-encoded */
    const char *query;      /* used when the base has none; NULL: none */
    const char *base_drop;  /* dropped from the end of the base, if it is there */
    const char *model_drop; /* dropped from the beginning of the model's name, if it is there */
    const char *key_header;
    const char *key_prefix;

    /* what is sent */
    const char *body;
    const char *text;
    const char *encoding_floats;
    const char *encoding_base64; /* NULL: the server knows no base64 */
    const char *input_document;
    const char *input_query;
    const char *truncate_off;
    const char *truncate_on; /* NULL: the server can't be asked to cut a text */
    bool sends_dimensions;   /* whenever they are given; else only for models known to take them */

    /* how much; 0: no limit */
    size_t max_items;
    size_t max_request_tokens;
    size_t max_request_bytes;

    /* limits that the server itself tells, by GET of base + info_path (NULL: it doesn't); names of number members */
    const char *info_path;
    const char *info_base_drop;
    const char *info_max_items;
    const char *info_max_text_tokens;

    /* what comes back */
    struct reply_paths reply;
    const char *tokens_header; /* a header with the tokens used; NULL: none */
    bool model_is_told;        /* the reply's model is the one that answered, not an echo of something else */
};

/* NULL-name-ended. The first is the default. */
extern const struct dialect dialects[];

/* NULL: the default. RC_INVALID, with the nearest name as the hint, when there is no such dialect. */
enum rc dialect_find(const char *name, const struct dialect **ret_dialect, struct err *err);

/* The name as the dialect writes it: without `model_drop`. Points into `model`. */
const char *dialect_model(const struct dialect *dialect, const char *model);

/* Is the model that answered the one that was asked? Case, an organisation's prefix, a ":latest", and a version that
 * the server appends ("text-embedding-ada-002-v2") make no difference. */
bool dialect_same_model(const char *asked, const char *answered);

#endif
