#include "coordinator/sampling.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 2000 };

uint64_t
random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void
sort_ascending(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
}

double
quantile(const double *sorted, size_t count, double share)
{
    double place = share * (double)(count - 1);
    size_t below = (size_t)place;

    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (place - (double)below) * (sorted[below + 1] - sorted[below]);
}

struct estimate
estimate_mean(const double *values, size_t count, uint64_t seed)
{
    struct estimate estimate = {.count = count, .mean = NAN, .low = NAN, .high = NAN};
    double means[RESAMPLES], sum = 0;

    if (count == 0)
        return estimate;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    for (size_t r = 0; r < RESAMPLES; r++) {
        double again = 0;
        for (size_t i = 0; i < count; i++)
            again += values[random_next(&seed) % count];
        means[r] = again / (double)count;
    }
    sort_ascending(means, RESAMPLES);
    estimate.mean = sum / (double)count;
    estimate.low = quantile(means, RESAMPLES, 0.025);
    estimate.high = quantile(means, RESAMPLES, 0.975);
    return estimate;
}
