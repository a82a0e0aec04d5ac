/* A step in words. */
#include <stdio.h>
#include <string.h>

#include "tests/model/protocol.h"

static const char *
name(int content)
{
    return content == TEXT_A ? "A" : content == TEXT_B ? "B" : content == GONE ? "gone" : "unread";
}

static void
print_vectors(const struct model_state *before, const struct model_state *after)
{
    bool any = false;

    for (int i = 0; i < model_bounds.docs; i++) {
        if (memcmp(&before->vectors[i], &after->vectors[i], sizeof before->vectors[i]) == 0)
            continue;
        any = true;
        if (!after->vectors[i].there)
            printf("; vector %d: no row", i + 1);
        else if (after->vectors[i].content == GONE)
            printf("; vector %d: tombstone, token %d", i + 1, after->vectors[i].token);
        else
            printf("; vector %d: %s, token %d", i + 1, name(after->vectors[i].content), after->vectors[i].token);
    }
    if (!any)
        printf("; no vector changes");
}

static void
print_settled(const struct model_state *before, const struct model_state *after)
{
    for (int i = 0; i < MAX_CHANGES && before->changes[i].number; i++) {
        bool left = false;
        for (int j = 0; j < MAX_CHANGES; j++)
            left = left || after->changes[j].number == before->changes[i].number;
        if (!left)
            printf("; change %d is settled", before->changes[i].number);
    }
}

static void
print_application(const struct action *action, int display, const struct model_state *before)
{
    int doc = action->step == STEP_BEGIN ? action->argument / 4 : before->transactions[action->actor].doc;
    int content = action->step == STEP_BEGIN ? action->argument % 4 : before->transactions[action->actor].content;

    if (action->step == STEP_COMMIT)
        printf("application %d commits: document %d is %s", display, doc, name(content));
    else if (content == GONE)
        printf("application %d deletes document %d, not yet committed", display, doc);
    else
        printf("application %d %s document %d as %s, not yet committed", display,
               before->docs[doc - 1] == GONE ? "inserts" : "writes", doc, name(content));
}

static void
print_worker(const struct action *action, int display, const struct model_state *before,
             const struct model_state *after)
{
    const struct model_worker *was = &before->workers[action->actor], *is = &after->workers[action->actor];
    const struct model_batch *read = NULL;

    printf("worker %d ", display);
    switch (action->step) {
    case STEP_CLAIM:
        printf("claims chunk %d, draws token %d", is->chunk + 1, is->epoch);
        break;
    case STEP_CLAIM_COMMIT:
        printf("commits its claim");
        break;
    case STEP_READ:
        for (int i = 0; i < MAX_AHEAD; i++)
            if (is->batches[i].used)
                read = &is->batches[i];
        if (!read || !read->doc)
            printf("reads the empty end of its chunk");
        else
            printf("reads document %d: %s%s, token %d", read->doc, name(read->content),
                   read->embed ? "" : ", whose vector is there", is->epoch);
        break;
    case STEP_CHECK:
        printf("asks the fence: %s", is->place == WORKER_CHECKED ? "the lease is its own" : "the lease is another's");
        break;
    case STEP_MOVE:
        printf("moves cursor and counter");
        break;
    case STEP_WRITE:
    case STEP_WRITE_ANSWER_LOST:
        printf("writes with token %d", was->epoch);
        print_vectors(before, after);
        if (memcmp(before->chunks, after->chunks, sizeof before->chunks) == 0 &&
            memcmp(before->counted, after->counted, sizeof before->counted) == 0 && was->place == WORKER_LEASED)
            printf(" (fenced)");
        if (action->step == STEP_WRITE_ANSWER_LOST)
            printf(" (the answer is lost)");
        break;
    case STEP_WRITE_LOST:
        printf("sends its write, which is lost");
        break;
    case STEP_LOOK_AT_FENCE:
        printf("looks at the fence: %s", is->place == WORKER_IDLE ? "gives up or is done"
                                         : is->unsure             ? "?"
                                                                  : "goes on");
        break;
    case STEP_RENEW:
        printf("renews its lease");
        break;
    case STEP_RELEASE:
        printf("releases its chunk");
        break;
    default:
        printf("is killed");
        break;
    }
}

