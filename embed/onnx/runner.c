#include "embed/onnx/runner.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* On the stack of the caller that waits for it; in the queue until its last group was begun. */
struct run_job {
    struct run_job *next;
    void *job;
    size_t groups;
    size_t begun;
    size_t running;
    enum rc rc; /* the first failure */
    struct err err;
    pthread_cond_t finished;
};

struct run_thread {
    struct runner *runner;
    pthread_t thread;
    void *scratch;
    bool started;
};

struct runner {
    struct runner_options options;
    struct run_thread *threads;
    pthread_mutex_t mutex; /* guards all below and all jobs; never held while a group runs */
    pthread_cond_t work;
    struct run_job *first; /* has groups that were not begun */
    bool closing;
};

static void
queue_add(struct runner *runner, struct run_job *job)
{
    struct run_job **at = &runner->first;

    if (job->groups > 1) {
        while (*at)
            at = &(*at)->next;
    }
    job->next = *at;
    *at = job;
}

static void
queue_remove(struct runner *runner, struct run_job *job)
{
    for (struct run_job **at = &runner->first; *at; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            return;
        }
    }
}

static void *
thread_main(void *argument)
{
    struct run_thread *self = argument;
    struct runner *runner = self->runner;

    pthread_mutex_lock(&runner->mutex);
    for (;;) {
        struct run_job *job = runner->first;

        if (!job) {
            if (runner->closing)
                break;
            pthread_cond_wait(&runner->work, &runner->mutex);
            continue;
        }
        size_t group = job->begun++;
        job->running++;
        if (job->begun == job->groups)
            queue_remove(runner, job);
        pthread_mutex_unlock(&runner->mutex);

        struct err err = ERR_INIT;
        enum rc rc = runner->options.run(job->job, group, self->scratch, &err);

        pthread_mutex_lock(&runner->mutex);
        job->running--;
        if (rc != RC_OK && job->rc == RC_OK) {
            job->rc = rc;
            job->err = err;
            if (job->begun < job->groups) {
                job->begun = job->groups;
                queue_remove(runner, job);
            }
        }
        if (job->begun == job->groups && job->running == 0)
            pthread_cond_signal(&job->finished); /* the job is the caller's again once the mutex is free */
    }
    pthread_mutex_unlock(&runner->mutex);
    return NULL;
}

enum rc
runner_open(const struct runner_options *options, struct runner **ret_runner, struct err *err)
{
    struct runner *runner = calloc(1, sizeof *runner);
    sigset_t all, before;
    enum rc rc = RC_OK;

    assert(options->threads > 0);
    if (!runner)
        return err_memory(err);
    runner->options = *options;
    pthread_mutex_init(&runner->mutex, NULL);
    pthread_cond_init(&runner->work, NULL);
    runner->threads = calloc(options->threads, sizeof *runner->threads);
    if (!runner->threads) {
        runner_close(runner);
        return err_memory(err);
    }
    sigfillset(&all); /* signals are one thread's business, and not of these */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < options->threads && rc == RC_OK; i++) {
        struct run_thread *thread = &runner->threads[i];

        thread->runner = runner;
        thread->scratch = calloc(1, options->scratch_size);
        if (!thread->scratch)
            rc = err_memory(err);
        else if (pthread_create(&thread->thread, NULL, thread_main, thread) != 0)
            rc = err_set(err, RC_FATAL, ERR_SYSTEM, "cannot start a thread to run the model");
        else
            thread->started = true;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != RC_OK) {
        runner_close(runner);
        return rc;
    }
    *ret_runner = runner;
    return RC_OK;
}

struct runner *
runner_close(struct runner *runner)
{
    if (!runner)
        return NULL;
    pthread_mutex_lock(&runner->mutex);
    assert(!runner->first);
    runner->closing = true;
    pthread_cond_broadcast(&runner->work);
    pthread_mutex_unlock(&runner->mutex);
    for (size_t i = 0; runner->threads && i < runner->options.threads; i++) {
        struct run_thread *thread = &runner->threads[i];

        if (thread->started)
            pthread_join(thread->thread, NULL);
        if (thread->scratch)
            runner->options.scratch_clear(thread->scratch);
        free(thread->scratch);
    }
    free(runner->threads);
    pthread_cond_destroy(&runner->work);
    pthread_mutex_destroy(&runner->mutex);
    free(runner);
    return NULL;
}

enum rc
runner_run(struct runner *runner, void *job, size_t groups, struct err *err)
{
    struct run_job own = {.job = job, .groups = groups, .rc = RC_OK, .err = ERR_INIT};

    if (groups == 0)
        return RC_OK;
    pthread_cond_init(&own.finished, NULL);
    pthread_mutex_lock(&runner->mutex);
    queue_add(runner, &own);
    if (groups > 1)
        pthread_cond_broadcast(&runner->work);
    else
        pthread_cond_signal(&runner->work);
    while (own.begun < own.groups || own.running > 0)
        pthread_cond_wait(&own.finished, &runner->mutex);
    pthread_mutex_unlock(&runner->mutex);
    pthread_cond_destroy(&own.finished);
    if (own.rc != RC_OK && err)
        *err = own.err;
    return own.rc;
}

/* "max 100000" or "150000 100000": microseconds of CPU time in each period. */
static size_t
quota_cores(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    char text[64];
    char *end;
    size_t cores = 0;

    if (!file)
        return 0;
    if (fgets(text, sizeof text, file)) {
        unsigned long quota = strtoul(text, &end, 10);
        unsigned long period = end != text ? strtoul(end, NULL, 10) : 0;
        if (quota > 0 && period > 0)
            cores = (size_t)((quota + period - 1) / period);
    }
    fclose(file);
    return cores;
}

size_t
runner_cores(void)
{
    cpu_set_t set;
    size_t cores = 1, quota = quota_cores();

    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        cores = (size_t)CPU_COUNT(&set);
    return quota > 0 && quota < cores ? quota : cores;
}
