/* The figures of reembed.progress: what counts as what, at every moment. Fixture: 1,000 documents. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
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

TestSuite(accounting, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
begin(int64_t count, const struct plan *plan)
{
    documents(count);
    create("m", plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
}

/* total|processed|skipped|failed|pending */
static void
expect_counts(const char *counts)
{
    expect_rows(lab, counts,
                "select total, processed, skipped, failed, pending from reembed.progress where migration_id = 'm'");
}

static double
figure(const char *column)
{
    return atof(sql_text(lab, "select %s from reembed.progress where migration_id = 'm'", column));
}

static void
skip(const char *ids)
{
    sql_text(lab, "select reembed.skip('m', array(select (%s)::text), 'not needed')", ids);
}

/* --- progress and coverage --- */

Test(accounting, done_250_of_1000_is_a_quarter)
{
    begin(1000, NULL);
    cr_assert_eq(backfill(&worker, 250), 250);
    expect_counts("1000|250|0|0|750");
    cr_assert_eq(figure("progress"), 0.25);
    cr_assert_eq(figure("effective_coverage"), 0.25);
}

Test(accounting, done_1000_of_1000_is_all)
{
    begin(1000, NULL);
    cr_assert_eq(backfill(&worker, INT64_MAX), 1000);
    expect_counts("1000|1000|0|0|0");
    cr_assert_eq(figure("progress"), 1);
}

Test(accounting, the_same_after_the_chunks_were_folded_away)
{
    begin(1000, NULL);
    backfill(&worker, 650);
    for (int i = 0; i < 2; i++)
        sql_text(lab, "select reembed.fold_chunks(%" PRId64 ")", worker.number);
    cr_assert_leq(sql_int(lab, "select count(*) from reembed.chunk"), 1);
    expect_counts("1000|650|0|0|350");
}

Test(accounting, an_empty_collection_is_done_flips_and_completes)
{
    begin(0, NULL);
    expect_counts("0|0|0|0|0");
    cr_assert_eq(figure("progress"), 1);
    cr_assert_eq(figure("effective_coverage"), 1);
    cr_assert_eq(figure("eta_secs"), 0);
    complete(&worker);
    cr_assert_str_eq(state_of("m"), "completed");
}

Test(accounting, before_the_documents_are_counted_nothing_is_done)
{
    documents(3);
    create("m", NULL);
    expect_counts("0|0|0|0|0");
    cr_assert_eq(figure("progress"), 0);
    sql_text(lab, "select reembed.start('m')");
    cr_assert_eq(figure("progress"), 0);
    expect_rows(lab, "", "select eta_secs from reembed.progress");
}

Test(accounting, skipped_100_and_done_450_is_half)
{
    begin(1000, NULL);
    skip("generate_series(901, 1000)");
    backfill(&worker, 450);
    expect_counts("1000|450|100|0|450");
    cr_assert_eq(figure("effective_total"), 900);
    cr_assert_eq(figure("effective_coverage"), 0.5);
    cr_assert_eq(figure("progress"), 0.45);
}

Test(accounting, skipped_50_and_done_200)
{
    begin(1000, NULL);
    skip("generate_series(501, 550)");
    backfill(&worker, 200);
    cr_assert_eq(figure("effective_total"), 950);
    cr_assert_float_eq(figure("effective_coverage"), 200.0 / 950.0, 1e-12);
}

Test(accounting, all_10_of_10_skipped_completes)
{
    begin(10, NULL);
    skip("generate_series(1, 10)");
    expect_counts("10|0|10|0|0");
    cr_assert_eq(figure("effective_total"), 0);
    cr_assert_eq(figure("effective_coverage"), 1);
    complete(&worker);
    expect_counts("10|0|10|0|0");
    cr_assert_eq(sql_int(lab, "select count(*) from reembed_data.docs_current"), 0);
}

Test(accounting, all_10_of_10_empty_completes)
{
    documents(10);
    sql_run(lab, "update docs set body = case when id %% 2 = 0 then '' end");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    complete(&worker);
    expect_counts("10|0|10|0|0");
}

/* --- skips --- */

Test(accounting, a_skip_twice_counts_once)
{
    begin(10, NULL);
    skip("generate_series(1, 3)");
    skip("generate_series(2, 4)");
    expect_counts("10|0|4|0|6");
    backfill(&worker, INT64_MAX);
    skip("generate_series(1, 4)");
    expect_counts("10|6|4|0|0");
}

Test(accounting, a_skip_of_a_document_that_has_its_vector_changes_nothing)
{
    begin(10, NULL);
    backfill(&worker, 5);
    skip("generate_series(1, 5)");
    expect_counts("10|5|0|0|5");
}

