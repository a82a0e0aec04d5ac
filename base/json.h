/* base/json.h - configuration files: JSON with line comments, block comments and trailing commas.
 *
 * What is returned is an ordinary cJSON tree; the caller frees it with cJSON_Delete.
 * Errors are of class ERR_USAGE and name the file, the line and the column. A key that is given twice is an error.
 * Threads: pure functions.
 */
#ifndef REEMBED_BASE_JSON_H
#define REEMBED_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "base/err.h"

enum { JSON_FILE_MAX = 1024 * 1024 }; /* bytes; a longer configuration is a mistake */

/* `name` stands for the text in error messages. RC_INVALID with `err` filled when it is not such JSON. */
enum rc json_parse(const char *text, size_t length, const char *name, cJSON **ret_root, struct err *err);

/* Reads and parses a file. "-" is standard input. RC_INVALID when it can't be read or parsed. */
enum rc json_read_file(const char *path, cJSON **ret_root, struct err *err);

/* RC_INVALID when `object` has a member that is not in the NULL-ended list, naming it and its nearest neighbour.
 * `where` is the object's own path such as "target.index", "" at the top. */
enum rc json_only_keys(const cJSON *object, const char *where, const char *const *keys, struct err *err);

#endif
