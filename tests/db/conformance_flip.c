/* When queries go over to the target, that they do so once, and what nothing undoes. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(flip, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
begin(int64_t count, const struct plan *plan)
{
    documents(count);
    create("m", plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
}

static void
begin_at(int64_t count, const char *threshold)
{
    begin(count, &(struct plan){.backfill = lab_printf("{\"target_query_threshold\": %s}", threshold)});
}

static bool
flips(void)
{
    bool flipped = sql_bool(lab, "select reembed.try_cutover('m')");
    cr_assert_str_eq(sql_text(lab, "select query_model from reembed.routing"), flipped ? "bge-base" : "bge-small");
    return flipped;
}

/* As if a minute had passed: a measurement is believed for so long. */
static void
forget_measurement(void)
{
    sql_run(lab, "update reembed.migration set measured_at = measured_at - interval '2 minutes'");
}

/* --- coverage --- */

Test(flip, at_threshold_08_of_1000_not_with_799_but_with_800)
{
    begin_at(1000, "0.8");
    backfill(&worker, 799);
    cr_assert_not(flips());
    backfill(&worker, 1);
    cr_assert(flips());
}

Test(flip, with_300_of_1000_skipped_not_with_559_of_700_but_with_560)
{
    begin_at(1000, "0.8");
    sql_text(lab, "select reembed.skip('m', array(select generate_series(701, 1000)::text), 'not needed')");
    backfill(&worker, 559);
    cr_assert_not(flips());
    backfill(&worker, 1);
    cr_assert(flips());
}

Test(flip, with_300_of_1000_skipped_and_699_of_700_done)
{
    begin_at(1000, "0.8");
    sql_text(lab, "select reembed.skip('m', array(select generate_series(1, 300)::text), 'not needed')");
    backfill(&worker, 999);
    cr_assert(flips());
}

Test(flip, at_threshold_0_at_once)
{
    begin_at(10, "0.0");
    cr_assert(flips());
}

Test(flip, at_threshold_0_not_before_the_documents_are_counted)
{
    documents(10);
    create("m", &(struct plan){.backfill = "{\"target_query_threshold\": 0}"});
    sql_text(lab, "select reembed.start('m')");
    cr_assert_not(flips());
    expect_error(lab, "RE001", "invalid migration transition from in_progress to flipped",
                 "select reembed.cutover('m', true)");
}

Test(flip, at_threshold_1_only_when_nothing_is_missing)
{
    begin_at(1000, "1.0");
    backfill(&worker, 999);
    cr_assert_not(flips());
    backfill(&worker, 1);
    sql_run(lab, "update docs set body = 'edited' where id = 500");
    cr_assert_not(flips(), "one vector is stale");
    drain(&worker, TARGET);
    cr_assert_not(flips(), "what was measured is believed for a minute");
    forget_measurement();
    cr_assert(flips());
}

/* The counters say 800 of 1,000; one of them is stale. */
Test(flip, by_what_is_current_not_by_what_was_done)
{
    begin_at(1000, "0.8");
    backfill(&worker, 800);
    sql_run(lab, "update docs set body = 'edited' where id = 1");
    cr_assert_not(flips());
    cr_assert_eq(strtod(sql_text(lab, "select actual from reembed.gates where gate = 'coverage'"), NULL), 0.799);
    expect_error(lab, "RE003", "cutover of m is held back by: coverage", "select reembed.cutover('m')");
}

/* As many documents as before, but other ones. */
Test(flip, by_which_documents_have_a_vector_not_by_how_many)
{
    begin_at(1000, "0.8");
    backfill(&worker, INT64_MAX);
    sql_run(
        lab,
        "delete from docs where id <= 500; insert into docs select i, 'new ' || i from generate_series(1001, 1500) i");
    cr_assert_not(flips());
    drain(&worker, TARGET);
    forget_measurement();
    cr_assert(flips());
}

/* A failed document should have a vector and has none; a skipped one should have none. */
Test(flip, failed_documents_are_missing_skipped_ones_are_not)
{
    documents(100);
    sql_run(lab, "update docs set body = 'BAD' where id <= 20; update docs set body = '' where id > 90");
    create("m", &(struct plan){.gates = "{\"max_failed\": 50}", .backfill = "{\"target_query_threshold\": 0.78}"});
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    cr_assert_not(flips(), "70 of 90");
    expect_error(lab, "RE003", "cutover of m is held back by: coverage (77.78 % of", "select reembed.cutover('m')");
    sql_run(lab, "update docs set body = 'good' where id = 1");
    drain(&worker, TARGET);
    forget_measurement();
    cr_assert(flips(), "71 of 90");
}

Test(flip, of_an_empty_collection)
{
    begin_at(0, "1.0");
    cr_assert(flips());
}

/* --- the index --- */

static void
begin_with_index(const char *threshold)
{
    begin(200, &(struct plan){.index = "hnsw", .backfill = lab_printf("{\"target_query_threshold\": %s}", threshold)});
}