Test(accounting, a_skip_ahead_of_the_chunk_and_one_within_it)
{
    begin(200, NULL);
    backfill(&worker, 50);
    skip("unnest(array[60, 150])");
    expect_counts("200|50|2|0|148");
    backfill(&worker, INT64_MAX);
    expect_counts("200|198|2|0|0");
    drain(&worker, TARGET);
    expect_counts("200|198|2|0|0");
}

Test(accounting, a_skip_of_a_failed_document_counts_as_skipped)
{
    documents(10);
    sql_run(lab, "update docs set body = 'BAD' where id in (2, 3)");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    expect_counts("10|8|0|2|0");
    skip("2");
    expect_counts("10|8|1|1|0");
}

Test(accounting, a_skip_can_be_retried)
{
    begin(10, NULL);
    skip("4");
    backfill(&worker, INT64_MAX);
    expect_counts("10|9|1|0|0");
    sql_text(lab, "select reembed.retry('m', '{4}')");
    expect_counts("10|9|0|0|1");
    drain(&worker, TARGET);
    expect_counts("10|10|0|0|0");
    expect_current(&worker, "body", "true");
}

Test(accounting, a_skip_ahead_can_be_retried_before_it_is_met)
{
    begin(10, NULL);
    skip("4");
    sql_text(lab, "select reembed.retry('m', null)");
    expect_counts("10|0|0|0|10");
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    expect_counts("10|10|0|0|0");
    expect_rows(lab, "0", "select count(*) from reembed.failures");
}

Test(accounting, a_skip_of_an_unknown_document_changes_nothing)
{
    begin(10, NULL);
    skip("unnest(array[99, 4711])");
    expect_counts("10|0|0|0|10");
    expect_rows(lab, "0", "select count(*) from reembed.failures");
}

Test(accounting, a_skip_ahead_of_a_document_that_is_then_deleted_leaves_the_total)
{
    begin(10, NULL);
    skip("generate_series(1, 10)");
    sql_run(lab, "delete from docs");
    backfill(&worker, INT64_MAX);
    cr_assert_geq(sql_int(lab, "select pending from reembed.progress"), 0, "less than nothing is pending");
    drain(&worker, TARGET);
    expect_counts("0|0|0|0|0");
}

Test(accounting, a_skip_ahead_of_a_document_that_is_deleted_before_its_chunk_is_read)
{
    begin(10, NULL);
    skip("5");
    sql_run(lab, "delete from docs where id = 5");
    backfill(&worker, INT64_MAX);
    cr_assert_geq(sql_int(lab, "select pending from reembed.progress"), 0, "less than nothing is pending");
    drain(&worker, TARGET);
    expect_counts("9|9|0|0|0");
}

/* Inserted after the backfill had passed the place: not counted, so a skip of it must not be taken from the others. */
Test(accounting, a_skip_of_a_document_that_the_backfill_never_counted)
{
    documents(3);
    sql_run(lab, "update docs set id = id * 100");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    sql_run(lab, "insert into docs select i, 'late ' || i from generate_series(1, 8) i");
    skip("generate_series(1, 8)");
    expect_counts("3|3|0|0|0");
    drain(&worker, TARGET);
    expect_counts("3|3|0|0|0");
    expect_rows(lab, "8", "select count(*) from reembed.failures where kind = 'skipped'");
}

/* Everything is cut, and the end of the table was empty when it was: what is inserted there is not counted either. */
Test(accounting, a_skip_behind_the_last_cut)
{
    begin(10, NULL);
    sql_run(lab, "delete from docs where id > 5");
    while (cut(&worker, 100))
        ;
    sql_run(lab, "insert into docs values (8, 'again')");
    skip("8");
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    expect_counts("5|5|0|0|0");
}

/* --- failures --- */

Test(accounting, a_failed_document_is_listed_and_an_edit_heals_it)
{
    documents(10);
    sql_run(lab, "update docs set body = 'BAD' where id = 2");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    expect_counts("10|9|0|1|0");
    expect_rows(lab, "2|failed|permanent_api_error|the text is bad|1|400",
                "select doc_id, kind, reason, detail, attempts, http_status from reembed.failures");
    sql_run(lab, "update docs set body = 'good' where id = 2");
    drain(&worker, TARGET);
    expect_counts("10|10|0|0|0");
    expect_rows(lab, "0", "select count(*) from reembed.failures");
    expect_current(&worker, "body", "true");
}

Test(accounting, a_retry_of_what_fails_again_counts_its_attempts)
{
    documents(10);
    sql_run(lab, "update docs set body = 'BAD' where id = 2");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    sql_text(lab, "select reembed.retry('m', '{}')");
    expect_counts("10|9|0|0|1");
    drain(&worker, TARGET);
    expect_counts("10|9|0|1|0");
    cr_assert_eq(sql_int(lab, "select attempts from reembed.failures"), 2);
}

