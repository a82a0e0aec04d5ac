/* The command `run`: from the file to an exit code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/batch.h"
#include "coordinator/exit_code.h"
#include "coordinator/flow.h"
#include "coordinator/main_loop.h"
#include "coordinator/provider.h"
#include "coordinator/run.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"

#define CONTENT_MIN 65536   /* characters of a document that are read at least */
#define PAUSE_GRACE_MS 1200 /* a paused process ends within 2 s */
#define FAILED_GRACE_MS 5000

struct prepared {
    struct run run;
    struct migration_file *file;
    struct migration *migration;
    struct db *db; /* the main thread's */
    char state[32];
    bool window_over;
};

/* --- from the file to a migration that is in progress --- */

static enum rc
read_file(const struct run_options *options, char *ret_migration_id, struct migration_file **ret_file, struct err *err)
{
    struct migration_file *file = NULL;
    enum rc rc = migration_file_read(options->file, &file, err);

    if (rc != RC_OK)
        return rc;
    snprintf(ret_migration_id, 256, "%s", file->id);
    if (file->target.placement == PLACEMENT_COLUMN) {
        migration_file_free(file);
        err_set(err, RC_INVALID, ERR_USAGE, "%s: target.placement: \"column\" is not supported by this version", options->file);
        err_hint(err, "leave it out: vectors go to a side table, and reembed_data.%s_current follows the routing", "<collection>");
        return RC_INVALID;
    }
    *ret_file = file;
    return RC_OK;
}

static enum rc
create_migration(struct prepared *p, struct err *err)
{
    struct params params = PARAMS_INIT;
    struct strbuf config;
    enum rc rc;

    strbuf_init(&config, (size_t)1 << 20);
    migration_file_config_json(p->file, &config);
    if (config.failed)
        return err_memory(err);
    params_add_text(&params, p->file->id);
    params_add_json(&params, strbuf_text(&config));
    params_add_bool(&params, p->file->source.present && p->file->source.has_provider);
    rc = run_exec(&p->run, p->db, "SELECT reembed.create_migration($1, $2::jsonb, $3)", &params, NULL, err);
    params_clear(&params);
    strbuf_free(&config);
    return rc;
}

static enum rc
call(struct prepared *p, const char *sql, const char *argument, struct err *err)
{
    struct params params = PARAMS_INIT;
    enum rc rc;

    params_add_text(&params, argument);
    rc = db_exec(p->db, sql, &params, NULL, err);
    params_clear(&params);
    return rc;
}

static enum rc
look_at_state(struct prepared *p, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, p->file->id);
    rc = run_exec(&p->run, p->db,
                  "SELECT state, coalesce(reason, '') AS reason, finalized_at IS NOT NULL OR "
                  "coalesce(clock_timestamp() >= window_ends_at, false) AS window_over, flipped_at IS NOT NULL AS flipped, "
                  "coalesce(tokens < (config#>>'{limits,max_tokens}')::float8, true) AND coalesce(cost < (config#>>'{limits,max_cost}')::float8, true) AS affordable "
                  "FROM reembed.migration JOIN (SELECT migration_id, tokens, cost FROM reembed.progress) p USING (migration_id) WHERE migration_id = $1",
                  &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK) {
        snprintf(p->state, sizeof p->state, "%s", result_string(result, 0, "state"));
        p->window_over = result_bool(result, 0, "window_over");
        atomic_store(&p->run.flipped, result_bool(result, 0, "flipped"));
        if (strcmp(p->state, "paused") == 0 && strcmp(result_string(result, 0, "reason"), "budget") == 0 &&
            result_bool(result, 0, "affordable")) {
            rc = call(p, "SELECT reembed.resume($1)", p->file->id, err);
            snprintf(p->state, sizeof p->state, "in_progress");
        } else if (strcmp(p->state, "paused") == 0) {
            rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is paused: %s", p->file->id, result_string(result, 0, "reason"));
            err_hint(err, "reembed resume %s, then run again", p->file->id);
        }
    }
    PQclear(result);
    return rc;
}

