/* tests/faults/failing.h - memory and threads that run out when the test says so.
 *
 * The linker sends the calls of the product's own objects to malloc, calloc, realloc, reallocarray, strdup, strndup,
 * asprintf and pthread_create here (--wrap, so the sanitizers still see the real ones), and cJSON is given the same
 * malloc. Counted and failed over all threads.
 */
#ifndef REEMBED_TESTS_FAILING_H
#define REEMBED_TESTS_FAILING_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the n-th allocation fails (1 is the next one; 0: none), with `onwards` every later one too. */
void failing_memory(size_t n, bool onwards);
void failing_threads(size_t n, bool onwards);

size_t failing_memory_calls(void); /* since failing_memory */
size_t failing_thread_calls(void);

#endif
