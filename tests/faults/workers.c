/* The queue, the pool and what a worker does with a batch. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/subjects.h"
#include "tests/unit/scripted_provider.h"
#include "worker/pool.h"
#include "worker/queue.h"

enum { ITEMS = 100, DIMENSIONS = 8, TASKS = 6, DOCUMENTS = 12 };

static enum rc
wrong(struct err *err, const char *what)
{
    return err_set(err, RC_INVALID, ERR_NONE, "%s", what);
}

/* What was taken is given back, also when one of the items found no room. */
static enum rc
push_and_pop(struct err *err)
{
    struct queue *queue = NULL;
    char items[ITEMS];
    size_t pushed = 0, popped = 0;
    void *item;
    enum rc rc = queue_open(ITEMS, &queue, err);

    if (rc != RC_OK)
        return rc;
    for (; pushed < ITEMS; pushed++)
        if ((rc = queue_push(queue, &items[pushed], pushed % 3 == 0)) != RC_OK)
            break;
    if (rc == RC_FATAL)
        err_memory(err);
    queue_close(queue);
    while (queue_pop(queue, 0, &item) == RC_OK)
        popped++;
    queue_free(queue);
    return popped == pushed ? rc : wrong(err, "an item was lost");
}

/* --- the pool --- */

struct gathered {
    pthread_mutex_t mutex;
    size_t returned;
    enum rc rc;
    struct err err;
};

static void
gather(struct embed_task *task)
{
    struct gathered *gathered = task->context;

    pthread_mutex_lock(&gathered->mutex);
    gathered->returned++;
    for (size_t i = 0; task->rc == RC_OK && i < task->count; i++)
        if (task->results[i].status != DOCUMENT_EMBEDDED)
            task->rc = wrong(&task->err, "a document was blamed");
    if (task->rc != RC_OK && (gathered->rc == RC_OK || task->rc != RC_FATAL)) {
        gathered->rc = task->rc;
        gathered->err = task->err;
    }
    pthread_mutex_unlock(&gathered->mutex);
}

static enum rc
embed_by_pool(struct err *err)
{
    static const struct document documents[DOCUMENTS] = {
        {.bytes = "one", .length = 3}, {.bytes = "two", .length = 3}, {.bytes = "three", .length = 5},
        {.bytes = "one", .length = 3}, {.bytes = "x", .length = 1},   {.bytes = "y", .length = 1},
        {.bytes = "z", .length = 1},   {.bytes = "q", .length = 1},   {.bytes = "r", .length = 1},
        {.bytes = "s", .length = 1},   {.bytes = "t", .length = 1},   {.bytes = "u", .length = 1}};
    const struct provider_options options = {.kind = PROVIDER_HASHING, .model = "m", .dimensions = DIMENSIONS};
    struct gathered gathered = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct pool_options with = {.threads = 3, .capacity = 2};
    struct embed_task tasks[TASKS];
    struct arena *arenas[TASKS] = {NULL};
    struct pool *pool = NULL;
    size_t submitted = 0;
    enum rc rc = embedder_open(&options, &with.embedders[0], err);

    if (rc == RC_OK)
        rc = pool_open(&with, &pool, err);
    for (; rc == RC_OK && submitted < TASKS; submitted++) {
        if (!(arenas[submitted] = arena_new(0))) {
            rc = err_memory(err);
            break;
        }
        tasks[submitted] = (struct embed_task){.documents = documents,
                                               .count = DOCUMENTS,
                                               .dimensions = DIMENSIONS,
                                               .arena = arenas[submitted],
                                               .urgent = submitted % 2 == 1,
                                               .done = gather,
                                               .context = &gathered};
        if ((rc = pool_submit(pool, &tasks[submitted])) != RC_OK) {
            err_memory(err);
            break;
        }
    }
    while (pool && !pool_idle(pool))
        sched_yield();
    pool_close(pool);
    embedder_close(with.embedders[0]);
    for (size_t i = 0; i < TASKS; i++)
        arena_free(arenas[i]);
    if (gathered.returned != submitted)
        return wrong(err, "a task was lost");
    if (gathered.rc != RC_OK) {
        *err = gathered.err;
        return gathered.rc;
    }
    return rc;
}

/* A batch with a bad document in it: bisection, and the others are embedded. Out of memory blames nobody. */
static enum rc
embed_with_a_bad_one(struct err *err)
{
    const struct provider_options options = {.model = "scripted", .dimensions = DIMENSIONS};
    struct embed_policy policy = {.retry = {.attempts = 2, .first_ms = 1, .cap_ms = 1}};
    struct document documents[DOCUMENTS];
    struct document_result results[DOCUMENTS] = {{.status = DOCUMENT_PENDING}};
    float vectors[DOCUMENTS * DIMENSIONS];
    char texts[DOCUMENTS][16];
    struct embed_usage usage = {0};
    struct embedder *embedder = NULL;
    struct embed_session *session = NULL;
    struct arena *arena = arena_new(0);
    enum rc rc;

    if (!arena)
        return err_memory(err);
    script.calls = 0;
    script.dimensions = DIMENSIONS;
    for (size_t i = 0; i < DOCUMENTS; i++) {
        snprintf(texts[i], sizeof texts[i], "%s %zu", i == 5 ? "reject:" : "text", i);
        documents[i] = (struct document){.bytes = texts[i], .length = strlen(texts[i])};
    }
    rc = embedder_open_provider(&scripted_provider, &options, &embedder, err);
    if (rc == RC_OK)
        rc = embed_session_open(embedder, &session, err);
    if (rc == RC_OK)
        rc = embed_documents(session, &policy, documents, DOCUMENTS, DIMENSIONS, vectors, results, &usage, arena, err);
    for (size_t i = 0; i < DOCUMENTS; i++)
        if (results[i].status != (i == 5 ? DOCUMENT_FAILED : DOCUMENT_EMBEDDED) &&
            (rc == RC_OK || results[i].status != DOCUMENT_PENDING))
            rc = wrong(err, "another outcome");
    embed_session_close(session);
    embedder_close(embedder);
    arena_free(arena);
    return rc;
}

const struct subject worker_subjects[] = {
    {.name = "a queue", .run = push_and_pop},
    {.name = "a pool", .run = embed_by_pool, .threads = true},
    {.name = "a batch with a bad document", .run = embed_with_a_bad_one},
};
const size_t worker_subject_count = sizeof worker_subjects / sizeof *worker_subjects;
