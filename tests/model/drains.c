/* The drainers and the finisher: db/statements/drain_*.sql, purge.sql, sweep_window.sql, the flip and completion. */
#include <string.h>

#include "tests/model/protocol.h"

/* --- the drainer --- */

static bool
claim(int d, struct model_state *s)
{
    if (s->drainers[d].place != DRAINER_IDLE || (s->drain_held && !s->drain_expired))
        return false;
    s->drainers[d].epoch = s->drain_epoch + 1; /* epochs are ranks: the row has the highest */
    s->drainers[d].place = DRAINER_LEASED;
    s->drain_epoch = s->drainers[d].epoch;
    s->drain_held = 1;
    s->drain_expired = 0;
    return true;
}

static bool
fence_holds(enum mutant mutant, const struct model_drainer *drainer, const struct model_state *s)
{
    return mutant == MUTANT_NO_DRAIN_FENCE || (s->drain_held && drainer->epoch == s->drain_epoch);
}

static void
forget_list(int d, struct model_state *s)
{
    struct model_drainer *drainer = &s->drainers[d];

    drainer->token = drainer->highest = 0;
    for (int i = 0; i < MAX_DOCS; i++) {
        drainer->read[i] = UNREAD;
        drainer->same[i] = 0;
    }
    for (int i = 0; i < MAX_CHANGES; i++)
        s->changes[i].listed &= ~(1 << d);
}

static void
forget(int d, struct model_state *s)
{
    forget_list(d, s);
    s->drainers[d].place = DRAINER_IDLE;
    s->drainers[d].epoch = 0;
}

/* drain_list.sql has its snapshot first and draws its token then; the documents are marked here and read later. */
static bool
list(enum mutant mutant, int d, struct model_state *s)
{
    struct model_drainer *drainer = &s->drainers[d];
    bool early = mutant == MUTANT_DRAIN_TOKEN_BEFORE_LIST;

    if (drainer->place != DRAINER_LEASED || s->changes[0].number == 0 || (early && drainer->token == 0))
        return false;
    for (int i = 0; i < MAX_CHANGES && s->changes[i].number; i++) {
        s->changes[i].listed |= 1 << d;
        drainer->highest = s->changes[i].number;
        drainer->read[s->changes[i].doc - 1] = GONE;
    }
    drainer->place = early ? DRAINER_TOKENED : DRAINER_LISTED;
    return true;
}

static bool
draw_token(enum mutant mutant, struct model_drainer *drainer, struct model_state *s)
{
    bool early = mutant == MUTANT_DRAIN_TOKEN_BEFORE_LIST;

    if (drainer->place != (early ? DRAINER_LEASED : DRAINER_LISTED) || drainer->token)
        return false;
    drainer->token = model_next_token(s);
    if (!early)
        drainer->place = DRAINER_TOKENED;
    return true;
}

static bool
read_documents(struct model_drainer *drainer, struct model_state *s)
{
    bool any_same = false;

    if (drainer->place != DRAINER_TOKENED)
        return false;
    for (int i = 0; i < model_bounds.docs; i++) {
        if (drainer->read[i] == UNREAD)
            continue;
        drainer->read[i] = s->docs[i];
        drainer->same[i] = s->docs[i] != GONE && model_is_current(s, i + 1);
        any_same = any_same || drainer->same[i];
    }
    drainer->place = any_same ? DRAINER_READ : DRAINER_RAISED;
    return true;
}

struct settling {
    int drainer;
    int docs; /* bit mask */
    int up_to;
};

static bool
by_number_and_document(const struct model_change *change, const void *context)
{
    const struct settling *settling = context;

    if (settling->up_to)
        return change->number <= settling->up_to;
    return (change->listed >> settling->drainer & 1) && (settling->docs >> change->doc & 1);
}

