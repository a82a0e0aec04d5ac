/* embed/hub/repository.h - the files of a model's repository, as the hub lists them.
 *
 * A name that comes from elsewhere becomes a path here only if repository_path_is_safe says so.
 * Ownership: a repository owns its files. Threads: plain data.
 */
#ifndef REEMBED_EMBED_HUB_REPOSITORY_H
#define REEMBED_EMBED_HUB_REPOSITORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/hub/checksum.h"
#include "embed/hub/hub.h"

enum { REPOSITORY_PATH_MAX = 256, REPOSITORY_NAME_MAX = 96 };

struct repository_file {
    char path[REPOSITORY_PATH_MAX];
    struct checksum checksum; /* CHECKSUM_NONE: to be told with the file */
    bool has_size;
    uint64_t size;
    uint64_t most; /* bytes that are taken; 0: no limit */
};

struct repository {
    bool listed;     /* false: the hub has no listing, files are asked for by name */
    char commit[65]; /* "" unless told */
    struct repository_file *files;
    size_t count;
};

/* "organisation/name" or "name", of letters, digits, '.', '_' and '-'. */
bool repository_name_is_valid(const char *name);

/* Letters, digits, '.', '_', '-' and single slashes; no part is "." or ".." or begins with a dot; relative. */
bool repository_path_is_safe(const char *path);

/* RC_HALT, ERR_PROVIDER where the hub refuses. A hub without a listing (404) is no error: see `listed`. */
enum rc repository_list(struct hub *hub, const char *name, const char *revision, struct repository *ret_repository,
                        struct err *err);
void repository_free(struct repository *repository); /* one of zeros is fine */

/* NULL: it is not listed. */
const struct repository_file *repository_find(const struct repository *repository, const char *path);

/* The path below the hub's endpoint at which a file is fetched. */
bool repository_file_url(const char *name, const char *revision, const char *path, char *out, size_t size);

#endif
