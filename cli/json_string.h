/* cli/json_string.h - one text out of one line of JSON, byte for byte.
 *
 * cJSON ends a text at U+0000 and refuses lone surrogates; a tokenizer is asked about both. A lone surrogate becomes
 * U+FFFD, U+0000 stays. Threads: pure functions.
 */
#ifndef REEMBED_CLI_JSON_STRING_H
#define REEMBED_CLI_JSON_STRING_H

#include <stddef.h>

#include "base/arena.h"

enum member {
    MEMBER_TEXT,    /* it is there and a string */
    MEMBER_OTHER,   /* it is there and something else */
    MEMBER_MISSING, /* the object has no such member, or the value is no object */
    MEMBER_BROKEN,  /* the line is not JSON */
    MEMBER_MEMORY,
};

/* Looks for `name` in the object that `line` is. Of several the last one counts. *ret_text lives in `arena`. */
enum member json_member(const char *line, size_t length, const char *name, struct arena *arena, const char **ret_text,
                        size_t *ret_length);

#endif
