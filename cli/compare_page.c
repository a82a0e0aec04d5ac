/* The page of compare --html. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/compare_report.h"
#include "cli/page.h"
#include "cli/session.h"

enum { PAGE_MAX = 4 << 20, BINS_MAX = 64, POINTS_MAX = 16 };

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
    "<meta name=\"color-scheme\" content=\"light dark\"><title>reembed compare</title>\n<style>\n"
    ":root{--paper:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#d9dee4;--source:#8a8f98;--target:#0b6bcb;--random:#c98500;"
    "--good:#17803d;--bad:#c02626;--warn:#9a6700}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8eaed;--soft:#a0a8b3;--line:#31373f;--source:#9aa2ad;"
    "--target:#5aa9ff;--random:#e0a83c;--good:#4cc274;--bad:#ff7a72;--warn:#e0b341}}\n"
    "body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;"
    "padding:0 1rem}\nh1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2.2rem 0 .3rem}"
    "p{margin:.3rem 0}.soft{color:var(--soft)}\n"
    ".verdict{border-left:.3rem solid;padding:.3rem .8rem;margin:1rem 0}.go{border-color:var(--good)}"
    ".no_go{border-color:var(--bad)}.inconclusive{border-color:var(--warn)}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{text-align:right;"
    "padding:.25rem .5rem;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}"
    ".wide{overflow-x:auto}\n"
    "svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}"
    ".whisker{stroke:var(--ink);stroke-width:1.5}\n"
    "rect.source{fill:var(--source)}rect.target{fill:var(--target)}.area{fill-opacity:.25;stroke-width:1.5}"
    ".area.source{fill:var(--source);stroke:var(--source)}.area.target{fill:var(--target);stroke:var(--target)}"
    ".area.random{fill:var(--random);stroke:var(--random)}\n"
    ".line{fill:none;stroke-width:2;stroke:var(--target)}.dot{fill:var(--target)}"
    ".key{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin:0 .35rem 0 .9rem}"
    ".key.source{background:var(--source)}.key.target{background:var(--target)}.key.random{background:var(--random)}\n"
    "</style></head><body>\n";

static const cJSON *
member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void
put_estimate(struct strbuf *page, const cJSON *estimate, bool change)
{
    strbuf_puts(page, "<td>");
    if (cJSON_IsObject(estimate))
        strbuf_printf(page,
                      change ? "%+.3f <span class=\"soft\">(%+.3f to %+.3f)</span>"
                             : "%.3f <span class=\"soft\">(%.3f to %.3f)</span>",
                      json_number(estimate, "mean", NAN), json_number(estimate, "low", NAN),
                      json_number(estimate, "high", NAN));
    strbuf_puts(page, "</td>");
}

static void
put_legend(struct strbuf *page, const cJSON *report, bool with_random)
{
    strbuf_puts(page, "<p class=\"soft\"><span class=\"key source\"></span>");
    page_text(page, json_text(member(report, "source"), "model"));
    strbuf_puts(page, "<span class=\"key target\"></span>");
    page_text(page, json_text(member(report, "target"), "model"));
    if (with_random)
        strbuf_puts(page, "<span class=\"key random\"></span>random documents");
    strbuf_puts(page, "</p>\n");
}

/* --- the sections --- */

static void
put_head(struct strbuf *page, const cJSON *report)
{
    const char *verdict = json_text(report, "verdict");

    strbuf_puts(page, head);
    strbuf_puts(page, "<h1>");
    page_text(page, json_text(report, "migration_id"));
    strbuf_puts(page, "</h1>\n<p class=\"soft\">");
    page_text(page, json_text(member(report, "source"), "model"));
    strbuf_puts(page, " → ");
    page_text(page, json_text(member(report, "target"), "model"));
    strbuf_printf(page, ": %.0f queries (", json_number(report, "queries", 0));
    page_text(page, json_text(report, "queries_from"));
    strbuf_printf(page, ") over the %.0f documents that both spaces hold; coverage %.1f %%</p>\n",
                  json_number(report, "documents", 0), 100 * json_number(report, "coverage", 0));
    strbuf_puts(page, "<div class=\"verdict ");
    page_text(page, verdict);
    strbuf_puts(page, "\"><strong>");
    page_text(page, verdict);
    strbuf_puts(page, "</strong><br>");
    page_text(page, json_text(report, "reason"));
    strbuf_puts(page, "</div>\n");
}

