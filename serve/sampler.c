#include "serve/sampler.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "db/connection.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"
#include "serve/exposition.h"
#include "serve/history.h"
#include "serve/statements.h"

enum {
    FRESH_MS = 1000,
    PATIENCE_MS = 4000, /* of who waits for a look */
    CONNECT_SECS = 3,
    STATEMENT_MS = 5000,
    LOCK_MS = 1000,
    SLOTS = 16,
    TEXT_MAX = 8 << 20
};

/* One thing that is looked at. Reused for another one when it is the oldest and nobody waits. */
struct slot {
    enum sample kind;
    bool by_id;
    char id[HISTORY_ID];
    bool wanted;
    bool busy;
    int waiting;
    unsigned generation; /* of the answer; 0: none yet */
    int64_t read_ms;
    enum rc rc;
    struct err err;
    char *text; /* owned; NULL unless RC_OK */
};

struct sampler {
    char *url;
    struct db *db; /* the thread's */
    pthread_t thread;
    atomic_bool closing;

    pthread_mutex_t mutex; /* of all below; never held while the database is asked */
    pthread_cond_t wanted;
    pthread_cond_t answered;
    struct slot slots[SLOTS];
    struct history history;
    int64_t idle_until_ms; /* no unasked look before that */
    bool up;
};

/* --- asking the database --- */

static enum rc
connect_again(struct sampler *s, struct err *err)
{
    const struct retry_policy once = {.max_attempts = 1, .total_ms = CONNECT_SECS * 1000};
    const struct db_options options = {
        .url = s->url,
        .application_name = "reembed serve",
        .connect_timeout_secs = CONNECT_SECS,
        .statement_timeout_ms = STATEMENT_MS,
        .lock_timeout_ms = LOCK_MS,
        .stop = &s->closing,
    };
    if (s->db == NULL)
        return db_open(&options, &s->db, err);
    return db_alive(s->db) ? RC_OK : db_reconnect(s->db, &once, err);
}

/* One row with one text, or RC_AGAIN where it is null or there is none. */
static enum rc
read_text(struct sampler *s, const char *sql, const char *id, char **ret_text, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;

    params_add_text(&params, id);
    enum rc rc = db_exec(s->db, sql, &params, &result, err);
    params_clear(&params);
    if (rc == RC_OK && (result_rows(result) == 0 || result_is_null(result, 0, "json")))
        rc = err_set(err, RC_AGAIN, ERR_USAGE,
                     id == NULL ? "there is no migration in this database yet" : "unknown migration");
    if (rc == RC_OK && (*ret_text = strdup(result_string(result, 0, "json"))) == NULL)
        rc = err_memory(err);
    PQclear(result);
    return rc;
}

static double
number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* The history's part of the text is put behind it under the lock, where the point is added too. */
static void
remember(struct sampler *s, const cJSON *status, const char *id, bool chosen, struct strbuf *out)
{
    int64_t now = clock_now_ms();

    pthread_mutex_lock(&s->mutex);
    if (chosen)
        history_add(&s->history, id,
                    (struct history_point){
                        .at_ms = now,
                        .processed = (int64_t)number(status, "processed"),
                        .changes_applied = (int64_t)number(status, "changes_applied"),
                        .coverage = number(status, "effective_coverage"),
                    });
    strbuf_puts(out, ",\"history\":");
    history_json(&s->history, id, now, out);
    pthread_mutex_unlock(&s->mutex);
}

static enum rc
read_page(struct sampler *s, const char *id, struct strbuf *out, struct err *err)
{
    char *status_text = NULL, *more = NULL;
    cJSON *status = NULL;
    enum rc rc = read_text(s, sql_show_status, id, &status_text, err);

    if (rc == RC_OK && (status = cJSON_Parse(status_text)) == NULL)
        rc = err_memory(err);
    if (rc == RC_OK) {
        const char *shown = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(status, "migration_id"));
        rc = read_text(s, sql_show_page, shown, &more, err);
        if (rc == RC_OK) {
            strbuf_printf(out, "\"status\":%s,\"more\":%s", status_text, more);
            remember(s, status, shown, id == NULL, out);
        }
    }
    cJSON_Delete(status);
    free(status_text);
    free(more);
    return rc;
}

