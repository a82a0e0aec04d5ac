/* What is polled each second, and what runs for every batch, stays cheap when there is much of everything: 100,000 chunks,
 * 20,000 changes, 5,000 failures, 20,000 events. Not by the clock, which a busy machine would break: views by the rows
 * that pass through all nodes of their plans, statements by the rows that are read from tables. Times are only printed. */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

enum { CHUNKS = 100000, CHANGES = 20000, FAILURES = 5000, EVENTS = 20000, DOCS = 20000 };

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
    documents(DOCS);
    create("m", NULL);
    start("m");
    sql_run(
        lab,
        "insert into reembed.chunk (migration, no, lo, hi, cursor, docs, done, state) select number, i, i::text, (i + 1)::text, i::text, 10, "
        "case when i <= 50000 then 10 else 0 end, case when i <= 50000 then 2 else 0 end "
        "from reembed.migration, generate_series(1, %d) i",
        CHUNKS);
    sql_run(
        lab,
        "insert into reembed_data.docs_changes (space_id, doc_id) select target_space, i from reembed.migration, generate_series(1, %d) i",
        CHANGES);
    sql_run(
        lab,
        "insert into reembed.failure (migration, space_id, doc_id, kind, reason, seen) select number, target_space, i::text, "
        "'failed', 'permanent_api_error', true from reembed.migration, generate_series(1, %d) i",
        FAILURES);
    sql_run(
        lab,
        "insert into reembed.event (migration_id, event, actor) select 'm', 'error', 'x' from generate_series(1, %d)",
        EVENTS);
    sql_run(
        lab,
        "insert into reembed.worker (worker_id, migration_id, host, pid) select gen_random_uuid(), 'm', 'h', i from generate_series(1, 100) i");
    sql_run(
        lab,
        "insert into reembed_data.docs__bge_base select id, 0, md5(body)::uuid, oracle.vector_of(body) from docs where id %% 2 = 0");
    sql_run(lab, "update reembed.migration set next_no = %d, cut_done = true, remaining = 0", CHUNKS + 1);
    sql_run(
        lab,
        "analyze docs; analyze reembed.chunk; analyze reembed.failure; analyze reembed.event; analyze reembed_data.docs_changes; analyze reembed_data.docs__bge_base");
    worker_open(&worker, lab, "m", NULL);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(plans, .init = open_fixture, .fini = close_fixture, .timeout = 120);

/* --- views --- */

/* Rows that pass through all nodes of the plan together, those that filters threw away included. */
static int64_t
rows_through(const char *query)
{
    const char *plan = sql_text(lab, "explain (analyze, timing off, format json) %s", query);
    return sql_int(
        lab,
        "with recursive nodes as (select $p$%s$p$::jsonb->0->'Plan' as n union all "
        "select p from nodes, jsonb_array_elements(n->'Plans') p) "
        "select sum((n->>'Actual Loops')::numeric * ((n->>'Actual Rows')::numeric + coalesce((n->>'Rows Removed by Filter')::numeric, 0) "
        "+ coalesce((n->>'Rows Removed by Join Filter')::numeric, 0)))::bigint from nodes",
        plan);
}

static void
expect_linear(const char *query, int64_t most)
{
    int64_t rows = rows_through(query);
    const char *plan = sql_text(lab, "explain (analyze, format json) %s", query);
    const char *time = strstr(plan, "\"Execution Time\":");
    cr_log_info("%s: %" PRId64 " rows, %.6s ms", query, rows, time != NULL ? time + 18 : "?");
    cr_assert_leq(rows, most, "%s: %" PRId64 " rows, more than %" PRId64 "\n%s", query, rows, most,
                  sql_rows(lab, "explain analyze %s", query));
}

Test(plans, progress_passes_each_chunk_a_few_times_at_most)
{
    expect_linear("select * from reembed.progress where migration_id = 'm'", 4 * (CHUNKS + FAILURES));
    expect_linear("select * from reembed.progress", 4 * (CHUNKS + FAILURES));
}

