#include "worker/queue.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* A growing ring. Only the ordinary lane is bounded, by the queue's capacity. */
struct lane {
    void **items;
    size_t room;
    size_t first;
    size_t count;
};

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;  /* something to pop, or closed */
    pthread_cond_t drained; /* room in the ordinary lane, or closed */
    struct lane ordinary;   /* under mutex, as all below */
    struct lane urgent;
    size_t capacity;
    bool closed;
};

static bool
lane_put(struct lane *lane, void *item)
{
    if (lane->count == lane->room) {
        size_t room = lane->room ? lane->room * 2 : 16;
        void **items = calloc(room, sizeof *items);
        if (!items)
            return false;
        for (size_t i = 0; i < lane->count; i++)
            items[i] = lane->items[(lane->first + i) % lane->room];
        free(lane->items);
        lane->items = items;
        lane->room = room;
        lane->first = 0;
    }
    lane->items[(lane->first + lane->count) % lane->room] = item;
    lane->count++;
    return true;
}

static void *
lane_take(struct lane *lane)
{
    assert(lane->count > 0);
    void *item = lane->items[lane->first];
    lane->first = (lane->first + 1) % lane->room;
    lane->count--;
    return item;
}

enum rc
queue_open(size_t capacity, struct queue **ret_queue, struct err *err)
{
    pthread_condattr_t monotonic;
    struct queue *queue = calloc(1, sizeof *queue);

    if (!queue)
        return err_memory(err);
    assert(capacity > 0);
    queue->capacity = capacity;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->filled, &monotonic);
    pthread_cond_init(&queue->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_queue = queue;
    return RC_OK;
}

enum rc
queue_push(struct queue *queue, void *item, bool urgent)
{
    enum rc rc = RC_OK;

    pthread_mutex_lock(&queue->mutex);
    while (!queue->closed && !urgent && queue->ordinary.count >= queue->capacity)
        pthread_cond_wait(&queue->drained, &queue->mutex);
    if (queue->closed)
        rc = RC_CLOSED;
    else if (!lane_put(urgent ? &queue->urgent : &queue->ordinary, item))
        rc = RC_FATAL;
    else
        pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->mutex);
    return rc;
}

enum rc
queue_pop(struct queue *queue, int64_t timeout_ms, void **ret_item)
{
    enum rc rc = RC_OK;
    struct timespec until;

    if (timeout_ms >= 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ms / 1000;
        until.tv_nsec += (timeout_ms % 1000) * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&queue->mutex);
    while (!queue->closed && queue->urgent.count + queue->ordinary.count == 0 && rc == RC_OK) {
        if (timeout_ms < 0)
            pthread_cond_wait(&queue->filled, &queue->mutex);
        else if (pthread_cond_timedwait(&queue->filled, &queue->mutex, &until) != 0)
            rc = RC_AGAIN;
    }
    if (queue->urgent.count > 0) {
        *ret_item = lane_take(&queue->urgent);
        rc = RC_OK;
    } else if (queue->ordinary.count > 0) {
        *ret_item = lane_take(&queue->ordinary);
        pthread_cond_signal(&queue->drained);
        rc = RC_OK;
    } else if (queue->closed) {
        rc = RC_CLOSED;
    }
    pthread_mutex_unlock(&queue->mutex);
    return rc;
}

void
queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_cond_broadcast(&queue->drained);
    pthread_mutex_unlock(&queue->mutex);
}

size_t
queue_length(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    size_t length = queue->urgent.count + queue->ordinary.count;
    pthread_mutex_unlock(&queue->mutex);
    return length;
}

struct queue *
queue_free(struct queue *queue)
{
    if (!queue)
        return NULL;
    assert(queue->urgent.count + queue->ordinary.count == 0);
    free(queue->urgent.items);
    free(queue->ordinary.items);
    pthread_cond_destroy(&queue->filled);
    pthread_cond_destroy(&queue->drained);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
    return NULL;
}
