/* The command `verify`: the exact walk over documents and target, the vectors themselves, and a sample of them that is
 * embedded again. */
#include <cjson/cJSON.h>

#include "coordinator/column.h"
#include "coordinator/command_session.h"
#include "coordinator/exit_code.h"
#include "coordinator/migration.h"
#include "coordinator/sweep.h"
#include "coordinator/verify_sample.h"
#include "db/result.h"
#include "db/schema.h"
#include "db/statements.h"

enum { VECTORS_WINDOW = 20000 };

struct verify {
    const struct verify_options *options;
    struct db *db;
    struct migration *migration;
    bool repairs; /* what is found may be put into the change log */
    bool placed;  /* the target is a column of the documents, filled from its side table */
    struct column_counts column;
    struct sweep_counts counts;
    int64_t unusable;
    int64_t unusable_queued; /* of these: put into the change log now */
    struct verify_sample sample;
};

/* --- what is needed, before anything is walked --- */

static enum rc
read_stand(struct verify *v, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *result = NULL;
    enum rc rc;

    params_add_int8(&params, v->migration->number);
    rc = command_exec(NULL, v->db, sql_verify_stand, &params, &result, err);
    params_clear(&params);
    if (rc != RC_OK)
        return rc;
    v->repairs = !result_is_null(result, 0, "repairs") && result_bool(result, 0, "repairs");
    v->placed = result_bool(result, 0, "placed");
    if (!result_bool(result, 0, "target")) {
        rc = err_set(err, RC_REFUSED, ERR_STATE,
                     "migration %s is %s and its target was dropped: nothing is left to verify", v->migration->id,
                     result_string(result, 0, "state"));
    }
    PQclear(result);
    return rc;
}

/* --- the vectors --- */

static enum rc
walk_vectors(struct verify *v, struct err *err)
{
    const struct migration *m = v->migration;
    struct params params = PARAMS_INIT;
    PGresult *window = NULL, *before = NULL; /* `after` points into the window before */
    struct doc_key after = {NULL, 0};
    enum rc rc;

    do {
        params_reset(&params);
        params_add_key(&params, m->id_type, after);
        params_add_int8(&params, VECTORS_WINDOW);
        params_add_int4(&params, (int32_t)m->target.dimensions);
        params_add_int8(&params, m->target.id);
        params_add_bool(&params, v->repairs);
        if ((rc = command_exec(NULL, v->db, m->verify_vectors, &params, &window, err)) != RC_OK)
            break;
        v->unusable += result_int64(window, 0, "unusable");
        v->unusable_queued += result_int64(window, 0, "noted");
        after = result_is_null(window, 0, "hi") ? (struct doc_key){NULL, 0} : result_key(window, 0, "hi");
        PQclear(before);
        before = window;
        window = NULL;
    } while (after.bytes);
    PQclear(before);
    params_clear(&params);
    return rc;
}

/* --- the report --- */

static int64_t
queued(const struct verify *v)
{
    return v->counts.queued + v->unusable_queued + v->sample.queued + v->column.noted;
}

static bool
holds(const struct verify *v)
{
    const struct sweep_counts *c = &v->counts;
    return c->missing == 0 && c->stale == 0 && c->orphaned == 0 && v->unusable == 0 && v->sample.differing == 0 &&
           v->column.differing == 0;
}

static bool
add_sample(cJSON *report, const struct verify *v)
{
    if (!v->sample.done)
        return cJSON_AddNullToObject(report, "sample") != NULL;
    cJSON *sample = cJSON_AddObjectToObject(report, "sample");
    return sample && cJSON_AddNumberToObject(sample, "documents", (double)v->sample.documents) &&
           cJSON_AddNumberToObject(sample, "differing", (double)v->sample.differing) &&
           cJSON_AddNumberToObject(sample, "min_cosine", v->sample.min_cosine) &&
           cJSON_AddNumberToObject(sample, "required_cosine", v->sample.same);
}

static enum rc
make_report(const struct verify *v, cJSON **ret_report, struct err *err)
{
    const struct sweep_counts *c = &v->counts;
    const struct {
        const char *key;
        int64_t value;
    } figures[] = {
        {"documents", c->eligible}, {"current", c->current},   {"missing", c->missing},
        {"stale", c->stale},        {"orphaned", c->orphaned}, {"excused", c->excused + c->failed},
        {"queued", queued(v)},      {"unusable", v->unusable},
    };
    cJSON *report = cJSON_CreateObject();
    bool built = report && cJSON_AddStringToObject(report, "migration_id", v->migration->id) &&
                 cJSON_AddBoolToObject(report, "holds", holds(v));

    for (size_t i = 0; built && i < sizeof figures / sizeof figures[0]; i++)
        built = cJSON_AddNumberToObject(report, figures[i].key, (double)figures[i].value) != NULL;
    if (built && v->placed)
        built = cJSON_AddNumberToObject(report, "column_differing", (double)v->column.differing) != NULL;
    if (!built || !add_sample(report, v)) {
        cJSON_Delete(report);
        return err_memory(err);
    }
    *ret_report = report;
    return RC_OK;
}

static enum rc
judge(const struct verify *v, struct err *err)
{
    const struct sweep_counts *c = &v->counts;

    if (holds(v))
        return RC_OK;
    enum rc rc = err_set(err, RC_REFUSED, ERR_GATE,
                         "%s does not hold: %lld missing, %lld stale, %lld orphaned, %lld unusable, %lld of the sample "
                         "differ, %lld of the column differ",
                         v->migration->id, (long long)c->missing, (long long)c->stale, (long long)c->orphaned,
                         (long long)v->unusable, (long long)v->sample.differing, (long long)v->column.differing);
    if (queued(v) > 0)
        err_hint(err, "what is queued is repaired by: reembed run FILE");
    return rc;
}

int
verify_command(const struct verify_options *options, struct cJSON **ret_report, struct err *err)
{
    struct verify v = {.options = options};
    struct err failed = ERR_INIT;
    enum rc rc, sample_rc = RC_OK;

    *ret_report = NULL;
    if ((rc = command_connect(&options->common, &v.db, err)) == RC_OK && (rc = schema_check(v.db, err)) == RC_OK &&
        (rc = migration_load(v.db, options->migration_id, &v.migration, err)) == RC_OK &&
        (rc = read_stand(&v, err)) == RC_OK &&
        (rc = verify_sample_open(&v.sample, options, v.migration, v.db, err)) == RC_OK &&
        (rc = sweep(v.db, NULL, v.migration, v.repairs, command_exec, NULL, NULL, &v.counts, err)) == RC_OK &&
        (rc = walk_vectors(&v, err)) == RC_OK &&
        (!v.placed ||
         (rc = column_compare(v.db, v.migration, command_exec, NULL, NULL, NULL, &v.column, err)) == RC_OK)) {
        v.sample.mark = v.repairs;
        sample_rc = verify_sample_take(&v.sample, options->sample, &failed);
        rc = make_report(&v, ret_report, err);
    }
    if (rc == RC_OK && sample_rc != RC_OK) {
        *err = failed;
        rc = sample_rc;
    } else if (rc == RC_OK) {
        rc = judge(&v, err);
    }
    verify_sample_close(&v.sample);
    migration_free(v.migration);
    db_close(v.db);
    return exit_code_of(rc, err);
}
