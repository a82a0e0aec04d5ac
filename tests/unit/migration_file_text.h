/* tests/unit/migration_file_text.h - migration files to be refused: a good one with one place changed. */
#ifndef REEMBED_TESTS_MIGRATION_FILE_TEXT_H
#define REEMBED_TESTS_MIGRATION_FILE_TEXT_H

#include "base/err.h"
#include "coordinator/migration_file.h"

/* A complete small file over several lines; caller frees. `path` such as "backfill.batch_size" is set to `json`
 * (created where it is not there, removed where `json` is NULL). Only "target.provider" etc. that exist are entered. */
char *file_text_with(const char *path, const char *json);

/* Parses it as "some.json"; the caller frees the result. NULL with `err` filled when it is refused. */
struct migration_file *parse_with(const char *path, const char *json, struct err *err);

/* The message followed by a blank and the hint. Fails the test when the file is taken. Valid until the next call. */
const char *refusal_of(const char *path, const char *json);

#endif
