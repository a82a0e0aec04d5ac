/* base/arena.h - memory that is given back all at once: one arena a batch.
 *
 * Allocation is a pointer bump in a chain of blocks; arena_reset keeps one block with room for all that was in use, so
 * a steady batch loop allocates nothing and holds no more than it uses. The arena refuses to grow past its limit (returns NULL).
 * Threads: an arena belongs to one thread at a time; it may be handed over with the batch that owns it.
 */
#ifndef REEMBED_BASE_ARENA_H
#define REEMBED_BASE_ARENA_H

#include <stddef.h>

struct arena;

/* NULL when out of memory. `limit` in bytes, 0: no limit. */
struct arena *arena_new(size_t limit);

/* 16-byte aligned, not zeroed. NULL when out of memory, over the limit, or count x size overflows. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size);

/* A NUL-terminated copy of `length` bytes. */
char *arena_copy(struct arena *arena, const void *bytes, size_t length);

/* printf into the arena. */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

size_t arena_used(const struct arena *arena);  /* bytes handed out since the last reset */
void arena_reset(struct arena *arena);         /* everything handed out becomes invalid */
struct arena *arena_free(struct arena *arena); /* NULL is fine; returns NULL */

#endif
