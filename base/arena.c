#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 16 * 1024 };

struct block {
    struct block *next; /* older */
    size_t capacity;
    size_t used;
    _Alignas(ALIGNMENT) char bytes[];
};

struct arena {
    struct block *newest; /* the only one that is still filled */
    size_t used;          /* handed out in all blocks, padding counted */
    size_t limit;         /* 0: none */
};

struct arena *
arena_new(size_t limit)
{
    struct arena *arena = calloc(1, sizeof *arena);
    if (arena != NULL)
        arena->limit = limit;
    return arena;
}

static struct block *
add_block(struct arena *arena, size_t needed)
{
    size_t capacity = arena->newest == NULL ? FIRST_BLOCK : arena->newest->capacity;
    if (arena->newest != NULL && capacity <= SIZE_MAX / 4)
        capacity *= 2;
    if (capacity < needed)
        capacity = needed;
    /* A doubled block may be refused where a fitting one is still to be had. */
    struct block *block = malloc(sizeof *block + capacity);
    if (block == NULL && capacity > needed) {
        capacity = needed;
        block = malloc(sizeof *block + capacity);
    }
    if (block == NULL)
        return NULL;
    *block = (struct block){.next = arena->newest, .capacity = capacity};
    arena->newest = block;
    return block;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 4)
        return NULL;
    size_t rounded = (size + (ALIGNMENT - 1)) / ALIGNMENT * ALIGNMENT;
    if (rounded == 0)
        rounded = ALIGNMENT;
    if (arena->limit != 0 && (rounded > arena->limit || arena->used > arena->limit - rounded))
        return NULL;

    struct block *block = arena->newest;
    if (block == NULL || block->capacity - block->used < rounded) {
        block = add_block(arena, rounded);
        if (block == NULL)
            return NULL;
    }
    void *memory = block->bytes + block->used;
    block->used += rounded;
    arena->used += rounded;
    return memory;
}

void *
arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return arena_alloc(arena, bytes);
}

char *
arena_copy(struct arena *arena, const void *bytes, size_t length)
{
    if (length == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(arena, length + 1);
    if (copy == NULL)
        return NULL;
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return copy;
}

char *
arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return NULL;

    char *text = arena_alloc(arena, (size_t)length + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

size_t
arena_used(const struct arena *arena)
{
    return arena->used;
}

static void
free_blocks(struct arena *arena)
{
    for (struct block *block = arena->newest, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    arena->newest = NULL;
}

void
arena_reset(struct arena *arena)
{
    struct block *newest = arena->newest;
    size_t used = arena->used;

    arena->used = 0;
    if (newest != NULL && newest->next == NULL) {
        newest->used = 0;
        return;
    }
    /* The old ones go first: for a moment both would be twice as much as is needed. */
    free_blocks(arena);
    if (newest != NULL)
        (void)add_block(arena, used + used / 8);
}

struct arena *
arena_free(struct arena *arena)
{
    if (arena == NULL)
        return NULL;
    free_blocks(arena);
    free(arena);
    return NULL;
}