Test(plans, progress_of_many_migrations_is_not_many_times_as_much)
{
    sql_run(
        lab,
        "insert into reembed.migration (migration_id, collection, target_model, config, state, finalized_at) "
        "select 'old ' || i, 'docs', 'x', '{}', 'completed', now() from generate_series(1, 500) i; analyze reembed.migration");
    expect_linear("select * from reembed.progress where migration_id = 'm'", 4 * (CHUNKS + FAILURES));
    expect_linear("select * from reembed.progress", 4 * CHUNKS + 501 * (FAILURES + 1000));
}

Test(plans, gates_pass_each_chunk_a_few_times_at_most)
{
    expect_linear("select * from reembed.gates where migration_id = 'm'", 6 * (CHUNKS + 4 * FAILURES));
}

Test(plans, routing_looks_at_a_handful_of_rows)
{
    expect_linear("select * from reembed.routing", 50);
    expect_linear("select * from reembed.routing where collection = 'docs'", 50);
}

Test(plans, the_last_events_of_a_migration_are_found_by_index)
{
    expect_linear("select * from reembed.events where migration_id = 'm' order by at desc limit 10", 3 * EVENTS + 1000);
    expect_linear("select reembed.route_request('docs', true), reembed.route_query('docs'), reembed.state_json('m')",
                  10);
}

Test(plans, waiting_changes_are_counted_up_to_a_limit)
{
    sql_run(
        lab,
        "insert into reembed_data.docs_changes (space_id, doc_id) select target_space, i from reembed.migration, generate_series(1, 100000) i");
    expect_rows(lab, "100000", "select changes_pending from reembed.progress where migration_id = 'm'");
}

/* --- statements --- */

/* Rows read from tables of ours and from the documents; the figures of a session go on counting for a while. */
static int64_t
rows_read(const char *how)
{
    return sql_int(
        lab,
        "select coalesce(sum(%s), 0)::bigint from pg_stat_xact_user_tables where schemaname in ('reembed', 'reembed_data', 'public')",
        how);
}

static struct err err;
static int64_t scanned_before, fetched_before;

static void
begin_counting(void)
{
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    scanned_before = rows_read("seq_tup_read");
    fetched_before = rows_read("idx_tup_fetch");
}

static void
expect_read(const char *what, int64_t most)
{
    int64_t scanned = rows_read("seq_tup_read") - scanned_before, fetched = rows_read("idx_tup_fetch") - fetched_before;
    db_rollback(lab);
    cr_log_info("%s: %" PRId64 " rows scanned, %" PRId64 " fetched by index", what, scanned, fetched);
    cr_assert_leq(scanned + fetched, most,
                  "%s read %" PRId64 " rows by scans and %" PRId64 " by index, not at most %" PRId64, what, scanned,
                  fetched, most);
}

Test(plans, a_claim_looks_at_open_chunks_only)
{
    struct lease lease;
    begin_counting();
    cr_assert(claim(&worker, LEASE_MS, &lease));
    cr_assert(renew(&worker, &lease, LEASE_MS));
    lease_free(&lease);
    expect_read("claim and renew", 50);
}

Test(plans, a_cut_reads_one_chunk_of_documents)
{
    sql_run(lab, "update reembed.migration set cut_done = false, cut_upto = '5000', remaining = 15000");
    begin_counting();
    cr_assert(cut(&worker, 100));
    expect_read("cut of 100", 300);
}

static void
claim_from(struct lease *lease, int64_t after)
{
    sql_run(lab,
            "update reembed.chunk set cursor = '%" PRId64 "', lo = '%" PRId64 "', hi = '%" PRId64 "' where no = 50001",
            after, after, after + 2000);
    sql_run(lab, "update reembed.chunk set state = 2 where no > 50001");
    cr_assert(claim(&worker, LEASE_MS, lease));
}

