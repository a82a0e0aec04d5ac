/* base/histogram.h - how long something takes, as counts of fixed buckets that any number of threads may add to.
 *
 * An observation costs two relaxed atomic additions. A reader may see one of them and not yet the other: the figures
 * are for graphs, not for accounts. Units: microseconds.
 * Threads: every function may be called from any thread. A zeroed struct is an empty histogram.
 */
#ifndef REEMBED_BASE_HISTOGRAM_H
#define REEMBED_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS = 15 };

/* Upper bounds, ascending: 0.5 ms to 60 s. The bucket behind the last has none. */
extern const int64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram {
    atomic_ullong buckets[HISTOGRAM_BOUNDS + 1]; /* of this bucket alone, not cumulated */
    atomic_ullong sum_us;
};

/* Negative durations count as 0. */
void histogram_add(struct histogram *histogram, int64_t duration_us);

#endif