Test(flip, at_threshold_0_as_soon_as_the_index_is_valid)
{
    begin_with_index("0.0");
    cr_assert_not(flips(), "there is no index");
    build_index(&worker, true);
    cr_assert(flips());
}

Test(flip, not_with_an_index_that_an_interrupted_build_left)
{
    begin_with_index("0.0");
    build_index(&worker, false);
    cr_assert_not(flips(), "the index is not valid");
}

Test(flip, not_without_the_index_at_full_coverage)
{
    begin_with_index("0.8");
    backfill(&worker, INT64_MAX);
    cr_assert_not(flips());
    expect_rows(lab, "coverage|t\nindex|f\nchange_lag|t\nfailed|t\noverlap|t\napproval|t",
                "select gate, holds from reembed.gates where migration_id = 'm'");
    build_index(&worker, true);
    cr_assert(flips());
}

Test(flip, searches_go_through_the_index_and_the_stable_view)
{
    begin_with_index("0.8");
    backfill(&worker, INT64_MAX);
    build_index(&worker, true);
    sql_run(
        lab,
        "prepare hits as select doc_id from reembed_data.docs_current order by embedding <=> oracle.vector_of('text 7')::vector limit 1");
    sql_text(lab, "execute hits");
    cr_assert(flips());
    expect_rows(lab, "7", "execute hits");
    expect_rows(lab, "7|0|bge-base", "select * from reembed.search('docs', oracle.vector_of('text 7'), 1)");
    const char *plan = sql_rows(lab, "set local enable_seqscan = off");
    (void)plan;
    struct err err = ERR_INIT;
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    sql_rows(lab, "set local enable_seqscan = off");
    plan = sql_rows(
        lab,
        "explain select doc_id from reembed_data.docs_current order by embedding <=> oracle.vector_of('text 7') limit 1");
    db_rollback(lab);
    cr_assert_not_null(strstr(plan, "by_hand"), "%s", plan);
}

/* --- the other gates --- */

Test(flip, not_with_more_failed_documents_than_allowed)
{
    documents(100);
    sql_run(lab, "update docs set body = 'BAD' where id <= 3");
    create("m", &(struct plan){.gates = "{\"max_failed\": 2}"});
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    cr_assert_not(flips());
    sql_run(lab, "update docs set body = 'good' where id = 2");
    drain(&worker, TARGET);
    cr_assert(flips());
}

Test(flip, not_while_changes_have_waited_too_long)
{
    begin(100, &(struct plan){.gates = "{\"max_change_lag_secs\": 5}"});
    backfill(&worker, INT64_MAX);
    sql_run(
        lab,
        "update docs set body = 'edited' where id = 2; update reembed_data.docs_changes set at = at - interval '6 seconds'");
    cr_assert_not(flips());
    drain(&worker, TARGET);
    cr_assert(flips());
}

Test(flip, not_by_itself_where_a_person_must_approve)
{
    begin(100, &(struct plan){.gates = "{\"auto_cutover\": false}"});
    backfill(&worker, INT64_MAX);
    cr_assert_not(flips());
    sql_text(lab, "select reembed.cutover('m')");
    cr_assert(flips());
}

Test(flip, not_by_itself_while_paused)
{
    begin(100, NULL);
    backfill(&worker, INT64_MAX);
    sql_text(lab, "select reembed.pause('m', null)");
    cr_assert_not(flips());
    sql_text(lab, "select reembed.resume('m')");
    cr_assert(flips());
}

Test(flip, a_cutover_that_is_held_back_names_every_gate_and_force_does_it)
{
    begin(100, &(struct plan){.index = "hnsw"});
    backfill(&worker, 10);
    const char *before = dump();
    expect_error(lab, "RE003",
                 "cutover of m is held back by: coverage (10.00 % of the documents have a current vector, 80.00 % "
                 "are required); index (the index is not built yet)",
                 "select reembed.cutover('m')");
    cr_assert_str_eq(dump(), before);
    sql_text(lab, "select reembed.cutover('m', true)");
    expect_rows(lab, "bge-base|migrating", "select query_model, phase from reembed.routing");
    expect_rows(
        lab, "true|6",
        "select detail->>'forced', jsonb_array_length(detail->'gates') from reembed.events where event = 'cutover'");
}

/* --- once, and for good --- */

static const char *
flipped_state(void)
{
    return sql_rows(lab, "select query_model, version, flipped_at from reembed.routing");
}