static enum rc
read_sample(struct sampler *s, enum sample kind, const char *id, char **ret_text, struct err *err)
{
    struct strbuf out;
    PGresult *result = NULL;
    enum rc rc = connect_again(s, err);

    if (rc != RC_OK)
        return rc;
    if (kind == SAMPLE_STATUS)
        return read_text(s, sql_show_status, id, ret_text, err);
    strbuf_init(&out, TEXT_MAX);
    strbuf_puts(&out, "");
    if (kind == SAMPLE_METRICS && (rc = db_exec(s->db, sql_metrics, NULL, &result, err)) == RC_OK)
        exposition_database(result, &out);
    else if (kind == SAMPLE_PAGE)
        rc = read_page(s, id, &out, err);
    else if (kind == SAMPLE_SCHEMA)
        rc = schema_check(s->db, err);
    PQclear(result);
    if (rc == RC_OK && (*ret_text = out.length == 0 && !out.failed ? strdup("") : strbuf_take(&out)) == NULL)
        rc = err_memory(err);
    strbuf_free(&out);
    return rc;
}

/* A schema that is not there looks like a mistake in our SQL. */
static void
explain(struct err *err)
{
    static const char *const missing[] = {"3F000", "42P01", "42883", "42703"};
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        if (strcmp(err->sqlstate, missing[i]) != 0)
            continue;
        (void)err_set(err, RC_INVALID, ERR_USAGE,
                      "the schema reembed is missing in this database, or older than this program");
        err_hint(err, "install it with reembed init; reembed run FILE does so by itself");
        return;
    }
}

/* --- slots; with the mutex held --- */

static struct slot *
find_slot(struct sampler *s, enum sample kind, const char *id)
{
    struct slot *oldest = NULL;

    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->generation > 0 || slot->wanted || slot->busy) {
            if (slot->kind == kind && slot->by_id == (id != NULL) && (id == NULL || strcmp(slot->id, id) == 0))
                return slot;
        }
        if (slot->waiting == 0 && !slot->busy && !slot->wanted && (oldest == NULL || slot->read_ms < oldest->read_ms))
            oldest = slot;
    }
    if (oldest != NULL) {
        free(oldest->text);
        *oldest = (struct slot){.kind = kind, .by_id = id != NULL};
        if (id != NULL)
            (void)snprintf(oldest->id, sizeof oldest->id, "%s", id);
    }
    return oldest;
}

static struct slot *
next_wanted(struct sampler *s)
{
    struct slot *first = NULL;

    for (size_t i = 0; i < SLOTS; i++)
        if (s->slots[i].wanted && (first == NULL || s->slots[i].read_ms < first->read_ms))
            first = &s->slots[i];
    return first;
}

static void
look(struct sampler *s, struct slot *slot)
{
    char id[HISTORY_ID];
    char *text = NULL;
    struct err err = ERR_INIT;
    enum sample kind = slot->kind;
    bool by_id = slot->by_id;

    slot->wanted = false;
    slot->busy = true;
    memcpy(id, slot->id, sizeof id);
    pthread_mutex_unlock(&s->mutex);
    enum rc rc = read_sample(s, kind, by_id ? id : NULL, &text, &err);
    if (rc != RC_OK && rc != RC_AGAIN)
        explain(&err);
    pthread_mutex_lock(&s->mutex);
    free(slot->text);
    slot->text = text;
    slot->rc = rc;
    slot->err = err;
    slot->busy = false;
    slot->read_ms = clock_now_ms();
    slot->generation++;
    s->up = rc != RC_RETRY && rc != RC_CLOSED && err.class != ERR_UNREACHABLE;
    s->idle_until_ms = slot->read_ms + HISTORY_FIRST_MS;
    pthread_cond_broadcast(&s->answered);
}

static void
wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    (void)pthread_cond_timedwait(cond, mutex, &until);
}

