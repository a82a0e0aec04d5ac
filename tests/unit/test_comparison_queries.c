/* Query files: one JSON object a line. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/query_file.h"

static char path[] = "/tmp/reembed-queries.XXXXXX";
static struct arena *arena;
static struct query_file file;
static struct err err;

static enum rc
reading(const char *text)
{
    int descriptor = mkstemp(strcpy(path, "/tmp/reembed-queries.XXXXXX"));

    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    err = (struct err)ERR_INIT;
    arena = arena ? arena : arena_new(0);
    enum rc rc = query_file_read(path, 3, arena, &file, &err);
    unlink(path);
    return rc;
}

static void
tear_down(void)
{
    arena = arena_free(arena);
}

TestSuite(query_file, .fini = tear_down);

Test(query_file, texts_with_and_without_what_they_should_find)
{
    cr_assert_eq(reading("{\"text\": \"one\", \"relevant\": [\"a\", 7]}\n\n{\"text\": \"two\"}\n"
                         "{\"text\": \"three\", \"relevant\": \"b\", \"more\": {}}"),
                 RC_OK, "%s", err.message);
    cr_assert_eq(file.count, 3);
    cr_assert_eq(file.relevant_count, 3);
    cr_assert_str_eq(file.lines[2].text.bytes, "three");
    cr_assert_str_eq(file.relevant[1].bytes, "7");
    cr_assert_eq(file.lines[1].relevant_count, 0);
    cr_assert_eq(file.lines[2].first_relevant, 2);
    cr_assert_str_eq(file.relevant[2].bytes, "b");
}

Test(query_file, what_is_wrong_is_named_with_its_line)
{
    static const struct {
        const char *text, *words;
    } rows[] = {{"{\"text\": \"one\"}\nnonsense\n", ":2: this is no JSON object"},
                {"{\"query\": \"one\"}\n", ":1: there is no \"text\""},
                {"{\"text\": \"  \"}\n", ":1: there is no \"text\""},
                {"{\"text\": \"one\", \"relevant\": [1.5]}\n", ":1: \"relevant\" must hold ids"},
                {"{\"text\": \"one\", \"relevant\": [[1]]}\n", ":1: \"relevant\" must hold ids"},
                {"\n\n", "holds no queries"},
                {"{\"text\":\"1\"}\n{\"text\":\"2\"}\n{\"text\":\"3\"}\n{\"text\":\"4\"}\n", "more than 3 queries"}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(reading(rows[i].text), RC_INVALID, "%s", rows[i].text);
        cr_assert_not_null(strstr(err.message, rows[i].words), "%s", err.message);
        cr_assert_eq(err.class, ERR_USAGE);
    }
}

Test(query_file, a_file_that_is_not_there)
{
    arena = arena_new(0);
    cr_assert_eq(query_file_read("/nowhere/queries.jsonl", 3, arena, &file, &err), RC_INVALID);
}
