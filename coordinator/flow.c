#include "coordinator/flow.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/measure.h"
#include "coordinator/permit.h"
#include "coordinator/provider.h"

#define BREAKER_LEAST     5 /* failures in a row, without one success, that open the breaker at least */
#define PROBE_FIRST_MS    500
#define PROBE_CAP_MS      30000
#define OVERLOAD_FIRST_MS 500 /* quiet after a 429 that does not say for how long */
#define OVERLOAD_CAP_MS   60000
#define STEP_MS           100 /* how soon an abandoned run is noticed */

enum flow_answer { ANSWER_NONE, ANSWER_GRANTED, ANSWER_STOP };

/* A worker that waits for its permit; lives on that worker's stack. */
struct waiter {
    struct waiter *next;
    size_t tokens;
    enum flow_answer answer;
};

struct flow {
    struct run *run;
    struct embedder *embedder;
    struct db *db;  /* the thread's */
    char away[256]; /* the thread's: what the last probe said, "" before one */
    bool told;      /* the thread's: the other processes believe that something is reserved */
    pthread_t thread;
    bool started;

    pthread_mutex_t mutex;   /* of all below; never held across a call out */
    pthread_cond_t wanted;   /* for the thread */
    pthread_cond_t answered; /* for the waiters */
    struct waiter *first;
    bool closing;
    double window; /* requests in flight that are allowed, 1 to the number of workers */
    size_t in_flight;
    uint64_t reserved; /* tokens of the requests in flight, estimated */
    int64_t narrowed_ms;
    int64_t blocked_until_ms;
    int overloads;      /* in a row */
    int64_t publish_ms; /* quiet that the other processes must hear of; 0: nothing new */
    int failures;       /* in a row */
    bool broken;
    int64_t probe_at_ms;
    int probes;
};

/* --- what the workers call --- */

static void
wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (ms % 1000) * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(cond, mutex, &until);
}

static void
withdraw(struct flow *flow, struct waiter *waiter)
{
    for (struct waiter **place = &flow->first; *place; place = &(*place)->next) {
        if (*place == waiter) {
            *place = waiter->next;
            return;
        }
    }
}

bool
flow_before(void *context, size_t items, size_t tokens)
{
    struct flow *flow = context;
    struct waiter waiter = {.tokens = tokens};
    struct waiter **place;

    (void)items;
    pthread_mutex_lock(&flow->mutex);
    for (place = &flow->first; *place; place = &(*place)->next)
        ;
    *place = &waiter;
    pthread_cond_signal(&flow->wanted);
    while (waiter.answer == ANSWER_NONE && !flow->closing && !atomic_load(&flow->run->abandon))
        wait_until(&flow->answered, &flow->mutex, STEP_MS);
    if (waiter.answer == ANSWER_NONE)
        withdraw(flow, &waiter);
    pthread_mutex_unlock(&flow->mutex);
    return waiter.answer == ANSWER_GRANTED;
}

static void
narrow(struct flow *flow)
{
    int64_t now = clock_now_ms();

    if (now - flow->narrowed_ms < 1000) /* one answer to a burst of refusals */
        return;
    flow->narrowed_ms = now;
    flow->window = flow->window / 2 < 1 ? 1 : flow->window / 2;
}

static void
quiet(struct flow *flow, int64_t ms)
{
    if (ms <= 0)
        ms = clock_backoff_ms(flow->overloads, OVERLOAD_FIRST_MS, OVERLOAD_CAP_MS);
    flow->overloads++;
    if (clock_now_ms() + ms > flow->blocked_until_ms)
        flow->blocked_until_ms = clock_now_ms() + ms;
    if (ms > flow->publish_ms)
        flow->publish_ms = ms;
}

