#include "coordinator/prepare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/fail_point.h"
#include "base/log.h"
#include "coordinator/forecast.h"
#include "coordinator/measure.h"
#include "coordinator/permit.h"
#include "coordinator/provider.h"
#include "coordinator/throttle.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"

#define CONTENT_MIN 65536 /* characters of a document that are read at least */

/* --- from the file to a migration that is in progress --- */

enum rc
prepare_read_file(const struct run_options *options, char *ret_migration_id, struct migration_file **ret_file,
                  struct err *err)
{
    struct migration_file *file = NULL;
    enum rc rc = migration_file_read(options->file, &file, err);

    if (rc != RC_OK)
        return rc;
    snprintf(ret_migration_id, 256, "%s", file->id);
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
    rc = run_exec(&p->run, p->db, "SELECT reembed.create_migration($1, $2::jsonb, $3), reembed.place($1)", &params,
                  NULL, err);
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
    rc = run_exec(&p->run, p->db, sql_run_state, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK) {
        snprintf(p->state, sizeof p->state, "%s", result_string(result, 0, "state"));
        atomic_store(&p->run.flipped, result_bool(result, 0, "flipped"));
        if (result_bool(result, 0, "raised")) {
            rc = call(p, "SELECT reembed.resume($1)", p->file->id, err);
            snprintf(p->state, sizeof p->state, "in_progress");
        } else if (strcmp(p->state, "paused") == 0) {
            rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is paused: %s", p->file->id,
                         result_string(result, 0, "reason"));
            err_hint(err, "reembed resume %s, then run again", p->file->id);
        }
    }
    PQclear(result);
    return rc;
}

enum rc
prepare_refuse_rolled_back(const char *id, struct err *err)
{
    enum rc rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is rolled back", id);

    err_hint(err, "go forward with reembed cutover %s, or end it with reembed finalize %s", id, id);
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
    else if (strcmp(p->state, "cancelled") == 0) {
        rc = err_set(err, RC_REFUSED, ERR_STATE, "migration %s is cancelled", id);
        err_hint(err, "begin a new one: give the file another id");
    } else if (strcmp(p->state, "rolled_back") == 0 && !p->run.gone_back) {
        rc = prepare_refuse_rolled_back(id, err);
    }
    if (rc == RC_REFUSED && err->class == ERR_STATE &&
        strcmp(err->sqlstate, "RE001") == 0) /* another process was first */
        rc = look_at_state(p, err);
    return rc;
}

/* Less when a signal came. */
static void
sleep_between(struct prepared *p, int64_t ms)
{
    const atomic_bool *stop = p->run.options->stop;

    for (int64_t until = clock_now_ms() + ms; clock_now_ms() < until && !(stop && atomic_load(stop));)
        run_sleep(&p->run, 50);
}