Test(flip, happens_once_and_nothing_but_rollback_undoes_it)
{
    begin(100, NULL);
    backfill(&worker, INT64_MAX);
    cr_assert(flips());
    const char *flipped = flipped_state();
    cr_assert(flips());
    sql_text(lab, "select reembed.cutover('m')");
    cr_assert_str_eq(flipped_state(), flipped);
    sql_text(lab, "select reembed.pause('m', null)");
    cr_assert_str_eq(flipped_state(), flipped);
    sql_text(lab, "select reembed.resume('m')");
    sql_text(lab, "select reembed.fail('m', 'x')");
    cr_assert_str_eq(flipped_state(), flipped);
    sql_text(lab, "select reembed.resume('m')");
    sql_run(lab, "update docs set body = 'edited'"); /* the gates hold no more */
    forget_measurement();
    cr_assert(flips());
    cr_assert_str_eq(flipped_state(), flipped);
    complete(&worker);
    cr_assert_str_eq(flipped_state(), flipped);
    sql_text(lab, "select reembed.finalize('m', true)");
    cr_assert_str_eq(sql_rows(lab, "select query_model, version, flipped_at from reembed.routing"), flipped);
}

Test(flip, the_window_runs_from_completion_by_the_databases_clock)
{
    begin(10, &(struct plan){.backfill = "{\"rollback_window_secs\": 90}"});
    complete(&worker);
    expect_rows(lab, "90.000|t",
                "select round(extract(epoch from window_ends_at - completed_at), 3), completed_at > clock_timestamp() "
                "- interval '1 minute' from reembed.progress");
    expect_rows(lab, "rollback_window", "select phase from reembed.routing");
    sql_run(lab, "update reembed.migration set window_ends_at = clock_timestamp()");
    expect_rows(lab, "stable", "select phase from reembed.routing");
    worker_close(&worker);
    struct db *later = lab_connect(LAB_OWNER); /* a restart has no memory of its own */
    expect_rows(later, "stable", "select phase from reembed.routing");
}

Test(flip, a_window_of_0_seconds_is_never_inside)
{
    begin(10, &(struct plan){.backfill = "{\"rollback_window_secs\": 0}"});
    struct err err = ERR_INIT;
    backfill(&worker, INT64_MAX);
    sweep(&worker);
    cr_assert(flips());
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    sql_text(lab, "select reembed.complete('m')");
    expect_rows(lab, "stable", "select phase from reembed.routing");
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    expect_rows(lab, "stable|bge-base|{bge-base}|",
                "select phase, query_model, write_models, migration_id from reembed.routing");
    expect_error(lab, "RE001", "invalid migration transition from completed to rolled_back",
                 "select reembed.rollback('m')");
}

/* --- readers of the stable view --- */

/* A long read of the view holds the flip up; it waits no longer than lock_timeout, also where nobody has set one, since
 * every new reader would queue up behind it. */
Test(flip, gives_up_its_lock_on_the_view_in_time)
{
    struct db *reader = lab_connect(LAB_OWNER), *psql = lab_connect(LAB_OWNER);
    struct err err = ERR_INIT;
    begin(10, NULL);
    backfill(&worker, INT64_MAX);
    cr_assert_eq(db_begin(reader, &err), RC_OK);
    sql_text(reader, "select count(*) from reembed_data.docs_current");
    cr_assert_eq(db_set_timeouts(psql, 15000, DB_NO_TIMEOUT, &err), RC_OK);
    sql_send(psql, "select reembed.cutover('m')");
    cr_assert_eq(sql_receive(psql, &err), RC_RETRY);
    cr_assert_str_eq(err.sqlstate, "55P03", "%s %s", err.sqlstate, err.message);
    cr_assert_eq(db_commit(reader, &err), RC_OK);
    sql_text(psql, "select reembed.cutover('m')");
}

/* An application may call an operation inside a transaction of its own. */
Test(flip, operations_leave_the_settings_of_the_transaction_alone)
{
    struct err err = ERR_INIT;
    struct db *psql = lab_connect(LAB_OWNER);
    cr_assert_eq(db_set_timeouts(psql, 15000, DB_NO_TIMEOUT, &err), RC_OK);
    begin(10, NULL);
    complete(&worker);
    cr_assert_eq(db_begin(psql, &err), RC_OK);
    sql_text(psql, "select reembed.rollback('m')");
    sql_text(psql, "select reembed.cutover('m', true)");
    sql_text(psql, "select reembed.finalize('m', now => true, detach => true)");
    expect_rows(psql, "0", "select current_setting('lock_timeout')");
    cr_assert_eq(db_commit(psql, &err), RC_OK);
}

/* From vector to halfvec the view's column gets another type, so it is made anew: with the rights it had. */
Test(flip, to_another_vector_type_keeps_the_rights_on_the_view)
{
    begin(10, &(struct plan){.target_type = "halfvec"});
    sql_run(lab, "grant usage on schema reembed_data to " LAB_APPLICATION
                 "; grant select on reembed_data.docs_current to " LAB_APPLICATION " with grant option");
    const char *rights = sql_text(lab, "select relacl from pg_class where oid = 'reembed_data.docs_current'::regclass");
    backfill(&worker, INT64_MAX);
    cr_assert(flips());
    cr_assert_str_eq(sql_text(lab, "select relacl from pg_class where oid = 'reembed_data.docs_current'::regclass"),
                     rights);
    struct db *app = lab_connect(LAB_APPLICATION);
    expect_rows(app, "10", "select count(*) from reembed_data.docs_current");
}