/* drain_same.sql: raises the token of vectors that are current. */
static bool
raise(enum mutant mutant, int d, struct model_state *s)
{
    struct model_drainer *drainer = &s->drainers[d];
    struct settling settling = {.drainer = d};

    if (drainer->place != DRAINER_READ)
        return false;
    if (!fence_holds(mutant, drainer, s)) {
        forget(d, s);
        return true;
    }
    for (int i = 0; i < model_bounds.docs; i++) {
        if (drainer->read[i] == UNREAD || !drainer->same[i])
            continue;
        bool raised =
            s->vectors[i].there && s->vectors[i].content == drainer->read[i] && s->vectors[i].token < drainer->token;
        if (raised && mutant != MUTANT_SAME_LEAVES_TOKEN)
            s->vectors[i].token = drainer->token;
        if (raised || mutant == MUTANT_SAME_SETTLES_ALL)
            settling.docs |= 1 << (i + 1);
    }
    model_settle(s, by_number_and_document, &settling);
    drainer->place = DRAINER_RAISED;
    return true;
}

/* drain_write.sql: vectors and tombstones. */
static bool
write_documents(enum mutant mutant, int d, struct model_state *s, bool answered)
{
    struct model_drainer *drainer = &s->drainers[d];
    struct settling settling = {.drainer = d};
    bool any = false;

    if (drainer->place != DRAINER_RAISED)
        return false;
    for (int i = 0; i < model_bounds.docs; i++)
        any = any || (drainer->read[i] != UNREAD && !drainer->same[i]);
    if (!any && !answered)
        return false; /* nothing is sent */
    if (any && !fence_holds(mutant, drainer, s)) {
        forget(d, s);
        return true;
    }
    for (int i = 0; i < model_bounds.docs; i++) {
        if (drainer->read[i] == UNREAD || drainer->same[i])
            continue;
        if (drainer->read[i] == GONE && mutant == MUTANT_NO_TOMBSTONE) {
            memset(&s->vectors[i], 0, sizeof s->vectors[i]);
            settling.docs |= 1 << (i + 1);
        } else if (!s->vectors[i].there || s->vectors[i].token < drainer->token) {
            s->vectors[i].there = 1;
            s->vectors[i].token = drainer->token;
            s->vectors[i].content = drainer->read[i];
            s->vectors[i].left_over = 0;
            settling.docs |= 1 << (i + 1);
        }
    }
    if (mutant == MUTANT_DRAIN_SETTLES_UP_TO_LAST && settling.docs)
        settling.up_to = drainer->highest;
    model_settle(s, by_number_and_document, &settling);
    if (!answered)
        return true; /* it will be repeated as it is */
    forget_list(d, s);
    drainer->place = DRAINER_LEASED;
    return true;
}

static bool
release(int d, struct model_state *s)
{
    if (s->drainers[d].place != DRAINER_LEASED)
        return false;
    if (s->drain_held && s->drainers[d].epoch == s->drain_epoch)
        s->drain_held = s->drain_expired = 0;
    forget(d, s);
    return true;
}

/* purge.sql: tombstones older than every lease, by state. */
static bool
purge(enum mutant mutant, const struct model_drainer *drainer, struct model_state *s)
{
    int low = 1000;
    bool any = false;

    if (drainer->place != DRAINER_LEASED || !fence_holds(mutant, drainer, s))
        return false;
    for (int i = 0; i < s->chunk_count && mutant != MUTANT_PURGE_AT_ONCE; i++)
        if (s->chunks[i].state == CHUNK_LEASED && s->chunks[i].epoch < low &&
            !(mutant == MUTANT_PURGE_BY_CLOCK && s->chunks[i].expired))
            low = s->chunks[i].epoch;
    for (int i = 0; i < model_bounds.docs; i++) {
        if (!s->vectors[i].there || s->vectors[i].content != GONE || s->vectors[i].token >= low)
            continue;
        memset(&s->vectors[i], 0, sizeof s->vectors[i]);
        any = true;
    }
    return any;
}

