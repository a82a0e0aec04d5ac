/* Figures and texts as people read them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"

static char text[FORMAT_SIZE];

Test(cli_format, counts_have_thousands_separators)
{
    cr_expect_str_eq(format_count(0, text), "0");
    cr_expect_str_eq(format_count(999, text), "999");
    cr_expect_str_eq(format_count(1000, text), "1,000");
    cr_expect_str_eq(format_count(1234567, text), "1,234,567");
    cr_expect_str_eq(format_count(-1000, text), "-1,000");
    cr_expect_str_eq(format_count(INT64_MAX, text), "9,223,372,036,854,775,807");
    cr_expect_str_eq(format_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
}

Test(cli_format, durations_have_two_units_at_most)
{
    static const struct {
        double seconds;
        const char *text;
    } rows[] = {
        {0, "0 s"},         {-5, "0 s"},         {NAN, "0 s"},        {0.4, "0.4 s"},        {9.94, "9.9 s"},
        {9.96, "10 s"},     {59.6, "1 min 0 s"}, {418, "6 min 58 s"}, {3599.6, "1 h 0 min"}, {11520, "3 h 12 min"},
        {86400, "1 d 0 h"}, {187200, "2 d 4 h"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_str_eq(format_duration(rows[i].seconds, text), rows[i].text);
}

Test(cli_format, nothing_is_a_hundred_percent_before_the_last_document)
{
    cr_expect_str_eq(format_share(0, text), "0 %");
    cr_expect_str_eq(format_share(0.4821, text), "48.2 %");
    cr_expect_str_eq(format_share(0.4829, text), "48.2 %");
    cr_expect_str_eq(format_share(0.07, text), "7 %");
    cr_expect_str_eq(format_share(0.29, text), "29 %");
    cr_expect_str_eq(format_share(0.99999999, text), "99.9 %");
    cr_expect_str_eq(format_share(1 - 1e-12, text), "99.9 %");
    cr_expect_str_eq(format_share(1, text), "100 %");
    cr_expect_str_eq(format_share(NAN, text), "0 %");
}

Test(cli_format, bytes_are_in_powers_of_a_thousand)
{
    cr_expect_str_eq(format_bytes(0, text), "0 B");
    cr_expect_str_eq(format_bytes(512, text), "512 B");
    cr_expect_str_eq(format_bytes(1400000, text), "1.4 MB");
    cr_expect_str_eq(format_bytes(999600, text), "1.0 MB");
    cr_expect_str_eq(format_bytes(20e9, text), "20 GB");
    cr_expect_str_eq(format_bytes(NAN, text), "0 B");
}

Test(cli_format, rates_keep_what_matters)
{
    cr_expect_str_eq(format_rate(1240.4, text), "1,240/s");
    cr_expect_str_eq(format_rate(12.54, text), "12.5/s");
    cr_expect_str_eq(format_rate(0.0312, text), "0.031/s");
    cr_expect_str_eq(format_rate(0, text), "0/s");
    cr_expect_str_eq(format_rate(-1, text), "unknown");
    cr_expect_str_eq(format_rate(NAN, text), "unknown");
    cr_expect_str_eq(format_rate((double)INFINITY, text), "unknown");
}

Test(cli_format, money_shows_small_amounts)
{
    cr_expect_str_eq(format_money(12.5, text), "12.50");
    cr_expect_str_eq(format_money(0.0042, text), "0.0042");
    cr_expect_str_eq(format_money(0, text), "0.00");
}

Test(cli_format, width_is_counted_in_columns)
{
    cr_expect_eq(format_width("abc"), 3);
    cr_expect_eq(format_width("straße"), 6);
    cr_expect_eq(format_width("日本"), 4);
    cr_expect_eq(format_width("e\xCC\x81"), 1, "a combining accent takes none");
    cr_expect_eq(format_width("a\xFF"), 2, "a broken byte is shown as something");
}

static const char *
fit(const char *from, size_t width)
{
    static struct strbuf out;
    strbuf_free(&out);
    strbuf_init(&out, 4096);
    format_fit(from, width, &out);
    return strbuf_text(&out);
}

Test(cli_format, what_does_not_fit_is_cut_between_characters)
{
    setenv("LC_ALL", "C.UTF-8", 1);
    cr_expect_str_eq(fit("short", 5), "short");
    cr_expect_str_eq(fit("longer", 5), "long…");
    cr_expect_str_eq(fit("日本語", 4), "日…", "half of a wide character is none");
    cr_expect_leq(format_width(fit("日本語", 4)), 4);
    cr_expect_str_eq(fit("anything at all", 0), "anything at all");
    setenv("LC_ALL", "C", 1);
    cr_expect_str_eq(fit("longer", 5), "long~");
}

Test(cli_format, a_document_cannot_move_the_cursor)
{
    cr_expect_str_eq(fit("a\nb\tc", 0), "a\\nb\\tc");
    cr_expect_null(strchr(fit("\033[2Jgone", 0), '\033'));
    cr_expect_null(strstr(fit("a\xC2\x9B"
                              "2J",
                              0),
                          "\xC2\x9B"),
                   "the one-byte form of ESC [");
    cr_expect_null(strstr(fit("a\xE2\x80\xAE"
                              "b",
                              0),
                          "\xE2\x80\xAE"),
                   "right-to-left override");
    cr_expect_null(strchr(fit("a\xFFz", 0), '\xFF'));
}

Test(cli_format, utf8_follows_the_first_variable_that_is_set)
{
    setenv("LC_ALL", "", 1);
    setenv("LC_CTYPE", "", 1);
    setenv("LANG", "de_DE.UTF-8", 1);
    cr_expect_eq(terminal_is_utf8(), true);
    setenv("LC_CTYPE", "C", 1);
    cr_expect_eq(terminal_is_utf8(), false);
    setenv("LC_ALL", "en_US.utf8", 1);
    cr_expect_eq(terminal_is_utf8(), true);
}
