/* cli/new_file.h - a migration file with comments, from answers. */
#ifndef REEMBED_CLI_NEW_FILE_H
#define REEMBED_CLI_NEW_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"

/* Where a model is run. Neither: its vectors come from the application alone. */
struct new_provider {
    const char *path; /* a model folder, in process */
    const char *url;  /* an embeddings server */
    const char *dialect;
    const char *key_env; /* the name of an environment variable */
};

struct new_answers {
    const char *id, *collection;
    const char *table, *key, *content, *where; /* where: NULL for all rows */
    bool has_source;
    const char *column, *source_model;
    struct new_provider source_provider;
    const char *model;
    int64_t dimensions;
    const char *metric;
    struct new_provider provider;
};

/* Appends the file's text. */
void new_file_text(const struct new_answers *answers, struct strbuf *out);

/* Reads the text as `plan` would. A key's variable need not be set here. */
enum rc new_file_check(const struct new_answers *answers, const char *path, const struct strbuf *text, struct err *err);

#endif