static void
put_quality(struct strbuf *page, const cJSON *report)
{
    static const struct {
        const char *key, *label;
    } rows[] = {
        {"recall_at_1", "recall@1"}, {"recall_at_10", "recall@10"}, {"mrr_at_10", "MRR@10"}, {"ndcg_at_10", "nDCG@10"}};
    const cJSON *source = member(member(report, "source"), "quality"),
                *target = member(member(report, "target"), "quality");
    struct plot_bar bars[4];

    if (!cJSON_IsObject(target))
        return;
    strbuf_printf(page,
                  "<h2>What is found</h2>\n<p class=\"soft\">%.0f queries with a known answer, searched exactly. Bars "
                  "with 95 %% intervals.</p>\n",
                  json_number(report, "judged", 0));
    for (size_t i = 0; i < 4; i++) {
        const cJSON *a = member(source, rows[i].key), *b = member(target, rows[i].key);
        bars[i] = (struct plot_bar){rows[i].label,
                                    json_number(a, "mean", NAN),
                                    json_number(a, "low", NAN),
                                    json_number(a, "high", NAN),
                                    json_number(b, "mean", NAN),
                                    json_number(b, "low", NAN),
                                    json_number(b, "high", NAN)};
    }
    plot_bars(page, bars, 4);
    put_legend(page, report, false);
    strbuf_puts(page, "<div class=\"wide\"><table><tr><th></th><th>source</th><th>target</th><th>change</th></tr>\n");
    for (size_t i = 0; i < 4; i++) {
        strbuf_printf(page, "<tr><td>%s</td>", rows[i].label);
        put_estimate(page, member(source, rows[i].key), false);
        put_estimate(page, member(target, rows[i].key), false);
        put_estimate(page, member(member(report, "change"), rows[i].key), true);
        strbuf_puts(page, "</tr>\n");
    }
    strbuf_puts(page, "</table></div>\n");
}

static size_t
read_numbers(const cJSON *array, double out[BINS_MAX])
{
    const cJSON *item = NULL;
    size_t count = 0;

    cJSON_ArrayForEach (item, array)
        if (count < BINS_MAX)
            out[count++] = cJSON_IsNumber(item) ? item->valuedouble : 0;
    return count;
}

static void
put_overlap(struct strbuf *page, const cJSON *report)
{
    double counts[BINS_MAX];
    const struct plot_series series = {"target", counts};

    if (!cJSON_IsObject(member(report, "overlap_at_10")))
        return;
    strbuf_puts(page, "<h2>How much both agree</h2>\n<table><tr><td>overlap of the ten nearest</td>");
    put_estimate(page, member(report, "overlap_at_10"), false);
    strbuf_puts(page, "</tr><tr><td>rank correlation over random documents</td>");
    put_estimate(page, member(report, "rank_correlation"), false);
    strbuf_puts(page, "</tr></table>\n");
    size_t count = read_numbers(member(report, "overlap_tenths"), counts);
    plot_histogram(page, &series, 1, count, -0.05, 1.05, "overlap@10 of a query; height: share of the queries");
}

