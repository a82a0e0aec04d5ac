/* worker/queue.h - a bounded queue between two stages, with a lane for what must not wait.
 *
 * Producers block while the queue holds `capacity` items, so that a slow stage can't fill memory. Urgent items are
 * taken first and are never made to wait for room: there are few of them, and their producer limits them itself.
 * Threads: every function may be called from any thread. Lock: queue->mutex, never held across a call out.
 * Ownership: of the items' pointers alone; an item belongs to its producer until queue_push returned RC_OK and to its
 * consumer once popped.
 */
#ifndef REEMBED_WORKER_QUEUE_H
#define REEMBED_WORKER_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct queue;

/* RC_FATAL when out of memory. */
enum rc queue_open(size_t capacity, struct queue **ret_queue, struct err *err);

/* Takes the item on RC_OK; RC_CLOSED: the caller still owns it; RC_FATAL: out of memory, likewise. */
enum rc queue_push(struct queue *queue, void *item, bool urgent);

/* RC_CLOSED once the queue is closed and empty. RC_AGAIN when nothing came within `timeout_ms` (-1: wait for ever). */
enum rc queue_pop(struct queue *queue, int64_t timeout_ms, void **ret_item);

/* Wakes all; what is inside can still be popped, nothing can be pushed any more. */
void queue_close(struct queue *queue);

size_t queue_length(struct queue *queue);

/* The queue must be empty and nobody may wait in it. NULL is fine; returns NULL. */
struct queue *queue_free(struct queue *queue);

#endif
