/* The command `run`: from the file to an exit code. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/column.h"
#include "coordinator/exit_code.h"
#include "coordinator/flow.h"
#include "coordinator/main_loop.h"
#include "coordinator/measure.h"
#include "coordinator/prepare.h"
#include "db/result.h"

#define PAUSE_GRACE_MS  1200 /* a paused process ends within 2 s */
#define FAILED_GRACE_MS 5000

static bool
outage(void *context, const struct err *err)
{
    struct run *run = context;

    if (run_stopping(run) || atomic_load(&run->abandon))
        return false;
    measure_provider_wait(run, 2500);
    run_note(run, "the provider is away: %s", err->message);
    run_sleep(run, 2000);
    return !run_stopping(run);
}

/* --- threads --- */

struct threads {
    pthread_t reader, finisher, keeper, drainers[POOL_MAX_EMBEDDERS], writers[RUN_MAX_WRITERS];
    bool has_reader, has_finisher, has_keeper, has_drainer[POOL_MAX_EMBEDDERS];
    size_t writer_count;
    struct drainer_argument drain[POOL_MAX_EMBEDDERS];
    struct writer_argument write[RUN_MAX_WRITERS];
};

static enum rc
start_thread(pthread_t *thread, void *(*body)(void *), void *argument, atomic_int *busy, struct err *err)
{
    int failed;

    atomic_fetch_add(busy, 1);
    failed = pthread_create(thread, NULL, body, argument);
    if (failed == 0)
        return RC_OK;
    atomic_fetch_sub(busy, 1);
    return err_set(err, RC_FATAL, ERR_SYSTEM, "can't start a thread: %s", strerror(failed));
}

static enum rc
start_threads(struct run *run, struct threads *t, struct err *err)
{
    const struct space *spaces[POOL_MAX_EMBEDDERS] = {&run->migration->target, &run->migration->source};
    struct pool_options pool = {
        .threads = run->threads,
        .capacity = run->threads + 1,
        .outage = outage,
        .context = run,
    };
    enum rc rc;

    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++) {
        pool.embedders[i] = run->embedders[i];
        pool.policies[i] = run_policy(run);
    }
    if (run->embedders[EMBEDDER_TARGET] && run->file->target.provider.kind == PROVIDER_OPENAI) {
        struct embed_policy *policy = &pool.policies[EMBEDDER_TARGET];
        if ((rc = flow_open(run, run->embedders[EMBEDDER_TARGET], &run->flow, err)) != RC_OK)
            return rc;
        policy->before_request = flow_before;
        policy->after_request = flow_after;
        policy->wait = flow_wait;
        policy->context = run->flow;
    }
    if ((rc = pool_open(&pool, &run->pool, err)) != RC_OK)
        return rc;
    for (size_t i = 0; i < run->writers; i++)
        if ((rc = queue_open(1, &run->finished[i], err)) != RC_OK)
            return rc;
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++) {
        if (!run->embedders[i])
            continue;
        t->drain[i] = (struct drainer_argument){.run = run, .space = spaces[i], .embedder = i};
        if ((rc = start_thread(&t->drainers[i], drainer_thread, &t->drain[i], &run->threads_busy, err)) != RC_OK)
            return rc;
        t->has_drainer[i] = true;
    }
    if (run->migration->column.space_id && !run->sample_only) {
        rc = start_thread(&t->keeper, column_keeper_thread, run, &run->threads_busy, err);
        if (rc != RC_OK)
            return rc;
        t->has_keeper = true;
    }
    if (atomic_load(&run->keep_only) || run->sample_only)
        return RC_OK;
    for (; t->writer_count < run->writers; t->writer_count++) {
        struct writer_argument *with = &t->write[t->writer_count];
        *with = (struct writer_argument){.run = run, .index = t->writer_count};
        if ((rc = start_thread(&t->writers[t->writer_count], writer_thread, with, &run->writers_busy, err)) != RC_OK)
            return rc;
    }
    if ((rc = start_thread(&t->reader, reader_thread, run, &run->threads_busy, err)) != RC_OK)
        return rc;
    t->has_reader = true;
    rc = start_thread(&t->finisher, finisher_thread, run, &run->threads_busy, err);
    t->has_finisher = rc == RC_OK;
    return rc;
}

