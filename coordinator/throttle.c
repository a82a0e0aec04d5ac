#include "coordinator/throttle.h"

#include "base/clock.h"
#include "db/result.h"
#include "db/statements.h"

#define LOOK_MS 1000

enum rc
throttle_look(struct run *run, struct db *db, struct err *err)
{
    const struct optional_number *most = &run->file->limits.max_replica_lag_secs;
    PGresult *result = NULL;
    enum rc rc;

    if (!most->given || clock_now_ms() - run->throttle_looked_ms < LOOK_MS)
        return RC_OK;
    run->throttle_looked_ms = clock_now_ms();
    rc = db_exec(db, sql_replica_lag, NULL, &result, err);
    if (rc != RC_OK) {
        atomic_store(&run->held, true);
        return rc;
    }
    double lag = result_float64(result, 0, "lag");
    bool hidden = result_int64(result, 0, "hidden") > 0;
    if (hidden)
        run_note(run, "the backfill waits: the lag of replicas can't be seen; GRANT pg_monitor TO %s", db_user(db));
    else if (lag > most->value)
        run_note(run, "the backfill waits: a replica is %.1f s behind, %.1f s are allowed", lag, most->value);
    atomic_store(&run->held, hidden || lag > most->value);
    PQclear(result);
    return RC_OK;
}

/* Documents that may be read now, after refilling by the clock; at most a second's worth. */
static double
refill(struct run *run, double a_second)
{
    int64_t now = clock_now_ms();

    if (run->allowance_ms == 0)
        run->allowance = a_second / 10;
    else
        run->allowance += a_second * (double)(now - run->allowance_ms) / 1000;
    run->allowance_ms = now;
    if (run->allowance > a_second)
        run->allowance = a_second;
    return run->allowance;
}

enum rc
throttle_wait(struct run *run, size_t documents)
{
    const struct optional_number *most = &run->file->limits.max_documents_per_second;

    while (atomic_load(&run->held) && !run_stopping(run))
        run_sleep(run, 100);
    if (most->given) {
        pthread_mutex_lock(&run->mutex);
        int64_t sharers = run->alive_workers > 1 ? run->alive_workers : 1;
        pthread_mutex_unlock(&run->mutex);
        double a_second = most->value / (double)sharers;
        /* a batch may be larger than a second's worth: it is let through at once and paid off afterwards */
        while (refill(run, a_second) <= 0 && !run_stopping(run))
            run_sleep(run, 20);
        run->allowance -= (double)documents;
    }
    return run_stopping(run) ? RC_CLOSED : RC_OK;
}
