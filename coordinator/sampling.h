/* coordinator/sampling.h - what a sample says about the whole: means with their uncertainty, quantiles.
 *
 * Random numbers come from a seed, so that the same figures give the same interval in every process.
 * Threads: pure functions.
 */
#ifndef REEMBED_COORDINATOR_SAMPLING_H
#define REEMBED_COORDINATOR_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64: the next number of the sequence that *state stands at. */
uint64_t random_next(uint64_t *state);

/* A mean and the 95 % interval of the percentile bootstrap. */
struct estimate {
    size_t count; /* of the sample; 0: nothing is known and the rest is NaN */
    double mean;
    double low;
    double high;
};

/* For the difference of two means over the same queries give the differences: they are resampled as pairs. */
struct estimate estimate_mean(const double *values, size_t count, uint64_t seed);

/* The value below which `share` of the values lie, between neighbours by straight line (R's type 7). `sorted` ascends;
 * count > 0. */
double quantile(const double *sorted, size_t count, double share);
void sort_ascending(double *values, size_t count);

#endif