static void *
sample_thread(void *argument)
{
    struct sampler *s = argument;

    pthread_mutex_lock(&s->mutex);
    while (!atomic_load(&s->closing)) {
        struct slot *slot = next_wanted(s);
        int64_t due = history_due_ms(&s->history);
        if (due < s->idle_until_ms)
            due = s->idle_until_ms;
        if (slot == NULL && clock_now_ms() >= due)
            slot = find_slot(s, SAMPLE_PAGE, NULL);
        if (slot != NULL)
            look(s, slot);
        else
            wait_until(&s->wanted, &s->mutex, due > clock_now_ms() ? due : clock_now_ms() + 1000);
    }
    pthread_mutex_unlock(&s->mutex);
    s->db = db_close(s->db);
    return NULL;
}

/* --- for everybody --- */

enum rc
sampler_open(const char *url, struct sampler **ret_sampler, struct err *err)
{
    pthread_condattr_t monotonic;
    struct sampler *s = calloc(1, sizeof *s);
    int failed;

    if (s == NULL || (url != NULL && (s->url = strdup(url)) == NULL)) {
        free(s);
        return err_memory(err);
    }
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wanted, &monotonic);
    pthread_cond_init(&s->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if ((failed = pthread_create(&s->thread, NULL, sample_thread, s)) != 0) {
        free(s->url);
        free(s);
        return err_set(err, RC_FATAL, ERR_SYSTEM, "can't start a thread: %s", strerror(failed));
    }
    *ret_sampler = s;
    return RC_OK;
}

struct sampler *
sampler_close(struct sampler *s)
{
    if (s == NULL)
        return NULL;
    pthread_mutex_lock(&s->mutex);
    atomic_store(&s->closing, true);
    pthread_cond_broadcast(&s->wanted);
    pthread_cond_broadcast(&s->answered);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    for (size_t i = 0; i < SLOTS; i++)
        free(s->slots[i].text);
    pthread_cond_destroy(&s->wanted);
    pthread_cond_destroy(&s->answered);
    pthread_mutex_destroy(&s->mutex);
    free(s->url);
    free(s);
    return NULL;
}

enum rc
sampler_get(struct sampler *s, enum sample kind, const char *id, struct strbuf *out, struct err *err)
{
    int64_t deadline = clock_now_ms() + PATIENCE_MS;
    enum rc rc = RC_OK;

    pthread_mutex_lock(&s->mutex);
    struct slot *slot = find_slot(s, kind, id);
    if (slot == NULL) {
        pthread_mutex_unlock(&s->mutex);
        return err_set(err, RC_RETRY, ERR_TRANSIENT, "too many different migrations are asked for at once");
    }
    unsigned seen = slot->generation;
    bool fresh = seen > 0 && !slot->wanted && clock_now_ms() - slot->read_ms < FRESH_MS;
    slot->waiting++;
    if (!fresh) {
        slot->wanted = slot->wanted || !slot->busy;
        pthread_cond_signal(&s->wanted);
        while (slot->generation == seen && !atomic_load(&s->closing) && clock_now_ms() < deadline)
            wait_until(&s->answered, &s->mutex, deadline);
        if (slot->generation == seen)
            rc = err_set(err, RC_RETRY, ERR_UNREACHABLE, "the database gave no answer for %d s", PATIENCE_MS / 1000);
    }
    slot->waiting--;
    if (rc == RC_OK && slot->rc != RC_OK) {
        *err = slot->err;
        rc = slot->rc;
    } else if (rc == RC_OK) {
        strbuf_puts(out, slot->text);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

void
sampler_forget(struct sampler *s)
{
    pthread_mutex_lock(&s->mutex);
    for (size_t i = 0; i < SLOTS; i++)
        s->slots[i].read_ms -= FRESH_MS;
    pthread_mutex_unlock(&s->mutex);
}

bool
sampler_database_up(struct sampler *s)
{
    pthread_mutex_lock(&s->mutex);
    bool up = s->up;
    pthread_mutex_unlock(&s->mutex);
    return up;
}
