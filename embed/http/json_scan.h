/* embed/http/json_scan.h - reads JSON that arrives in pieces and reports only the values that were asked for.
 *
 * Values are asked for by paths such as `data[].embedding[]`: names joined by points, `[]` for every element of an
 * array, "" for the whole. The grammar is checked everywhere, also in what nobody asked for; two things beyond it are
 * taken, because servers send them: the numbers NaN, Infinity and -Infinity (any case, also nan and inf).
 * Nothing is allocated. Depth, length of names and number of paths are limited.
 * Threads: plain data, one owner. `paths` is compiled once and may then be shared.
 */
#ifndef REEMBED_EMBED_HTTP_JSON_SCAN_H
#define REEMBED_EMBED_HTTP_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "embed/http/number.h"

enum {
    SCAN_MAX_PATHS = 16,
    SCAN_MAX_STEPS = 8,
    SCAN_MAX_NAME = 32, /* of a step of a path; longer names in the text match nothing */
    SCAN_MAX_DEPTH = 64,
};

struct scan_step {
    bool each; /* every element of an array; else the member `name` */
    uint8_t length;
    char name[SCAN_MAX_NAME];
};

struct scan_paths {
    size_t count;
    struct {
        size_t steps;
        struct scan_step step[SCAN_MAX_STEPS];
    } path[SCAN_MAX_PATHS];
};

/* Adds a path and returns its bit for `selected` below; 0 when there are too many, or one is too long. */
unsigned scan_paths_add(struct scan_paths *paths, const char *path);

enum scan_type { SCAN_NULL, SCAN_FALSE, SCAN_TRUE, SCAN_NUMBER, SCAN_STRING, SCAN_ARRAY, SCAN_OBJECT };

/* Called for selected values only; `selected` has the bit of each path that leads there. A callback that returns false
 * stops the scan: it has failed, then. */
struct scan_events {
    bool (*begin)(void *context, unsigned selected, enum scan_type type); /* every type but SCAN_NUMBER */
    bool (*number)(void *context, unsigned selected, float value, const struct number *number);
    bool (*text)(void *context, unsigned selected, const char *bytes, size_t length); /* a piece of a string */
    bool (*end)(void *context, unsigned selected, enum scan_type type);               /* strings, arrays, objects */
};

enum scan_state {
    SCAN_VALUE,         /* a value must follow */
    SCAN_FIRST_ELEMENT, /* a value or the end of the array */
    SCAN_FIRST_NAME,    /* a name or the end of the object */
    SCAN_NAME,          /* a name */
    SCAN_IN_NAME,
    SCAN_COLON,
    SCAN_AFTER, /* a comma or the end of what we are in */
    SCAN_IN_STRING,
    SCAN_IN_NUMBER,
    SCAN_IN_WORD,
    SCAN_DONE,
    SCAN_FAILED,
};

struct scan_frame {
    bool object;
    uint16_t selected; /* paths that end at this container */
    uint16_t inside;   /* paths that lead through it */
    uint16_t each;     /* of those, the ones whose next step is `[]` */
};

struct scanner {
    const struct scan_paths *paths;
    const struct scan_events *events;
    void *context;
    enum scan_state state;
    int depth;
    uint16_t inside;   /* paths on which the next value lies */
    uint16_t selected; /* paths that end at the next (or this) value */
    uint8_t escape;    /* in a string: 0 none, 1 behind the backslash, 2 ... 5 digits of \u to come, plus one */
    uint16_t unicode;
    uint8_t length; /* of `word`; SCAN_MAX_NAME + 1 when it was longer */
    char word[SCAN_MAX_NAME + 1];
    struct number number;
    uint64_t position; /* bytes read, for messages */
    struct scan_frame frame[SCAN_MAX_DEPTH];
};

void scanner_begin(struct scanner *scanner, const struct scan_paths *paths, const struct scan_events *events,
                   void *context);

/* False once the text is no JSON, or a callback said so. The result does not depend on how the text is cut. */
bool scanner_feed(struct scanner *scanner, const char *bytes, size_t length);

/* True when exactly one whole value was read. */
bool scanner_end(struct scanner *scanner);

#endif
