/* The exact comparison of a placed column with its side table, window by window. */
#include "coordinator/column.h"
#include "db/result.h"

#define WINDOW 20000 /* documents; some 0.1 s at 384 dimensions */

static enum rc
compare_window(struct db *db, const struct migration *m, sweep_exec exec, void *context, struct doc_key lo,
               struct doc_key hi, struct column_counts *counts, struct err *err)
{
    struct params params = PARAMS_INIT;
    PGresult *found = NULL;
    enum rc rc;

    params_add_key(&params, m->id_type, lo);
    params_add_key(&params, m->id_type, hi);
    rc = exec(context, db, m->column.check, &params, &found, err);
    params_clear(&params);
    if (rc == RC_OK) {
        counts->differing += result_int64(found, 0, "differing");
        counts->noted += result_int64(found, 0, "noted");
    }
    PQclear(found);
    return rc;
}

enum rc
column_compare(struct db *db, const struct migration *migration, sweep_exec exec, void *context,
               bool (*going)(void *context), void *going_context, struct column_counts *ret_counts, struct err *err)
{
    PGresult *bound = NULL, *before = NULL; /* lo points into the bound before */
    struct doc_key lo = {NULL, 0}, hi;
    struct params params = PARAMS_INIT;
    enum rc rc;

    *ret_counts = (struct column_counts){0};
    do {
        if (going && !going(going_context)) {
            rc = RC_CLOSED;
            break;
        }
        params_reset(&params);
        params_add_key(&params, migration->id_type, lo);
        params_add_int4(&params, WINDOW);
        if ((rc = exec(context, db, migration->sweep_bound, &params, &bound, err)) != RC_OK)
            break;
        hi = result_is_null(bound, 0, "hi") ? (struct doc_key){NULL, 0} : result_key(bound, 0, "hi");
        rc = compare_window(db, migration, exec, context, lo, hi, ret_counts, err);
        PQclear(before);
        before = bound;
        bound = NULL;
        lo = hi;
    } while (rc == RC_OK && hi.bytes);
    PQclear(bound);
    PQclear(before);
    params_clear(&params);
    return rc;
}
