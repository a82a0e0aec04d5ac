/* worker/pool.h - the threads that ask the models.
 *
 * A task is one batch of documents for one embedder. Tasks go in by pool_submit, a worker thread embeds them
 * (worker/embed.h), and `done` is called on that thread with the outcome inside the task. A worker touches no database
 * connection and no global.
 * Threads: pool_submit from any thread; pool_open, pool_drain, pool_close from the owner.
 */
#ifndef REEMBED_WORKER_POOL_H
#define REEMBED_WORKER_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "embed/embedder.h"
#include "worker/embed.h"

#define POOL_MAX_EMBEDDERS 2

struct embed_task {
    /* given by the submitter, who owns the task until pool_submit returned RC_OK and again from `done` on */
    const struct document *documents;
    size_t count;
    size_t embedder; /* index into pool_options.embedders */
    size_t dimensions;
    struct arena *arena; /* for vectors, results, details */
    bool urgent;         /* a change of a document: goes before the backfill */
    void (*done)(struct embed_task *task);
    void *context;

    /* the outcome; allocated in `arena` */
    enum rc rc; /* RC_OK: every document has a result. Else see embed_documents */
    struct err err;
    float *vectors; /* count x dimensions */
    struct document_result *results;
    struct embed_usage usage;
    int64_t elapsed_us; /* on the worker's thread, outages that were waited for included */
};

struct pool_options {
    size_t threads;
    size_t capacity;                                /* ordinary tasks that may wait */
    struct embedder *embedders[POOL_MAX_EMBEDDERS]; /* NULL: not there */
    struct embed_policy policies[POOL_MAX_EMBEDDERS];
    /* The provider is away beyond the policy's attempts. True: try the same documents again; false: give the task back
     * with RC_RETRY. May block for a while. */
    bool (*outage)(void *context, const struct err *err);
    void *context;
};

struct pool;

/* Starts the threads; each opens its own sessions. RC_FATAL when a thread or a session can't be had. */
enum rc pool_open(const struct pool_options *options, struct pool **ret_pool, struct err *err);

/* Blocks while too many ordinary tasks wait. RC_CLOSED after pool_stop: the caller still owns the task. */
enum rc pool_submit(struct pool *pool, struct embed_task *task);

/* No new tasks; tasks that no worker has begun come back at once with RC_CLOSED. What is being embedded goes on until
 * it is finished or the policy's cancel flag is raised. Does not wait. */
void pool_stop(struct pool *pool);

/* Tasks that no worker has begun. Any thread. */
size_t pool_waiting(struct pool *pool);

/* No task waits and none is being embedded. Any thread. */
bool pool_idle(struct pool *pool);

/* pool_stop, then waits for the threads. NULL is fine; returns NULL. */
struct pool *pool_close(struct pool *pool);

#endif
