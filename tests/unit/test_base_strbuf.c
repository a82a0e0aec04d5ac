#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

Test(strbuf, empty_is_an_empty_string)
{
    struct strbuf buf;

    strbuf_init(&buf, 100);
    cr_assert_str_eq(strbuf_text(&buf), "");
    char *taken = strbuf_take(&buf);
    cr_assert_not_null(taken);
    cr_assert_str_eq(taken, "");
    free(taken);
}

Test(strbuf, appends_of_all_kinds_add_up)
{
    struct strbuf buf;

    strbuf_init(&buf, 100000);
    strbuf_puts(&buf, "a");
    strbuf_putc(&buf, 'b');
    strbuf_add(&buf, "cdX", 2);
    strbuf_printf(&buf, "%d", 42);
    cr_assert_str_eq(strbuf_text(&buf), "abcd42");
    for (int i = 0; i < 5000; i++)
        strbuf_printf(&buf, "%04d,", i);
    cr_assert_not(buf.failed);
    cr_assert_eq(buf.length, 6 + 25000);
    cr_assert_str_eq(strbuf_text(&buf) + buf.length - 5, "4999,");
    strbuf_free(&buf);
    cr_assert_str_eq(strbuf_text(&buf), "");
}

Test(strbuf, holds_exactly_its_maximum_and_fails_for_good_beyond)
{
    struct strbuf buf;

    strbuf_init(&buf, 8);
    strbuf_puts(&buf, "12345678");
    cr_assert_not(buf.failed);
    strbuf_putc(&buf, '9');
    cr_assert(buf.failed);
    cr_assert_str_eq(strbuf_text(&buf), "12345678");
    cr_assert_null(strbuf_take(&buf));

    strbuf_puts(&buf, "1234567");
    strbuf_printf(&buf, "%s", "89");
    cr_assert(buf.failed);
    strbuf_puts(&buf, "8");
    cr_assert_str_eq(strbuf_text(&buf), "1234567", "nothing is appended after a failure, even if it would fit");
    strbuf_reset(&buf);
    strbuf_puts(&buf, "again");
    cr_assert_not(buf.failed);
    cr_assert_str_eq(strbuf_text(&buf), "again");
    strbuf_free(&buf);
}

Test(strbuf, take_hands_the_memory_over_once)
{
    struct strbuf buf;

    strbuf_init(&buf, 100);
    strbuf_puts(&buf, "mine");
    char *taken = strbuf_take(&buf);
    strbuf_puts(&buf, "yours");
    cr_assert_str_eq(taken, "mine");
    cr_assert_str_eq(strbuf_text(&buf), "yours");
    free(taken);
    strbuf_free(&buf);
}

static void
assert_json(const char *bytes, size_t length, const char *json)
{
    struct strbuf buf;

    strbuf_init(&buf, 1000);
    strbuf_json(&buf, bytes, length);
    cr_assert_str_eq(strbuf_text(&buf), json);
    strbuf_free(&buf);
}

Test(strbuf, json_strings_are_escaped_and_always_valid_utf_8)
{
    assert_json("", 0, "\"\"");
    assert_json("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    assert_json("\n\r\t\b\0\x1f\x7f", 7, "\"\\n\\r\\t\\u0008\\u0000\\u001f\\u007f\"");
    assert_json("\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x98\x80", 9, "\"\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x98\x80\"");
    assert_json("\xFF", 1, "\"\xEF\xBF\xBD\"");
    assert_json("\xE6\xBC\xA2", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json("\xC0\xAF", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json("\xF4\x90\x80\x80", 4, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json("\xF4\x8F\xBF\xBF", 4, "\"\xF4\x8F\xBF\xBF\"");
}
