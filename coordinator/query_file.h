/* coordinator/query_file.h - queries of the user, one JSON object a line.
 *
 *   {"text": "turn speech into text", "relevant": ["17", "23"]}
 *
 * `relevant` may be left out where it is not known what should be found; one id may stand without the brackets, and
 * ids may be numbers. Other members are passed over: files of other tools hold more.
 */
#ifndef REEMBED_COORDINATOR_QUERY_FILE_H
#define REEMBED_COORDINATOR_QUERY_FILE_H

#include "base/arena.h"
#include "base/err.h"
#include "db/types.h"

struct query_line {
    struct db_text text;
    size_t first_relevant;
    size_t relevant_count;
};

struct query_file {
    struct query_line *lines;
    size_t count;
    struct db_text *relevant; /* ids as text, line by line */
    size_t relevant_count;
};

/* "-" is standard input. Everything lives in `arena`. RC_INVALID/ERR_USAGE naming the line for one that is not such an
 * object, for a file without queries and for one with more than `most`. */
enum rc query_file_read(const char *path, size_t most, struct arena *arena, struct query_file *ret_file,
                        struct err *err);

#endif