/* What `run` does by state. RC_REFUSED: not in this state. */
static enum rc
enter_by_state(struct prepared *p, struct err *err)
{
    const char *id = p->file->id;
    enum rc rc = look_at_state(p, err);

    if (rc != RC_OK)
        return rc;
    if (strcmp(p->state, "planned") == 0)
        rc = call(p, "SELECT reembed.start($1)", id, err);
    else if (strcmp(p->state, "failed") == 0)
        rc = call(p, "SELECT reembed.resume($1)", id, err);
    else if (strcmp(p->state, "cancelled") == 0 || strcmp(p->state, "rolled_back") == 0) {
        rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is %s", id, strcmp(p->state, "cancelled") == 0 ? "cancelled" : "rolled back");
        err_hint(err, strcmp(p->state, "cancelled") == 0 ? "begin a new one: give the file another id"
                                                         : "go forward with reembed cutover %s, or end it with reembed finalize %s", id, id);
    }
    if (rc == RC_REFUSED && err->class == ERR_STATE && strcmp(err->sqlstate, "RE001") == 0) /* another process was first */
        rc = look_at_state(p, err);
    return rc;
}

/* Waits out the application's transactions behind a short lock timeout, with pauses in which its writes go on. */
static enum rc
install_capture(struct prepared *p, struct err *err)
{
    enum rc rc;

    for (int attempt = 0;; attempt++) {
        rc = call(p, "SELECT reembed.install_capture($1)", p->file->collection, err);
        if (rc != RC_RETRY)
            return rc;
        if (p->run.options->stop && atomic_load(p->run.options->stop))
            return RC_CLOSED;
        if (strcmp(err->sqlstate, "55P03") == 0)
            run_note(&p->run, "waiting for a lock on %s to install change capture: a transaction that wrote it is still open", p->file->documents.table);
        if (!db_alive(p->db) && (rc = db_reconnect(p->db, NULL, err)) != RC_OK)
            return rc;
        run_sleep(&p->run, clock_backoff_ms(attempt, 500, 4000));
    }
}

static enum rc
sample_ahead(struct prepared *p, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    p->run.sample_only = true;
    atomic_store(&p->run.drain_allowed, true);
    params_add_text(&params, p->file->id);
    params_add_float8(&params, p->run.options->until);
    rc = db_exec(p->db, "SELECT reembed.sample_ahead($1, $2) AS n", &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        log_event(LOG_INFO, "a random share goes ahead", LF_REAL("share", p->run.options->until),
                  LF_INT("documents", result_int64(result, 0, "n")));
    PQclear(result);
    return rc;
}

/* Capture first; only then, in a new snapshot, the bound and the count. */
static enum rc
count_documents(struct prepared *p, struct err *err)
{
    enum rc rc = db_set_timeouts(p->db, DB_NO_TIMEOUT, (int)(p->file->database.lock_timeout_secs * 1000), err);

    if (rc == RC_OK)
        rc = call(p, "SELECT reembed.count_documents($1)", p->file->id, err);
    if (rc == RC_OK && p->run.options->until > 0)
        rc = sample_ahead(p, err);
    if (rc == RC_OK)
        rc = db_set_timeouts(p->db, (int)(p->file->database.statement_timeout_secs * 1000),
                             (int)(p->file->database.lock_timeout_secs * 1000), err);
    return rc;
}

/* --- providers --- */

static bool
outage(void *context, const struct err *err)
{
    struct run *run = context;

    if (run_stopping(run) || atomic_load(&run->abandon))
        return false;
    run_note(run, "the provider is away: %s", err->message);
    run_sleep(run, 2000);
    return !run_stopping(run);
}

static struct embed_policy
policy_of(struct run *run)
{
    return (struct embed_policy){
        .canary = provider_canary,
        .canary_length = strlen(provider_canary),
        .cancel = &run->abandon,
        .context = run,
    };
}

static bool
leaves_the_machine(const struct provider_options *provider)
{
    const char *host = provider->url ? strstr(provider->url, "://") : NULL;

    if (provider->kind != PROVIDER_OPENAI || !host)
        return false;
    host += 3;
    return strncmp(host, "127.", 4) != 0 && strncmp(host, "localhost", 9) != 0 && strncmp(host, "[::1]", 5) != 0;
}

static enum rc
ask_before_sending(const struct prepared *p, const struct provider_options *provider, struct err *err)
{
    const struct run_options *o = p->run.options;
    char question[512];

    if (!leaves_the_machine(provider) || o->common.yes || !o->common.interactive || !o->confirm ||
        strcmp(p->state, "planned") != 0)
        return RC_OK;
    snprintf(question, sizeof question, "The text of %s will be sent to %s. Go on?", p->file->documents.table, provider->url);
    if (o->confirm(o->confirm_context, question))
        return RC_OK;
    return err_set(err, RC_INVALID, ERR_USAGE, "nothing was sent and nothing was started");
}

static enum rc
open_provider(struct prepared *p, const struct provider_options *provider, const struct space *space, size_t place,
              struct err *err)
{
    struct embed_policy policy = policy_of(&p->run);
    enum rc rc = ask_before_sending(p, provider, err);

    policy.cancel = p->run.options->stop;
    if (rc == RC_OK)
        rc = provider_open(provider, &p->run.options->common, space->dimensions, &p->run.embedders[place], err);
    while (rc == RC_OK && (rc = provider_check(p->run.embedders[place], &policy, p->migration, space, p->db, err)) == RC_RETRY &&
           !(p->run.options->stop && atomic_load(p->run.options->stop))) {
        run_note(&p->run, "the provider is away: %s", err->message);
        if (!db_alive(p->db) && (rc = db_reconnect(p->db, NULL, err)) != RC_OK)
            return rc;
        run_sleep(&p->run, 1000);
        rc = RC_OK;
    }
    return rc;
}

static void
choose_content_limit(struct run *run)
{
    size_t longest = 0;

    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++) {
        struct embed_limits limits;
        if (!run->embedders[i])
            continue;
        embedder_limits(run->embedders[i], &limits);
        if (limits.max_text_tokens > longest)
            longest = limits.max_text_tokens;
    }
    run->content_limit = (int64_t)longest * 32 > CONTENT_MIN ? (int64_t)longest * 32 : CONTENT_MIN;
}

