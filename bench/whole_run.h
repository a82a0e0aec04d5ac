/* bench/whole_run.h - one `reembed run`, from start to completed, as a user has it: a process of its own. */
#ifndef REEMBED_BENCH_WHOLE_RUN_H
#define REEMBED_BENCH_WHOLE_RUN_H

#include <stdbool.h>
#include <sys/resource.h>

struct whole_run {
    double seconds;
    double cpu_seconds; /* user and system, of all its threads */
    long peak_kb;       /* resident memory */
};

/* Runs `binary` with a migration file of that text. False: it did not end with 0; it has said why on stderr. */
bool whole_run(const char *binary, const char *url, const char *migration, struct whole_run *ret_run);

double rusage_cpu_seconds(const struct rusage *usage);

#endif