Test(accounting, a_document_that_begins_to_fail_loses_its_old_vector)
{
    begin(10, NULL);
    backfill(&worker, INT64_MAX);
    sql_run(lab, "update docs set body = 'BAD' where id = 2");
    drain(&worker, TARGET);
    cr_assert_eq(sql_int(lab, "select count(*) from reembed_data.docs__bge_base where embedding is not null"), 9);
    expect_rows(lab, "2", "select doc_id from reembed.failures");
    expect_counts("10|10|0|0|0"); /* the backfill's figures: its work was done */
}

Test(accounting, a_failed_document_that_is_deleted_leaves_the_total)
{
    documents(10);
    sql_run(lab, "update docs set body = 'BAD' where id in (2, 3)");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    sql_run(lab, "delete from docs where id = 2");
    drain(&worker, TARGET);
    expect_counts("9|8|0|1|0");
}

/* --- the population --- */

Test(accounting, documents_deleted_before_they_are_read_leave_the_total)
{
    begin(1000, NULL);
    backfill(&worker, 250);
    sql_run(lab, "delete from docs where id between 301 and 400");
    backfill(&worker, INT64_MAX);
    expect_counts("900|900|0|0|0");
    drain(&worker, TARGET);
    expect_counts("900|900|0|0|0");
}

Test(accounting, documents_deleted_after_they_were_read_stay_counted)
{
    begin(1000, NULL);
    backfill(&worker, 250);
    sql_run(lab, "delete from docs where id between 101 and 200");
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    expect_counts("1000|1000|0|0|0");
    expect_current(&worker, "body", "true");
}

Test(accounting, documents_inserted_behind_the_bound_are_changes_not_backfill)
{
    begin(100, NULL);
    sql_run(lab, "insert into docs select i, 'new ' || i from generate_series(101, 150) i");
    expect_counts("100|0|0|0|100");
    cr_assert_eq(figure("changes_pending"), 50);
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
    expect_counts("100|100|0|0|0");
    cr_assert_eq(figure("changes_applied"), 50);
    cr_assert_eq(figure("changes_pending"), 0);
    expect_current(&worker, "body", "true");
}

Test(accounting, documents_that_the_drainer_embedded_first_are_not_embedded_again)
{
    struct reading reading;
    struct lease lease;
    begin(10, NULL);
    sql_run(lab, "update docs set body = 'edited' where id <= 4");
    drain(&worker, TARGET);
    cut(&worker, 100);
    cr_assert(claim(&worker, LEASE_MS, &lease));
    read_chunk(&worker, &lease, 100, &reading);
    cr_assert_eq(reading_to_embed(&reading), 6);
    cr_assert(write_chunk(&worker, &lease, &reading));
    expect_counts("10|10|0|0|0");
    reading_free(&reading);
    lease_free(&lease);
}

Test(accounting, the_same_documents_delivered_twice_count_once)
{
    struct lease slow, quick;
    struct reading first, second;
    begin(100, NULL);
    cut(&worker, 100);
    cr_assert(claim(&worker, EXPIRED_MS, &slow));
    read_chunk(&worker, &slow, 60, &first);
    cr_assert(claim(&worker, LEASE_MS, &quick));
    read_chunk(&worker, &quick, 60, &second);
    cr_assert(write_chunk(&worker, &quick, &second));
    cr_assert_not(write_chunk(&worker, &slow, &first));
    expect_counts("100|60|0|0|40");
    reading_free(&first);
    reading_free(&second);
    lease_free(&slow);
    lease_free(&quick);
}

/* --- states --- */

Test(accounting, counters_survive_pause_fail_resume_and_cancel)
{
    documents(100);
    sql_run(lab, "update docs set body = case id when 1 then 'BAD' else '' end where id <= 3");
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, 40);
    const char *counts = "100|37|2|1|60";
    expect_counts(counts);
    sql_text(lab, "select reembed.pause('m', null)");
    expect_counts(counts);
    sql_text(lab, "select reembed.resume('m')");
    expect_counts(counts);
    sql_text(lab, "select reembed.fail('m', 'x')");
    expect_counts(counts);
    sql_text(lab, "select reembed.resume('m')");
    expect_counts(counts);
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_counts(counts);
}

Test(accounting, completed_keeps_its_figures)
{
    begin(100, NULL);
    skip("generate_series(1, 7)");
    complete(&worker);
    expect_counts("100|93|7|0|0");
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_counts("100|93|7|0|0");
}

/* --- what comes next --- */

