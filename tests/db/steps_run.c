#include <criterion/criterion.h>
#include <inttypes.h>

#include "db/result.h"
#include "tests/db/steps_internal.h"
#include "tests/db/support.h"

enum { CHUNK = 100, BATCH = 40, WINDOW = 250, PASSES = 1000 };

static bool
next_lease(struct worker *worker)
{
    while (!worker->leased) {
        worker->leased = claim(worker, LEASE_MS, &worker->lease);
        if (!worker->leased && !cut(worker, CHUNK))
            return false;
    }
    return true;
}

int64_t
backfill(struct worker *worker, int64_t wanted)
{
    int64_t written = 0;
    while (written < wanted && next_lease(worker)) {
        struct reading reading;
        read_chunk(worker, &worker->lease, wanted - written < BATCH ? (int)(wanted - written) : BATCH, &reading);
        int count = reading.count;
        bool stored = write_chunk(worker, &worker->lease, &reading);
        reading_free(&reading);
        if (stored)
            written += count;
        if (!stored || worker->lease.finished) {
            lease_free(&worker->lease);
            worker->leased = false;
        }
    }
    return written;
}

int64_t
drain(struct worker *worker, int space)
{
    struct drainer drainer;
    int64_t met = 0;
    cr_assert(drain_claim(worker, space, LEASE_MS, &drainer), "somebody else drains");
    for (int pass = 0;; pass++) {
        struct changes changes;
        struct reading reading;
        cr_assert_lt(pass, PASSES, "the change log does not get empty");
        drain_list(worker, space, 500, &changes);
        if (changes.count == 0) {
            changes_free(&changes);
            break;
        }
        if (changes.truncated) {
            truncate_kick(worker);
            truncate_expand(worker, space, &drainer, &changes);
        }
        drain_read(worker, space, &changes, &reading);
        met += reading.count;
        drain_write(worker, space, &drainer, &changes, &reading, NULL);
        if (worker->spaces[space].side)
            drain_same(worker, space, &drainer, &changes, &reading, NULL);
        reading_free(&reading);
        changes_free(&changes);
    }
    drain_release(worker, space, &drainer);
    return met;
}

int64_t
sweep(struct worker *worker)
{
    int64_t eligible = 0, current = 0, excused = 0, noted = 0;
    struct doc_key lo = {NULL, 0}, hi;
    PGresult *bound = NULL, *before = NULL;
    do {
        struct params params = PARAMS_INIT;
        params_add_key(&params, worker->id_type, lo);
        params_add_int4(&params, WINDOW);
        bound = step_execute(worker, SWEEP_BOUND, TARGET, &params);
        hi = result_key(bound, 0, "hi");

        params_add_key(&params, worker->id_type, lo);
        params_add_key(&params, worker->id_type, hi);
        params_add_int8(&params, worker->spaces[TARGET].id);
        params_add_int8(&params, worker->number);
        params_add_bool(&params, true);
        PGresult *counted = step_execute(worker, SWEEP_WINDOW, TARGET, &params);
        eligible += result_int64(counted, 0, "eligible");
        current += result_int64(counted, 0, "current");
        excused += result_int64(counted, 0, "excused");
        noted += result_int64(counted, 0, "noted");
        PQclear(counted);
        PQclear(before);
        before = bound;
        lo = hi;
    } while (hi.bytes != NULL);
    PQclear(bound);
    sql_text(worker->db, "select reembed.record_coverage('%s', %" PRId64 ", %" PRId64 ", %" PRId64 ")", worker->id,
             eligible, current, excused);
    sql_run(worker->db, "update reembed.migration set sweep_clean = %s where number = %" PRId64,
            noted == 0 ? "true" : "false", worker->number);
    return noted;
}

void
build_index(struct worker *worker, bool valid)
{
    const char *table = sql_text(worker->db, "select table_name from reembed.space where space_id = %" PRId64,
                                 worker->spaces[TARGET].id);
    sql_run(worker->db, "create index by_hand on %s using hnsw (embedding vector_cosine_ops)", table);
    sql_run(worker->db, "update reembed.space set index_name = 'reembed_data.by_hand' where space_id = %" PRId64,
            worker->spaces[TARGET].id);
    if (!valid) {
        struct db *super = lab_connect(NULL);
        sql_run(super, "update pg_index set indisvalid = false where indexrelid = 'reembed_data.by_hand'::regclass");
    }
}

void
complete(struct worker *worker)
{
    int64_t noted = 1;
    for (int pass = 0; noted > 0; pass++) {
        cr_assert_lt(pass, 20, "the sweep finds something to repair again and again");
        backfill(worker, INT64_MAX);
        drain(worker, TARGET);
        noted = sweep(worker);
    }
    cr_assert(
        sql_bool(worker->db, "select reembed.try_cutover('%s')", worker->id), "not flipped; gates:\n%s",
        sql_rows(worker->db, "select gate, holds, text from reembed.gates where migration_id = '%s'", worker->id));
    sql_text(worker->db, "select reembed.complete('%s')", worker->id);
}

struct verdict
check(struct worker *worker, const char *content, const char *filter, bool pending)
{
    PGresult *result = NULL;
    struct err err = ERR_INIT;
    const char *sql = lab_printf("select * from oracle.verdict('%s', $c$%s$c$, $c$%s$c$, %s)", worker->id, content,
                                 filter, pending ? "true" : "false");
    if (db_exec(worker->db, sql, NULL, &result, &err) != RC_OK)
        lab_fail("%s: %s", sql, err.message);
    struct verdict verdict = {result_int64(result, 0, "wrong"), result_int64(result, 0, "missing"),
                              result_int64(result, 0, "orphaned")};
    PQclear(result);
    return verdict;
}

void
expect_current(struct worker *worker, const char *content, const char *filter)
{
    struct verdict found = check(worker, content, filter, false);
    cr_assert(found.wrong == 0 && found.missing == 0 && found.orphaned == 0,
              "%" PRId64 " wrong, %" PRId64 " missing, %" PRId64 " orphaned", found.wrong, found.missing,
              found.orphaned);
}
