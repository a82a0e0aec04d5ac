/* Go, no_go or inconclusive: a pure function of what was measured and of the gates of the migration file. */
#include <math.h>

#include "coordinator/compare.h"

/* Without a gate of the operator's: a loss of up to two queries in a hundred is no reason to stay, if it is one at all. */
#define MARGIN 0.02
/* Neighbours that have less in common than this belong to other documents, or to other texts of them. */
#define NOTHING_IN_COMMON    0.1
#define INDEX_RECALL_LEAST   0.8
#define SOURCE_MEDIAN_LEAST  0.95
#define DIFFERING_SHARE_MOST 0.05

const char *
verdict_name(enum verdict verdict)
{
    static const char *const names[] = {
        [VERDICT_GO] = "go", [VERDICT_NO_GO] = "no_go", [VERDICT_INCONCLUSIVE] = "inconclusive"};
    return names[verdict];
}

static bool
decide(struct comparison *c, enum verdict verdict, const char *reason)
{
    c->verdict = verdict;
    c->reason = reason;
    return true;
}

#define DECIDE(verdict, ...) decide(c, verdict, arena_printf(c->arena, __VA_ARGS__))

static bool
stored_is_wrong(struct comparison *c)
{
    const struct compare_stored *t = &c->stored[SIDE_TARGET], *s = &c->stored[SIDE_SOURCE];

    if (t->documents > 0 && (double)t->differing > DIFFERING_SHARE_MOST * (double)t->documents)
        return DECIDE(VERDICT_NO_GO,
                      "%zu of %zu stored target vectors are not what the target's provider makes of their documents "
                      "(median cosine %.3f): another prefix, pooling or model, or vectors under other documents' ids",
                      t->differing, t->documents, t->median_cosine);
    if (s->documents > 0 && s->median_cosine < SOURCE_MEDIAN_LEAST)
        return DECIDE(VERDICT_INCONCLUSIVE,
                      "the stored source vectors are not what source.provider makes of their documents (median cosine "
                      "%.3f), so queries by it are unfair to the source",
                      s->median_cosine);
    return false;
}

static bool
gate_fails(struct comparison *c)
{
    const struct compare_gates *g = &c->gates;

    if (g->min_overlap_at_10.given && c->overlap_10.count > 0 && c->overlap_10.mean < g->min_overlap_at_10.value)
        return DECIDE(VERDICT_NO_GO, "overlap@10 is %.3f, gates.min_overlap_at_10 asks for %.3f", c->overlap_10.mean,
                      g->min_overlap_at_10.value);
    if (g->min_recall_change.given && c->change.recall_10.count > 0 &&
        c->change.recall_10.mean < g->min_recall_change.value)
        return DECIDE(VERDICT_NO_GO, "recall@10 changes by %+.3f, gates.min_recall_change asks for %+.3f",
                      c->change.recall_10.mean, g->min_recall_change.value);
    if (g->min_index_recall.given && c->index_recall.count > 0 && c->index_recall.mean < g->min_index_recall.value)
        return DECIDE(VERDICT_NO_GO, "the index finds %.3f of the nearest %zu, gates.min_index_recall asks for %.3f",
                      c->index_recall.mean, c->k, g->min_index_recall.value);
    return false;
}

static bool
quality_is_worse(struct comparison *c)
{
    const struct estimate *recall = &c->change.recall_10, *ndcg = &c->change.ndcg_10;

    if (c->judged == 0 || !c->has_source || c->gates.min_recall_change.given)
        return false;
    if (recall->high < 0 && recall->low < -MARGIN)
        return DECIDE(VERDICT_NO_GO,
                      "the target finds less: recall@10 changes by %+.3f (95 %% interval %+.3f to %+.3f)", recall->mean,
                      recall->low, recall->high);
    if (ndcg->high < 0 && ndcg->low < -MARGIN)
        return DECIDE(VERDICT_NO_GO, "the target ranks worse: nDCG@10 changes by %+.3f (95 %% interval %+.3f to %+.3f)",
                      ndcg->mean, ndcg->low, ndcg->high);
    return false;
}

/* Who leaves what a model is known for has to show that it pays. */
static bool
settings_cost(struct comparison *c)
{
    const struct estimate *change = &c->defaults.mrr_change;

    if (!c->defaults.checked || change->count == 0 || change->high < 0)
        return false;
    return DECIDE(
        VERDICT_NO_GO,
        "the prefixes or the pooling that the file gives are not those that %s is made for, and they do not pay: "
        "with its own the MRR changes by %+.3f (95 %% interval %+.3f to %+.3f); leave them out of the file",
        c->models[SIDE_TARGET], change->mean, change->low, change->high);
}