/* What an answer, or none, says of the server. With the mutex held. */
static void
judge(struct flow *flow, const struct request_outcome *outcome)
{
    int many = (int)flow->run->threads * 2;

    switch (outcome->failure) {
    case REQUEST_OVERLOAD:
        narrow(flow);
        quiet(flow, outcome->retry_after_ms);
        break;
    case REQUEST_TRANSPORT:
    case REQUEST_SERVER:
        if (++flow->failures >= (many > BREAKER_LEAST ? many : BREAKER_LEAST) && !flow->broken) {
            flow->broken = true;
            flow->probes = 0;
            flow->probe_at_ms = clock_now_ms() + PROBE_FIRST_MS;
        }
        break;
    default: /* it answered */
        flow->failures = 0;
        flow->overloads = 0;
        flow->window += 1 / flow->window;
        if (flow->window > (double)flow->run->threads)
            flow->window = (double)flow->run->threads;
        break;
    }
}

void
flow_after(void *context, const struct request_outcome *outcome)
{
    struct flow *flow = context;

    run_count_usage(flow->run, &outcome->usage);
    measure_request(flow->run, outcome);
    pthread_mutex_lock(&flow->mutex);
    flow->in_flight--;
    /* estimates of unequal requests: what is left is right again when nothing is in flight */
    flow->reserved = flow->in_flight == 0 ? 0 : flow->reserved * flow->in_flight / (flow->in_flight + 1);
    judge(flow, outcome);
    pthread_cond_signal(&flow->wanted);
    pthread_mutex_unlock(&flow->mutex);
}

/* The same for the probe, which holds no permit of a waiter's. */
static void
probe_after(void *context, const struct request_outcome *outcome)
{
    struct flow *flow = context;

    run_count_usage(flow->run, &outcome->usage);
    measure_request(flow->run, outcome);
    pthread_mutex_lock(&flow->mutex);
    judge(flow, outcome);
    pthread_mutex_unlock(&flow->mutex);
}

bool
flow_wait(void *context, int64_t milliseconds)
{
    struct flow *flow = context;
    int64_t until = clock_now_ms() + milliseconds, left;
    bool going;

    pthread_mutex_lock(&flow->mutex);
    while ((going = !flow->closing && !atomic_load(&flow->run->abandon)) && (left = until - clock_now_ms()) > 0)
        wait_until(&flow->answered, &flow->mutex, left < STEP_MS ? left : STEP_MS);
    pthread_mutex_unlock(&flow->mutex);
    return going;
}

/* --- the thread --- */

static enum rc
publish(struct flow *flow, int64_t ms, struct err *err)
{
    run_note(flow->run, "the provider asks to wait %.1f s", (double)ms / 1000);
    return permit_block(flow->run, flow->db, ms, err);
}

/* Half open: the canary goes alone. */
static void
probe(struct flow *flow)
{
    struct embed_policy once = {
        .retry = {.attempts = 1}, .cancel = &flow->run->abandon, .after_request = probe_after, .context = flow};
    size_t dimensions = flow->run->migration->target.dimensions;
    float *vector = calloc(dimensions, sizeof *vector);
    struct err err = ERR_INIT;
    enum rc rc =
        vector ? provider_embed(flow->embedder, &once, provider_canary, false, dimensions, vector, &err) : RC_FATAL;

    free(vector);
    pthread_mutex_lock(&flow->mutex);
    if (rc == RC_OK || rc == RC_HALT) { /* a refusal is an answer: the next batch will report it */
        flow->broken = false;
        flow->failures = 0;
        flow->window = 1;
    } else {
        flow->probe_at_ms = clock_now_ms() + clock_backoff_ms(++flow->probes, PROBE_FIRST_MS, PROBE_CAP_MS);
        measure_provider_wait(flow->run, flow->probe_at_ms - clock_now_ms());
    }
    pthread_mutex_unlock(&flow->mutex);
    if (rc == RC_OK) {
        log_event(LOG_INFO, "the provider answers again");
        return;
    }
    (void)snprintf(flow->away, sizeof flow->away,
                   "the provider is away, asked again with one text now and then: %.180s", err.message);
    run_note(flow->run, "%s", flow->away);
}

