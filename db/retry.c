#include "db/retry.h"

#include <poll.h>

#include "base/clock.h"

enum { STOP_STEP_MS = 100 };

static int64_t
now_ms(const struct retry *retry)
{
    return retry->policy.now_ms != NULL ? retry->policy.now_ms() : clock_now_ms();
}

struct retry
retry_start(const struct retry_policy *policy)
{
    struct retry retry = {.policy = *policy};
    retry.started_ms = now_ms(&retry);
    return retry;
}

bool
retry_next(struct retry *retry, int64_t *ret_wait_ms)
{
    const struct retry_policy *policy = &retry->policy;

    retry->attempts++;
    if (policy->max_attempts > 0 && retry->attempts >= policy->max_attempts)
        return false;

    int64_t wait_ms = clock_backoff_ms(retry->attempts - 1, policy->first_ms, policy->cap_ms);
    if (policy->total_ms > 0) {
        int64_t left_ms = policy->total_ms - (now_ms(retry) - retry->started_ms);
        if (left_ms <= 0)
            return false;
        if (wait_ms > left_ms)
            wait_ms = left_ms; /* one last attempt at the very end */
    }
    *ret_wait_ms = wait_ms;
    return true;
}

enum rc
retry_wait(struct retry *retry, const atomic_bool *stop)
{
    int64_t wait_ms;
    if (!retry_next(retry, &wait_ms))
        return RC_RETRY;

    int64_t until_ms = clock_now_ms() + wait_ms;
    for (int64_t left_ms = wait_ms; left_ms > 0; left_ms = until_ms - clock_now_ms()) {
        if (stop != NULL && atomic_load(stop))
            return RC_CLOSED;
        poll(NULL, 0, (int)(stop != NULL && left_ms > STOP_STEP_MS ? STOP_STEP_MS : left_ms));
    }
    return stop != NULL && atomic_load(stop) ? RC_CLOSED : RC_OK;
}