static int
next_batch(int batch_size)
{
    struct lease lease;
    struct reading reading;
    if (!claim(&worker, LEASE_MS, &lease) && (!cut(&worker, 10000) || !claim(&worker, LEASE_MS, &lease)))
        return 0;
    read_chunk(&worker, &lease, batch_size, &reading);
    int count = reading_to_embed(&reading);
    cr_assert(release(&worker, &lease));
    reading_free(&reading);
    lease_free(&lease);
    return count;
}

Test(accounting, the_next_batch_at_the_end_of_1000_with_950_done_is_50)
{
    begin(1000, NULL);
    backfill(&worker, 950);
    release(&worker, &worker.lease);
    cr_assert_eq(next_batch(100), 50);
}

Test(accounting, the_next_batch_with_3_skipped_of_10_is_7)
{
    begin(10, NULL);
    skip("generate_series(2, 4)");
    cr_assert_eq(next_batch(50), 7);
}

Test(accounting, the_next_batch_is_nothing_in_every_state_but_in_progress)
{
    begin(300, NULL);
    backfill(&worker, 110);
    release(&worker, &worker.lease);
    cr_assert_gt(next_batch(50), 0);
    sql_text(lab, "select reembed.pause('m', null)");
    cr_assert_eq(next_batch(50), 0, "paused");
    cr_assert_not(cut(&worker, 10), "paused");
    sql_text(lab, "select reembed.resume('m')");
    cr_assert_gt(next_batch(50), 0);
    sql_text(lab, "select reembed.fail('m', 'x')");
    cr_assert_eq(next_batch(50), 0, "failed");
    sql_text(lab, "select reembed.cancel('m', null)");
    cr_assert_eq(next_batch(50), 0, "cancelled");
    cr_assert_not(cut(&worker, 10), "cancelled");
}

/* What was being embedded when somebody paused is stored all the same: it was paid for. */
Test(accounting, a_batch_that_was_out_when_the_pause_came_is_stored)
{
    struct lease lease;
    struct reading reading;
    begin(10, NULL);
    cut(&worker, 100);
    cr_assert(claim(&worker, LEASE_MS, &lease));
    read_chunk(&worker, &lease, 100, &reading);
    sql_text(lab, "select reembed.pause('m', null)");
    cr_assert(write_chunk(&worker, &lease, &reading));
    expect_counts("10|10|0|0|0");
    reading_free(&reading);
    lease_free(&lease);
}

/* --- throughput --- */

static void
beat(int64_t processed)
{
    sql_text(
        lab,
        "select x is not null from reembed.heartbeat('00000000-0000-0000-0000-000000000001', 'm', 'host', 1, 5, %" PRId64
        ", 10, 1, null, false) x",
        processed);
}

/* As if `secs` had passed since the last beat. */
static void
pass_time(double secs)
{
    sql_run(lab, "update reembed.migration set beat_at = beat_at - make_interval(secs => %f)", secs);
}

Test(accounting, throughput_is_unknown_before_the_first_batch_and_counts_active_time_only)
{
    begin(1000, NULL);
    expect_rows(lab, "|", "select throughput, eta_secs from reembed.progress");
    beat(0);
    pass_time(4);
    beat(0);
    expect_rows(lab, "|", "select throughput, eta_secs from reembed.progress");
    backfill(&worker, 400);
    cr_assert_float_eq(figure("throughput"), 100, 2);
    cr_assert_float_eq(figure("eta_secs"), 6, 0.2);

    sql_text(lab, "select reembed.pause('m', null)");
    expect_rows(lab, "|", "select throughput, eta_secs from reembed.progress");
    pass_time(4);
    beat(400);
    sql_text(lab, "select reembed.resume('m')");
    cr_assert_float_eq(figure("throughput"), 100, 2, "the pause slowed the rate");

    pass_time(3600); /* nobody was alive */
    beat(400);
    cr_assert_float_eq(figure("throughput"), 100, 2, "an hour without a process slowed the rate");
    pass_time(4);
    beat(400);
    cr_assert_float_eq(figure("throughput"), 50, 1);
    backfill(&worker, INT64_MAX);
    cr_assert_eq(figure("eta_secs"), 0);
}

Test(accounting, in_flight_is_at_most_what_is_pending)
{
    begin(8, NULL);
    beat(0);
    expect_rows(lab, "5|1|f", "select in_flight, workers, stalled from reembed.progress");
    backfill(&worker, 6);
    expect_rows(lab, "2", "select in_flight from reembed.progress");
    sql_run(lab, "update reembed.worker set heartbeat_at = heartbeat_at - interval '1 minute'");
    expect_rows(lab, "0|0|t", "select in_flight, workers, stalled from reembed.progress");
}

Test(accounting, cost_is_tokens_times_price)
{
    begin(8, &(struct plan){.limits = "{\"price_per_million_tokens\": 20}"});
    beat(0);
    expect_rows(lab, "10|1|0.0002", "select tokens, requests, cost from reembed.progress");
}
