/* The state: where it starts, how it is brought into one form, and what must hold in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/protocol.h"

struct model_bounds model_bounds;

const struct mutant_text mutant_texts[MUTANTS] = {
    [MUTANT_NONE] = {"none", "the product"},
    [MUTANT_NO_FENCE] = {"no-fence", "a chunk's write does not ask whose lease it is"},
    [MUTANT_CHECK_THEN_WRITE] = {"check-then-write", "the fence is asked in one statement, the write is another"},
    [MUTANT_CURSOR_NOT_CHECKED] =
        {"retry-after-unknown-commit",
         "a write whose answer was lost is sent again, and does not ask where the cursor was"},
    [MUTANT_CURSOR_BEFORE_DATA] = {"cursor-before-data", "cursor and counter move in a statement before the vectors"},
    [MUTANT_NO_TOKEN_GUARD] = {"last-write-wins", "a chunk's write takes the place of whatever is there"},
    [MUTANT_TOKEN_AT_WRITE] = {"token-after-read",
                               "a vector's token is drawn when it is written, after its document was read"},
    [MUTANT_DRAIN_TOKEN_BEFORE_LIST] = {"drain-token-before-list",
                                        "the drainer's token is drawn before the snapshot of its list"},
    [MUTANT_SAME_LEAVES_TOKEN] = {"same-leaves-token", "an equal hash is settled without raising the token"},
    [MUTANT_SAME_SETTLES_ALL] = {"same-settles-all", "a change is settled although its row changed in between"},
    [MUTANT_DRAIN_SETTLES_UP_TO_LAST] = {"drain-settles-up-to-last", "every change up to the last number is settled"},
    [MUTANT_NO_DRAIN_FENCE] = {"no-drain-fence", "a drainer's write does not ask whose lease it is"},
    [MUTANT_NO_TOMBSTONE] = {"no-tombstone",
                             "the vector of a deleted document is deleted, and nothing takes its place"},
    [MUTANT_PURGE_BY_CLOCK] = {"purge-by-clock", "a lease that has run out does not hold tombstones back"},
    [MUTANT_PURGE_AT_ONCE] = {"purge-at-once", "tombstones go whatever leases are out"},
    [MUTANT_BOUND_BEFORE_CAPTURE] = {"bound-before-capture", "the bound may be read before the triggers stand"},
    [MUTANT_CAPTURE_WAITS_FOR_NOBODY] = {"no-barrier", "the triggers come without waiting for open transactions"},
    [MUTANT_FLIP_BY_COUNTERS] = {"flip-by-counters", "the gate counts what was processed instead of what is current"},
    [MUTANT_FLIP_IN_TWO_STEPS] = {"flip-in-two-steps", "routing goes over in one transaction, the view in the next"},
    [MUTANT_FLIPS_AGAIN] = {"flips-again", "after a rollback queries may go over by themselves"},
    [MUTANT_COMPLETE_WITHOUT_WAITING] = {"complete-without-waiting",
                                         "the sweep does not wait for the changes that were there when it began"},
    [MUTANT_COMPLETE_WITHOUT_SWEEP] = {"complete-without-sweep", "completed is what has been counted, not compared"},
    [MUTANT_NO_TAKE_OVER] = {"no-take-over", "a chunk whose lease has run out is left to its owner"},
};

bool
model_initial(int variant, struct model_state *ret_state)
{
    static const int vectors[] = {UNREAD, TEXT_A, TEXT_B}; /* of document 1; UNREAD: none */
    int second = variant / 3;

    if (second > (model_bounds.docs > 1))
        return false;
    memset(ret_state, 0, sizeof *ret_state);
    ret_state->docs[0] = TEXT_A;
    ret_state->docs[1] = second ? TEXT_A : GONE;
    if (vectors[variant % 3] != UNREAD) {
        ret_state->vectors[0].there = ret_state->vectors[0].token = 1;
        ret_state->vectors[0].content = vectors[variant % 3];
    }
    ret_state->writes_left = model_bounds.writes;
    for (int d = 0; d < MAX_DRAINERS; d++)
        for (int i = 0; i < MAX_DOCS; i++)
            ret_state->drainers[d].read[i] = UNREAD;
    return true;
}

/* --- actions --- */

enum actor_kind
model_actor_kind(enum step step)
{
    if (step == STEP_BEGIN || step == STEP_COMMIT)
        return ACTOR_TRANSACTION;
    if (step >= STEP_CLAIM && step <= STEP_CRASH)
        return ACTOR_WORKER;
    if (step >= STEP_DRAIN_CLAIM && step <= STEP_PURGE)
        return ACTOR_DRAINER;
    return ACTOR_NONE;
}