static enum rc
open_providers(struct prepared *p, struct err *err)
{
    struct run *run = &p->run;
    const struct migration *m = p->migration;
    bool with_target = !atomic_load(&run->keep_only) || m->target.captured;
    bool with_source = m->source.captured && p->file->source.present && p->file->source.has_provider;
    enum rc rc = RC_OK;

    if (with_target)
        rc = open_provider(p, &p->file->target.provider, &m->target, EMBEDDER_TARGET, err);
    if (rc == RC_OK && with_source)
        rc = open_provider(p, &p->file->source.provider, &m->source, EMBEDDER_SOURCE, err);
    choose_content_limit(run);
    return rc;
}

/* --- threads --- */

struct threads {
    pthread_t reader, finisher, drainers[POOL_MAX_EMBEDDERS], writers[RUN_MAX_WRITERS];
    bool has_reader, has_finisher, has_drainer[POOL_MAX_EMBEDDERS];
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
        pool.policies[i] = policy_of(run);
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
    if (db_exec(p->db, "SELECT count(*) AS n FROM reembed.failures WHERE migration_id = $1 AND kind = 'failed'", &params, &result, &ignored) == RC_OK)
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

/* Nothing is recorded for any space that is kept: no model has to be loaded to find that out. */
static enum rc
nothing_to_drain(struct prepared *p, bool *ret_nothing, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, p->file->collection);
    rc = run_exec(&p->run, p->db,
                  "SELECT coalesce(sum((reembed.pending_changes(c.collection, s)).pending), 0)::bigint AS n "
                  "FROM reembed.collection c, unnest(c.captured) AS s WHERE c.collection = $1",
                  &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK)
        *ret_nothing = result_int64(result, 0, "n") == 0;
    PQclear(result);
    return rc;
}

