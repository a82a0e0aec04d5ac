#include "coordinator/measure.h"

#include "base/clock.h"

void
measure_request(void *context, const struct request_outcome *outcome)
{
    static const enum measured_request measured[] = {
        [REQUEST_OK] = MEASURED_OK,
        [REQUEST_TRANSPORT] = MEASURED_TRANSPORT,
        [REQUEST_OVERLOAD] = MEASURED_OVERLOAD,
        [REQUEST_SERVER] = MEASURED_SERVER,
        [REQUEST_TOO_MANY] = MEASURED_TOO_LARGE,
        [REQUEST_REJECTED] = MEASURED_REJECTED,
        [REQUEST_HALT] = MEASURED_REFUSED,
        [REQUEST_CANCELLED] = MEASURED_ABANDONED,
        [REQUEST_FATAL] = MEASURED_ABANDONED,
    };
    struct measurements *m = ((struct run *)context)->measurements;

    MEASURE_ADD(m->requests[measured[outcome->failure]], 1);
    MEASURE_ADD(m->tokens, outcome->usage.tokens);
    histogram_add(&m->request, outcome->elapsed_us);
}

void
measure_task(struct run *run, const struct embed_task *task)
{
    MEASURE_ADD(run->measurements->retries, task->usage.retries);
    histogram_add(&run->measurements->embed, task->elapsed_us);
}

void
measure_stored(const struct batch *batch, bool whole)
{
    struct measurements *m = batch->run->measurements;
    size_t embedded = 0, skipped = 0, failed = 0, current = 0;

    for (size_t i = 0; batch->task.results && i < batch->embed_count; i++) {
        embedded += batch->task.results[i].status == DOCUMENT_EMBEDDED;
        skipped += batch->task.results[i].status == DOCUMENT_SKIPPED;
        failed += batch->task.results[i].status == DOCUMENT_FAILED;
    }
    for (size_t i = 0; i < batch->count; i++)
        current += batch->work[i] == WORK_CURRENT;
    MEASURE_ADD(m->documents_stored, embedded);
    MEASURE_ADD(m->documents_current, current);
    if (whole) {
        MEASURE_ADD(m->documents_skipped, skipped);
        MEASURE_ADD(m->documents_failed, failed);
    }
    MEASURE_ADD(m->batches_stored, 1);
}

void
measure_dropped(const struct batch *batch)
{
    MEASURE_ADD(batch->run->measurements->batches_dropped, 1);
}

void
measure_claim(struct run *run, bool taken_over)
{
    MEASURE_ADD(run->measurements->leases_claimed, 1);
    if (taken_over)
        MEASURE_ADD(run->measurements->lease_takeovers, 1);
}

void
measure_queues(struct run *run)
{
    struct measurements *m = run->measurements;
    size_t to_write = 0;

    for (size_t i = 0; i < run->writers; i++)
        to_write += queue_length(run->finished[i]);
    atomic_store(&m->waiting_to_embed, (long long)pool_waiting(run->pool));
    atomic_store(&m->waiting_to_write, (long long)to_write);
    atomic_store(&m->in_flight, atomic_load(&run->in_flight));
}

void
measure_provider_wait(struct run *run, int64_t ms)
{
    long long until = clock_now_ms() + ms;

    if (atomic_load(&run->measurements->provider_waits_until_ms) < until)
        atomic_store(&run->measurements->provider_waits_until_ms, until);
}