bool
model_next_action(struct action *action)
{
    const int actors[] = {[ACTOR_NONE] = 1,
                          [ACTOR_TRANSACTION] = model_bounds.transactions,
                          [ACTOR_WORKER] = model_bounds.workers,
                          [ACTOR_DRAINER] = model_bounds.drainers};
    int arguments = action->step == STEP_BEGIN    ? model_bounds.docs * 4 + 4
                    : action->step == STEP_EXPIRE ? MAX_CHUNKS
                                                  : 1;

    if (++action->argument >= arguments) {
        action->argument = 0;
        if (++action->actor >= actors[model_actor_kind(action->step)]) {
            action->actor = 0;
            action->step++;
        }
    }
    return action->step < STEPS;
}

bool
model_step(enum mutant mutant, struct action action, struct model_state *state)
{
    if (action.step >= STEP_SWEEP_BEGIN)
        return model_finish_step(mutant, action, state);
    if (action.step >= STEP_DRAIN_EXPIRE)
        return model_drain_step(mutant, action, state);
    return model_chunk_step(mutant, action, state);
}

/* --- questions --- */

static int
more(int a, int b)
{
    return a > b ? a : b;
}

int
model_next_token(const struct model_state *s)
{
    int top = 0;

    for (int i = 0; i < MAX_DOCS; i++)
        top = more(top, s->vectors[i].token);
    for (int i = 0; i < MAX_CHUNKS; i++)
        top = more(top, s->chunks[i].epoch);
    for (int i = 0; i < MAX_WORKERS; i++)
        top = more(top, s->workers[i].epoch);
    for (int i = 0; i < MAX_DRAINERS; i++)
        top = more(top, s->drainers[i].token);
    return top + 1;
}

int
model_next_number(const struct model_state *s)
{
    int top = 0;

    for (int i = 0; i < MAX_CHANGES; i++)
        top = more(top, s->changes[i].number);
    for (int i = 0; i < MAX_TRANSACTIONS; i++)
        top = more(top, s->transactions[i].number);
    for (int i = 0; i < MAX_DRAINERS; i++)
        top = more(top, s->drainers[i].highest);
    return top + 1;
}

bool
model_is_current(const struct model_state *s, int doc)
{
    int content = s->docs[doc - 1], vector = s->vectors[doc - 1].there ? s->vectors[doc - 1].content : GONE;

    return content == vector;
}

bool
model_change_waits(const struct model_state *s, int doc)
{
    for (int i = 0; i < MAX_CHANGES; i++)
        if (s->changes[i].number && s->changes[i].doc == doc)
            return true;
    return false;
}

bool
model_backfilled(const struct model_state *s)
{
    for (int i = 0; i < s->chunk_count; i++)
        if (s->chunks[i].state != CHUNK_DONE)
            return false;
    return s->captured && s->counted_all && s->cut_done;
}

void
model_add_change(struct model_state *s, int number, int doc)
{
    int i = MAX_CHANGES - 1;

    if (s->changes[i].number) {
        fprintf(stderr, "more than %d changes: raise MAX_CHANGES\n", MAX_CHANGES);
        abort();
    }
    for (; i > 0 && (s->changes[i - 1].number == 0 || s->changes[i - 1].number > number); i--)
        s->changes[i] = s->changes[i - 1];
    s->changes[i] = (struct model_change){.number = number, .doc = doc};
}

void
model_settle(struct model_state *s, bool (*chosen)(const struct model_change *change, const void *context),
             const void *context)
{
    int kept = 0;

    for (int i = 0; i < MAX_CHANGES; i++)
        if (s->changes[i].number && !chosen(&s->changes[i], context))
            s->changes[kept++] = s->changes[i];
    for (; kept < MAX_CHANGES; kept++)
        memset(&s->changes[kept], 0, sizeof s->changes[kept]);
}

/* --- one form for all states that differ in names only --- */

static void
rank(int **values, int count)
{
    int ranks[32];

    for (int i = 0; i < count; i++) {
        ranks[i] = *values[i] != 0;
        for (int j = 0; j < count && *values[i]; j++) {
            bool counts = *values[j] != 0 && *values[j] < *values[i];
            for (int k = 0; k < j && counts; k++)
                counts = *values[k] != *values[j];
            ranks[i] += counts;
        }
    }
    for (int i = 0; i < count; i++)
        *values[i] = ranks[i];
}

