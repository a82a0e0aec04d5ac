/* Loaded into the whole program by LD_PRELOAD: the n-th allocation of any library in it fails, or the n-th thread.
 *
 *   REEMBED_TEST_FAIL=memory:120    the 120th allocation       memory:120+   that one and all after it
 *   REEMBED_TEST_FAIL=thread:3      the third thread
 *   REEMBED_TEST_FAIL_COUNT=FILE    at the end: allocations and threads, two numbers
 *
 * Not together with a sanitizer: those have allocators of their own. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static atomic_size_t allocations, thread_starts;
static size_t memory_n, thread_n; /* set before main, read only afterwards; 0: none */
static bool onwards;

__attribute__((constructor)) static void
read_orders(void)
{
    const char *order = getenv("REEMBED_TEST_FAIL");

    if (!order)
        return;
    if (strncmp(order, "memory:", 7) == 0)
        memory_n = strtoul(order + 7, NULL, 10);
    else if (strncmp(order, "thread:", 7) == 0)
        thread_n = strtoul(order + 7, NULL, 10);
    onwards = strchr(order, '+') != NULL;
    atomic_store(&allocations, 0);
}

__attribute__((destructor)) static void
write_count(void)
{
    const char *path = getenv("REEMBED_TEST_FAIL_COUNT");
    size_t counted = atomic_load(&allocations);
    FILE *file = path ? fopen(path, "we") : NULL;

    if (!file)
        return;
    (void)fprintf(file, "%zu %zu\n", counted, atomic_load(&thread_starts));
    (void)fclose(file);
}

static bool
fails(atomic_size_t *count, size_t n)
{
    size_t call = atomic_fetch_add(count, 1) + 1;

    return n != 0 && (call == n || (onwards && call > n));
}

static void *
no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *
malloc(size_t size)
{
    return fails(&allocations, memory_n) ? no_memory() : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return fails(&allocations, memory_n) ? no_memory() : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
    return fails(&allocations, memory_n) ? no_memory() : __libc_realloc(old, size);
}

int
pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*body)(void *),
               void *restrict argument)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return fails(&thread_starts, thread_n) ? EAGAIN : real(thread, attributes, body, argument);
}
