/* embed/onnx/runner.h - the threads that run a model: as many as cores are to be used, each a group at a time.
 *
 * Callers of any number hand in jobs and wait; threads take groups from the oldest job, but a job of a single group (a
 * search query) goes first. So every core is used once whether one caller embeds or twenty, and the end of one batch
 * overlaps with the beginning of the next.
 * Threads: runner_run from any thread; runner_open and runner_close from the owner, the latter with no job inside.
 */
#ifndef REEMBED_EMBED_ONNX_RUNNER_H
#define REEMBED_EMBED_ONNX_RUNNER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct runner;

/* Runs group number `group` of the job. Called on a thread of the runner with that thread's scratch memory. */
typedef enum rc runner_function(void *job, size_t group, void *scratch, struct err *err);

struct runner_options {
    size_t threads;      /* at least 1 */
    size_t scratch_size; /* zeroed memory for each thread */
    void (*scratch_clear)(void *scratch);
    runner_function *run;
};

enum rc runner_open(const struct runner_options *options, struct runner **ret_runner, struct err *err);
struct runner *runner_close(struct runner *runner); /* NULL is fine; returns NULL */

/* Has all groups of a job run and returns once they are. After the first failure, of which *err tells, no further group
 * is begun. */
enum rc runner_run(struct runner *runner, void *job, size_t groups, struct err *err);

/* Cores this process may use: by affinity, and by the CPU quota of its control group. At least 1. */
size_t runner_cores(void);

#endif
