#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "embed/onnx/groups.h"
#include "embed/onnx/pool_vectors.h"
#include "embed/onnx/runner.h"

static uint64_t
next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static int
ascending(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return *a < *b ? -1 : *a > *b;
}

static uint64_t
cost_of(const uint32_t *lengths, size_t first, size_t count)
{
    return RUN_OVERHEAD + (uint64_t)lengths[first + count - 1] * count;
}

/* The least cost of all ways to cut, by trying them. */
static uint64_t
least_cost(const uint32_t *lengths, size_t count)
{
    uint64_t best = UINT64_MAX;

    for (size_t cuts = 0; cuts < (size_t)1 << (count - 1); cuts++) {
        uint64_t cost = 0;
        size_t first = 0;
        bool allowed = true;

        for (size_t i = 1; i <= count; i++) {
            if (i < count && !(cuts >> (i - 1) & 1))
                continue;
            allowed &= i - first == 1 || (i - first) * lengths[i - 1] <= RUN_TOKENS;
            cost += cost_of(lengths, first, i - first);
            first = i;
        }
        if (allowed && cost < best)
            best = cost;
    }
    return best;
}

Test(onnx_parts, cuts_groups_of_least_cost)
{
    struct arena *arena = arena_new(0);

    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t state = seed, cost = 0;
        uint32_t lengths[12];
        size_t count = 1 + next(&state) % 12, covered = 0;
        struct text_group *groups;

        for (size_t i = 0; i < count; i++)
            lengths[i] = 1 + (uint32_t)(next(&state) % (seed % 2 ? 256 : 30));
        qsort(lengths, count, sizeof lengths[0], ascending);
        size_t group_count = groups_cut(lengths, count, arena, &groups);
        for (size_t g = 0; g < group_count; g++) {
            cr_assert_eq(groups[g].longest, lengths[groups[g].first + groups[g].count - 1]);
            cr_assert(g == 0 || groups[g].longest <= groups[g - 1].longest, "longest first");
            cr_assert(g == 0 || groups[g].first + groups[g].count == groups[g - 1].first);
            cost += cost_of(lengths, groups[g].first, groups[g].count);
            covered += groups[g].count;
        }
        cr_assert_eq(covered, count);
        cr_assert_eq(cost, least_cost(lengths, count), "seed %zu", (size_t)seed);
        arena_reset(arena);
    }
    arena_free(arena);
}

Test(onnx_parts, pads_little_in_a_batch_of_a_hundred)
{
    struct arena *arena = arena_new(0);
    struct text_group *groups;
    uint32_t lengths[100];
    uint64_t state = 5, tokens = 0, padded = 0;

    for (size_t i = 0; i < 100; i++)
        tokens += lengths[i] = 20 + (uint32_t)(next(&state) % 236);
    qsort(lengths, 100, sizeof lengths[0], ascending);
    size_t group_count = groups_cut(lengths, 100, arena, &groups);
    for (size_t g = 0; g < group_count; g++)
        padded += groups[g].count * groups[g].longest;
    cr_assert_lt((double)padded, 1.03 * (double)tokens);
    arena_free(arena);
}

Test(onnx_parts, pools)
{
    static const float tokens[] = {1, 2, 3, 4, 5, 9};
    float vector[2];

    pool_tokens(tokens, 3, 2, POOLING_MEAN, vector);
    cr_assert(vector[0] == 3 && vector[1] == 5);
    pool_tokens(tokens, 3, 2, POOLING_CLS, vector);
    cr_assert(vector[0] == 1 && vector[1] == 2);
    pool_tokens(tokens, 2, 2, POOLING_LAST, vector);
    cr_assert(vector[0] == 3 && vector[1] == 4);
    cr_assert(vector_normalize(vector, 2));
    cr_assert_float_eq(vector[0], 0.6f, 1e-7);
    vector[0] = vector[1] = 0;
    cr_assert_not(vector_normalize(vector, 2));
    vector[0] = NAN;
    cr_assert_not(vector_normalize(vector, 2));
}

struct counted {
    _Atomic unsigned ran[64];
    size_t fails_at; /* SIZE_MAX: never */
};

static enum rc
count_group(void *job, size_t group, void *scratch, struct err *err)
{
    struct counted *counted = job;

    ++*(unsigned *)scratch;
    counted->ran[group]++;
    if (group == counted->fails_at)
        return err_set(err, RC_FATAL, ERR_SYSTEM, "group %zu", group);
    return RC_OK;
}

static void
clear_nothing(void *scratch)
{
    (void)scratch;
}

Test(onnx_parts, runs_each_group_once_and_stops_at_a_failure)
{
    const struct runner_options options = {
        .threads = 3, .scratch_size = sizeof(unsigned), .scratch_clear = clear_nothing, .run = count_group};
    struct runner *runner = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(runner_open(&options, &runner, &err), RC_OK);
    for (size_t groups = 0; groups <= 64; groups++) {
        struct counted job = {.fails_at = SIZE_MAX};
        cr_assert_eq(runner_run(runner, &job, groups, &err), RC_OK);
        for (size_t i = 0; i < 64; i++)
            cr_assert_eq(job.ran[i], i < groups);
    }
    struct counted job = {.fails_at = 5};
    cr_assert_eq(runner_run(runner, &job, 64, &err), RC_FATAL);
    cr_assert_str_eq(err.message, "group 5");
    cr_assert_eq(job.ran[63], 0);
    runner_close(runner);
    cr_assert_geq(runner_cores(), 1);
}