static bool
nothing_in_common(struct comparison *c)
{
    if (c->overlap_10.count == 0 || c->overlap_10.high >= NOTHING_IN_COMMON || c->gates.min_overlap_at_10.given ||
        (c->judged > 0 && c->change.recall_10.low > 0))
        return false;
    return DECIDE(VERDICT_NO_GO,
                  "both models' neighbours have nothing in common (overlap@10 %.3f): a wrong prefix or pooling, or "
                  "vectors under other documents' ids",
                  c->overlap_10.mean);
}

static bool
gate_is_unknown(struct comparison *c)
{
    const struct compare_gates *g = &c->gates;

    if (g->min_overlap_at_10.given && c->overlap_10.count == 0)
        return DECIDE(VERDICT_INCONCLUSIVE,
                      "gates.min_overlap_at_10 is asked for, and there is no source to compare with");
    if (g->min_recall_change.given && c->change.recall_10.count == 0)
        return DECIDE(
            VERDICT_INCONCLUSIVE,
            "gates.min_recall_change is asked for, and it is not known what the queries should find: that needs "
            "source.provider, and best --queries FILE or --known-items EXPRESSION");
    if (g->min_index_recall.given && c->index_recall.count == 0)
        return DECIDE(VERDICT_INCONCLUSIVE, "gates.min_index_recall is asked for, and the target has no index yet");
    return false;
}

static bool
index_is_poor(struct comparison *c)
{
    if (c->index_recall.count == 0 || c->index_recall.mean >= INDEX_RECALL_LEAST || c->gates.min_index_recall.given)
        return false;
    return DECIDE(VERDICT_INCONCLUSIVE,
                  "the models compare well, but the target's index finds only %.3f of the nearest %zu: raise %s (now "
                  "%lld)",
                  c->index_recall.mean, c->k, c->index_setting, (long long)c->index_setting_now);
}

/* The figures that speak for it. */
static bool
say_go(struct comparison *c)
{
    const struct compare_gates *g = &c->gates;
    const struct estimate *recall = &c->change.recall_10;
    bool gated = g->min_overlap_at_10.given || g->min_recall_change.given || g->min_index_recall.given;

    if (!c->has_source && c->index_recall.count > 0)
        return DECIDE(VERDICT_GO, "there is no source to compare with; the index finds %.3f of the nearest %zu",
                      c->index_recall.mean, c->k);
    if (c->judged > 0 && (recall->low >= -MARGIN || g->min_recall_change.given))
        return DECIDE(
            VERDICT_GO,
            "the target finds no less: recall@10 %.3f against %.3f, a change of %+.3f (95 %% interval %+.3f to "
            "%+.3f)",
            c->quality[SIDE_TARGET].recall_10.mean, c->quality[SIDE_SOURCE].recall_10.mean, recall->mean, recall->low,
            recall->high);
    if (c->judged > 0)
        return DECIDE(
            VERDICT_INCONCLUSIVE,
            "%zu queries are too few to tell: recall@10 changes by %+.3f, but anything from %+.3f to %+.3f is "
            "possible; give more with --sample or --queries",
            c->judged, recall->mean, recall->low, recall->high);
    if (gated && c->overlap_10.count > 0)
        return DECIDE(VERDICT_GO, "the gates that are asked for hold; overlap@10 is %.3f", c->overlap_10.mean);
    return DECIDE(
        VERDICT_INCONCLUSIVE,
        "it is not known what the queries should find, and overlap@10 (%.3f) alone does not say which model is "
        "better: give --queries FILE or --known-items EXPRESSION, or say with gates.min_overlap_at_10 what is "
        "enough",
        c->overlap_10.mean);
}

enum rc
compare_judge(struct comparison *comparison, struct err *err)
{
    struct comparison *c = comparison;

    /* in this order: what is wrong comes before what is worse, and that before what is not known */
    if (!(stored_is_wrong(c) || quality_is_worse(c) || settings_cost(c) || nothing_in_common(c) ||
          (c->by_gate = gate_fails(c)) || gate_is_unknown(c) || index_is_poor(c)))
        say_go(c);
    return c->reason ? RC_OK : err_memory(err);
}