/* A wait may be longer than a note is shown. */
static void
keep_note(struct flow *flow, bool broken, int64_t blocked_ms)
{
    char note[64];

    if (broken && flow->away[0] != '\0') {
        run_note_keep(flow->run, flow->away);
    } else if (blocked_ms > 0) {
        (void)snprintf(note, sizeof note, "the provider asks to wait, %.0f s to go", (double)blocked_ms / 1000);
        run_note_keep(flow->run, note);
    }
}

/* What the thread can do next, with the mutex held. */
static int64_t
idle_ms(const struct flow *flow)
{
    int64_t now = clock_now_ms();

    if (flow->publish_ms > 0)
        return 0;
    int64_t at =
        flow->broken && flow->probe_at_ms > flow->blocked_until_ms ? flow->probe_at_ms : flow->blocked_until_ms;
    if (!flow->broken && (!flow->first || (double)(flow->in_flight + 1) > flow->window))
        return 1000;
    return at > now ? at - now : 0;
}

static void
answer_first(struct flow *flow, struct waiter *waiter, enum flow_answer answer)
{
    if (flow->first != waiter) /* it went away meanwhile */
        return;
    flow->first = waiter->next;
    waiter->answer = answer;
    if (answer == ANSWER_GRANTED) {
        flow->in_flight++;
        flow->reserved += waiter->tokens;
    }
    pthread_cond_broadcast(&flow->answered);
}

/* Another process must not wait for the end of requests that ended long ago: two that are at the end of their budget
 * would wait for each other for ever. */
static enum rc
tell_nothing_reserved(struct flow *flow, struct err *err)
{
    if (!flow->told)
        return RC_OK;
    flow->told = false;
    return permit_reserve(flow->run, flow->db, 0, err);
}

/* Nothing to do but to wait. */
static enum rc
serve_nobody(struct flow *flow, bool broken, bool nothing_reserved, struct err *err)
{
    pthread_mutex_lock(&flow->mutex);
    int64_t blocked_ms = flow->blocked_until_ms - clock_now_ms();
    pthread_mutex_unlock(&flow->mutex);
    keep_note(flow, broken, blocked_ms);
    return nothing_reserved ? tell_nothing_reserved(flow, err) : RC_OK;
}

/* The budget is spent, but for what is under way: its estimates may turn out to have been too high. */
static void
stop_for_budget(struct flow *flow, struct permit *permit)
{
    struct err why = ERR_INIT;

    if (permit->wait_ms > 0)
        return;
    err_set(&why, RC_REFUSED, ERR_STATE, "budget");
    run_stop(flow->run, STOP_PAUSED, RC_REFUSED, &why);
    permit->wait_ms = STEP_MS;
}

/* With the mutex held. */
static void
answer(struct flow *flow, struct waiter *waiter, const struct permit *permit)
{
    if (permit->granted && flow->blocked_until_ms > clock_now_ms())
        return; /* the server asked for quiet while the database was asked: this permit is worth nothing */
    if (permit->granted)
        answer_first(flow, waiter, ANSWER_GRANTED);
    else if (atomic_load(&flow->run->stop_reason) == STOP_PAUSED)
        answer_first(flow, waiter, ANSWER_STOP);
    else
        wait_until(&flow->wanted, &flow->mutex,
                   permit->wait_ms < 1         ? 1
                   : permit->wait_ms < STEP_MS ? permit->wait_ms
                                               : STEP_MS);
}

