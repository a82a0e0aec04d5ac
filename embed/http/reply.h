/* embed/http/reply.h - a server's answer, as it arrives, made into checked vectors.
 *
 * The shape says where things stand. Vectors may be arrays of numbers or base64 strings of little-endian float32, in
 * any order when the shape has an index. What is wrong with one vector (null, NaN, another size, all zero) is that
 * text's result; what is wrong with the whole (cut off, not JSON, too few, too many, an index twice) is the verdict,
 * and then no result or vector means anything.
 * Ownership: `reply` borrows all it is given until reply_end. Threads: one owner.
 */
#ifndef REEMBED_EMBED_HTTP_REPLY_H
#define REEMBED_EMBED_HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "embed/embedder.h"
#include "embed/http/base64.h"
#include "embed/http/json_scan.h"

enum { REPLY_MODEL_MAX = 128, REPLY_USAGE_PATHS = 3 };

/* Paths as json_scan.h has them. */
struct reply_paths {
    const char *vectors[2];                /* ends with `[]` when the vector itself is the item; [1] may be NULL */
    const char *index;                     /* NULL: vectors stand in the order of the texts */
    const char *model;                     /* NULL: not told */
    const char *tokens[REPLY_USAGE_PATHS]; /* the first that is there counts; NULL: not told */
};

/* The same, compiled; read-only afterwards and shared by all sessions. */
struct reply_shape {
    struct scan_paths paths;
    unsigned vector, element, item, index, model, error;
    unsigned tokens[REPLY_USAGE_PATHS];
};

/* False when a path is not one. */
bool reply_shape_compile(const struct reply_paths *paths, struct reply_shape *ret_shape);

/* Where the vectors go. `order` (NULL: 0, 1, 2 ...) says which text the i-th one of the request was. */
struct reply_target {
    size_t count; /* texts in the request */
    size_t dimensions;
    const size_t *order;
    float *vectors; /* text i at vectors + i x dimensions */
    struct text_result *results;
    struct arena *arena; /* for details */
};

enum reply_verdict {
    REPLY_VECTORS, /* each text of the request has its result */
    REPLY_MALFORMED,
    REPLY_OTHER_DIMENSIONS, /* every vector has the same, other size: another model */
    REPLY_ERROR,            /* an error object where vectors were expected */
    REPLY_NO_MEMORY,
};

struct reply {
    const struct reply_shape *shape;
    struct reply_target target;
    struct scanner scanner;
    struct base64_floats base64;
    float *staging; /* the vector being read; its place may be known only after it */
    uint8_t *seen;  /* one flag a text */
    size_t items;   /* vectors put away */
    size_t indexed; /* of those, the ones that told their index */
    size_t filled;  /* numbers of the vector being read, also those beyond `dimensions` */
    bool in_vector, has_vector, is_null, is_base64, has_index, has_error;
    bool saw_base64, saw_floats;
    bool mixed_sizes;
    size_t other_size;  /* of the vectors with wrong dimensions */
    size_t other_sized; /* how many */
    uint64_t index;
    bool has_tokens[REPLY_USAGE_PATHS];
    uint64_t tokens[REPLY_USAGE_PATHS];
    size_t model_length;
    char model[REPLY_MODEL_MAX]; /* "" where not told; cut when longer */
    const char *problem;         /* what is malformed */
    bool no_memory;
};

/* False when out of memory. */
bool reply_begin(struct reply *reply, const struct reply_shape *shape, const struct reply_target *target);

/* False when nothing that follows can change the verdict: the transfer may be given up. */
bool reply_feed(struct reply *reply, const char *bytes, size_t length);

/* `ret_problem`: one clause for people, in the arena; set unless REPLY_VECTORS. */
enum reply_verdict reply_end(struct reply *reply, const char **ret_problem);

/* Tokens as the server counted them; false where it didn't tell. */
bool reply_tokens(const struct reply *reply, uint64_t *ret_tokens);

#endif
