/* coordinator/ranking.h - how well one list of hits agrees with another, and with what should be found. One query each.
 *
 * A document is a number that tells it apart (document_number). Lists hold no document twice, the nearest first.
 * Threads: pure functions.
 */
#ifndef REEMBED_COORDINATOR_RANKING_H
#define REEMBED_COORDINATOR_RANKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db/types.h"

/* Ids of up to 8 bytes are their own number; longer ones are hashed to 64 bits: two of a million documents share a
 * number with a chance of one in ten million, and a statistic would not feel it. */
uint64_t document_number(struct doc_key key);

/* |A and B| / k of the first k of both: 0 to 1. Lists that are both shorter than k are judged by the longer one. */
double ranking_overlap(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count, size_t k);

/* Spearman's rank correlation of two columns of figures for the same things, ties at their mean rank: -1 to 1; 0 where
 * a column is constant. `scratch`: room for 2 x count doubles and count size_t, see ranking_scratch_size. */
double ranking_spearman(const float *a, const float *b, size_t count, void *scratch);
size_t ranking_scratch_size(size_t count); /* bytes */

/* What a query's ranking is worth, where it is known which documents should be found. */
struct relevance {
    double recall_1;  /* share of the relevant documents that are first: at most 1 / relevant */
    double recall_10; /* share among the first ten */
    double mrr_10;    /* 1 / rank of the first relevant one; 0 beyond ten */
    double ndcg_10;   /* binary gain, against the best order that there is */
};

/* `ranks`: of each relevant document, 1 is the nearest; halves where documents are equally near. count > 0. Sorts. */
struct relevance ranking_relevance(double *ranks, size_t count);

#endif
