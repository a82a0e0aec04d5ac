#include "coordinator/permit.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/measure.h"
#include "db/result.h"
#include "db/statements.h"

#define WAIT_STEP_MS      50
#define NOTE_WAIT_MS      1000 /* shorter waits are not worth telling */
#define OVERLOAD_FIRST_MS 500  /* quiet after a 429 that does not say for how long */

enum rc
permit_take(struct run *run, struct db *db, uint64_t tokens, uint64_t reserved, struct permit *ret_permit,
            struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_text(&params, run->migration->id);
    params_add_uuid(&params, run->worker_id);
    params_add_int8(&params, (int64_t)tokens);
    params_add_int8(&params, (int64_t)atomic_load(&run->tokens));
    params_add_int8(&params, (int64_t)atomic_load(&run->requests));
    params_add_int8(&params, (int64_t)reserved);
    rc = run_exec(run, db, "SELECT * FROM reembed.take_permit($1, $2, $3, $4, $5, $6)", &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    *ret_permit =
        (struct permit){.granted = result_bool(result, 0, "granted"), .wait_ms = result_int64(result, 0, "wait_ms")};
    if (!ret_permit->granted) {
        const char *reason = result_string(result, 0, "reason");
        ret_permit->over_budget = strcmp(reason, "budget") == 0;
        (void)snprintf(ret_permit->reason, sizeof ret_permit->reason, "%s", reason);
        if (ret_permit->wait_ms > NOTE_WAIT_MS) {
            measure_provider_wait(run, ret_permit->wait_ms);
            run_note(run, "waiting: %s", reason); /* the same words while it lasts: one line in the log */
        }
    }
    PQclear(result);
    return RC_OK;
}

enum rc
permit_block(struct run *run, struct db *db, int64_t ms, struct err *err)
{
    struct params params = PARAMS_INIT;

    params_add_text(&params, run->migration->id);
    params_add_int8(&params, ms);
    params_add_text(&params, "the provider asked all to wait (429)");
    enum rc rc = run_exec(run, db, "SELECT reembed.block_provider($1, $2, $3)", &params, NULL, err);
    params_clear(&params);
    return rc;
}

enum rc
permit_reserve(struct run *run, struct db *db, uint64_t reserved, struct err *err)
{
    struct params params = PARAMS_INIT;

    params_add_uuid(&params, run->worker_id);
    params_add_int8(&params, (int64_t)atomic_load(&run->tokens));
    params_add_int8(&params, (int64_t)atomic_load(&run->requests));
    params_add_int8(&params, (int64_t)reserved);
    enum rc rc = run_exec(run, db, sql_permit_reserve, &params, NULL, err);
    params_clear(&params);
    return rc;
}

/* --- one answer, waited for --- */

static bool
is_stopped(const struct permit_waiter *waiter)
{
    return waiter->stop && atomic_load(waiter->stop);
}

static bool
wait_before(struct permit_waiter *waiter, int64_t ms)
{
    int64_t until = clock_now_ms() + ms, left;

    while ((left = until - clock_now_ms()) > 0 && !is_stopped(waiter))
        run_sleep(waiter->run, left < WAIT_STEP_MS ? left : WAIT_STEP_MS);
    return !is_stopped(waiter);
}

static bool
waiter_before(void *context, size_t items, size_t tokens)
{
    struct permit_waiter *waiter = context;
    struct permit permit;

    (void)items;
    for (;;) {
        waiter->rc = permit_take(waiter->run, waiter->db, tokens, 0, &permit, &waiter->err);
        if (waiter->rc != RC_OK)
            return false;
        if (permit.granted || permit.over_budget)
            return true;
        if (!wait_before(waiter, permit.wait_ms))
            return false;
    }
}

static void
waiter_after(void *context, const struct request_outcome *outcome)
{
    struct permit_waiter *waiter = context;
    int64_t ms = outcome->retry_after_ms > 0 ? outcome->retry_after_ms : OVERLOAD_FIRST_MS;

    run_count_usage(waiter->run, &outcome->usage);
    measure_request(waiter->run, outcome);
    if (outcome->failure == REQUEST_OVERLOAD) /* a lost connection shows at the next permit */
        (void)permit_block(waiter->run, waiter->db, ms, &(struct err)ERR_INIT);
}

static bool
waiter_wait(void *context, int64_t milliseconds)
{
    return wait_before(context, milliseconds);
}

void
permit_policy(struct permit_waiter *waiter, struct embed_policy *policy)
{
    policy->before_request = waiter_before;
    policy->after_request = waiter_after;
    policy->wait = waiter_wait;
    policy->context = waiter;
}
