#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "db/template.h"

static void
expect_rendered(const char *text, const char *expected)
{
    static const struct template_value values[] = {{"docs", "public.\"the docs\""}, {"id", "{docs}"}, {"a_1", "x"}};
    struct err err = ERR_INIT;
    char *sql = NULL;
    enum rc rc = template_render(text, values, 3, &sql, &err);
    if (expected == NULL) {
        cr_assert_eq(rc, RC_FATAL, "%s", text);
        cr_assert_null(sql);
    } else {
        cr_assert_eq(rc, RC_OK, "%s", err.message);
        cr_assert_str_eq(sql, expected);
    }
    free(sql);
}

Test(db_template, placeholders_are_filled_once)
{
    expect_rendered("", "");
    expect_rendered("select 1", "select 1");
    expect_rendered("{docs}", "public.\"the docs\"");
    expect_rendered("select {id} from {docs} where {id}={a_1};",
                    "select {docs} from public.\"the docs\" where {docs}=x;");
}

Test(db_template, other_braces_stay)
{
    expect_rendered("'{}'::text[] '{\"a\": {\"b\": 1}}' '{1,2}' { docs} {docs {",
                    "'{}'::text[] '{\"a\": {\"b\": 1}}' '{1,2}' { docs} {docs {");
    expect_rendered("{{docs}}", "{public.\"the docs\"}");
    expect_rendered("}{", "}{");
}

Test(db_template, a_placeholder_without_a_value_is_an_error_that_names_it)
{
    struct err err = ERR_INIT;
    char *sql = NULL;
    expect_rendered("{doc}", NULL);
    expect_rendered("{docss}", NULL);
    expect_rendered("{Docs}", NULL);
    cr_assert_eq(template_render("select {nothing}", NULL, 0, &sql, &err), RC_FATAL);
    cr_assert_not_null(strstr(err.message, "{nothing}"));
}

static void
expect_quoted(const char *text, const char *identifier, const char *literal)
{
    struct strbuf buf;
    struct err err = ERR_INIT;
    strbuf_init(&buf, 1000);
    cr_assert_eq(template_add_identifier(&buf, text, &err), RC_OK);
    cr_assert_str_eq(strbuf_text(&buf), identifier);
    strbuf_reset(&buf);
    cr_assert_eq(template_add_literal(&buf, text, &err), RC_OK);
    cr_assert_str_eq(strbuf_text(&buf), literal);
    strbuf_free(&buf);
}

Test(db_template, names_and_values_are_quoted_as_libpq_does)
{
    expect_quoted("docs", "\"docs\"", "'docs'");
    expect_quoted("", "\"\"", "''");
    expect_quoted("it's a \"name\"", "\"it's a \"\"name\"\"\"", "'it''s a \"name\"'");
    expect_quoted("back\\slash'", "\"back\\slash'\"", " E'back\\\\slash'''");
    expect_quoted("zo\xc3\xab", "\"zo\xc3\xab\"", "'zo\xc3\xab'");
}

Test(db_template, what_is_not_utf8_is_refused)
{
    struct strbuf buf;
    struct err err = ERR_INIT;
    strbuf_init(&buf, 1000);
    cr_assert_eq(template_add_identifier(&buf, "a\xc3", &err), RC_INVALID);
    cr_assert_eq(template_add_literal(&buf, "\xff'; drop table x; --", &err), RC_INVALID);
    strbuf_free(&buf);
    strbuf_init(&buf, 3);
    cr_assert_eq(template_add_identifier(&buf, "long", &err), RC_FATAL);
    strbuf_free(&buf);
}
