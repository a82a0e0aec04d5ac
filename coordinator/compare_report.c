/* A comparison as JSON: what `compare --json` prints and the event keeps. Figures that are not known are null. */
#include <cjson/cJSON.h>
#include <math.h>

#include "coordinator/compare.h"

static bool
add_number(cJSON *object, const char *key, double value)
{
    return isfinite(value) ? cJSON_AddNumberToObject(object, key, value) != NULL
                           : cJSON_AddNullToObject(object, key) != NULL;
}

static bool
add_text(cJSON *object, const char *key, const char *text)
{
    return text ? cJSON_AddStringToObject(object, key, text) != NULL : cJSON_AddNullToObject(object, key) != NULL;
}

static bool
add_estimate(cJSON *object, const char *key, const struct estimate *estimate)
{
    if (estimate->count == 0)
        return cJSON_AddNullToObject(object, key) != NULL;
    cJSON *item = cJSON_AddObjectToObject(object, key);
    return item && add_number(item, "mean", estimate->mean) && add_number(item, "low", estimate->low) &&
           add_number(item, "high", estimate->high) && add_number(item, "queries", (double)estimate->count);
}

static bool
add_quality(cJSON *object, const char *key, const struct compare_quality *quality)
{
    if (quality->recall_10.count == 0)
        return cJSON_AddNullToObject(object, key) != NULL;
    cJSON *item = cJSON_AddObjectToObject(object, key);
    return item && add_estimate(item, "recall_at_1", &quality->recall_1) &&
           add_estimate(item, "recall_at_10", &quality->recall_10) &&
           add_estimate(item, "mrr_at_10", &quality->mrr_10) && add_estimate(item, "ndcg_at_10", &quality->ndcg_10);
}

static bool
add_bins(cJSON *object, const char *key, const int64_t *bins)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    for (size_t i = 0; array && i < COMPARE_HISTOGRAM; i++) {
        cJSON *number = cJSON_CreateNumber((double)bins[i]);
        if (!number || !cJSON_AddItemToArray(array, number))
            return false;
    }
    return array != NULL;
}

static bool
add_scores(cJSON *object, const struct compare_scores *scores)
{
    if (!scores->known)
        return cJSON_AddNullToObject(object, "distances") != NULL;
    cJSON *item = cJSON_AddObjectToObject(object, "distances");
    return item && add_number(item, "low", scores->low) && add_number(item, "high", scores->high) &&
           add_bins(item, "hits", scores->hits) && add_bins(item, "random", scores->randoms) &&
           add_bins(item, "relevant", scores->relevant);
}

static bool
add_side(cJSON *report, const char *key, const struct comparison *c, int side)
{
    const struct compare_latency *latency = &c->latency[side];
    const struct compare_stored *stored = &c->stored[side];

    if (side == SIDE_SOURCE && !c->has_source)
        return cJSON_AddNullToObject(report, key) != NULL;
    cJSON *item = cJSON_AddObjectToObject(report, key), *part = NULL;
    if (!item || !add_text(item, "model", c->models[side]) || !add_text(item, "metric", c->metrics[side]) ||
        !add_quality(item, "quality", &c->quality[side]) || !add_scores(item, &c->scores[side]))
        return false;
    if (latency->count == 0
            ? !cJSON_AddNullToObject(item, "latency_ms")
            : !(part = cJSON_AddObjectToObject(item, "latency_ms")) || !add_number(part, "p50", latency->p50_ms) ||
                  !add_number(part, "p95", latency->p95_ms) || !add_number(part, "queries", (double)latency->count))
        return false;
    if (stored->documents == 0)
        return cJSON_AddNullToObject(item, "stored") != NULL;
    return (part = cJSON_AddObjectToObject(item, "stored")) &&
           add_number(part, "documents", (double)stored->documents) &&
           add_number(part, "differing", (double)stored->differing) &&
           add_number(part, "median_cosine", stored->median_cosine) &&
           add_number(part, "min_cosine", stored->min_cosine);
}

