/* Means with their uncertainty, quantiles. */
#include <criterion/criterion.h>
#include <math.h>

#include "coordinator/sampling.h"

#define NEAR(a, b, within) cr_assert(fabs((a) - (b)) < (within), "%.9f is not %.9f", (double)(a), (double)(b))

Test(sampling, quantiles_are_those_of_numpy)
{
    double values[] = {3.5, 1, 9, 2, 2, 7.25, 4};
    const double shares[] = {0, 0.1, 0.25, 0.5, 0.9, 1}, expected[] = {1, 1.6, 2, 3.5, 7.95, 9};

    sort_ascending(values, 7);
    for (size_t i = 0; i < 6; i++)
        NEAR(quantile(values, 7, shares[i]), expected[i], 1e-9);
    NEAR(quantile(values, 1, 0.5), 1, 1e-9);
}

Test(sampling, the_interval_of_a_share_is_the_one_of_theory)
{
    double values[500];

    for (size_t i = 0; i < 500; i++)
        values[i] = i < 150;
    struct estimate e = estimate_mean(values, 500, 7);
    double half = 1.96 * sqrt(0.3 * 0.7 / 500);
    NEAR(e.mean, 0.3, 1e-12);
    NEAR(e.low, 0.3 - half, 0.006);
    NEAR(e.high, 0.3 + half, 0.006);
    cr_assert_eq(e.count, 500);
}

Test(sampling, the_interval_narrows_with_the_root_of_the_sample)
{
    double values[1600];

    for (size_t i = 0; i < 1600; i++)
        values[i] = (double)(i % 10);
    struct estimate small = estimate_mean(values, 100, 3), large = estimate_mean(values, 1600, 3);
    NEAR((small.high - small.low) / (large.high - large.low), 4, 0.5);
}

Test(sampling, the_same_seed_gives_the_same_interval)
{
    double values[40];

    for (size_t i = 0; i < 40; i++)
        values[i] = sin((double)i);
    struct estimate a = estimate_mean(values, 40, 1), b = estimate_mean(values, 40, 1),
                    c = estimate_mean(values, 40, 2);
    cr_assert(a.low == b.low && a.high == b.high);
    cr_assert(a.low != c.low);
}

Test(sampling, constant_values_have_no_uncertainty_and_none_have_no_mean)
{
    const double same[] = {0.25, 0.25, 0.25};
    struct estimate e = estimate_mean(same, 3, 1), none = estimate_mean(same, 0, 1);

    cr_assert(e.low == 0.25 && e.high == 0.25);
    cr_assert(none.count == 0 && isnan(none.mean) && isnan(none.low));
}
