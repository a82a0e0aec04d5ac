/* Many callers hand jobs of all sizes to one runner; for ThreadSanitizer too. Each group must run exactly once, before
 * its caller goes on. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed/onnx/runner.h"

enum { CALLERS = 8, JOBS = 400, MAX_GROUPS = 12 };

struct job {
    int ran[MAX_GROUPS]; /* plain: a race here is the bug */
    size_t fails_at;
};

static struct runner *runner;

static enum rc
run_group(void *argument, size_t group, void *scratch, struct err *err)
{
    struct job *job = argument;

    ++*(long *)scratch;
    job->ran[group]++;
    return group == job->fails_at ? err_set(err, RC_FATAL, ERR_SYSTEM, "as asked") : RC_OK;
}

static void
clear(void *scratch)
{
    (void)scratch;
}

static void *
call(void *argument)
{
    unsigned seed = *(unsigned *)argument;

    for (int i = 0; i < JOBS; i++) {
        size_t groups = 1 + (size_t)rand_r(&seed) % MAX_GROUPS;
        struct job job = {.fails_at = i % 10 == 0 ? groups / 2 : MAX_GROUPS};
        struct err err = ERR_INIT;
        enum rc rc = runner_run(runner, &job, groups, &err);

        if ((rc == RC_OK) == (job.fails_at < groups))
            abort();
        for (size_t g = 0; rc == RC_OK && g < groups; g++) {
            if (job.ran[g] != 1)
                abort();
        }
    }
    return NULL;
}

int
main(void)
{
    const struct runner_options options = {
        .threads = 4, .scratch_size = sizeof(long), .scratch_clear = clear, .run = run_group};
    pthread_t threads[CALLERS];
    unsigned seeds[CALLERS];
    struct err err = ERR_INIT;

    if (runner_open(&options, &runner, &err) != RC_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        seeds[i] = i + 1;
        if (pthread_create(&threads[i], NULL, call, &seeds[i]) != 0)
            return 1;
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    runner_close(runner);
    return 0;
}
