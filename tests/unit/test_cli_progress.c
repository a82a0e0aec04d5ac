/* The progress line, at every width. */
#include <criterion/criterion.h>
#include <string.h>

#include "cli/format.h"
#include "cli/progress.h"
#include "cli/status_text.h"

static struct progress_view
half_way(void)
{
    return (struct progress_view){
        .migration_id = "m",
        .state = "in_progress",
        .stage = "backfill",
        .routing = "source",
        .total = 1000000,
        .processed = 482113,
        .pending = 517887,
        .failed = 3,
        .throughput = 1240,
        .eta_secs = 418,
        .threshold = 0.8,
        .index_share = -1,
    };
}

static const char *
line_of(const struct progress_view *view, size_t width)
{
    static struct strbuf line;
    strbuf_free(&line);
    strbuf_init(&line, 4096);
    progress_line(view, width, false, &line);
    return strbuf_text(&line);
}

Test(cli_progress, a_wide_line_says_everything)
{
    struct progress_view view = half_way();
    cr_assert_str_eq(line_of(&view, 120), "backfill [##############          |     ] 48.2 %  1,240/s  ETA 6 min 58 s  "
                                          "3 failed  482,113/1,000,000");
}

Test(cli_progress, no_line_is_wider_than_the_terminal_and_the_share_is_always_there)
{
    struct progress_view view = half_way();
    view.note = "429: next request in 12 s";
    view.changes_pending = 12;
    view.skipped = 5;
    for (size_t width = 20; width < 200; width++) {
        const char *line = line_of(&view, width);
        cr_assert_leq(format_width(line), width, "%zu: %s", width, line);
        cr_assert_not_null(strstr(line, "48.2 %"), "%zu: %s", width, line);
    }
}

Test(cli_progress, the_flip_is_marked_until_it_happened)
{
    struct progress_view view = half_way();
    cr_assert_not_null(strchr(line_of(&view, 120), '|'));
    view.routing = "target";
    cr_assert_null(strchr(line_of(&view, 120), '|'));
    cr_assert_not_null(strstr(line_of(&view, 120), "-> target"));
}

Test(cli_progress, an_index_build_shows_its_own_share)
{
    struct progress_view view = half_way();
    view.stage = "index";
    view.index_share = 0.25;
    view.eta_secs = -1;
    const char *line = line_of(&view, 120);
    cr_assert_not_null(strstr(line, "index    ["), "%s", line);
    cr_assert_not_null(strstr(line, "25 %"), "%s", line);
    cr_assert_null(strstr(line, "1,240/s"), "%s", line);
}

Test(cli_progress, what_is_not_known_is_not_shown)
{
    struct progress_view view = {.index_share = -1, .throughput = -1, .eta_secs = -1, .threshold = 0.8, .pending = 1};
    const char *line = line_of(&view, 120);
    cr_assert_not_null(strstr(line, "starting ["), "%s", line);
    cr_assert_null(strstr(line, "ETA"), "%s", line);
    cr_assert_null(strstr(line, "/s"), "%s", line);
}

Test(cli_progress, a_note_cannot_move_the_cursor)
{
    struct progress_view view = half_way();
    view.note = "\033[2J";
    cr_assert_null(strchr(line_of(&view, 160), '\033'));
}

/* --- the bar --- */

static const char *
bar_of(double share, double threshold, bool utf8)
{
    static struct strbuf bar;
    strbuf_free(&bar);
    strbuf_init(&bar, 1024);
    bar_draw(&bar, 10, share, threshold, utf8);
    return strbuf_text(&bar);
}

Test(cli_progress, the_last_block_is_filled_by_the_last_document_alone)
{
    cr_expect_str_eq(bar_of(0, -1, false), "[          ]");
    cr_expect_str_eq(bar_of(0.5, -1, false), "[#####     ]");
    cr_expect_str_eq(bar_of(0.9999, -1, false), "[######### ]");
    cr_expect_str_eq(bar_of(1, -1, false), "[##########]");
    cr_expect_str_eq(bar_of(7, -1, false), "[##########]");
    cr_expect_str_eq(bar_of(-1, -1, false), "[          ]");
    cr_expect_str_eq(bar_of(0.55, -1, true), "▕█████▌    ▏");
}

Test(cli_progress, the_mark_stands_at_the_threshold)
{
    cr_expect_str_eq(bar_of(0.2, 0.8, false), "[##      | ]");
    cr_expect_str_eq(bar_of(0.95, 0.8, false), "[######### ]");
    cr_expect_str_eq(bar_of(0.2, 1, false), "[##        ]");
    cr_expect_str_eq(bar_of(0, 0, false), "[|         ]");
}
