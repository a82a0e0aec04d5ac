#include "coordinator/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail_point.h"
#include "db/result.h"
#include "db/statements.h"

#define WINDOW 20000 /* documents; some 0.1 s a window at 1 kB a document */

struct walk {
    struct db *db;
    const struct migration *migration;
    sweep_exec exec;
    void *context;
    struct params params;
};

static enum rc
next_bound(struct walk *walk, struct doc_key lo, PGresult **ret_bound, struct err *err)
{
    params_reset(&walk->params);
    params_add_key(&walk->params, walk->migration->id_type, lo);
    params_add_int4(&walk->params, WINDOW);
    return walk->exec(walk->context, walk->db, walk->migration->sweep_bound, &walk->params, ret_bound, err);
}

static enum rc
sweep_window(struct walk *walk, struct doc_key lo, struct doc_key hi, bool note, struct sweep_counts *counts,
             struct err *err)
{
    const struct migration *m = walk->migration;
    PGresult *result = NULL;
    enum rc rc;

    params_reset(&walk->params);
    params_add_key(&walk->params, m->id_type, lo);
    params_add_key(&walk->params, m->id_type, hi);
    params_add_int8(&walk->params, m->target.id);
    params_add_int8(&walk->params, m->number);
    params_add_bool(&walk->params, note);
    rc = walk->exec(walk->context, walk->db, m->sweep_window, &walk->params, &result, err);
    if (rc != RC_OK)
        return rc;
    counts->eligible += result_int64(result, 0, "eligible");
    counts->current += result_int64(result, 0, "current");
    counts->missing += result_int64(result, 0, "missing");
    counts->stale += result_int64(result, 0, "stale");
    counts->excused += result_int64(result, 0, "excused");
    counts->failed += result_int64(result, 0, "failed");
    counts->orphaned += result_int64(result, 0, "orphaned");
    counts->noted += result_int64(result, 0, "noted");
    counts->queued += result_int64(result, 0, "queued");
    PQclear(result);
    return RC_OK;
}

enum rc
sweep(struct db *db, const struct migration *migration, bool note, sweep_exec exec, bool (*going)(void *context),
      void *context, struct sweep_counts *ret_counts, struct err *err)
{
    struct walk walk = {.db = db, .migration = migration, .exec = exec, .context = context, .params = PARAMS_INIT};
    struct sweep_counts counts = {0};
    PGresult *bound = NULL, *before = NULL; /* lo points into the bound before */
    struct doc_key lo = {NULL, 0}, hi;
    enum rc rc;

    do {
        if (going && !going(context)) {
            rc = RC_CLOSED;
            break;
        }
        if ((rc = next_bound(&walk, lo, &bound, err)) != RC_OK)
            break;
        hi = result_is_null(bound, 0, "hi") ? (struct doc_key){NULL, 0} : result_key(bound, 0, "hi");
        if ((rc = sweep_window(&walk, lo, hi, note, &counts, err)) == RC_OK)
            rc = fail_point("finisher.walked", err);
        PQclear(before);
        before = bound;
        bound = NULL;
        lo = hi;
    } while (rc == RC_OK && hi.bytes);
    PQclear(bound);
    PQclear(before);
    params_clear(&walk.params);
    if (rc == RC_OK)
        *ret_counts = counts;
    return rc;
}