static void
put_distances(struct strbuf *page, const cJSON *report)
{
    static const char *const sides[] = {"source", "target"};
    const cJSON *thresholds = member(report, "thresholds"), *one = NULL;

    strbuf_puts(page, "<h2>Distances</h2>\n<p class=\"soft\">As the search operator gives them. A threshold of an "
                      "application has to move with the model.</p>\n");
    for (size_t i = 0; i < 2; i++) {
        const cJSON *distances = member(member(report, sides[i]), "distances");
        double hits[BINS_MAX], randoms[BINS_MAX];
        if (!cJSON_IsObject(distances))
            continue;
        size_t count = read_numbers(member(distances, "hits"), hits);
        if (read_numbers(member(distances, "random"), randoms) != count)
            continue;
        const struct plot_series series[] = {{"random", randoms}, {sides[i], hits}};
        plot_histogram(page, series, 2, count, json_number(distances, "low", 0), json_number(distances, "high", 1),
                       i == 0 ? "distance by the source" : "distance by the target");
    }
    put_legend(page, report, true);
    if (cJSON_GetArraySize(thresholds) == 0)
        return;
    strbuf_puts(page, "<table><tr><th>a threshold of the source at</th><th>lets as many hits through at the target's"
                      "</th></tr>\n");
    cJSON_ArrayForEach (one, thresholds)
        strbuf_printf(page, "<tr><td>%.3f</td><td>%.3f</td></tr>\n", json_number(one, "source", NAN),
                      json_number(one, "target", NAN));
    strbuf_puts(page, "</table>\n");
}

static void
put_index(struct strbuf *page, const cJSON *report)
{
    const cJSON *index = member(report, "index"), *sweep = member(index, "sweep"), *one = NULL;
    struct plot_point points[POINTS_MAX];
    size_t count = 0;

    if (!cJSON_IsObject(index))
        return;
    strbuf_puts(page,
                "<h2>The target's index</h2>\n<p class=\"soft\">Share of the exact nearest that it finds, against "
                "the median time of a search in ms, by ");
    page_text(page, json_text(index, "setting"));
    strbuf_printf(page, " (now %.0f).</p>\n", json_number(index, "value", NAN));
    cJSON_ArrayForEach (one, sweep) {
        if (count == POINTS_MAX)
            break;
        points[count] = (struct plot_point){json_number(one, "p50_ms", 0), json_number(one, "recall", 0), ""};
        (void)snprintf(points[count].label, sizeof points[count].label, "%.0f", json_number(one, "value", 0));
        count++;
    }
    plot_line(page, points, count, "median ms", "recall of the index");
    strbuf_puts(page, "<table><tr><th>setting</th><th>recall</th><th>p50 ms</th><th>p95 ms</th></tr>\n");
    cJSON_ArrayForEach (one, sweep)
        strbuf_printf(page, "<tr><td>%.0f</td><td>%.3f</td><td>%.2f</td><td>%.2f</td></tr>\n",
                      json_number(one, "value", 0), json_number(one, "recall", 0), json_number(one, "p50_ms", 0),
                      json_number(one, "p95_ms", 0));
    strbuf_puts(page, "</table>\n");
}

static void
put_latency(struct strbuf *page, const cJSON *report)
{
    static const char *const sides[] = {"source", "target"};

    strbuf_puts(page, "<h2>Latency</h2>\n<table><tr><th></th><th>p50 ms</th><th>p95 ms</th></tr>\n");
    for (size_t i = 0; i < 2; i++) {
        const cJSON *latency = member(member(report, sides[i]), "latency_ms");
        if (cJSON_IsObject(latency))
            strbuf_printf(page, "<tr><td>%s</td><td>%.2f</td><td>%.2f</td></tr>\n", sides[i],
                          json_number(latency, "p50", NAN), json_number(latency, "p95", NAN));
    }
    strbuf_puts(page, "</table>\n");
}

enum rc
compare_write_page(const cJSON *report, const char *path, struct err *err)
{
    struct strbuf page;
    enum rc rc = RC_OK;

    strbuf_init(&page, PAGE_MAX);
    put_head(&page, report);
    put_quality(&page, report);
    put_overlap(&page, report);
    put_distances(&page, report);
    put_index(&page, report);
    put_latency(&page, report);
    strbuf_puts(&page, "</body></html>\n");
    if (page.failed)
        rc = err_memory(err);
    FILE *file = rc == RC_OK ? fopen(path, "we") : NULL;
    if (rc == RC_OK && (!file || fwrite(page.bytes, 1, page.length, file) != page.length))
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't write %s: %s", path, strerror(errno));
    if (file && fclose(file) != 0 && rc == RC_OK)
        rc = err_set(err, RC_INVALID, ERR_USAGE, "can't write %s: %s", path, strerror(errno));
    strbuf_free(&page);
    return rc;
}
