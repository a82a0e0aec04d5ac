#include "coordinator/ranking.h"

#include <math.h>
#include <stdlib.h>

enum { DEPTH = 10 };

uint64_t
document_number(struct doc_key key)
{
    uint64_t number = 0;

    if (key.length <= sizeof number) {
        for (uint32_t i = 0; i < key.length; i++)
            number = number << 8 | (unsigned char)key.bytes[i];
        return number;
    }
    number = 14695981039346656037u; /* FNV-1a */
    for (uint32_t i = 0; i < key.length; i++)
        number = (number ^ (unsigned char)key.bytes[i]) * 1099511628211u;
    number ^= number >> 32;
    number *= 0x9e3779b97f4a7c15u;
    return number ^ number >> 29;
}

double
ranking_overlap(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count, size_t k)
{
    size_t a_used = a_count < k ? a_count : k, b_used = b_count < k ? b_count : k;
    size_t longer = a_used > b_used ? a_used : b_used, shared = 0;

    for (size_t i = 0; i < a_used; i++) {
        for (size_t j = 0; j < b_used; j++) {
            if (a[i] == b[j]) {
                shared++;
                break;
            }
        }
    }
    return longer == 0 ? 0 : (double)shared / (double)longer;
}

/* --- Spearman --- */

static int
by_value(const void *a, const void *b, void *context)
{
    const float *values = context;
    float x = values[*(const size_t *)a], y = values[*(const size_t *)b];

    return (x > y) - (x < y);
}

static void
rank(const float *values, size_t count, size_t *order, double *ranks)
{
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order, count, sizeof *order, by_value, (void *)(uintptr_t)values);
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && values[order[end]] == values[order[i]])
            end++;
        for (size_t j = i; j < end; j++)
            ranks[order[j]] = ((double)i + (double)end - 1) / 2;
        i = end;
    }
}

size_t
ranking_scratch_size(size_t count)
{
    return count * (2 * sizeof(double) + sizeof(size_t));
}

double
ranking_spearman(const float *a, const float *b, size_t count, void *scratch)
{
    double *a_ranks = scratch, *b_ranks = a_ranks + count;
    size_t *order = (size_t *)(b_ranks + count);
    double middle = ((double)count - 1) / 2, ab = 0, aa = 0, bb = 0;

    rank(a, count, order, a_ranks);
    rank(b, count, order, b_ranks);
    for (size_t i = 0; i < count; i++) {
        double x = a_ranks[i] - middle, y = b_ranks[i] - middle;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* --- relevance --- */

static int
by_rank(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

struct relevance
ranking_relevance(double *ranks, size_t count)
{
    struct relevance found = {0};
    double gain = 0, best = 0;

    qsort(ranks, count, sizeof *ranks, by_rank);
    for (size_t i = 0; i < count; i++) {
        found.recall_1 += ranks[i] <= 1;
        found.recall_10 += ranks[i] <= DEPTH;
        if (ranks[i] <= DEPTH)
            gain += 1 / log2(ranks[i] + 1);
        if (i < DEPTH)
            best += 1 / log2((double)i + 2);
    }
    found.recall_1 /= (double)count;
    found.recall_10 /= (double)count;
    found.mrr_10 = ranks[0] <= DEPTH ? 1 / ranks[0] : 0;
    found.ndcg_10 = gain / best;
    return found;
}