static enum rc
serve(struct flow *flow, struct err *err)
{
    struct permit permit;
    enum rc rc;

    pthread_mutex_lock(&flow->mutex);
    int64_t idle = idle_ms(flow);
    if (idle > 0 && !flow->closing)
        wait_until(&flow->wanted, &flow->mutex, idle < STEP_MS ? idle : STEP_MS);
    idle = idle_ms(flow);
    int64_t publish_ms = flow->publish_ms;
    flow->publish_ms = 0;
    bool broken = flow->broken;
    struct waiter *waiter = flow->first;
    uint64_t reserved = flow->reserved;
    uint64_t tokens = broken ? strlen(provider_canary) / 4 + 1 : waiter ? waiter->tokens : 0;
    pthread_mutex_unlock(&flow->mutex);

    if (publish_ms > 0)
        return publish(flow, publish_ms, err);
    if (idle > 0)
        return serve_nobody(flow, broken, reserved == 0, err);
    assert(broken || waiter); /* idle_ms is 0 only with something to send */
    if ((rc = permit_take(flow->run, flow->db, tokens, reserved, &permit, err)) != RC_OK)
        return rc;
    flow->told |= permit.granted;
    if (permit.over_budget && reserved == 0 && (rc = tell_nothing_reserved(flow, err)) != RC_OK)
        return rc;
    if (permit.over_budget)
        stop_for_budget(flow, &permit);
    if (broken && permit.granted) {
        probe(flow);
        return RC_OK;
    }
    pthread_mutex_lock(&flow->mutex);
    if (broken)
        flow->probe_at_ms = clock_now_ms() + permit.wait_ms;
    else
        answer(flow, waiter, &permit);
    pthread_mutex_unlock(&flow->mutex);
    return RC_OK;
}

static bool
is_closing(struct flow *flow)
{
    pthread_mutex_lock(&flow->mutex);
    bool closing = flow->closing;
    pthread_mutex_unlock(&flow->mutex);
    return closing;
}

static void *
flow_thread(void *argument)
{
    struct flow *flow = argument;
    struct err err = ERR_INIT;
    enum rc rc = RC_OK;

    while (rc == RC_OK && !is_closing(flow) && !atomic_load(&flow->run->abandon))
        rc = serve(flow, &err);
    if (rc != RC_OK && rc != RC_CLOSED)
        run_stop(flow->run, STOP_FAILED, rc, &err);
    pthread_mutex_lock(&flow->mutex);
    flow->closing = true; /* nobody may wait for a thread that is gone */
    pthread_cond_broadcast(&flow->answered);
    pthread_mutex_unlock(&flow->mutex);
    return NULL;
}

/* --- the owner --- */

enum rc
flow_open(struct run *run, struct embedder *embedder, struct flow **ret_flow, struct err *err)
{
    pthread_condattr_t monotonic;
    struct flow *flow = calloc(1, sizeof *flow);
    int failed;
    enum rc rc;

    if (!flow)
        return err_memory(err);
    flow->run = run;
    flow->embedder = embedder;
    flow->window = (double)run->threads;
    pthread_mutex_init(&flow->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&flow->wanted, &monotonic);
    pthread_cond_init(&flow->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    rc = run_connect(run, &flow->db, err);
    if (rc == RC_OK && (failed = pthread_create(&flow->thread, NULL, flow_thread, flow)) != 0)
        rc = err_set(err, RC_FATAL, ERR_SYSTEM, "can't start a thread: %s", strerror(failed));
    flow->started = rc == RC_OK;
    if (rc != RC_OK) {
        flow_close(flow);
        return rc;
    }
    *ret_flow = flow;
    return RC_OK;
}

struct flow *
flow_close(struct flow *flow)
{
    if (!flow)
        return NULL;
    pthread_mutex_lock(&flow->mutex);
    flow->closing = true;
    pthread_cond_broadcast(&flow->wanted);
    pthread_cond_broadcast(&flow->answered);
    pthread_mutex_unlock(&flow->mutex);
    if (flow->started)
        pthread_join(flow->thread, NULL);
    db_close(flow->db);
    pthread_cond_destroy(&flow->wanted);
    pthread_cond_destroy(&flow->answered);
    pthread_mutex_destroy(&flow->mutex);
    free(flow);
    return NULL;
}
