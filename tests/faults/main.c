/* For every n: the n-th allocation fails, then the n-th and all that follow; the same for threads. Nothing crashes,
 * nothing leaks (under the address sanitizer), and whoever fails says that memory or a thread was missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/failing.h"
#include "tests/faults/subjects.h"

static int wrong;

static void
judge(const struct subject *subject, const char *what, size_t n, bool onwards, enum rc rc, const struct err *err,
      const char *word)
{
    if (rc == RC_OK || (rc == RC_FATAL && err->class == ERR_SYSTEM && strstr(err->message, word)))
        return;
    wrong++;
    printf("%s, %s %zu%s fails: %s, class %d, \"%s\"\n", subject->name, what, n, onwards ? " and all after it" : "",
           rc_name(rc), (int)err->class, err->message);
}

static void
without_memory(const struct subject *subject)
{
    size_t calls, failures = 0;
    struct err err = ERR_INIT;

    failing_memory(0, false);
    enum rc rc = subject->run(&err);
    calls = failing_memory_calls();
    if (rc != RC_OK || calls == 0) {
        wrong++;
        printf("%s: with all the memory it wants: %s, %s (%zu allocations)\n", subject->name, rc_name(rc), err.message,
               calls);
        return;
    }
    for (int onwards = 0; onwards < 2; onwards++)
        for (size_t n = 1; n <= calls + 2; n++) {
            err = (struct err)ERR_INIT;
            failing_memory(n, onwards);
            rc = subject->run(&err);
            failing_memory(0, false);
            failures += rc != RC_OK;
            judge(subject, "allocation", n, onwards, rc, &err, "memory");
        }
    printf("%s: %zu allocations, %zu failures\n", subject->name, calls, failures);
    if (failures == 0) {
        wrong++;
        printf("%s never fails: the allocations are not the ones it makes\n", subject->name);
    }
}

static void
without_threads(const struct subject *subject)
{
    size_t calls;
    struct err err = ERR_INIT;

    failing_threads(0, false);
    if (subject->run(&err) != RC_OK || (calls = failing_thread_calls()) == 0) {
        wrong++;
        printf("%s: with all the threads it wants: %s\n", subject->name, err.message);
        return;
    }
    for (int onwards = 0; onwards < 2; onwards++)
        for (size_t n = 1; n <= calls; n++) {
            err = (struct err)ERR_INIT;
            failing_threads(n, onwards);
            enum rc rc = subject->run(&err);
            failing_threads(0, false);
            judge(subject, "thread", n, onwards, rc, &err, "thread");
        }
    printf("%s: %zu threads\n", subject->name, calls);
}

int
main(void)
{
    for (size_t i = 0; i < parser_subject_count; i++)
        without_memory(&parser_subjects[i]);
    for (size_t i = 0; i < worker_subject_count; i++)
        without_memory(&worker_subjects[i]);
    for (size_t i = 0; i < worker_subject_count; i++)
        if (worker_subjects[i].threads)
            without_threads(&worker_subjects[i]);
    printf("%d wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
