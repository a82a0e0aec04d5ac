/* Tables and lines on standard output. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

static char *bytes;
static size_t length;

static struct output
memory(size_t width)
{
    free(bytes);
    bytes = NULL;
    setenv("LC_ALL", "C.UTF-8", 1);
    return (struct output){.stream = open_memstream(&bytes, &length), .width = width, .utf8 = true};
}

static const char *
written(struct output *out)
{
    (void)fclose(out->stream);
    return bytes;
}

static const struct table_column columns[] = {{"name", false}, {"count", true}, {"text", false}};

static struct table *
two_rows(void)
{
    struct table *table = table_new(columns, 3);
    static const char *const cells[] = {"a", "1", "first", "日本", "12,345", "the second of these"};
    for (size_t i = 0; i < 6; i++)
        table_cell(table, cells[i]);
    return table;
}

Test(cli_output, columns_are_aligned_by_what_is_seen)
{
    struct err err = ERR_INIT;
    struct output out = memory(0);
    struct table *table = two_rows();
    cr_assert_eq(table_print(table, &out, 0, true, &err), RC_OK);
    cr_assert_str_eq(written(&out), "name   count  text\n"
                                    "a          1  first\n"
                                    "日本  12,345  the second of these\n");
    table_free(table);
}

Test(cli_output, a_terminal_cuts_the_last_column_and_a_pipe_does_not)
{
    struct err err = ERR_INIT;
    struct table *table = two_rows();
    struct output out = memory(24);
    cr_assert_eq(table_print(table, &out, 2, false, &err), RC_OK);
    cr_assert_str_eq(written(&out), "  a          1  first\n"
                                    "  日本  12,345  the sec…\n");
    table_free(table);
}

Test(cli_output, a_table_without_rows_prints_nothing)
{
    struct err err = ERR_INIT;
    struct output out = memory(0);
    struct table *table = table_new(columns, 3);
    cr_assert_eq(table_print(table, &out, 0, true, &err), RC_OK);
    cr_assert_str_eq(written(&out), "");
    table_free(table);
}

Test(cli_output, cells_are_made_harmless)
{
    struct err err = ERR_INIT;
    struct output out = memory(0);
    struct table *table = table_new(columns, 3);
    table_cell(table, "\033[31mred");
    table_cell(table, NULL);
    table_cell(table, "two\nlines");
    cr_assert_eq(table_print(table, &out, 0, false, &err), RC_OK);
    cr_assert_null(strchr(written(&out), '\033'));
    cr_assert_not_null(strstr(bytes, "two\\nlines"));
    table_free(table);
}

Test(cli_output, colour_only_where_it_was_asked_for)
{
    struct output out = memory(0);
    output_next(&out, "reembed %s", "list");
    cr_assert_str_eq(written(&out), "next: reembed list\n");
    out = memory(0);
    out.colour = true;
    output_next(&out, "reembed %s", "list");
    cr_assert_str_eq(written(&out), "\033[1mnext:\033[0m reembed list\n");
}

Test(cli_output, a_full_disk_is_told_and_a_reader_that_left_is_not)
{
    struct err err = ERR_INIT;
    struct output out = {.stream = fopen("/dev/full", "w")};
    cr_assert_not_null(out.stream);
    output_print(&out, "text");
    cr_assert_eq(output_finish(&out, &err), RC_FATAL);
    cr_assert_not_null(strstr(err.message, "No space left"), "%s", err.message);
    (void)fclose(out.stream);
}
