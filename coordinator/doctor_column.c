/* What is in a column, and what hangs on it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/doctor.h"
#include "db/result.h"
#include "db/statements.h"

enum { INDEX_WANTED_FROM = 10000, INDEXED_DIMENSIONS_VECTOR = 2000, INDEXED_DIMENSIONS_HALFVEC = 4000 };

/* As much as the sample stands for. */
struct look {
    int64_t rows;
    int64_t vectors;
    bool all; /* every row was looked at */
};

/* "12" or, of a sample, "12 of 20,000 sampled". */
static const char *
counted(const struct look *look, int64_t count, char out[64])
{
    if (look->all)
        (void)snprintf(out, 64, "%lld", (long long)count);
    else
        (void)snprintf(out, 64, "%lld of %lld sampled", (long long)count, (long long)look->rows);
    return out;
}

/* --- the rows --- */

static void
judge_missing(struct doctor *d, const struct doctor_column *c, const PGresult *r, const struct look *look)
{
    char n[64];
    int64_t without_vector = result_int64(r, 0, "without_vector"), without_text = result_int64(r, 0, "without_text");
    int64_t stale = result_int64(r, 0, "stale");

    if (look->rows == 0)
        doctor_find(d, "column.empty", DOCTOR_INFO, c->subject, NULL, "the table has no rows");
    else if (look->vectors == 0)
        doctor_find(d, "vectors.none", DOCTOR_WARNING, c->subject, "reembed run embeds them: source may be null",
                    "no row has a vector");
    else if (without_vector > 0)
        doctor_find(d, "vectors.missing", DOCTOR_WARNING, c->subject,
                    "embed them, or leave them out by documents.where", "%s %s no vector%s: no search finds them",
                    counted(look, without_vector, n), without_vector == 1 ? "row has" : "rows have",
                    c->content ? " though there is text" : "");
    if (without_text > 0)
        doctor_find(d, "text.missing", DOCTOR_WARNING, c->subject, "leave them out by documents.where",
                    "%s %s a vector and no text (%s): it can't be made again", counted(look, without_text, n),
                    without_text == 1 ? "row has" : "rows have", c->content);
    if (stale > 0)
        doctor_find(d, "vectors.stale", DOCTOR_WARNING, c->subject, "embed them again: reembed run does",
                    "%s %s written (%s) after the vector was made (%s)", counted(look, stale, n),
                    stale == 1 ? "row was" : "rows were", c->updated, c->embedded);
}

static void
judge_sizes(struct doctor *d, const struct doctor_column *c, const PGresult *r)
{
    char fix[300];
    int most = strcmp(c->type, "halfvec") == 0 ? INDEXED_DIMENSIONS_HALFVEC : INDEXED_DIMENSIONS_VECTOR;

    if (result_int64(r, 0, "sizes") > 1)
        doctor_find(d, "dimensions.mixed", DOCTOR_ERROR, c->subject,
                    "more than one model has written it: embed all of them again with one",
                    "vectors of different dimensions: %s", result_string(r, 0, "size_list"));
    else if (c->dimensions == 0 && result_int64(r, 0, "sizes") == 1) {
        (void)snprintf(fix, sizeof fix,
                       "ALTER TABLE %s ALTER COLUMN %s TYPE %s(n) rewrites it; a side table of reembed "
                       "has its dimensions",
                       c->table, c->column, c->type);
        doctor_find(d, "dimensions.unfixed", DOCTOR_WARNING, c->subject, fix,
                    "the column has no dimensions: it can't be indexed as it is, and any size can be written to it");
    }
    if (c->dimensions > most)
        doctor_find(d, "dimensions.unindexable", DOCTOR_WARNING, c->subject,
                    most == INDEXED_DIMENSIONS_VECTOR ? "halfvec can be indexed up to 4,000"
                                                      : "a model of fewer dimensions",
                    "%d dimensions: an index takes %d at most", c->dimensions, most);
}

static void
judge_norms(struct doctor *d, const struct doctor_column *c, const PGresult *r, const struct look *look)
{
    char n[64];
    int64_t zero = result_int64(r, 0, "zero"), not_finite = result_int64(r, 0, "not_finite");
    int64_t unit = result_int64(r, 0, "unit"), finite = result_int64(r, 0, "finite");
    double smallest = result_float64(r, 0, "smallest"), largest = result_float64(r, 0, "largest");

    if (zero > 0)
        doctor_find(d, "vectors.zero", DOCTOR_ERROR, c->subject, "set them to NULL, and embed them again",
                    "%s %s zeros only: no cosine search finds it", counted(look, zero, n),
                    zero == 1 ? "vector has" : "vectors have");
    if (not_finite > 0)
        doctor_find(d, "vectors.not_finite", DOCTOR_ERROR, c->subject, "set them to NULL, and embed them again",
                    "%s %s NaN or infinite numbers", counted(look, not_finite, n),
                    not_finite == 1 ? "vector holds" : "vectors hold");
    if (unit > 0 && unit < finite)
        doctor_find(
            d, "norms.mixed", DOCTOR_ERROR, c->subject,
            "by cosine they still compare; by inner product or l2 they don't: embed all of them with one model",
            "%lld vectors are of length 1 and %lld are not (%.3g to %.3g): more than one model, or setting, has "
            "written them",
            (long long)unit, (long long)(finite - unit), smallest, largest);
    else if (unit == 0 && finite > 0)
        doctor_find(d, "norms.not_unit", DOCTOR_INFO, c->subject, "make sure that it is meant: cosine does not mind",
                    "no vector is of length 1 (%.3g to %.3g)", smallest, largest);
}

