/* JSON Lines on standard input: whole texts, line numbers, nothing waited for that is there. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/json_string.h"
#include "cli/text_lines.h"

/* --- one line --- */

static enum member
member_of(const char *line, const char **ret_text, size_t *ret_length)
{
    static struct arena *arena;
    arena = arena_free(arena);
    arena = arena_new(0);
    return json_member(line, strlen(line), "text", arena, ret_text, ret_length);
}

static void
text_is(const char *line, const char *expected, size_t expected_length)
{
    const char *text = NULL;
    size_t length = 0;
    cr_assert_eq(member_of(line, &text, &length), MEMBER_TEXT, "%s", line);
    cr_assert_eq(length, expected_length, "%s: %zu bytes: %.*s", line, length, (int)length, text);
    cr_assert_eq(memcmp(text, expected, length), 0, "%s: %.*s", line, (int)length, text);
}

Test(cli_text_lines, escapes_are_decoded_byte_for_byte)
{
    text_is("{\"text\":\"plain\"}", "plain", 5);
    text_is("{\"text\":\"\"}", "", 0);
    text_is("{\"text\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t", 8);
    text_is("{\"text\":\"a\\u0000b\"}", "a\0b", 3);
    text_is("{\"text\":\"\\u00e9\\u20AC\"}", "é€", 5);
    text_is("{\"text\":\"\\ud83d\\ude00\"}", "😀", 4);
    text_is("{\"text\":\"straße\"}", "straße", 7);
}

Test(cli_text_lines, half_a_pair_becomes_the_replacement_character)
{
    text_is("{\"text\":\"\\ud83d\"}", "\xEF\xBF\xBD", 3);
    text_is("{\"text\":\"\\ude00x\"}", "\xEF\xBF\xBDx", 4);
    text_is("{\"text\":\"\\ud83d\\u0041\"}",
            "\xEF\xBF\xBD"
            "A",
            4);
    text_is("{\"text\":\"\\ud83d\\ud83d\\ude00\"}",
            "\xEF\xBF\xBD"
            "😀",
            7);
}

Test(cli_text_lines, the_member_is_found_among_others_and_the_last_of_two_counts)
{
    text_is("  { \"a\" : {\"text\":\"no\"} , \"text\" : \"yes\" , \"b\":[\"text\",{\"text\":\"}\"}] }  ", "yes", 3);
    text_is("{\"text\":\"one\",\"text\":\"two\"}", "two", 3);
    text_is("{\"x\":\"\\\"text\\\":\\\"no\\\"\",\"text\":\"yes\"}", "yes", 3);
    text_is("{\"n\":-1.5e3,\"t\":true,\"z\":null,\"text\":\"yes\"}", "yes", 3);
}

