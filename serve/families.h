/* serve/families.h - every metric that is exported: its name, kind and help, once.
 *
 * Names follow the conventions of Prometheus: units in the name, counters end in _total. What is not in these tables is
 * not exported. Threads: constants.
 */
#ifndef REEMBED_SERVE_FAMILIES_H
#define REEMBED_SERVE_FAMILIES_H

#include <stddef.h>

struct metric_family {
    const char *key; /* of the samples that serve/sql/metrics.sql gives; of the process: the same as `name` */
    const char *name;
    const char *type; /* "gauge", "counter", "histogram" */
    const char *help;
};

/* What the database knows; ended by a row without a key. */
extern const struct metric_family database_families[];

/* By name, among those of the process; aborts when there is none. */
const struct metric_family *process_family(const char *name);

#endif
