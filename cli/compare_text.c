/* The report of compare in words. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/compare_report.h"
#include "cli/format.h"
#include "cli/session.h"

enum { CELL = 96 };

static const cJSON *
member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static const char *
estimate_text(const cJSON *estimate, bool change, char out[CELL])
{
    if (!cJSON_IsObject(estimate))
        return "";
    (void)snprintf(out, CELL, change ? "%+.3f  (%+.3f to %+.3f)" : "%.3f  (%.3f to %.3f)",
                   json_number(estimate, "mean", NAN), json_number(estimate, "low", NAN),
                   json_number(estimate, "high", NAN));
    return out;
}

static void
quality_row(struct table *table, const cJSON *report, const char *label, const char *key)
{
    char cells[3][CELL];

    table_cell(table, label);
    table_cell(table, estimate_text(member(member(member(report, "source"), "quality"), key), false, cells[0]));
    table_cell(table, estimate_text(member(member(member(report, "target"), "quality"), key), false, cells[1]));
    table_cell(table, estimate_text(member(member(report, "change"), key), true, cells[2]));
}

static void
latency_row(struct table *table, const cJSON *report)
{
    char cell[CELL];
    static const char *const sides[] = {"source", "target"};

    table_cell(table, "latency p50 / p95");
    for (size_t i = 0; i < 2; i++) {
        const cJSON *latency = member(member(report, sides[i]), "latency_ms");
        (void)snprintf(cell, sizeof cell, "%.1f / %.1f ms", json_number(latency, "p50", NAN),
                       json_number(latency, "p95", NAN));
        table_cell(table, cJSON_IsObject(latency) ? cell : "");
    }
    table_cell(table, "");
}

static enum rc
print_sides(const struct output *out, const cJSON *report, struct err *err)
{
    const char *source = json_text(member(report, "source"), "model");
    const struct table_column columns[] = {{"95 % intervals in brackets", false},
                                           {source ? source : "no source", false},
                                           {json_text(member(report, "target"), "model"), false},
                                           {"change", false}};
    struct table *table = table_new(columns, 4);

    if (table == NULL)
        return err_memory(err);
    if (cJSON_IsObject(member(member(report, "target"), "quality"))) {
        quality_row(table, report, "recall@1", "recall_at_1");
        quality_row(table, report, "recall@10", "recall_at_10");
        quality_row(table, report, "MRR@10", "mrr_at_10");
        quality_row(table, report, "nDCG@10", "ndcg_at_10");
    }
    latency_row(table, report);
    enum rc rc = table_print(table, out, 2, true, err);
    table_free(table);
    return rc;
}

static enum rc
print_index(const struct output *out, const cJSON *report, struct err *err)
{
    const struct table_column columns[] = {{"setting", true}, {"recall", true}, {"p50 ms", true}, {"p95 ms", true}};
    const cJSON *index = member(report, "index"), *point = NULL;
    char cell[CELL];

    if (!cJSON_IsObject(index)) {
        output_print(out, "\n  The target has no index yet; its recall is measured once it is built.\n");
        return RC_OK;
    }
    output_print(out, "\n  %s finds %s of the exact nearest %.0f at %s = %.0f\n", json_text(index, "name"),
                 estimate_text(member(index, "recall"), false, cell), json_number(report, "k", NAN),
                 json_text(index, "setting"), json_number(index, "value", NAN));
    struct table *table = table_new(columns, 4);
    if (table == NULL)
        return err_memory(err);
    cJSON_ArrayForEach (point, member(index, "sweep")) {
        static const char *const keys[] = {"value", "recall", "p50_ms", "p95_ms"};
        for (size_t i = 0; i < 4; i++) {
            double value = json_number(point, keys[i], NAN);
            char number[32];
            if (i == 0)
                (void)snprintf(number, sizeof number, "%.0f", value);
            else
                (void)snprintf(number, sizeof number, i == 1 ? "%.3f" : "%.2f", value);
            table_cell(table, number);
        }
    }
    enum rc rc = table_print(table, out, 4, true, err);
    table_free(table);
    return rc;
}

static void
print_thresholds(const struct output *out, const cJSON *report)
{
    const cJSON *thresholds = member(report, "thresholds"), *one = NULL;

    if (cJSON_GetArraySize(thresholds) == 0)
        return;
    output_print(out, "\n  Distances mean something else now. To keep as many hits, a threshold moves\n    ");
    cJSON_ArrayForEach (one, thresholds)
        output_print(out, "%s%.3f → %.3f", one == thresholds->child ? "" : ",  ", json_number(one, "source", NAN),
                     json_number(one, "target", NAN));
    output_print(out, "\n");
}

static void
print_next(const struct output *out, const cJSON *report)
{
    const char *verdict = json_text(report, "verdict"), *id = json_text(report, "migration_id");

    if (verdict && strcmp(verdict, "go") == 0)
        output_next(out, "reembed run FILE goes on; reembed status %s shows the gates", id);
    else if (verdict && strcmp(verdict, "no_go") == 0)
        output_next(out, "mend what the reason names, or give it up: reembed cancel %s", id);
    else
        output_next(out, "reembed compare %s --queries FILE, with what each query should find", id);
}

enum rc
compare_print(const struct output *out, const cJSON *report, struct err *err)
{
    static const struct {
        const char *from, *words;
    } kinds[] = {{"documents", "documents as queries, by their stored vectors"},
                 {"passages", "passages of documents, each of which should find its document"},
                 {"known_items", "texts made from documents, each of which should find its document"},
                 {"file", "queries of the file"}};
    const char *verdict = json_text(report, "verdict"), *from = json_text(report, "queries_from"), *words = "queries";
    bool good = verdict && strcmp(verdict, "go") == 0;
    char queries[FORMAT_SIZE], documents[FORMAT_SIZE], share[FORMAT_SIZE], cell[CELL];

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (from && strcmp(from, kinds[i].from) == 0)
            words = kinds[i].words;
    output_print(out, "%s %s%s%s: %s\n\n", output_mark(out, good), style_on(out, good ? STYLE_GOOD : STYLE_BAD),
                 verdict, style_off(out, good ? STYLE_GOOD : STYLE_BAD), json_text(report, "reason"));
    output_print(out, "  %s %s, over the %s documents that both spaces hold (coverage %s)\n\n",
                 format_count((int64_t)json_number(report, "queries", 0), queries), words,
                 format_count((int64_t)json_number(report, "documents", 0), documents),
                 format_share(json_number(report, "coverage", 0), share));
    enum rc rc = print_sides(out, report, err);
    if (rc != RC_OK)
        return rc;
    if (cJSON_IsObject(member(report, "overlap_at_10")))
        output_print(out, "\n  overlap@10        %s\n", estimate_text(member(report, "overlap_at_10"), false, cell));
    if (cJSON_IsObject(member(report, "rank_correlation")))
        output_print(out, "  rank correlation  %s\n", estimate_text(member(report, "rank_correlation"), false, cell));
    rc = print_index(out, report, err);
    print_thresholds(out, report);
    print_next(out, report);
    return rc;
}