static void
print_drainer(const struct action *action, int display, const struct model_state *before,
              const struct model_state *after)
{
    const struct model_drainer *is = &after->drainers[action->actor];

    printf("drainer %d ", display);
    switch (action->step) {
    case STEP_DRAIN_CLAIM:
        printf("takes the lease");
        break;
    case STEP_DRAIN_LIST:
        printf("lists changes");
        for (int i = 0; i < MAX_CHANGES; i++)
            if (after->changes[i].listed >> action->actor & 1)
                printf(" %d (document %d)", after->changes[i].number, after->changes[i].doc);
        break;
    case STEP_DRAIN_TOKEN:
        printf("draws token %d", is->token);
        break;
    case STEP_DRAIN_READ:
        printf("reads");
        for (int i = 0; i < model_bounds.docs; i++)
            if (is->read[i] != UNREAD)
                printf(" document %d: %s%s", i + 1, name(is->read[i]), is->same[i] ? ", whose vector is there" : "");
        break;
    case STEP_DRAIN_SAME:
        printf("raises the tokens of what is current");
        print_vectors(before, after);
        print_settled(before, after);
        break;
    case STEP_DRAIN_WRITE:
    case STEP_DRAIN_WRITE_ANSWER_LOST:
        printf("writes with token %d", before->drainers[action->actor].token);
        print_vectors(before, after);
        print_settled(before, after);
        if (action->step == STEP_DRAIN_WRITE_ANSWER_LOST)
            printf(" (the answer is lost)");
        break;
    case STEP_DRAIN_RELEASE:
        printf("gives the lease back");
        break;
    case STEP_PURGE:
        printf("purges tombstones");
        print_vectors(before, after);
        break;
    default:
        printf("is killed");
        break;
    }
}

static void
print_other(const struct action *action, const struct model_state *after)
{
    switch (action->step) {
    case STEP_CAPTURE:
        printf("the triggers stand");
        break;
    case STEP_BOUND:
        printf("the bound is read: %d", after->bound);
        break;
    case STEP_CUT:
        if (after->chunk_count > 0)
            printf("cut: chunk %d ends at document %d%s", after->chunk_count, after->chunks[after->chunk_count - 1].hi,
                   after->cut_done ? ", all is cut" : "");
        else
            printf("cut: there is nothing to cut");
        break;
    case STEP_EXPIRE:
        printf("the lease of chunk %d runs out", action->argument + 1);
        break;
    case STEP_DRAIN_EXPIRE:
        printf("the drainer's lease runs out");
        break;
    case STEP_SWEEP_BEGIN:
        printf("the sweep begins");
        break;
    case STEP_SWEEP_WALK:
        printf("the sweep walks over a document");
        break;
    case STEP_SWEEP_END:
        printf("the sweep ends: %s", after->sweep == SWEEP_CLEAN ? "clean" : "it will be repeated");
        break;
    case STEP_FLIP:
        printf("queries go over");
        break;
    case STEP_FLIP_VIEW:
        printf("the view follows");
        break;
    case STEP_ROLLBACK:
        printf("a person rolls back");
        break;
    default:
        printf("the migration is completed");
        break;
    }
}

void
model_print_step(const struct action *action, int display, const struct model_state *before,
                 const struct model_state *after)
{
    switch (model_actor_kind(action->step)) {
    case ACTOR_TRANSACTION:
        print_application(action, display, before);
        break;
    case ACTOR_WORKER:
        print_worker(action, display, before, after);
        break;
    case ACTOR_DRAINER:
        print_drainer(action, display, before, after);
        break;
    default:
        print_other(action, after);
        break;
    }
    printf("\n");
}
