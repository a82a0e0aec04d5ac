#include "serve/connections.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

enum { LOOK_SECS = 1 };

struct connection {
    int fd;           /* -1: free */
    int64_t until_ms; /* 0: our turn */
};

struct connections {
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t closed;
    bool closing;
    int64_t limit_ms;
    size_t most;
    size_t count;
    struct connection list[];
};

static void *
watch(void *argument)
{
    struct connections *all = argument;

    pthread_mutex_lock(&all->mutex);
    while (!all->closing) {
        struct timespec until;
        int64_t now = clock_now_ms();
        for (size_t i = 0; i < all->most; i++) {
            struct connection *one = &all->list[i];
            if (one->fd >= 0 && one->until_ms != 0 && now >= one->until_ms) {
                (void)shutdown(one->fd, SHUT_RDWR); /* its thread sees the end and closes it */
                one->until_ms = 0;
            }
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_SECS;
        (void)pthread_cond_timedwait(&all->closed, &all->mutex, &until);
    }
    pthread_mutex_unlock(&all->mutex);
    return NULL;
}

enum rc
connections_open(size_t most, int64_t limit_ms, struct connections **ret_connections, struct err *err)
{
    pthread_condattr_t monotonic;
    struct connections *all = calloc(1, sizeof *all + most * sizeof all->list[0]);
    int failed;

    if (all == NULL)
        return err_memory(err);
    all->limit_ms = limit_ms;
    all->most = most;
    for (size_t i = 0; i < most; i++)
        all->list[i].fd = -1;
    pthread_mutex_init(&all->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&all->closed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if ((failed = pthread_create(&all->thread, NULL, watch, all)) != 0) {
        free(all);
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't start a thread: %s", strerror(failed));
    }
    *ret_connections = all;
    return RC_OK;
}

struct connections *
connections_close(struct connections *all)
{
    if (all == NULL)
        return NULL;
    pthread_mutex_lock(&all->mutex);
    all->closing = true;
    pthread_cond_signal(&all->closed);
    pthread_mutex_unlock(&all->mutex);
    pthread_join(all->thread, NULL);
    pthread_cond_destroy(&all->closed);
    pthread_mutex_destroy(&all->mutex);
    free(all);
    return NULL;
}

int
connections_add(struct connections *all, int fd)
{
    int number = -1;

    pthread_mutex_lock(&all->mutex);
    for (size_t i = 0; i < all->most && number < 0; i++) {
        if (all->list[i].fd >= 0)
            continue;
        all->list[i] = (struct connection){.fd = fd, .until_ms = clock_now_ms() + all->limit_ms};
        all->count++;
        number = (int)i;
    }
    pthread_mutex_unlock(&all->mutex);
    return number;
}

void
connections_remove(struct connections *all, int number)
{
    if (number < 0)
        return;
    pthread_mutex_lock(&all->mutex);
    all->list[number].fd = -1;
    all->count--;
    pthread_mutex_unlock(&all->mutex);
}

static void
set(struct connections *all, int number, int64_t until_ms)
{
    if (number < 0)
        return;
    pthread_mutex_lock(&all->mutex);
    all->list[number].until_ms = until_ms;
    pthread_mutex_unlock(&all->mutex);
}

void
connections_wait(struct connections *all, int number)
{
    set(all, number, clock_now_ms() + all->limit_ms);
}

void
connections_work(struct connections *all, int number)
{
    set(all, number, 0);
}

size_t
connections_count(struct connections *all)
{
    pthread_mutex_lock(&all->mutex);
    size_t count = all->count;
    pthread_mutex_unlock(&all->mutex);
    return count;
}
