#include <criterion/criterion.h>
#include <malloc.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

Test(arena, hands_out_aligned_memory_that_does_not_overlap)
{
    struct arena *arena = arena_new(0);
    char *previous_end = NULL;

    for (size_t size = 0; size < 5000; size = size * 2 + 1) {
        char *memory = arena_alloc(arena, size);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % 16, 0, "size %zu", size);
        memset(memory, 0xAB, size);
        if (previous_end != NULL && memory >= previous_end - 5000 && memory < previous_end)
            cr_assert_fail("allocation of %zu bytes overlaps the one before", size);
        previous_end = memory + size;
    }
    arena_free(arena);
}

Test(arena, keeps_contents_when_it_grows_over_many_blocks)
{
    struct arena *arena = arena_new(0);
    unsigned char *parts[200];

    for (size_t i = 0; i < 200; i++) {
        parts[i] = arena_alloc(arena, 1000);
        cr_assert_not_null(parts[i]);
        memset(parts[i], (int)i, 1000);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t j = 0; j < 1000; j++)
            cr_assert_eq(parts[i][j], i);
    }
    cr_assert_geq(arena_used(arena), 200000);
    arena_free(arena);
}

Test(arena, refuses_to_grow_past_its_limit_and_recovers_by_reset)
{
    struct arena *arena = arena_new(1024);

    cr_assert_not_null(arena_alloc(arena, 1000));
    cr_assert_null(arena_alloc(arena, 100));
    cr_assert_not_null(arena_alloc(arena, 16), "what still fits is still given");
    arena_reset(arena);
    cr_assert_eq(arena_used(arena), 0);
    cr_assert_not_null(arena_alloc(arena, 1024));
    cr_assert_null(arena_alloc(arena, 1));
    arena_free(arena);
}

Test(arena, refuses_sizes_that_overflow)
{
    struct arena *arena = arena_new(0);

    cr_assert_null(arena_array(arena, SIZE_MAX / 2, 4));
    cr_assert_null(arena_array(arena, SIZE_MAX, SIZE_MAX));
    cr_assert_null(arena_alloc(arena, SIZE_MAX));
    cr_assert_null(arena_alloc(arena, SIZE_MAX - 8));
    cr_assert_null(arena_copy(arena, "x", SIZE_MAX));
    cr_assert_not_null(arena_array(arena, 3, 4), "a refusal leaves it usable");
    arena_free(arena);
}

Test(arena, reset_reuses_the_same_memory)
{
    struct arena *arena = arena_new(0);

    for (int i = 0; i < 100; i++)
        cr_assert_not_null(arena_alloc(arena, 1000));
    arena_reset(arena);
    char *first = arena_alloc(arena, 1000);
    arena_reset(arena);
    cr_assert_eq((void *)arena_alloc(arena, 1000), (void *)first);
    arena_free(arena);
}

/* 16 workers with a batch of 1.2 MB each: a block that is kept beside a doubled one would cost 20 MB. */
Test(arena, reset_keeps_room_for_all_that_was_used_and_little_more)
{
    enum { SMALL = 30 * 1024, LARGE = 1200 * 1024 };
    struct arena *arena = arena_new(0);
    size_t before, after;

    cr_assert_not_null(arena_alloc(arena, SMALL));
    cr_assert_not_null(arena_alloc(arena, LARGE));
    cr_assert_not_null(arena_alloc(arena, SMALL)); /* in a block of its own */
    arena_reset(arena);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    char *first = arena_alloc(arena, SMALL), *second = arena_alloc(arena, LARGE), *third = arena_alloc(arena, SMALL);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    cr_assert(first != NULL && second != NULL && third != NULL);
    cr_assert_eq(after, before, "nothing is allocated: it grew from %zu to %zu", before, after);
    arena_free(arena);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    cr_assert_lt(before - after, (size_t)(SMALL + LARGE) * 5 / 4, "%zu bytes were kept", before - after);
}

Test(arena, copies_and_formats_terminated_strings)
{
    struct arena *arena = arena_new(0);

    memset(arena_alloc(arena, 1000), 'x', 1000); /* nothing ends by luck in memory that was used before */
    arena_reset(arena);
    char *copy = arena_copy(arena, "abcdef", 3);
    cr_assert_str_eq(copy, "abc");
    cr_assert_str_eq(arena_copy(arena, NULL, 0), "");
    cr_assert_str_eq(arena_printf(arena, "%s-%d", "chunk", 42), "chunk-42");
    arena_free(arena);
}

Test(arena, free_takes_null)
{
    cr_assert_null(arena_free(NULL));
}
