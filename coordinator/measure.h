/* coordinator/measure.h - what a run tells the measurements (base/measurements.h), and nothing else: no decision hangs on
 * it. Threads: any.
 */
#ifndef REEMBED_COORDINATOR_MEASURE_H
#define REEMBED_COORDINATOR_MEASURE_H

#include <stdbool.h>

#include "coordinator/batch.h"
#include "coordinator/run.h"
#include "db/result.h"
#include "embed/embedder.h"

/* A callback of struct embed_policy; the context is the run. */
void measure_request(void *context, const struct request_outcome *outcome);

/* A batch that the pool gave back. */
void measure_task(struct run *run, const struct embed_task *task);

/* A batch whose vectors are stored (`whole`: and all its other outcomes), or that is dropped. */
void measure_stored(const struct batch *batch, bool whole);
void measure_dropped(const struct batch *batch);

/* A chunk that was claimed. */
void measure_claim(struct run *run, bool taken_over);

/* Gauges; by the main thread. */
void measure_queues(struct run *run);

/* The provider is waited for, for so long at least. */
void measure_provider_wait(struct run *run, int64_t ms);

#endif
