/* embed/hub/download.h - one file of a repository, into a store of files by checksum.
 *
 * The store is a folder. A file that is under way is there as CHECKSUM.part, and is gone on with by the next call, of
 * whatever process (one at a time: embed/hub/pull.h holds the lock). What is complete was read back from the disk and
 * compared with the checksum. A connection that breaks is made again; what can't be right is thrown away.
 */
#ifndef REEMBED_EMBED_HUB_DOWNLOAD_H
#define REEMBED_EMBED_HUB_DOWNLOAD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/hub/hub.h"
#include "embed/hub/repository.h"

struct download {
    struct hub *hub;
    const char *name; /* of the repository */
    const char *revision;
    const char *store;    /* folder; there */
    uint64_t transferred; /* bytes that came over the network, summed up */

    /* At most some times a second; `total` 0: unknown. May be NULL. */
    void (*on_progress)(void *context, const char *path, uint64_t bytes, uint64_t total);
    void *context;
};

struct downloaded {
    char path[PATH_MAX]; /* in the store */
    struct file_sums sums;
    char commit[65]; /* that the hub named with the file; "" unless told */
    bool checked;    /* the hub named a checksum, and it fits */
    bool same;       /* `there` is this file already: nothing is in the store */
};

/* `file` says what is known beforehand; a checksum or size that is not is taken from the answer. `there` (NULL: none) is a
 * file that may be the wanted one: where its checksum fits, the transfer is not begun.
 * RC_AGAIN: there is no such file. RC_HALT, ERR_PROVIDER: refused. RC_RETRY, ERR_TRANSIENT: the hub is away, or the
 * connection breaks again and again; what came is kept. RC_REFUSED, ERR_GATE: twice another file than the checksum says.
 * RC_FATAL, ERR_SYSTEM: it can't be written. */
enum rc download_file(struct download *download, const struct repository_file *file, const char *there,
                      struct downloaded *ret_downloaded, struct err *err);

#endif
