/* embed/hub/pull.h - a model folder from a hub: only what the onnx provider reads, checked, put in place in one step.
 *
 * DIRECTORY/NAME is made anew beside its place, in DIRECTORY/.NAME.pull, and renamed into it when all files are there,
 * were compared with the hub's checksums and make a model folder that can be opened. Until then, and whenever something
 * goes wrong, what was there stays as it was. What was transferred stays for the next call, which goes on with it.
 * Two pulls of one model: the second waits, then finds it done. A folder that no pull has made
 * is never replaced: MODEL_RECORD (embed/onnx/model_list.h) tells them apart, and has the SHA-256 of each file.
 * Threads: one pull belongs to one thread.
 */
#ifndef REEMBED_EMBED_HUB_PULL_H
#define REEMBED_EMBED_HUB_PULL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "embed/hub/hub.h"

struct pull_options {
    struct hub_options hub;
    const char *name;      /* of the repository: "organisation/name" */
    const char *revision;  /* branch, tag or commit; NULL: "main" */
    const char *directory; /* that holds model folders; made if it is missing */

    void (*on_progress)(void *context, const char *path, uint64_t bytes, uint64_t total); /* may be NULL */
    void (*on_wait)(void *context);                                                       /* another pull is at it */
    void *context;
};

struct pull_result {
    char path[PATH_MAX]; /* DIRECTORY/NAME */
    char commit[65];     /* "" where the hub does not tell */
    bool changed;        /* false: it was there already, the same */
    size_t files;
    uint64_t bytes;       /* of all files */
    uint64_t transferred; /* that came over the network */
    size_t unchecked;     /* files for which the hub named no checksum; never the graph */
};

/* RC_INVALID, ERR_USAGE: what the user must change, a model that can't be run in process included. RC_HALT, ERR_PROVIDER:
 * the hub refuses, or has no such model. Others as download_file. */
enum rc model_pull(const struct pull_options *options, struct pull_result *ret_result, struct err *err);

#endif