static int64_t
grace_ms(const struct run *run)
{
    switch (atomic_load(&run->stop_reason)) {
    case STOP_PAUSED:
    case STOP_CANCELLED:
        return PAUSE_GRACE_MS;
    case STOP_FAILED:
        return FAILED_GRACE_MS;
    default:
        return (int64_t)(run->options->shutdown_grace_secs * 1000);
    }
}

/* Leases are renewed while what is being embedded is finished and stored; after the grace period everything is cut
 * short. The database must not hold us up, so its errors end nothing here. */
static void
wait_for_threads(struct run *run, struct db *db, struct threads *t)
{
    int64_t deadline = clock_now_ms() + grace_ms(run), beat = clock_now_ms();

    pool_stop(run->pool);
    while (atomic_load(&run->threads_busy) > 0 || !pool_idle(run->pool) || atomic_load(&run->writers_busy) > 0) {
        if (atomic_load(&run->threads_busy) == 0 && pool_idle(run->pool))
            for (size_t i = 0; i < run->writers; i++)
                queue_close(run->finished[i]);
        if (clock_now_ms() > deadline)
            atomic_store(&run->abandon, true);
        if (!atomic_load(&run->abandon) && db_alive(db) && clock_now_ms() - beat > run->lease_ms / 3) {
            struct err ignored = ERR_INIT;
            beat = clock_now_ms();
            main_beat(run, db, false, &ignored);
        }
        struct timespec pause = {.tv_nsec = 5000000};
        nanosleep(&pause, NULL);
    }
    if (t->has_reader)
        pthread_join(t->reader, NULL);
    if (t->has_finisher)
        pthread_join(t->finisher, NULL);
    if (t->has_keeper)
        pthread_join(t->keeper, NULL);
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++)
        if (t->has_drainer[i])
            pthread_join(t->drainers[i], NULL);
    for (size_t i = 0; i < t->writer_count; i++)
        pthread_join(t->writers[i], NULL);
}

/* --- the end --- */

static void
record_end(struct prepared *p, struct err *err)
{
    struct run *run = &p->run;
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;
    enum rc why = (enum rc)run->failure_rc;

    *err = run->err;
    params_add_text(&params, p->file->id);
    params_add_text(&params, run->err.message);
    if (atomic_load(&run->stop_reason) == STOP_FAILED && why == RC_HALT)
        db_exec(p->db, "SELECT reembed.fail($1, $2)", &params, NULL, &ignored);
    else if (atomic_load(&run->stop_reason) == STOP_FAILED && why != RC_FENCED)
        db_exec(p->db, "SELECT reembed.record_error($1, $2)", &params, NULL, &ignored);
    else if (atomic_load(&run->stop_reason) == STOP_PAUSED && run->err.message[0])
        db_exec(p->db, "SELECT reembed.pause($1, $2)", &params, NULL, &ignored);
    params_clear(&params);
}

static int
exit_when_completed(struct prepared *p)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;
    PGresult *result = NULL;
    int64_t failed = 0;

    params_add_text(&params, p->file->id);
    if (db_exec(p->db, "SELECT count(*) AS n FROM reembed.failures WHERE migration_id = $1 AND kind = 'failed'",
                &params, &result, &ignored) == RC_OK)
        failed = result_int64(result, 0, "n");
    params_clear(&params);
    PQclear(result);
    return failed > 0 ? EXIT_FAILURES : EXIT_DONE;
}

static int
exit_of_run(struct prepared *p, struct err *err)
{
    const struct run *run = &p->run;

    switch ((enum stop_reason)atomic_load(&run->stop_reason)) {
    case STOP_DONE:
        if (run->gone_back) {
            prepare_refuse_rolled_back(p->file->id, err);
            return EXIT_STATE;
        }
        return exit_when_completed(p);
    case STOP_PAUSED:
        if (!err->message[0])
            err_set(err, RC_REFUSED, ERR_STATE, "migration %s was paused", p->file->id);
        err_hint(err, "reembed resume %s, then run again", p->file->id);
        return EXIT_PAUSED;
    case STOP_CANCELLED:
        err_set(err, RC_REFUSED, ERR_STATE, "migration %s was cancelled or rolled back", p->file->id);
        return EXIT_STATE;
    case STOP_BLOCKED:
        return EXIT_GATE;
    case STOP_FAILED:
        return exit_code_of((enum rc)run->failure_rc, err);
    default:
        if (atomic_load(&run->keep_only))
            return EXIT_DONE;
        return run->options->ok_if_more ? EXIT_DONE : EXIT_MORE;
    }
}

