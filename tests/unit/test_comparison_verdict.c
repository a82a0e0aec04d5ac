/* What the figures say: one row of figures after the other. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "coordinator/compare.h"

static struct comparison c;

static void
set_up(void)
{
    memset(&c, 0, sizeof c);
    c.arena = arena_new(0);
    c.has_source = true;
    c.models[SIDE_TARGET] = "new";
    c.k = 10;
    c.judged = c.queries = 500;
    c.overlap_10 = (struct estimate){500, 0.5, 0.48, 0.52};
    c.quality[SIDE_TARGET].recall_10 = (struct estimate){500, 0.9, 0.88, 0.92};
    c.quality[SIDE_SOURCE].recall_10 = (struct estimate){500, 0.85, 0.83, 0.87};
    c.change.recall_10 = (struct estimate){500, 0.05, 0.03, 0.07};
    c.change.ndcg_10 = (struct estimate){500, 0.05, 0.03, 0.07};
    c.indexed = true;
    c.index_setting = "hnsw.ef_search";
    c.index_recall = (struct estimate){200, 0.98, 0.97, 0.99};
}

static void
tear_down(void)
{
    arena_free(c.arena);
}

TestSuite(verdict, .init = set_up, .fini = tear_down);

static void
expect(enum verdict verdict, const char *words)
{
    struct err err = ERR_INIT;

    cr_assert_eq(compare_judge(&c, &err), RC_OK);
    cr_assert_eq(c.verdict, verdict, "%s: %s", verdict_name(c.verdict), c.reason);
    cr_assert_not_null(strstr(c.reason, words), "%s", c.reason);
}

Test(verdict, a_better_target_is_go)
{
    expect(VERDICT_GO, "finds no less");
    cr_assert_not(c.by_gate);
}

Test(verdict, a_loss_within_the_margin_is_go_and_a_certain_larger_one_no_go)
{
    c.change.recall_10 = c.change.ndcg_10 = (struct estimate){500, -0.005, -0.015, 0.005};
    expect(VERDICT_GO, "finds no less");
    c.change.recall_10 = (struct estimate){500, -0.05, -0.07, -0.03};
    expect(VERDICT_NO_GO, "finds less");
    c.change.recall_10 = (struct estimate){500, 0, -0.01, 0.01};
    c.change.ndcg_10 = (struct estimate){500, -0.05, -0.07, -0.03};
    expect(VERDICT_NO_GO, "ranks worse");
}

Test(verdict, too_few_queries_are_inconclusive)
{
    c.change.recall_10 = c.change.ndcg_10 = (struct estimate){20, -0.02, -0.1, 0.06};
    expect(VERDICT_INCONCLUSIVE, "too few");
}

Test(verdict, stored_vectors_that_the_provider_does_not_make_are_no_go)
{
    c.stored[SIDE_TARGET] = (struct compare_stored){48, 3, 0.99, 0.2};
    expect(VERDICT_NO_GO, "3 of 48 stored target vectors");
    c.stored[SIDE_TARGET].differing = 1;
    expect(VERDICT_GO, "finds no less");
    c.stored[SIDE_SOURCE] = (struct compare_stored){48, 48, 0.6, 0.2};
    expect(VERDICT_INCONCLUSIVE, "unfair to the source");
}

Test(verdict, settings_that_a_model_is_not_made_for_must_pay)
{
    c.defaults.checked = true;
    c.defaults.mrr_change = (struct estimate){200, 0.08, 0.05, 0.11};
    expect(VERDICT_NO_GO, "not those that new is made for");
    c.defaults.mrr_change = (struct estimate){200, 0, -0.01, 0.01};
    expect(VERDICT_NO_GO, "do not pay");
    c.defaults.mrr_change = (struct estimate){200, -0.05, -0.08, -0.02};
    expect(VERDICT_GO, "finds no less");
}

Test(verdict, gates_of_the_file_decide_where_they_are_given)
{
    c.gates.min_overlap_at_10 = (struct optional_number){true, 0.6};
    expect(VERDICT_NO_GO, "gates.min_overlap_at_10");
    cr_assert(c.by_gate);
    c.gates.min_overlap_at_10.value = 0.5;
    expect(VERDICT_GO, "finds no less");
    c.gates.min_recall_change = (struct optional_number){true, 0.06};
    expect(VERDICT_NO_GO, "gates.min_recall_change");
    c.gates.min_recall_change.value = -0.1;
    c.change.recall_10 = (struct estimate){500, -0.06, -0.08, -0.04}; /* the operator takes this loss */
    expect(VERDICT_GO, "finds no less");
    c.gates.min_index_recall = (struct optional_number){true, 0.99};
    expect(VERDICT_NO_GO, "gates.min_index_recall");
}

Test(verdict, a_gate_whose_figure_is_not_known_is_inconclusive)
{
    c.gates.min_recall_change = (struct optional_number){true, 0};
    c.judged = 0;
    c.change.recall_10.count = 0;
    expect(VERDICT_INCONCLUSIVE, "source.provider");
    c.gates.min_recall_change.given = false;
    c.gates.min_index_recall = (struct optional_number){true, 0.9};
    c.index_recall.count = 0;
    expect(VERDICT_INCONCLUSIVE, "no index yet");
}

Test(verdict, agreement_alone_says_little)
{
    c.judged = 0;
    c.change.recall_10.count = 0;
    expect(VERDICT_INCONCLUSIVE, "--queries FILE");
    c.gates.min_overlap_at_10 = (struct optional_number){true, 0.4};
    expect(VERDICT_GO, "overlap@10 is 0.500");
    c.gates.min_overlap_at_10.given = false;
    c.overlap_10 = (struct estimate){500, 0.01, 0.005, 0.015};
    expect(VERDICT_NO_GO, "nothing in common");
}

Test(verdict, a_poor_index_is_said)
{
    c.index_recall.mean = 0.7;
    expect(VERDICT_INCONCLUSIVE, "raise hnsw.ef_search");
}

Test(verdict, without_a_source_the_index_is_all)
{
    c.has_source = false;
    c.judged = 0;
    c.overlap_10.count = c.change.recall_10.count = 0;
    expect(VERDICT_GO, "no source");
}