Test(plans, a_read_and_a_write_touch_their_own_documents_only)
{
    struct lease lease;
    struct reading reading;
    claim_from(&lease, 10000);
    begin_counting();
    read_chunk(&worker, &lease, 200, &reading);
    cr_assert_eq(reading.count, 200);
    expect_read("read of 200", 1500);
    begin_counting();
    cr_assert(write_chunk(&worker, &lease, &reading));
    expect_read("write of 200", 1500);
    reading_free(&reading);
    lease_free(&lease);
}

/* Others have filled the target around this chunk, and the planner thinks that there must be something within, too. */
Test(plans, a_read_of_a_chunk_in_a_hole_of_the_target)
{
    struct lease lease;
    struct reading reading;
    sql_run(lab,
            "delete from reembed_data.docs__bge_base; "
            "insert into reembed_data.docs__bge_base select id, 0, md5(body)::uuid, oracle.vector_of(body) from docs");
    claim_from(&lease, 10000);
    sql_run(
        lab,
        "analyze reembed_data.docs__bge_base; delete from reembed_data.docs__bge_base where doc_id between 10001 and 12000");
    begin_counting();
    read_chunk(&worker, &lease, 200, &reading);
    cr_assert_eq(reading_to_embed(&reading), 200);
    expect_read("read of 200 in a hole", 5000);
    reading_free(&reading);
    lease_free(&lease);
}

/* The first write of all: the planner knows nothing of the empty target yet. */
Test(plans, a_read_and_a_write_of_an_empty_target)
{
    struct lease lease;
    struct reading reading;
    sql_run(lab, "truncate reembed_data.docs__bge_base");
    claim_from(&lease, 10000);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(db_begin(lab, &err), RC_OK);
        read_chunk(&worker, &lease, 200, &reading);
        cr_assert(write_chunk(&worker, &lease, &reading));
        reading_free(&reading);
        cr_assert_eq(db_commit(lab, &err), RC_OK);
    }
    begin_counting();
    read_chunk(&worker, &lease, 200, &reading);
    cr_assert(write_chunk(&worker, &lease, &reading));
    expect_read("sixth read and write of 200", 3000);
    reading_free(&reading);
    lease_free(&lease);
}

Test(plans, a_pass_of_the_drainer_touches_its_own_documents_only)
{
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
    cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &drainer));
    begin_counting();
    drain_list(&worker, TARGET, 200, &changes);
    drain_read(&worker, TARGET, &changes, &reading);
    cr_assert_eq(reading.count, 200);
    expect_read("list and read of 200 changes", 2000);
    begin_counting();
    cr_assert(drain_write(&worker, TARGET, &drainer, &changes, &reading, NULL));
    expect_read("drain write of 100", 2500);
    begin_counting();
    cr_assert(drain_same(&worker, TARGET, &drainer, &changes, &reading, NULL));
    expect_read("drain same of 100", 2500);
    reading_free(&reading);
    changes_free(&changes);
}

Test(plans, a_purge_without_tombstones_reads_nothing)
{
    struct drainer drainer;
    cr_assert(drain_claim(&worker, TARGET, LEASE_MS, &drainer));
    begin_counting();
    cr_assert_eq(purge(&worker, &drainer, 1000), 0);
    expect_read("purge", 100);
}

/* Each document once, each vector once, whatever the number of windows. */
Test(plans, a_sweep_is_linear)
{
    sql_run(
        lab,
        "delete from reembed_data.docs_changes; analyze reembed_data.docs_changes;"
        "insert into reembed_data.docs__bge_base select id, 0, md5(body)::uuid, oracle.vector_of(body) from docs where id %% 2 = 1");
    begin_counting();
    cr_assert_eq(sweep(&worker), 0);
    expect_read("sweep", 12 * DOCS);
}

Test(plans, a_skip_and_a_retry_of_some_documents)
{
    begin_counting();
    sql_text(lab, "select reembed.skip('m', '{10001,10003,10005}', 'x')");
    expect_read("skip of 3", 8 * CHUNKS); /* every open chunk is asked for each document whether it lies ahead */
    begin_counting();
    sql_text(lab, "select reembed.retry('m', '{1,3,5}')");
    expect_read("retry of 3", 4 * CHUNKS); /* the state that it returns is of all chunks */
}