static int
exit_of_preparation(struct prepared *p, enum rc rc, struct err *err)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    if (rc == RC_CLOSED)
        return p->run.options->ok_if_more ? EXIT_DONE : EXIT_MORE;
    if (rc == RC_REFUSED && (strcmp(p->state, "paused") == 0 || p->unaffordable))
        return EXIT_PAUSED;
    if (rc == RC_HALT && p->migration && (strcmp(p->state, "in_progress") == 0)) {
        params_add_text(&params, p->file->id);
        params_add_text(&params, err->message);
        db_exec(p->db, "SELECT reembed.fail($1, $2)", &params, NULL, &ignored);
        params_clear(&params);
    }
    return exit_code_of(rc, err);
}

/* Once from the connection to the end. With STOP_UNDONE the code means nothing. */
static int
work(struct prepared *p, struct err *err)
{
    struct threads threads = {0};
    bool nothing = false;
    enum rc rc = prepare_migration(p, &nothing, err);

    if (rc != RC_OK)
        return exit_of_preparation(p, rc, err);
    if (nothing)
        return exit_when_completed(p);
    log_event(LOG_INFO, "working", LF_STR("migration", p->file->id), LF_INT("threads", p->run.threads),
              LF_INT("batch_size", p->run.batch_size));
    if ((rc = fail_point("run.prepared", err)) == RC_OK && (rc = start_threads(&p->run, &threads, err)) == RC_OK)
        rc = fail_point("run.started", err);
    if (rc == RC_OK)
        main_loop(&p->run, p->db);
    else
        run_stop(&p->run, STOP_FAILED, rc, err);
    if (p->run.pool)
        wait_for_threads(&p->run, p->db, &threads);
    (void)fail_point("run.joined", NULL);
    if (!db_alive(p->db)) {
        struct err ignored = ERR_INIT;
        struct retry_policy once = {.max_attempts = 1, .total_ms = 2000};
        db_set_stop(p->db, NULL);
        db_reconnect(p->db, &once, &ignored);
        db_set_stop(p->db, &p->run.abandon);
    }
    release_chunks(&p->run, p->db);
    (void)fail_point("run.released", NULL);
    struct err ignored = ERR_INIT;
    if (db_alive(p->db)) {
        main_beat(&p->run, p->db, true, &ignored);
        record_end(p, err);
    } else {
        *err = p->run.err;
    }
    (void)fail_point("run.recorded", NULL);
    return exit_of_run(p, err);
}

static void
clear(struct prepared *p)
{
    pool_close(p->run.pool);
    flow_close(p->run.flow);
    for (size_t i = 0; i < p->run.writers; i++)
        queue_free(p->run.finished[i]);
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++)
        embedder_close(p->run.embedders[i]);
    db_close(p->db);
    migration_free(p->migration);
    pthread_cond_destroy(&p->run.changed);
    pthread_mutex_destroy(&p->run.mutex);
}

int
run_command(const struct run_options *options, char *ret_migration_id, struct err *err)
{
    struct migration_file *file = NULL;
    int64_t started_ms = 0;
    bool connected = false, undone;
    int code;
    enum rc rc = prepare_read_file(options, ret_migration_id, &file, err);

    if (rc != RC_OK)
        return exit_code_of(rc, err);
    do {
        struct prepared p = {.state = "", .file = file, .run.started_ms = started_ms};
        prepare_begin(&p, options);
        atomic_store(&p.run.connected, connected); /* the database is waited for as long as before */
        code = work(&p, err);
        undone = atomic_load(&p.run.stop_reason) == STOP_UNDONE;
        started_ms = p.run.started_ms;
        connected = atomic_load(&p.run.connected);
        clear(&p);
    } while (undone);
    migration_file_free(file);
    return code;
}