static void
judge_duplicates(struct doctor *d, const struct doctor_column *c, const PGresult *r, const struct look *look)
{
    char n[64];
    int64_t shared = result_int64(r, 0, "shared"), most = result_int64(r, 0, "most_shared");

    if (shared > 0)
        doctor_find(d, "vectors.shared", most * 20 > look->vectors ? DOCTOR_ERROR : DOCTOR_WARNING, c->subject,
                    "embed them again: whoever made them mixed rows up, or answered every text alike",
                    "%s vectors are the same as that of another text", counted(look, shared, n));
    else if (most > 1 && most * 20 > look->vectors)
        doctor_find(d, "vectors.repeated", DOCTOR_WARNING, c->subject, "look whether their texts are the same too",
                    "one vector stands in %s rows", counted(look, most, n));
}

/* --- indexes and triggers --- */

static void
judge_index(struct doctor *d, const struct doctor_column *c, const PGresult *r, int row)
{
    char fix[300];
    const char *name = result_string(r, row, "name");
    double bytes = result_float64(r, row, "bytes");
    int64_t lists = result_int64(r, row, "lists");

    if (!result_bool(r, row, "valid") && !result_bool(r, row, "building")) {
        (void)snprintf(fix, sizeof fix, "REINDEX INDEX CONCURRENTLY %s", name);
        doctor_find(d, "index.invalid", DOCTOR_ERROR, c->subject, fix,
                    "index %s is not valid: no query uses it, and every write pays for it", name);
    }
    if (d->shared_buffers > 0 && bytes > d->shared_buffers)
        doctor_find(
            d, "index.memory", bytes > d->cache ? DOCTOR_WARNING : DOCTOR_INFO, c->subject,
            "raise shared_buffers, or use halfvec: half the size",
            "index %s has %.0f MB, shared_buffers %.0f MB, effective_cache_size %.0f MB: searches read from disk", name,
            bytes / 1e6, d->shared_buffers / 1e6, d->cache / 1e6);
    if (lists > 0 && c->rows > 0 && (double)lists * 4000 < c->rows) {
        (void)snprintf(fix, sizeof fix, "build it anew with lists = %.0f, or as hnsw",
                       c->rows > 1e6 ? sqrt(c->rows) : c->rows / 1000);
        doctor_find(d, "index.lists", DOCTOR_WARNING, c->subject, fix,
                    "index %s has %lld lists for about %.0f rows: each search compares a large share of them", name,
                    (long long)lists, c->rows);
    }
}

static cJSON *
examine_indexes(struct doctor *d, const struct doctor_column *c, double rows)
{
    char fix[400];
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    cJSON *list = cJSON_CreateArray();
    bool valid = false;

    params_add_int8(&params, c->oid);
    params_add_text(&params, c->name);
    if (doctor_query(d, "index.unknown", c->subject, sql_doctor_indexes, NULL, &params, &r)) {
        for (int row = 0; row < result_rows(r); row++) {
            cJSON *index = cJSON_CreateObject();
            judge_index(d, c, r, row);
            valid = valid || result_bool(r, row, "valid");
            if (!index || !cJSON_AddStringToObject(index, "name", result_string(r, row, "name")) ||
                !cJSON_AddStringToObject(index, "method", result_string(r, row, "method")) ||
                !cJSON_AddStringToObject(index, "metric", result_string(r, row, "metric")) ||
                !cJSON_AddBoolToObject(index, "valid", result_bool(r, row, "valid")) ||
                !cJSON_AddNumberToObject(index, "bytes", result_float64(r, row, "bytes")) ||
                !cJSON_AddItemToArray(list, index)) {
                cJSON_Delete(index);
                d->broken = true;
            }
        }
        if (result_rows(r) == 0 && rows >= INDEX_WANTED_FROM) {
            (void)snprintf(fix, sizeof fix, "CREATE INDEX CONCURRENTLY ON %s USING hnsw (%s %s_cosine_ops)", c->table,
                           c->column, c->type);
            doctor_find(d, "index.missing", DOCTOR_WARNING, c->subject, fix,
                        "no vector index: every search reads about %.0f rows", rows);
        }
    }
    params_clear(&params);
    PQclear(r);
    return list;
}

