#include "base/histogram.h"

const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 15000000, 60000000,
};

void
histogram_add(struct histogram *histogram, int64_t duration_us)
{
    size_t i = 0;

    if (duration_us < 0)
        duration_us = 0;
    while (i < HISTOGRAM_BOUNDS && duration_us > histogram_bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, (unsigned long long)duration_us, memory_order_relaxed);
}