/* Waits out the application's transactions behind a short lock timeout, with pauses in which its writes go on. */
static enum rc
install_capture(struct prepared *p, struct err *err)
{
    enum rc rc;

    for (int attempt = 0;; attempt++) {
        rc = call(p, sql_capture_install, p->file->id, err);
        if (rc != RC_RETRY)
            return rc;
        if (p->run.options->stop && atomic_load(p->run.options->stop))
            return RC_CLOSED;
        if (strcmp(err->sqlstate, "55P03") == 0)
            run_note(&p->run,
                     "waiting for a lock on %s to install change capture: a transaction that wrote it is still open",
                     p->file->documents.table);
        if (!db_alive(p->db)) /* no lock that would have to be waited for */
            return rc;
        sleep_between(p, clock_backoff_ms(attempt, 500, 4000));
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

struct embed_policy
run_policy(struct run *run)
{
    return (struct embed_policy){
        .canary = provider_canary,
        .canary_length = strlen(provider_canary),
        .cancel = &run->abandon,
        .after_request = measure_request,
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
    snprintf(question, sizeof question, "The text of %s will be sent to %s. Go on?", p->file->documents.table,
             provider->url);
    if (o->confirm(o->confirm_context, question))
        return RC_OK;
    return err_set(err, RC_INVALID, ERR_USAGE, "nothing was sent and nothing was started");
}

static enum rc
open_provider(struct prepared *p, const struct provider_options *provider, const struct space *space, size_t place,
              struct err *err)
{
    struct embed_policy policy = run_policy(&p->run);
    struct permit_waiter waiter = {.run = &p->run, .db = p->db, .stop = p->run.options->stop, .err = ERR_INIT};
    enum rc rc = ask_before_sending(p, provider, err);

    policy.cancel = p->run.options->stop;
    if (place == EMBEDDER_TARGET && provider->kind == PROVIDER_OPENAI)
        permit_policy(&waiter, &policy);
    policy.retry.attempts = 2; /* the patience is the loop's, which says what it waits for */
    if (rc == RC_OK)
        rc = provider_open(provider, &p->run.options->common, space->dimensions, &p->run.embedders[place], err);
    while (rc == RC_OK &&
           (rc = provider_check(p->run.embedders[place], &policy, p->migration, space, p->db, err)) == RC_RETRY &&
           !(p->run.options->stop && atomic_load(p->run.options->stop))) {
        if (!db_alive(p->db)) /* it was not the provider that went away */
            return rc;
        run_note(&p->run, "the provider is away: %s", err->message);
        sleep_between(p, 1000);
        rc = RC_OK;
    }
    if (rc == RC_CLOSED && waiter.rc != RC_OK) { /* not stopped: no permit could be asked for */
        *err = waiter.err;
        return waiter.rc;
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

void
prepare_begin(struct prepared *p, const struct run_options *options)
{
    struct run *run = &p->run;
    pthread_condattr_t monotonic;

    run->options = options;
    run->file = p->file;
    run->measurements = options->measurements ? options->measurements : &run->unseen;
    run->batch_size = (size_t)(options->batch_size > 0 ? options->batch_size : p->file->backfill.batch_size);
    run->threads = (size_t)(options->max_concurrent > 0 ? options->max_concurrent : p->file->backfill.max_concurrent);
    run->lease_ms = (int64_t)(p->file->database.lease_secs * 1000);
    atomic_store(&run->measurements->lease_ms, run->lease_ms);
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

/* Counting a large table takes its time. */
static enum rc
keep_forecast(struct prepared *p, struct err *err)
{
    enum rc rc = forecast_keep(p, err);

    p->unaffordable = rc == RC_REFUSED;
    if (rc == RC_OK)
        rc = db_set_timeouts(p->db, (int)(p->file->database.statement_timeout_secs * 1000),
                             (int)(p->file->database.lock_timeout_secs * 1000), err);
    return rc;
}

static enum rc
take_steps(struct prepared *p, bool *ret_nothing, struct err *err)
{
    struct run *run = &p->run;
    enum rc rc;

    if ((rc = throttle_begin(run, p->db, err)) != RC_OK || (rc = schema_install(p->db, err)) != RC_OK ||
        (rc = fail_point("prepare.schema", err)) != RC_OK || (rc = create_migration(p, err)) != RC_OK ||
        (rc = fail_point("prepare.created", err)) != RC_OK ||
        (rc = migration_load(p->db, p->file->id, &p->migration, err)) != RC_OK)
        return rc;
    run->migration = p->migration;
    if ((rc = look_at_state(p, err)) != RC_OK)
        return rc;
    /* rolled back: both spaces stay worth something as long as either may be gone to, so what was recorded is applied */
    run->gone_back = strcmp(p->state, "rolled_back") == 0 && p->migration->target.id != 0;
    atomic_store(&run->keep_only, run->gone_back || strcmp(p->state, "completed") == 0);
    atomic_store(&run->drain_allowed,
                 p->file->backfill.dual_write || atomic_load(&run->keep_only) || atomic_load(&run->flipped));

    /* a model that can't be used is noticed before anything is installed on the documents */
    if (!atomic_load(&run->keep_only) &&
        (strcmp(p->state, "planned") == 0 || strcmp(p->state, "in_progress") == 0 || strcmp(p->state, "failed") == 0) &&
        (rc = open_provider(p, &p->file->target.provider, &p->migration->target, EMBEDDER_TARGET, err)) != RC_OK)
        return rc;
    if ((rc = fail_point("prepare.provider", err)) != RC_OK ||
        (strcmp(p->state, "planned") == 0 && (rc = keep_forecast(p, err)) != RC_OK) ||
        (rc = enter_by_state(p, err)) != RC_OK || (rc = fail_point("prepare.entered", err)) != RC_OK ||
        (rc = install_capture(p, err)) != RC_OK || (rc = fail_point("prepare.captured", err)) != RC_OK)
        return rc;
    p->migration = migration_free(p->migration); /* once more: what is captured is known now */
    if ((rc = migration_load(p->db, p->file->id, &p->migration, err)) != RC_OK)
        return rc;
    run->migration = p->migration;
    if (atomic_load(&run->keep_only)) {
        if ((rc = nothing_to_drain(p, ret_nothing, err)) != RC_OK)
            return rc;
        if (*ret_nothing && run->gone_back)
            return prepare_refuse_rolled_back(p->file->id, err);
        if (*ret_nothing && !run->options->follow)
            return rc;
        *ret_nothing = false;
        return open_providers(p, err);
    }
    if ((rc = count_documents(p, err)) != RC_OK || (rc = fail_point("prepare.counted", err)) != RC_OK)
        return rc;
    if (p->migration->source.captured && p->file->source.has_provider)
        rc = open_provider(p, &p->file->source.provider, &p->migration->source, EMBEDDER_SOURCE, err);
    choose_content_limit(run);
    return rc;
}

static void
undo_steps(struct prepared *p)
{
    for (size_t i = 0; i < POOL_MAX_EMBEDDERS; i++)
        p->run.embedders[i] = embedder_close(p->run.embedders[i]);
    p->migration = migration_free(p->migration);
    p->run.migration = NULL;
}

enum rc
prepare_migration(struct prepared *p, bool *ret_nothing, struct err *err)
{
    struct run *run = &p->run;
    const atomic_bool *stop = run->options->stop;
    enum rc rc = run_connect(run, &p->db, err);

    if (rc == RC_RETRY) { /* it may pass, but a database that never answered is not waited for */
        err->class = ERR_UNREACHABLE;
        return RC_FATAL;
    }
    if (rc != RC_OK)
        return rc;
    db_set_stop(p->db, stop); /* nothing is under way that would have to be stored */
    /* The connection may be lost at any step. All of them are taken again then: each finds out what is done already. */
    for (int attempt = 0; rc == RC_OK; attempt++) {
        if ((rc = take_steps(p, ret_nothing, err)) != RC_RETRY)
            break;
        undo_steps(p);
        rc = stop && atomic_load(stop) ? RC_CLOSED : run_recover(run, p->db, attempt, err);
    }
    db_set_stop(p->db, &run->abandon);
    return rc;
}