static void
examine_triggers(struct doctor *d, const struct doctor_column *c)
{
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;

    params_add_int8(&params, c->oid);
    if (doctor_query(d, "triggers.unknown", c->subject, sql_doctor_triggers, NULL, &params, &r))
        for (int row = 0; row < result_rows(r); row++)
            doctor_find(d, result_bool(r, row, "disabled") ? "triggers.disabled" : "triggers.write",
                        result_bool(r, row, "disabled") ? DOCTOR_WARNING : DOCTOR_INFO, c->table,
                        result_bool(r, row, "disabled") ? "enable it, or drop it"
                                                        : "one that embeds by itself goes on "
                                                          "writing the old model's vectors",
                        "trigger %s %s: %s each %s, %s", result_string(r, row, "name"),
                        result_bool(r, row, "disabled") ? "is disabled" : "runs at writes",
                        result_string(r, row, "timing"), result_bool(r, row, "by_row") ? "row" : "statement",
                        result_string(r, row, "function"));
    params_clear(&params);
    PQclear(r);
}

/* --- all of it --- */

static bool
add_column(struct doctor *d, const struct doctor_column *c, const struct look *look, cJSON *indexes, const char *sizes)
{
    cJSON *row = cJSON_CreateObject();
    bool built =
        row && cJSON_AddStringToObject(row, "table", c->table) && cJSON_AddStringToObject(row, "column", c->column) &&
        cJSON_AddStringToObject(row, "type", c->type) &&
        (c->dimensions > 0 ? cJSON_AddNumberToObject(row, "dimensions", c->dimensions)
                           : cJSON_AddNullToObject(row, "dimensions")) &&
        (sizes ? cJSON_AddStringToObject(row, "sizes", sizes) : cJSON_AddNullToObject(row, "sizes")) &&
        (c->rows >= 0 ? cJSON_AddNumberToObject(row, "rows", look->all ? (double)look->rows : c->rows)
                      : cJSON_AddNumberToObject(row, "rows", (double)look->rows)) &&
        cJSON_AddNumberToObject(row, "bytes", c->bytes) &&
        cJSON_AddNumberToObject(row, "looked_at", (double)look->rows) &&
        cJSON_AddBoolToObject(row, "all_rows", look->all) &&
        (c->content ? cJSON_AddStringToObject(row, "content", c->content) : cJSON_AddNullToObject(row, "content")) &&
        (c->model ? cJSON_AddStringToObject(row, "model", c->model) : cJSON_AddNullToObject(row, "model"));

    if (!built || !cJSON_AddItemToObject(row, "indexes", indexes)) {
        cJSON_Delete(indexes);
        cJSON_Delete(row);
        return false;
    }
    if (cJSON_AddItemToArray(d->columns, row))
        return true;
    cJSON_Delete(row);
    return false;
}

void
doctor_examine(struct doctor *d, const struct doctor_column *c)
{
    struct params params = PARAMS_INIT;
    PGresult *r = NULL;
    struct look look = {0};
    char sampling[64];

    params_add_int8(&params, DOCTOR_SAMPLE);
    bool known = doctor_query(d, "column.unknown", c->subject, sql_doctor_sample, c, &params, &r);
    if (known) {
        look = (struct look){.rows = result_int64(r, 0, "rows"), .vectors = result_int64(r, 0, "vectors")};
        look.all = look.rows < DOCTOR_SAMPLE && doctor_sampling(c->rows, sampling)[0] == '\0';
        judge_missing(d, c, r, &look);
        judge_sizes(d, c, r);
        judge_norms(d, c, r, &look);
        judge_duplicates(d, c, r, &look);
    }
    if (!c->content && look.vectors > 0)
        doctor_find(d, "text.unknown", DOCTOR_INFO, c->subject, "a migration file names the content: reembed new",
                    "no text column was found beside it: what the vectors were made of was not looked at");
    double rows = look.all || c->rows < 0 ? (double)look.rows : c->rows;
    cJSON *indexes = examine_indexes(d, c, rows);
    examine_triggers(d, c);
    if (known && look.vectors > 0 && c->provider)
        doctor_compare_model(d, c);
    else if (known && look.vectors > 0 && d->file)
        doctor_find(d, "model.unchecked", DOCTOR_INFO, c->subject, "give source.provider in the migration file",
                    "whether %s made these vectors was not checked: no provider is given",
                    c->model ? c->model : "a model");
    if (!add_column(d, c, &look, indexes, known ? result_string(r, 0, "size_list") : NULL))
        d->broken = true;
    params_clear(&params);
    PQclear(r);
}
