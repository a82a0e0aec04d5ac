/* base/json.h - configuration files: JSON with line comments, block comments and trailing commas.
 *
 * What is returned is an ordinary cJSON tree; the caller frees it with cJSON_Delete.
 * Errors are of class ERR_USAGE and name the file, the line and the column. A key that is given twice is an error.
 * Threads: pure functions, but for json_watch_memory, which speaks of the calling thread.
 */
#ifndef REEMBED_BASE_JSON_H
#define REEMBED_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum { JSON_FILE_MAX = 1024 * 1024 }; /* bytes; a longer configuration is a mistake */

/* cJSON says no more than that it failed, and some of its functions not even that. Whoever must tell a lack of memory
 * from a wrong text calls json_watch_memory before a piece of work with cJSON and json_memory_failed after it. The first
 * call of the process gives cJSON its allocator: it has to come before other threads use cJSON. */
void json_watch_memory(void);
bool json_memory_failed(void);

/* `name` stands for the text in error messages. RC_INVALID with `err` filled when it is not such JSON. */
enum rc json_parse(const char *text, size_t length, const char *name, cJSON **ret_root, struct err *err);

/* Reads and parses a file. "-" is standard input. RC_INVALID when it can't be read or parsed. Both: RC_FATAL without
 * memory. */
enum rc json_read_file(const char *path, cJSON **ret_root, struct err *err);

/* RC_INVALID when `object` has a member that is not in the NULL-ended list, naming it and its nearest neighbour.
 * `where` is the object's own path such as "target.index", "" at the top. */
enum rc json_only_keys(const cJSON *object, const char *where, const char *const *keys, struct err *err);

#endif
