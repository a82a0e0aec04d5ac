/* Agreement of rankings and what they are worth. Expected figures: numpy 2.2, of the definitions. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "coordinator/ranking.h"

#define NEAR(a, b) cr_assert(fabs((a) - (b)) < 1e-9, "%.12f is not %.12f", (double)(a), (double)(b))

Test(ranking, overlap_is_what_both_lists_share_whatever_the_order)
{
    const uint64_t a[] = {1, 2, 3, 4, 5}, b[] = {5, 9, 1, 8, 7}, c[] = {6, 7};

    NEAR(ranking_overlap(a, 5, b, 5, 5), 0.4);
    NEAR(ranking_overlap(a, 5, b, 5, 3), 1.0 / 3);
    NEAR(ranking_overlap(a, 5, a, 5, 10), 1);
    NEAR(ranking_overlap(a, 2, c, 2, 10), 0);
    NEAR(ranking_overlap(a, 5, b, 1, 5), 0.2); /* the longer one counts */
    NEAR(ranking_overlap(a, 0, b, 0, 5), 0);
}

static double
spearman(const float *a, const float *b, size_t count)
{
    double scratch[64];

    cr_assert_leq(ranking_scratch_size(count), sizeof scratch);
    return ranking_spearman(a, b, count, scratch);
}

Test(ranking, spearman_with_and_without_ties)
{
    const float x[] = {1, 2, 3, 4, 5, 6, 7, 8}, y[] = {2, 1, 4, 3, 7, 8, 6, 5}, down[] = {8, 7, 6, 5, 4, 3, 2, 1};
    const float ties[] = {1, 1, 2, 2, 2, 5, 5, 9}, flat[] = {3, 3, 3, 3, 3, 3, 3, 3};

    NEAR(spearman(x, x, 8), 1);
    NEAR(spearman(x, down, 8), -1);
    NEAR(spearman(x, y, 8), 0.738095238095);
    NEAR(spearman(ties, y, 8), 0.728895161383);
    NEAR(spearman(x, flat, 8), 0);
}

Test(ranking, one_relevant_document)
{
    double first = 1, third = 3, tenth = 10, eleventh = 11;
    struct relevance r = ranking_relevance(&first, 1);
    NEAR(r.recall_1, 1);
    NEAR(r.recall_10, 1);
    NEAR(r.mrr_10, 1);
    NEAR(r.ndcg_10, 1);
    r = ranking_relevance(&third, 1);
    NEAR(r.recall_1, 0);
    NEAR(r.recall_10, 1);
    NEAR(r.mrr_10, 1.0 / 3);
    NEAR(r.ndcg_10, 0.5);
    r = ranking_relevance(&tenth, 1);
    NEAR(r.mrr_10, 0.1);
    NEAR(r.ndcg_10, 0.289064826318);
    r = ranking_relevance(&eleventh, 1);
    NEAR(r.recall_10 + r.mrr_10 + r.ndcg_10, 0);
}

Test(ranking, several_relevant_documents_in_any_order)
{
    double ranks[] = {40, 2, 7};
    struct relevance r = ranking_relevance(ranks, 3);

    NEAR(r.recall_1, 0);
    NEAR(r.recall_10, 2.0 / 3);
    NEAR(r.mrr_10, 0.5);
    NEAR(r.ndcg_10, 0.452508152973);
}

Test(ranking, a_document_is_told_by_its_id)
{
    const char text[] = "a rather long text as an id", other[] = "a rather long text as an iD";
    const char number[8] = {0, 0, 0, 0, 0, 0, 1, 2};

    cr_assert_eq(document_number((struct doc_key){number, 8}), 258);
    cr_assert_neq(document_number((struct doc_key){text, sizeof text - 1}),
                  document_number((struct doc_key){other, sizeof other - 1}));
    cr_assert_eq(document_number((struct doc_key){text, sizeof text - 1}),
                 document_number((struct doc_key){text, sizeof text - 1}));
}