/* Insertion sort of `count` records by content; places[i]: where record i was. */
static void
sort_records(void *records, size_t size, int count, int *places)
{
    char *base = records, moved[sizeof(struct model_worker) + sizeof(struct model_drainer)];

    for (int i = 0; i < count; i++)
        places[i] = i;
    for (int i = 1; i < count; i++) {
        int place = places[i], j = i;
        memcpy(moved, base + size * (size_t)i, size);
        for (; j > 0 && memcmp(base + size * (size_t)(j - 1), moved, size) > 0; j--) {
            memcpy(base + size * (size_t)j, base + size * (size_t)(j - 1), size);
            places[j] = places[j - 1];
        }
        memcpy(base + size * (size_t)j, moved, size);
        places[j] = place;
    }
}

void
model_normalise(struct model_state *s, struct model_places *ret_places)
{
    struct model_places places;
    int *values[32], n = 0;

    for (int i = 0; i < MAX_DOCS; i++)
        values[n++] = &s->vectors[i].token;
    for (int i = 0; i < MAX_CHUNKS; i++)
        values[n++] = &s->chunks[i].epoch;
    for (int i = 0; i < MAX_WORKERS; i++)
        values[n++] = &s->workers[i].epoch;
    for (int i = 0; i < MAX_DRAINERS; i++)
        values[n++] = &s->drainers[i].token;
    rank(values, n);

    n = 0;
    for (int i = 0; i < MAX_CHANGES; i++)
        values[n++] = &s->changes[i].number;
    for (int i = 0; i < MAX_TRANSACTIONS; i++)
        values[n++] = &s->transactions[i].number;
    for (int i = 0; i < MAX_DRAINERS; i++)
        values[n++] = &s->drainers[i].highest;
    rank(values, n);

    n = 0;
    values[n++] = &s->drain_epoch;
    for (int i = 0; i < MAX_DRAINERS; i++)
        values[n++] = &s->drainers[i].epoch;
    rank(values, n);

    sort_records(s->transactions, sizeof s->transactions[0], model_bounds.transactions, places.transactions);
    sort_records(s->workers, sizeof s->workers[0], model_bounds.workers, places.workers);
    sort_records(s->drainers, sizeof s->drainers[0], model_bounds.drainers, places.drainers);
    for (int i = 0; i < MAX_CHANGES; i++) {
        int listed = s->changes[i].listed;
        s->changes[i].listed = 0;
        for (int d = 0; d < model_bounds.drainers; d++)
            s->changes[i].listed |= (listed >> places.drainers[d] & 1) << d;
    }
    if (ret_places)
        *ret_places = places;
}

/* --- what must hold --- */

/* Whether the backfill has been there, or the document is none of its own. */
static bool
passed(const struct model_state *s, int doc)
{
    if (!s->captured || !s->counted_all)
        return false;
    if (doc > s->bound)
        return true;
    for (int i = 0; i < s->chunk_count; i++)
        if (doc <= s->chunks[i].hi)
            return s->chunks[i].state == CHUNK_DONE || doc <= s->chunks[i].cursor;
    return s->cut_done;
}

static const char *
name(int content)
{
    return content == TEXT_A ? "A" : content == TEXT_B ? "B" : "gone";
}

const char *
model_violation(const struct model_state *s)
{
    static char text[200];

    for (int d = 1; d <= model_bounds.docs; d++) {
        bool excused = s->docs[d - 1] == GONE && s->vectors[d - 1].left_over && !s->completed;
        if (passed(s, d) && !model_is_current(s, d) && !model_change_waits(s, d) && !excused) {
            if (!s->vectors[d - 1].there || s->vectors[d - 1].content == GONE)
                snprintf(text, sizeof text, "document %d is %s, it has no vector, and no change of it waits", d,
                         name(s->docs[d - 1]));
            else
                snprintf(text, sizeof text, "document %d is %s, its vector is of %s, and no change of it waits", d,
                         name(s->docs[d - 1]), name(s->vectors[d - 1].content));
            return text;
        }
        if (s->counted[d - 1] > 1) {
            snprintf(text, sizeof text, "document %d was counted twice", d);
            return text;
        }
    }
    if (s->route_target != s->view_target)
        return "reembed.routing names one model and the view shows the other";
    if (s->flipped_low)
        return "queries went over with less coverage than the threshold";
    if (s->flipped_again)
        return "queries went over by themselves after a person had rolled back";
    for (int i = 0; i < MAX_CHANGES; i++)
        if (s->completed && s->changes[i].old)
            return "completed, and a change from before the sweep has not been applied";
    return NULL;
}

bool
model_at_rest(const struct model_state *s)
{
    for (int i = 0; i < MAX_TRANSACTIONS; i++)
        if (s->transactions[i].doc)
            return false;
    return model_backfilled(s) && s->changes[0].number == 0;
}