bool
model_drain_step(enum mutant mutant, struct action action, struct model_state *s)
{
    int d = action.actor;

    switch (action.step) {
    case STEP_DRAIN_EXPIRE:
        if (!s->drain_held || s->drain_expired)
            return false;
        s->drain_expired = 1;
        return true;
    case STEP_DRAIN_CLAIM:
        return claim(d, s);
    case STEP_DRAIN_LIST:
        return list(mutant, d, s);
    case STEP_DRAIN_TOKEN:
        return draw_token(mutant, &s->drainers[d], s);
    case STEP_DRAIN_READ:
        return read_documents(&s->drainers[d], s);
    case STEP_DRAIN_SAME:
        return raise(mutant, d, s);
    case STEP_DRAIN_WRITE:
        return write_documents(mutant, d, s, true);
    case STEP_DRAIN_WRITE_ANSWER_LOST:
        return write_documents(mutant, d, s, false);
    case STEP_DRAIN_RELEASE:
        return release(d, s);
    case STEP_DRAIN_CRASH:
        if (s->drainers[d].place == DRAINER_IDLE)
            return false;
        forget(d, s);
        return true;
    case STEP_PURGE:
        return purge(mutant, &s->drainers[d], s);
    default:
        return false;
    }
}

/* --- the finisher --- */

static bool
sweep_begin(struct model_state *s)
{
    if (s->sweep != SWEEP_NONE || !model_backfilled(s))
        return false;
    for (int i = 0; i < MAX_CHANGES; i++)
        s->changes[i].old = s->changes[i].number != 0;
    s->sweep = SWEEP_WALKING;
    s->sweep_position = s->noted = 0;
    return true;
}

/* sweep_window.sql, a document a window: what nobody has noted yet goes into the log. */
static bool
sweep_walk(struct model_state *s)
{
    int doc = s->sweep_position + 1;

    if (s->sweep != SWEEP_WALKING)
        return false;
    if (!model_is_current(s, doc) && !model_change_waits(s, doc)) {
        model_add_change(s, model_next_number(s), doc);
        s->noted = 1;
    }
    s->sweep_position = doc;
    if (doc == model_bounds.docs) {
        s->sweep_position = 0;
        s->sweep = SWEEP_WAITING;
    }
    return true;
}

static bool
sweep_end(enum mutant mutant, struct model_state *s)
{
    if (s->sweep != SWEEP_WAITING)
        return false;
    for (int i = 0; i < MAX_CHANGES; i++)
        if (s->changes[i].old && mutant != MUTANT_COMPLETE_WITHOUT_WAITING)
            return false;
    s->sweep = s->noted ? SWEEP_NONE : SWEEP_CLEAN;
    s->noted = 0;
    return true;
}

/* The threshold of the model is a half. */
static bool
enough(const int *have, const struct model_state *s)
{
    int eligible = 0, current = 0;

    for (int i = 0; i < model_bounds.docs; i++) {
        eligible += s->docs[i] != GONE;
        current += have ? have[i] != 0 : s->docs[i] != GONE && model_is_current(s, i + 1);
    }
    return current * 2 >= eligible;
}

/* reembed.try_cutover measures in its own transaction. The view follows in the same. */
static bool
flip(enum mutant mutant, struct model_state *s)
{
    if (!s->counted_all || s->route_target || (s->hold && mutant != MUTANT_FLIPS_AGAIN) ||
        !enough(mutant == MUTANT_FLIP_BY_COUNTERS ? s->counted : NULL, s))
        return false;
    s->flipped_low = !enough(NULL, s);
    s->flipped_again = s->hold;
    s->route_target = 1;
    s->view_target = mutant != MUTANT_FLIP_IN_TWO_STEPS;
    return true;
}

bool
model_finish_step(enum mutant mutant, struct action action, struct model_state *s)
{
    if (!model_bounds.finish)
        return false;
    switch (action.step) {
    case STEP_SWEEP_BEGIN:
        return sweep_begin(s);
    case STEP_SWEEP_WALK:
        return sweep_walk(s);
    case STEP_SWEEP_END:
        return sweep_end(mutant, s);
    case STEP_FLIP:
        return flip(mutant, s);
    case STEP_FLIP_VIEW:
        if (!s->route_target || s->view_target)
            return false;
        s->view_target = 1;
        return true;
    case STEP_ROLLBACK:
        if (!s->route_target || s->hold)
            return false;
        s->hold = 1;
        s->route_target = s->view_target = 0;
        return true;
    case STEP_COMPLETE:
        if ((mutant == MUTANT_COMPLETE_WITHOUT_SWEEP ? !model_backfilled(s) : s->sweep != SWEEP_CLEAN) ||
            !s->route_target || s->completed)
            return false;
        s->completed = 1;
        return true;
    default:
        return false;
    }
}
