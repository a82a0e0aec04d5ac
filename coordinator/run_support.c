/* What every thread of a run does alike: stop, wait, connect, retry. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/run.h"
#include "db/result.h"
#include "db/retry.h"
#include "db/statements.h"

#define HALF_SENT_LOOK_MS 5000 /* or a quarter of the statement timeout */

#define NOTE_MS 10000 /* how long a note is shown */

void
run_stop(struct run *run, enum stop_reason reason, enum rc rc, const struct err *err)
{
    int none = STOP_NOT;

    pthread_mutex_lock(&run->mutex);
    if (atomic_compare_exchange_strong(&run->stop_reason, &none, (int)reason)) {
        run->failure_rc = (int)rc;
        if (err)
            run->err = *err;
        atomic_store(&run->stopping, true);
    }
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

void
run_completed(struct run *run)
{
    if (!run->options->follow)
        run_stop(run, STOP_DONE, RC_OK, NULL);
    else if (!atomic_exchange(&run->keep_only, true))
        log_event(LOG_INFO, "completed; changes are followed until SIGTERM");
}

static struct timespec
monotonic_after(int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

static void
sleep_while(struct run *run, int64_t ms, bool backfill_only)
{
    struct timespec until = monotonic_after(ms);

    pthread_mutex_lock(&run->mutex);
    while (!run_stopping(run) && !(backfill_only && atomic_load(&run->backfill_over)) &&
           pthread_cond_timedwait(&run->changed, &run->mutex, &until) == 0)
        ;
    pthread_mutex_unlock(&run->mutex);
}

void
run_sleep(struct run *run, int64_t ms)
{
    sleep_while(run, ms, false);
}

void
run_sleep_during_backfill(struct run *run, int64_t ms)
{
    sleep_while(run, ms, true);
}

void
run_backfill_over(struct run *run)
{
    pthread_mutex_lock(&run->mutex);
    atomic_store(&run->backfill_over, true);
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

void
run_note(struct run *run, const char *format, ...)
{
    char note[sizeof run->note];
    bool fresh;
    va_list args;

    va_start(args, format);
    vsnprintf(note, sizeof note, format, args);
    va_end(args);
    log_scrub(note);
    pthread_mutex_lock(&run->mutex);
    fresh = strcmp(run->note, note) != 0;
    memcpy(run->note, note, sizeof note);
    run->note_until_ms = clock_now_ms() + NOTE_MS;
    pthread_mutex_unlock(&run->mutex);
    if (fresh)
        log_event(LOG_WARNING, note);
}

void
run_note_keep(struct run *run, const char *note)
{
    char kept[sizeof run->note];

    snprintf(kept, sizeof kept, "%s", note);
    log_scrub(kept);
    pthread_mutex_lock(&run->mutex);
    if (run->note_until_ms < clock_now_ms() + NOTE_MS / 2) {
        memcpy(run->note, kept, sizeof kept);
        run->note_until_ms = clock_now_ms() + NOTE_MS;
    }
    pthread_mutex_unlock(&run->mutex);
}

void
run_count_usage(struct run *run, const struct embed_usage *usage)
{
    atomic_fetch_add(&run->tokens, usage->tokens);
    atomic_fetch_add(&run->requests, usage->requests);
}

enum rc
run_connect_once(struct run *run, struct db **ret_db, struct err *err)
{
    struct db_options options = {
        .url = run->options->common.database_url,
        .statement_timeout_ms = (int)(run->file->database.statement_timeout_secs * 1000),
        .lock_timeout_ms = (int)(run->file->database.lock_timeout_secs * 1000),
        .stop = &run->abandon,
    };
    return db_open(&options, ret_db, err);
}

enum rc
run_connect(struct run *run, struct db **ret_db, struct err *err)
{
    struct retry retry = retry_start(&DB_RECONNECT_POLICY);
    enum rc rc, waited;

    while ((rc = run_connect_once(run, ret_db, err)) == RC_RETRY && atomic_load(&run->connected) &&
           !run_stopping(run)) {
        if ((waited = retry_wait(&retry, run->options->stop)) != RC_OK)
            return waited; /* `err` says why the last attempt failed */
    }
    if (rc == RC_OK)
        atomic_store(&run->connected, true);
    return rc;
}

static void
pause_before(int attempt)
{
    struct timespec pause = {.tv_nsec = clock_backoff_ms(attempt, 10, 500) * 1000000};

    nanosleep(&pause, NULL); /* not run_sleep: what is being written when the run stops is still to be written */
}

enum rc
run_recover(struct run *run, struct db *db, int attempt, struct err *err)
{
    if (atomic_load(&run->abandon))
        return RC_CLOSED;
    if (!db_alive(db)) {
        if (attempt > 0) /* it was lost again at once: perhaps because of the statement itself */
            pause_before(attempt);
        if (err->message[0]) /* empty: another statement met the loss before */
            run_note(run, "the database connection was lost: %s", err->message);
        enum rc rc = db_reconnect(db, NULL, err);
        if (rc == RC_OK)
            log_event(LOG_INFO, "connected to the database again");
        return rc;
    }
    if (attempt > 100)
        return RC_RETRY;
    log_event(LOG_DEBUG, "a statement is tried again", LF_STR("error", err->message));
    struct err ignored = ERR_INIT;
    run_end_half_sent(run, db, &ignored); /* a lock that was waited for in vain may be such a backend's */
    pause_before(attempt);
    return RC_OK;
}

bool
run_names_changed(enum rc rc, const struct err *err, int *attempts)
{
    if (rc == RC_OK)
        *attempts = 0;
    return rc == RC_INVALID && (strcmp(err->sqlstate, "42703") == 0 || strcmp(err->sqlstate, "42P01") == 0) &&
           ++*attempts < 5;
}

/* server: NULL: any. */
static enum rc
exec_until_it_works(struct run *run, struct db *db, const struct db_server *server, const char *sql,
                    const struct params *params, PGresult **ret_result, struct err *err)
{
    enum rc rc;

    for (int attempt = 0;; attempt++) {
        if (!db_alive(db)) {
            if ((rc = run_recover(run, db, attempt, err)) != RC_OK)
                return rc;
        }
        if (server && !db_same_server(server, db_server(db)))
            return RC_AGAIN;
        rc = db_exec(db, sql, params, ret_result, err);
        if (rc != RC_RETRY)
            return rc;
        if ((rc = run_recover(run, db, attempt, err)) != RC_OK)
            return rc;
    }
}

enum rc
run_exec(struct run *run, struct db *db, const char *sql, const struct params *params, PGresult **ret_result,
         struct err *err)
{
    return exec_until_it_works(run, db, NULL, sql, params, ret_result, err);
}

enum rc
run_exec_on(struct run *run, struct db *db, const struct db_server *server, const char *sql,
            const struct params *params, PGresult **ret_result, struct err *err)
{
    struct db_server read_from = *server; /* it may be the connection's own, which changes */
    return exec_until_it_works(run, db, &read_from, sql, params, ret_result, err);
}

enum rc
run_end_half_sent(struct run *run, struct db *db, struct err *err)
{
    int64_t timeout_ms = (int64_t)(run->file->database.statement_timeout_secs * 1000), now = clock_now_ms();
    int64_t pace = timeout_ms / 4 < HALF_SENT_LOOK_MS ? timeout_ms / 4 : HALF_SENT_LOOK_MS;
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    if (now - atomic_load(&run->half_sent_looked_ms) < pace)
        return RC_OK;
    atomic_store(&run->half_sent_looked_ms, now);
    params_add_int8(&params, timeout_ms);
    rc = db_exec(db, sql_end_half_sent, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && result_int64(result, 0, "ended") > 0)
        log_event(LOG_WARNING, "ended a backend that waited for a stopped process with its locks held",
                  LF_INT("backends", result_int64(result, 0, "ended")));
    PQclear(result);
    return rc;
}