static void
run_init(struct prepared *p, const struct run_options *options)
{
    struct run *run = &p->run;
    pthread_condattr_t monotonic;

    run->options = options;
    run->file = p->file;
    run->batch_size = (size_t)(options->batch_size > 0 ? options->batch_size : p->file->backfill.batch_size);
    run->threads = (size_t)(options->max_concurrent > 0 ? options->max_concurrent : p->file->backfill.max_concurrent);
    run->lease_ms = (int64_t)(p->file->database.lease_secs * 1000);
    run->writers = p->file->database.writers > RUN_MAX_WRITERS ? RUN_MAX_WRITERS : (size_t)p->file->database.writers;
    if (getrandom(run->worker_id, sizeof run->worker_id, 0) != (ssize_t)sizeof run->worker_id)
        memset(run->worker_id, 0, sizeof run->worker_id);
    run->worker_id[6] = (unsigned char)((run->worker_id[6] & 0x0f) | 0x40);
    run->worker_id[8] = (unsigned char)((run->worker_id[8] & 0x3f) | 0x80);
    pthread_mutex_init(&run->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&run->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static enum rc
prepare(struct prepared *p, bool *ret_nothing, struct err *err)
{
    struct run *run = &p->run;
    enum rc rc;

    if ((rc = run_connect(run, &p->db, err)) != RC_OK)
        return rc == RC_RETRY ? RC_FATAL : rc;
    if ((rc = schema_install(p->db, err)) != RC_OK || (rc = create_migration(p, err)) != RC_OK ||
        (rc = migration_load(p->db, p->file->id, &p->migration, err)) != RC_OK)
        return rc;
    run->migration = p->migration;
    if ((rc = look_at_state(p, err)) != RC_OK)
        return rc;
    atomic_store(&run->keep_only, strcmp(p->state, "completed") == 0);
    atomic_store(&run->drain_allowed, p->file->backfill.dual_write || atomic_load(&run->keep_only) || atomic_load(&run->flipped));

    /* a model that can't be used is noticed before anything is installed on the documents */
    if (!atomic_load(&run->keep_only) && (strcmp(p->state, "planned") == 0 || strcmp(p->state, "in_progress") == 0 || strcmp(p->state, "failed") == 0) &&
        (rc = open_provider(p, &p->file->target.provider, &p->migration->target, EMBEDDER_TARGET, err)) != RC_OK)
        return rc;
    if ((rc = enter_by_state(p, err)) != RC_OK || (rc = install_capture(p, err)) != RC_OK)
        return rc;
    p->migration = migration_free(p->migration); /* once more: what is captured is known now */
    if ((rc = migration_load(p->db, p->file->id, &p->migration, err)) != RC_OK)
        return rc;
    run->migration = p->migration;
    if (atomic_load(&run->keep_only)) {
        if ((rc = nothing_to_drain(p, ret_nothing, err)) != RC_OK || (*ret_nothing && !run->options->follow))
            return rc;
        *ret_nothing = false;
        return open_providers(p, err);
    }
    if ((rc = count_documents(p, err)) != RC_OK)
        return rc;
    if (p->migration->source.captured && p->file->source.has_provider)
        rc = open_provider(p, &p->file->source.provider, &p->migration->source, EMBEDDER_SOURCE, err);
    choose_content_limit(run);
    return rc;
}

static int
exit_of_preparation(struct prepared *p, enum rc rc, struct err *err)
{
    struct params params = PARAMS_INIT;
    struct err ignored = ERR_INIT;

    if (rc == RC_CLOSED)
        return p->run.options->ok_if_more ? EXIT_DONE : EXIT_MORE;
    if (rc == RC_REFUSED && strcmp(p->state, "paused") == 0)
        return EXIT_PAUSED;
    if (rc == RC_HALT && p->migration && (strcmp(p->state, "in_progress") == 0)) {
        params_add_text(&params, p->file->id);
        params_add_text(&params, err->message);
        db_exec(p->db, "SELECT reembed.fail($1, $2)", &params, NULL, &ignored);
        params_clear(&params);
    }
    return exit_code_of(rc, err);
}

int
run_command(const struct run_options *options, char *ret_migration_id, struct err *err)
{
    struct prepared p = {.state = ""};
    struct threads threads = {0};
    bool nothing = false;
    int code;
    enum rc rc = read_file(options, ret_migration_id, &p.file, err);

    if (rc != RC_OK)
        return exit_code_of(rc, err);
    run_init(&p, options);
    rc = prepare(&p, &nothing, err);
    if (rc != RC_OK) {
        code = exit_of_preparation(&p, rc, err);
    } else if (nothing) {
        code = exit_when_completed(&p);
    } else {
        log_event(LOG_INFO, "working", LF_STR("migration", p.file->id), LF_INT("threads", p.run.threads), LF_INT("batch_size", p.run.batch_size));
        rc = start_threads(&p.run, &threads, err);
        if (rc == RC_OK)
            main_loop(&p.run, p.db);
        else
            run_stop(&p.run, STOP_FAILED, rc, err);
        if (p.run.pool)
            wait_for_threads(&p.run, p.db, &threads);
        if (!db_alive(p.db)) {
            struct err ignored = ERR_INIT;
            struct retry_policy once = {.max_attempts = 1, .total_ms = 2000};
            db_reconnect(p.db, &once, &ignored);
        }
        release_chunks(&p.run, p.db);
        struct err ignored = ERR_INIT;
        if (db_alive(p.db)) {
            main_beat(&p.run, p.db, true, &ignored);
            record_end(&p, err);
        } else {
            *err = p.run.err;
        }
        code = exit_of_run(&p, err);
    }
    pool_close(p.run.pool);
    flow_close(p.run.flow);
    for (size_t i = 0; i < p.run.writers; i++)
        queue_free(p.run.finished[i]);
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++)
        embedder_close(p.run.embedders[i]);
    db_close(p.db);
    migration_free(p.migration);
    pthread_cond_destroy(&p.run.changed);
    pthread_mutex_destroy(&p.run.mutex);
    migration_file_free(p.file);
    return code;
}
