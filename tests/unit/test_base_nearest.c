#include <criterion/criterion.h>
#include <string.h>

#include "base/nearest.h"

static const char *const names[] = {"batch_size", "max_concurrent", "dual_write", "id", "where", NULL};

Test(nearest, finds_one_slip_of_each_kind)
{
    cr_assert_str_eq(nearest_name("batch_sise", names), "batch_size");  /* replaced */
    cr_assert_str_eq(nearest_name("batchsize", names), "batch_size");   /* missing */
    cr_assert_str_eq(nearest_name("batch__size", names), "batch_size"); /* one too many */
    cr_assert_str_eq(nearest_name("dual_wriet", names), "dual_write");  /* swapped */
    cr_assert_str_eq(nearest_name("DUAL_WRITE", names), "dual_write");  /* case */
}

Test(nearest, a_swap_is_one_edit_not_two)
{
    const char *const short_names[] = {"abc", NULL};
    cr_assert_str_eq(nearest_name("bac", short_names), "abc");
    cr_assert_null(nearest_name("bca", short_names));
}

Test(nearest, prefers_fewer_edits_then_the_first)
{
    const char *const list[] = {"max_failed", "max_fails", "max_fail", "min_fail", NULL};
    cr_assert_str_eq(nearest_name("max_faile", list), "max_failed");
    cr_assert_str_eq(nearest_name("max_fai", list), "max_fail");
}

Test(nearest, offers_nothing_that_is_far)
{
    char longest[100];
    memset(longest, 'x', sizeof longest);
    longest[99] = '\0';
    const char *const long_names[] = {longest, "x", NULL};

    cr_assert_null(nearest_name("provider", names));
    cr_assert_null(nearest_name("xy", names));
    cr_assert_null(nearest_name("", names));
    cr_assert_null(nearest_name(longest, long_names));
    cr_assert_null(nearest_name("id", (const char *const[]){NULL}));
}
