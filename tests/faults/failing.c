#include "tests/faults/failing.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct failing {
    atomic_size_t calls;
    atomic_size_t n;
    atomic_bool onwards;
};

static struct failing memory, threads;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);

static void
set(struct failing *failing, size_t n, bool onwards)
{
    atomic_store(&failing->n, n);
    atomic_store(&failing->onwards, onwards);
    atomic_store(&failing->calls, 0);
}

static bool
fails(struct failing *failing)
{
    size_t call = atomic_fetch_add(&failing->calls, 1) + 1, n = atomic_load(&failing->n);

    return n != 0 && (call == n || (atomic_load(&failing->onwards) && call > n));
}

void
failing_memory(size_t n, bool onwards)
{
    set(&memory, n, onwards);
}

void
failing_threads(size_t n, bool onwards)
{
    set(&threads, n, onwards);
}

size_t
failing_memory_calls(void)
{
    return atomic_load(&memory.calls);
}

size_t
failing_thread_calls(void)
{
    return atomic_load(&threads.calls);
}

static void *
no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *
__wrap_malloc(size_t size)
{
    return fails(&memory) ? no_memory() : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails(&memory) ? no_memory() : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails(&memory) ? no_memory() : __real_realloc(old, size);
}

void *
__wrap_reallocarray(void *old, size_t count, size_t size)
{
    if (fails(&memory) || (size != 0 && count > SIZE_MAX / size))
        return no_memory();
    return __real_realloc(old, count * size);
}

char *
__wrap_strndup(const char *text, size_t most)
{
    size_t length = strnlen(text, most);
    char *copy = fails(&memory) ? no_memory() : __real_malloc(length + 1);

    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *
__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX);
}

int
__wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list arguments;

    if (fails(&memory)) {
        *ret_text = no_memory();
        return -1;
    }
    va_start(arguments, format);
    int length = vasprintf(ret_text, format, arguments);
    va_end(arguments);
    return length;
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    return fails(&threads) ? EAGAIN : __real_pthread_create(thread, attributes, body, argument);
}
