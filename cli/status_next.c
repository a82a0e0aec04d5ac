/* What a person does next, by state. The order of the questions is the order of urgency. */
#include <string.h>

#include "cli/format.h"
#include "cli/session.h"
#include "cli/status_text.h"

/* Gates that hold the flip back; `approval` is counted apart: it is given by a person. */
static size_t
count_blocking(const cJSON *status, bool *ret_approval)
{
    const cJSON *gate = NULL;
    size_t blocking = 0;

    *ret_approval = true;
    cJSON_ArrayForEach (gate, cJSON_GetObjectItemCaseSensitive(status, "gates")) {
        const char *name = json_text(gate, "gate");
        if (json_true(gate, "holds"))
            continue;
        if (name != NULL && strcmp(name, "approval") == 0)
            *ret_approval = false;
        else
            blocking++;
    }
    return blocking;
}

static void
next_in_progress(const struct output *out, const cJSON *status, const char *id)
{
    bool approved = true;
    size_t blocking = count_blocking(status, &approved);
    char left[FORMAT_SIZE];
    double eta = json_number(status, "eta_secs", -1);

    bool only_flip_left = blocking > 0 && json_number(status, "pending", 0) == 0;

    if (json_true(status, "stalled") && !only_flip_left)
        output_next(out, "no worker is alive; start one: reembed run FILE");
    else if (json_text(status, "flipped_at") != NULL)
        output_next(out, "wait: queries have gone over, the rest is being finished");
    else if (json_number(status, "failed", 0) > 0 && json_number(status, "pending", 0) == 0)
        output_next(out, "look at what failed: reembed failures %s; then retry or skip it", id);
    else if (blocking == 0 && !approved)
        output_next(out, "every gate holds; flip when you are ready: reembed cutover %s", id);
    else if (eta > 0 && approved)
        output_next(out, "wait about %s; queries go over by themselves when every gate holds",
                    format_duration(eta, left));
    else if (approved)
        output_next(out, "wait; queries go over by themselves when every gate holds");
    else
        output_next(out, "wait for the gates, then: reembed cutover %s", id);
}

static void
next_completed(const struct output *out, const cJSON *status, const cJSON *more, const char *id)
{
    double window_left = json_number(more, "window_left", -1);

    if (json_number(status, "failed", 0) > 0)
        output_next(out, "look at what failed: reembed failures %s; then retry or skip it", id);
    else if (json_true(more, "finalized"))
        output_next(out, "nothing; it is over");
    else if (window_left > 0)
        output_next(out, "bad results: reembed rollback %s; good ones: reembed finalize %s --now", id, id);
    else
        output_next(out, "the rollback window is over; end it: reembed finalize %s", id);
}

void
status_print_next(const struct output *out, const cJSON *status, const cJSON *more)
{
    const char *id = json_text(status, "migration_id");
    const char *state = json_text(status, "state");

    if (state == NULL || id == NULL)
        output_next(out, "reembed list");
    else if (strcmp(state, "planned") == 0)
        output_next(out, "start it: reembed run FILE");
    else if (strcmp(state, "in_progress") == 0)
        next_in_progress(out, status, id);
    else if (strcmp(state, "paused") == 0)
        output_next(out, "go on: reembed resume %s%s; or give up: reembed cancel %s", id,
                    status_workers(status) > 0 ? "" : ", then reembed run FILE", id);
    else if (strcmp(state, "failed") == 0)
        output_next(out, "remove the cause, then: reembed run FILE; or give up: reembed cancel %s", id);
    else if (strcmp(state, "completed") == 0)
        next_completed(out, status, more, id);
    else if (strcmp(state, "rolled_back") == 0 && json_true(more, "finalized"))
        output_next(out, "nothing; it is over, a new migration needs another id");
    else if (strcmp(state, "rolled_back") == 0)
        output_next(out, "forward again: reembed cutover %s; or drop the target: reembed finalize %s", id, id);
    else
        output_next(out, "nothing; a new migration needs another id");
}
