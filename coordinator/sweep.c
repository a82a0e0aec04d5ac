#include "coordinator/sweep.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail_point.h"
#include "db/result.h"
#include "db/statements.h"

#define NO_KEY ((struct doc_key){NULL, 0})
#define WINDOW 20000 /* documents; some 0.1 s a window at 1 kB a document */

struct walk {
    struct db *db;
    struct db *second; /* or NULL */
    const struct migration *migration;
    bool note;
    sweep_exec exec;
    void *context;
    struct params params;
    struct sweep_counts counts;
};

/* ret_hi points into the result; without bytes: there is no bound, the window is the last. */
static enum rc
next_bound(struct walk *walk, struct doc_key lo, PGresult **ret_bound, struct doc_key *ret_hi, struct err *err)
{
    enum rc rc;

    params_reset(&walk->params);
    params_add_key(&walk->params, walk->migration->id_type, lo);
    params_add_int4(&walk->params, WINDOW);
    rc = walk->exec(walk->context, walk->db, walk->migration->sweep_bound, &walk->params, ret_bound, err);
    if (rc == RC_OK)
        *ret_hi = result_key(*ret_bound, 0, "hi");
    return rc;
}

static const struct params *
window_params(struct walk *walk, struct doc_key lo, struct doc_key hi)
{
    const struct migration *m = walk->migration;

    params_reset(&walk->params);
    params_add_key(&walk->params, m->id_type, lo);
    params_add_key(&walk->params, m->id_type, hi);
    params_add_int8(&walk->params, m->target.id);
    params_add_int8(&walk->params, m->number);
    params_add_bool(&walk->params, walk->note);
    return &walk->params;
}

static void
add_counts(struct walk *walk, PGresult *result)
{
    walk->counts.eligible += result_int64(result, 0, "eligible");
    walk->counts.current += result_int64(result, 0, "current");
    walk->counts.missing += result_int64(result, 0, "missing");
    walk->counts.stale += result_int64(result, 0, "stale");
    walk->counts.excused += result_int64(result, 0, "excused");
    walk->counts.failed += result_int64(result, 0, "failed");
    walk->counts.orphaned += result_int64(result, 0, "orphaned");
    walk->counts.noted += result_int64(result, 0, "noted");
    walk->counts.queued += result_int64(result, 0, "queued");
    PQclear(result);
}

static enum rc
sweep_window(struct walk *walk, struct doc_key lo, struct doc_key hi, struct err *err)
{
    PGresult *result = NULL;
    enum rc rc =
        walk->exec(walk->context, walk->db, walk->migration->sweep_window, window_params(walk, lo, hi), &result, err);

    if (rc == RC_OK)
        add_counts(walk, result);
    return rc == RC_OK ? fail_point("finisher.walked", err) : rc;
}

/* --- on the second connection, unless something is amiss there: then on the first --- */

static bool
send_window(struct walk *walk, struct doc_key lo, struct doc_key hi)
{
    struct err ignored = ERR_INIT;

    if (walk->second &&
        db_send(walk->second, walk->migration->sweep_window, window_params(walk, lo, hi), &ignored) == RC_OK)
        return true;
    walk->second = NULL;
    return false;
}

static enum rc
receive_window(struct walk *walk, struct doc_key lo, struct doc_key hi, struct err *err)
{
    struct err ignored = ERR_INIT;
    PGresult *result = NULL;

    if (db_receive(walk->second, &result, &ignored) == RC_OK) {
        add_counts(walk, result);
        return RC_OK;
    }
    walk->second = NULL;
    return sweep_window(walk, lo, hi, err); /* noting twice is noting once */
}

/* The next window, or two at a time: the first on the second connection meanwhile. */
static enum rc
sweep_some(struct walk *walk, struct doc_key lo, PGresult **ret_bound, struct err *err)
{
    PGresult *middle = NULL;
    struct doc_key hi = NO_KEY;
    enum rc rc, received;

    if ((rc = next_bound(walk, lo, ret_bound, &hi, err)) != RC_OK)
        return rc;
    if (!hi.bytes || !send_window(walk, lo, hi))
        return sweep_window(walk, lo, hi, err);
    struct doc_key first = lo;
    middle = *ret_bound;
    *ret_bound = NULL;
    lo = hi;
    if ((rc = next_bound(walk, lo, ret_bound, &hi, err)) == RC_OK)
        rc = sweep_window(walk, lo, hi, err);
    received = receive_window(walk, first, lo, err);
    PQclear(middle);
    return rc == RC_OK ? received : rc;
}

enum rc
sweep(struct db *db, struct db *second, const struct migration *migration, bool note, sweep_exec exec,
      bool (*going)(void *context), void *context, struct sweep_counts *ret_counts, struct err *err)
{
    struct walk walk = {.db = db,
                        .second = second,
                        .migration = migration,
                        .note = note,
                        .exec = exec,
                        .context = context,
                        .params = PARAMS_INIT};
    PGresult *bound = NULL, *before = NULL; /* lo points into the bound before */
    struct doc_key lo = NO_KEY;
    enum rc rc;

    do {
        if (going && !going(context)) {
            rc = RC_CLOSED;
            break;
        }
        if ((rc = sweep_some(&walk, lo, &bound, err)) != RC_OK)
            break;
        PQclear(before);
        before = bound;
        bound = NULL;
        lo = result_key(before, 0, "hi");
    } while (lo.bytes);
    PQclear(bound);
    PQclear(before);
    params_clear(&walk.params);
    if (rc == RC_OK)
        *ret_counts = walk.counts;
    return rc;
}