static bool
add_thresholds(cJSON *report, const struct comparison *c)
{
    cJSON *array = cJSON_AddArrayToObject(report, "thresholds");

    if (!c->has_source || !c->scores[SIDE_SOURCE].known || !c->scores[SIDE_TARGET].known)
        return array != NULL;
    for (size_t i = 0; array && i < COMPARE_THRESHOLDS; i++) {
        cJSON *item = cJSON_CreateObject();
        if (!item || !add_number(item, "source", c->scores[SIDE_SOURCE].hit_quantiles[i]) ||
            !add_number(item, "target", c->scores[SIDE_TARGET].hit_quantiles[i]) ||
            !cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return array != NULL;
}

static bool
add_index(cJSON *report, const struct comparison *c)
{
    if (!c->indexed)
        return cJSON_AddNullToObject(report, "index") != NULL;
    cJSON *item = cJSON_AddObjectToObject(report, "index");
    cJSON *sweep = item ? cJSON_CreateArray() : NULL;
    if (!sweep || !add_text(item, "name", c->index_name) || !add_text(item, "setting", c->index_setting) ||
        !add_number(item, "value", (double)c->index_setting_now) || !add_estimate(item, "recall", &c->index_recall) ||
        !cJSON_AddItemToObject(item, "sweep", sweep)) {
        return false;
    }
    for (size_t i = 0; i < c->sweep_count; i++) {
        const struct compare_sweep_point *point = &c->sweep[i];
        cJSON *one = cJSON_CreateObject();
        if (!one || !add_number(one, "value", (double)point->setting) || !add_number(one, "recall", point->recall) ||
            !add_number(one, "p50_ms", point->p50_ms) || !add_number(one, "p95_ms", point->p95_ms) ||
            !cJSON_AddItemToArray(sweep, one)) {
            cJSON_Delete(one);
            return false;
        }
    }
    return true;
}

static bool
add_agreement(cJSON *report, const struct comparison *c)
{
    char key[32];
    cJSON *counts = NULL;

    (void)snprintf(key, sizeof key, "overlap_at_%zu", c->k);
    if (!add_estimate(report, "overlap_at_10", &c->overlap_10) ||
        (c->k != 10 && !add_estimate(report, key, &c->overlap)) ||
        !add_estimate(report, "rank_correlation", &c->rank_correlation) ||
        !(counts = cJSON_AddArrayToObject(report, "overlap_tenths")))
        return false;
    for (size_t i = 0; i < sizeof c->overlap_counts / sizeof c->overlap_counts[0]; i++) {
        cJSON *number = cJSON_CreateNumber((double)c->overlap_counts[i]);
        if (!number || !cJSON_AddItemToArray(counts, number))
            return false;
    }
    return true;
}

struct cJSON *
compare_report(const struct comparison *comparison)
{
    const struct comparison *c = comparison;
    cJSON *report = cJSON_CreateObject();

    if (report && add_text(report, "migration_id", c->migration_id) &&
        add_text(report, "verdict", verdict_name(c->verdict)) && add_text(report, "reason", c->reason) &&
        cJSON_AddBoolToObject(report, "by_gate", c->by_gate) &&
        add_text(report, "queries_from", query_kind_name(c->kind)) &&
        add_number(report, "queries", (double)c->queries) && add_number(report, "judged", (double)c->judged) &&
        add_number(report, "k", (double)c->k) && add_number(report, "seed", (double)c->seed) &&
        add_number(report, "documents", (double)c->documents) &&
        add_number(report, "target_vectors", (double)c->target_vectors) &&
        add_number(report, "coverage", c->coverage) && add_agreement(report, c) &&
        add_side(report, "source", c, SIDE_SOURCE) && add_side(report, "target", c, SIDE_TARGET) &&
        add_quality(report, "change", &c->change) &&
        add_estimate(report, "change_with_default_settings", &c->defaults.mrr_change) && add_thresholds(report, c) &&
        add_index(report, c) && add_number(report, "seconds", c->seconds))
        return report;
    cJSON_Delete(report);
    return NULL;
}