Test(cli_text_lines, what_has_no_text_is_told_apart)
{
    const char *text = NULL;
    size_t length = 0;
    cr_expect_eq(member_of("{}", &text, &length), MEMBER_MISSING);
    cr_expect_eq(member_of("[\"text\"]", &text, &length), MEMBER_MISSING);
    cr_expect_eq(member_of("\"text\"", &text, &length), MEMBER_MISSING);
    cr_expect_eq(member_of("{\"a\":{\"text\":\"x\"}}", &text, &length), MEMBER_MISSING);
    cr_expect_eq(member_of("{\"text\":5}", &text, &length), MEMBER_OTHER);
    cr_expect_eq(member_of("{\"text\":null}", &text, &length), MEMBER_OTHER);
    cr_expect_eq(member_of("{\"text\":{\"a\":1}}", &text, &length), MEMBER_OTHER);
    static const char *const broken[] = {"",
                                         "x",
                                         "{",
                                         "{\"text\":\"x\"",
                                         "{\"text\":\"x\"} y",
                                         "{\"text\":\"\\q\"}",
                                         "{\"text\":\"\\u12\"}",
                                         "{text:\"x\"}",
                                         "{\"text\":\"x\",}"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        cr_expect_eq(member_of(broken[i], &text, &length), MEMBER_BROKEN, "%s", broken[i]);
}

Test(cli_text_lines, any_bytes_do_no_harm)
{
    unsigned seed = 4711;
    static const char alphabet[] = "{}[]\"\\u,: text0dD8";
    for (int round = 0; round < 200000; round++) {
        char line[24];
        size_t length = (size_t)rand_r(&seed) % sizeof line;
        const char *text = NULL;
        size_t size = 0;
        char *exact = malloc(length + 1); /* the sanitizer sees a byte too far */
        struct arena *arena = arena_new(0);
        for (size_t i = 0; i < length; i++)
            exact[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        (void)json_member(exact, length, "text", arena, &text, &size);
        arena_free(arena);
        free(exact);
    }
}

/* --- the stream --- */

struct pipe_end {
    int ends[2];
    struct text_lines *lines;
    struct arena *arena;
};

static struct pipe_end
open_pipe(void)
{
    struct pipe_end end;
    cr_assert_eq(pipe(end.ends), 0);
    end.lines = text_lines_open(end.ends[0]);
    end.arena = arena_new(0);
    return end;
}

static void
send(const struct pipe_end *end, const char *bytes)
{
    cr_assert_eq(write(end->ends[1], bytes, strlen(bytes)), (ssize_t)strlen(bytes));
}

Test(cli_text_lines, a_line_is_given_as_soon_as_it_is_whole)
{
    struct pipe_end end = open_pipe();
    struct text text = {0};
    struct err err = ERR_INIT;

    cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_AGAIN);
    send(&end, "{\"text\":\"on");
    cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_AGAIN);
    send(&end, "e\"}\n{\"text\":\"two\"}\n{\"te");
    cr_assert_eq(text_lines_next(end.lines, true, end.arena, &text, &err), RC_OK);
    cr_assert_eq(memcmp(text.bytes, "one", 3), 0);
    cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_OK);
    cr_assert_eq(memcmp(text.bytes, "two", 3), 0);
    cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_AGAIN);
    send(&end, "xt\":\"three\"}");
    (void)close(end.ends[1]);
    cr_assert_eq(text_lines_next(end.lines, true, end.arena, &text, &err), RC_OK, "the last line needs no line break");
    cr_assert_eq(memcmp(text.bytes, "three", 5), 0);
    cr_assert_eq(text_lines_next(end.lines, true, end.arena, &text, &err), RC_CLOSED);
    text_lines_close(end.lines);
    arena_free(end.arena);
}

Test(cli_text_lines, a_bad_line_is_named_by_its_number)
{
    struct pipe_end end = open_pipe();
    struct text text = {0};
    struct err err = ERR_INIT;

    send(&end, "{\"text\":\"one\"}\n\n{\"text\":3}\n{\"txt\":\"\"}\nnonsense\n");
    (void)close(end.ends[1]);
    static const char *const said[] = {NULL, "line 2: it is empty", "line 3: \"text\" must be a text in quotes",
                                       "line 4: there is no \"text\"", "line 5: this is not JSON"};
    for (size_t i = 0; i < 5; i++) {
        enum rc rc = text_lines_next(end.lines, true, end.arena, &text, &err);
        cr_assert_eq(rc, said[i] == NULL ? RC_OK : RC_INVALID);
        if (said[i] != NULL)
            cr_assert_not_null(strstr(err.message, said[i]), "%s", err.message);
    }
    cr_assert_eq(text_lines_next(end.lines, true, end.arena, &text, &err), RC_CLOSED);
    text_lines_close(end.lines);
    arena_free(end.arena);
}

Test(cli_text_lines, lines_longer_than_what_is_read_at_once_are_whole)
{
    enum { SIZE = 300000 };
    struct pipe_end end = open_pipe();
    struct text text = {0};
    struct err err = ERR_INIT;
    char path[] = "/tmp/text_lines_XXXXXX";
    int file = mkstemp(path);
    FILE *stream = fdopen(file, "w+");

    (void)unlink(path);
    for (int line = 0; line < 3; line++) {
        (void)fputs("{\"text\":\"", stream);
        for (int i = 0; i < SIZE; i++)
            (void)fputc('a' + line, stream);
        (void)fputs("\"}\n", stream);
    }
    rewind(stream);
    text_lines_close(end.lines);
    end.lines = text_lines_open(fileno(stream));
    for (int line = 0; line < 3; line++) {
        cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_OK, "%s", err.message);
        cr_assert_eq(text.length, SIZE);
        cr_assert_eq(text.bytes[0], 'a' + line);
        cr_assert_eq(text.bytes[SIZE - 1], 'a' + line);
    }
    cr_assert_eq(text_lines_next(end.lines, false, end.arena, &text, &err), RC_CLOSED);
    text_lines_close(end.lines);
    arena_free(end.arena);
    (void)fclose(stream);
}
