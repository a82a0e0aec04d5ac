#include "worker/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "worker/queue.h"

struct pool {
    struct pool_options options;
    struct queue *queue;
    pthread_t *threads;
    size_t started;
    atomic_size_t busy;  /* tasks submitted and not given back */
    atomic_bool stopped; /* what still waits in the queue is given back unopened */
};

struct worker {
    struct pool *pool;
    struct embed_session *sessions[POOL_MAX_EMBEDDERS]; /* opened on first use */
};

/* Embeds what has no outcome yet. After an outage the second round holds only the documents that are still pending. */
static enum rc
embed_pending(struct worker *worker, struct embed_task *task, struct embed_session *session)
{
    const struct embed_policy *policy = &worker->pool->options.policies[task->embedder];
    size_t count = 0;
    struct document *documents = arena_array(task->arena, task->count, sizeof *documents);
    struct document_result *results = arena_array(task->arena, task->count, sizeof *results);
    size_t *places = arena_array(task->arena, task->count, sizeof *places);
    float *vectors = arena_array(task->arena, task->count * task->dimensions, sizeof *vectors);
    enum rc rc;

    if (!documents || !results || !places || !vectors)
        return err_memory(&task->err);
    for (size_t i = 0; i < task->count; i++) {
        if (task->results[i].status != DOCUMENT_PENDING)
            continue;
        places[count] = i;
        documents[count++] = task->documents[i];
    }
    memset(results, 0, count * sizeof *results);
    rc = embed_documents(session, policy, documents, count, task->dimensions, vectors, results, &task->usage,
                         task->arena, &task->err);
    for (size_t i = 0; i < count; i++) {
        task->results[places[i]] = results[i];
        if (results[i].status == DOCUMENT_EMBEDDED)
            memcpy(task->vectors + places[i] * task->dimensions, vectors + i * task->dimensions,
                   task->dimensions * sizeof *vectors);
    }
    return rc;
}

static enum rc
run_task(struct worker *worker, struct embed_task *task)
{
    const struct pool_options *options = &worker->pool->options;
    struct embed_session **session = &worker->sessions[task->embedder];
    enum rc rc;

    task->vectors = arena_array(task->arena, task->count * task->dimensions, sizeof *task->vectors);
    task->results = arena_array(task->arena, task->count, sizeof *task->results);
    if (!task->vectors || !task->results)
        return err_memory(&task->err);
    memset(task->results, 0, task->count * sizeof *task->results);
    if (!*session && (rc = embed_session_open(options->embedders[task->embedder], session, &task->err)) != RC_OK)
        return rc;

    if ((rc = fail_point("worker.asking", &task->err)) == RC_OK)
        rc = embed_documents(*session, &options->policies[task->embedder], task->documents, task->count,
                             task->dimensions, task->vectors, task->results, &task->usage, task->arena, &task->err);
    while (rc == RC_RETRY && options->outage && options->outage(options->context, &task->err))
        rc = embed_pending(worker, task, *session);
    return rc == RC_OK ? fail_point("worker.answered", &task->err) : rc;
}

static void *
work(void *argument)
{
    struct worker worker = {.pool = argument};
    void *item;

    while (queue_pop(worker.pool->queue, -1, &item) == RC_OK) {
        struct embed_task *task = item;
        int64_t began_us = clock_now_us();
        task->rc = atomic_load(&worker.pool->stopped) ? RC_CLOSED : run_task(&worker, task);
        task->elapsed_us = clock_now_us() - began_us;
        task->done(task);
        atomic_fetch_sub(&worker.pool->busy, 1);
    }
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++)
        embed_session_close(worker.sessions[i]);
    return NULL;
}

enum rc
pool_open(const struct pool_options *options, struct pool **ret_pool, struct err *err)
{
    enum rc rc;
    struct pool *pool = calloc(1, sizeof *pool);

    if (!pool)
        return err_memory(err);
    pool->options = *options;
    if ((rc = queue_open(options->capacity, &pool->queue, err)) != RC_OK)
        goto out;
    pool->threads = calloc(options->threads, sizeof *pool->threads);
    if (!pool->threads) {
        rc = err_memory(err);
        goto out;
    }
    for (; pool->started < options->threads; pool->started++) {
        int failed = pthread_create(&pool->threads[pool->started], NULL, work, pool);
        if (failed != 0) {
            rc = err_set(err, RC_FATAL, ERR_SYSTEM, "can't start worker thread %zu of %zu: %s", pool->started + 1,
                         options->threads, strerror(failed));
            err_hint(err, "lower backfill.max_concurrent, or raise the limit of threads (ulimit -u)");
            goto out;
        }
    }
    *ret_pool = pool;
    return RC_OK;
out:
    pool_close(pool);
    return rc;
}

enum rc
pool_submit(struct pool *pool, struct embed_task *task)
{
    bool urgent = task->urgent;

    atomic_fetch_add(&pool->busy, 1); /* before the push: from then on the task is not ours */
    enum rc rc = queue_push(pool->queue, task, urgent);
    if (rc != RC_OK)
        atomic_fetch_sub(&pool->busy, 1);
    return rc;
}

size_t
pool_waiting(struct pool *pool)
{
    return queue_length(pool->queue);
}

bool
pool_idle(struct pool *pool)
{
    return atomic_load(&pool->busy) == 0;
}

void
pool_stop(struct pool *pool)
{
    atomic_store(&pool->stopped, true);
    queue_close(pool->queue);
}

struct pool *
pool_close(struct pool *pool)
{
    if (!pool)
        return NULL;
    if (pool->queue)
        pool_stop(pool);
    assert(pool->threads || pool->started == 0);
    for (size_t i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    free(pool->threads);
    queue_free(pool->queue);
    free(pool);
    return NULL;
}
