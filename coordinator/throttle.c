#include "coordinator/throttle.h"

#include <stdio.h>

#include "base/clock.h"
#include "db/result.h"
#include "db/statements.h"

#define LOOK_MS 1000

static void
hold(struct run *run, enum measured_throttle why)
{
    atomic_store(&run->held, (int)why);
    atomic_store(&run->measurements->throttle, (int)why);
}

/* The first limit that needs a look at the database. */
static enum measured_throttle
first_limit(const struct migration_limits *limits)
{
    if (limits->active_hours)
        return THROTTLE_ACTIVE_HOURS;
    if (limits->max_replica_lag_secs.given)
        return THROTTLE_REPLICA_LAG;
    if (limits->max_wal_bytes_per_second.given)
        return THROTTLE_WAL_RATE;
    return limits->max_waiting_locks.given ? THROTTLE_WAITING_LOCKS : THROTTLE_NONE;
}

static enum rc
look(const struct migration_limits *limits, struct db *db, PGresult **ret_result, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, limits->active_hours ? limits->hours.zone : NULL);
    params_add_bool(&params, limits->max_replica_lag_secs.given);
    params_add_bool(&params, limits->max_wal_bytes_per_second.given);
    params_add_bool(&params, limits->max_waiting_locks.given);
    rc = db_exec(db, sql_throttle_look, &params, ret_result, err);
    params_clear(&params);
    return rc;
}

enum rc
throttle_begin(struct run *run, struct db *db, struct err *err)
{
    const struct migration_limits *limits = &run->file->limits;
    enum rc rc = RC_OK;

    run->throttle_wal = -1;
    hold(run, first_limit(limits));
    if (limits->active_hours && (rc = look(limits, db, NULL, err)) == RC_INVALID) {
        rc = err_set(err, RC_INVALID, ERR_USAGE, "%s: limits.active_hours: the database knows no time zone \"%s\"",
                     run->file->path, limits->hours.zone);
        err_hint(err, "SELECT name FROM pg_timezone_names lists them");
    }
    return rc;
}

/* --- what is too much --- */

/* The hours may go over midnight. */
static bool
too_early(struct run *run, const struct migration_limits *limits, const PGresult *seen)
{
    if (!limits->active_hours)
        return false;
    int minute = (int)result_int64(seen, 0, "minute"), from = limits->hours.from_minute, to = limits->hours.to_minute;
    bool inside = from < to ? minute >= from && minute < to : minute >= from || minute < to;
    if (!inside)
        run_note(run, "the backfill waits for its active hours, %s", limits->active_hours);
    return !inside;
}

static bool
replicas_behind(struct run *run, const struct migration_limits *limits, const PGresult *seen, const struct db *db)
{
    const struct optional_number *most = &limits->max_replica_lag_secs;

    if (!most->given)
        return false;
    double lag = result_float64(seen, 0, "lag");
    bool hidden = result_int64(seen, 0, "hidden") > 0;
    if (hidden)
        run_note(run, "the backfill waits: the lag of replicas can't be seen; GRANT pg_monitor TO %s", db_user(db));
    else if (lag > most->value)
        run_note(run, "the backfill waits: a replica is %.1f s behind, %.1f s are allowed", lag, most->value);
    return hidden || lag > most->value;
}

/* Of the time since the last look; the first look can tell nothing yet, nor can one at another server. */
static bool
wal_too_fast(struct run *run, const struct migration_limits *limits, const PGresult *seen)
{
    const struct optional_number *most = &limits->max_wal_bytes_per_second;

    if (!most->given)
        return false;
    int64_t wal = result_int64(seen, 0, "wal"), at_us = result_int64(seen, 0, "at_us");
    int64_t written = wal - run->throttle_wal, took_us = at_us - run->throttle_wal_us;
    bool known = run->throttle_wal >= 0 && written >= 0 && took_us > 0;
    double rate = known ? (double)written * 1e6 / (double)took_us : 0;
    run->throttle_wal = wal;
    run->throttle_wal_us = at_us;
    if (known && rate > most->value)
        run_note(run, "the backfill waits: the server writes %.0f bytes of WAL a second, %.0f are allowed", rate,
                 most->value);
    return !known || rate > most->value;
}

static bool
others_wait(struct run *run, const struct migration_limits *limits, const PGresult *seen)
{
    const struct optional_number *most = &limits->max_waiting_locks;

    if (!most->given)
        return false;
    int64_t waiting = result_int64(seen, 0, "waiting");
    bool many = (double)waiting > most->value;
    if (many)
        run_note(run, "the backfill waits: %lld sessions wait for a lock, %.0f may", (long long)waiting, most->value);
    return many;
}

enum rc
throttle_look(struct run *run, struct db *db, struct err *err)
{
    const struct migration_limits *limits = &run->file->limits;
    PGresult *seen = NULL;
    enum rc rc;

    if (first_limit(limits) == THROTTLE_NONE || clock_now_ms() - run->throttle_looked_ms < LOOK_MS)
        return RC_OK;
    run->throttle_looked_ms = clock_now_ms();
    if ((rc = look(limits, db, &seen, err)) != RC_OK) {
        if (atomic_load(&run->held) == THROTTLE_NONE)
            hold(run, first_limit(limits));
        return rc;
    }
    /* looked at whatever the others say: its rate is that since the last look */
    bool wal = wal_too_fast(run, limits, seen);
    hold(run, too_early(run, limits, seen)             ? THROTTLE_ACTIVE_HOURS
              : replicas_behind(run, limits, seen, db) ? THROTTLE_REPLICA_LAG
              : wal                                    ? THROTTLE_WAL_RATE
              : others_wait(run, limits, seen)         ? THROTTLE_WAITING_LOCKS
                                                       : THROTTLE_NONE);
    PQclear(seen);
    return RC_OK;
}

/* --- the reader --- */

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

static void
wait_a_little(struct run *run, enum measured_throttle why, int64_t ms)
{
    int64_t began_us = clock_now_us();

    run_sleep(run, ms);
    MEASURE_ADD(run->measurements->throttled_us[why], (unsigned long long)(clock_now_us() - began_us));
}

enum rc
throttle_wait(struct run *run, size_t documents)
{
    const struct optional_number *most = &run->file->limits.max_documents_per_second;
    int held;

    while ((held = atomic_load(&run->held)) != THROTTLE_NONE && !run_stopping(run))
        wait_a_little(run, (enum measured_throttle)held, 100);
    if (most->given) {
        pthread_mutex_lock(&run->mutex);
        int64_t sharers = run->alive_workers > 1 ? run->alive_workers : 1;
        pthread_mutex_unlock(&run->mutex);
        double a_second = most->value / (double)sharers;
        /* a batch may be larger than a second's worth: it is let through at once and paid off afterwards */
        while (refill(run, a_second) <= 0 && !run_stopping(run)) {
            atomic_store(&run->measurements->throttle, THROTTLE_DOCUMENTS_PER_SECOND);
            wait_a_little(run, THROTTLE_DOCUMENTS_PER_SECOND, 20);
        }
        atomic_store(&run->measurements->throttle, atomic_load(&run->held));
        run->allowance -= (double)documents;
    }
    return run_stopping(run) ? RC_CLOSED : RC_OK;
}
