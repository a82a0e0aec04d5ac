/* Which operation leads from which state to which, and that everything else is refused and changes nothing. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
    documents(10);
    create("m", NULL);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(transitions, .init = open_fixture, .fini = close_fixture, .timeout = 60);

/* From planned to in progress, with every document done, the changes drained and the coverage measured. */
static void
begin_and_fill(void)
{
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    drain(&worker, TARGET);
}

static void
reach(const char *state)
{
    if (strcmp(state, "planned") == 0)
        return;
    begin_and_fill();
    if (strcmp(state, "paused") == 0)
        sql_text(lab, "select reembed.pause('m', 'lunch')");
    else if (strcmp(state, "failed") == 0)
        sql_text(lab, "select reembed.fail('m', 'no such model')");
    else if (strcmp(state, "cancelled") == 0)
        sql_text(lab, "select reembed.cancel('m', 'not worth it')");
    else if (strcmp(state, "completed") == 0 || strcmp(state, "rolled_back") == 0)
        complete(&worker);
    if (strcmp(state, "rolled_back") == 0)
        sql_text(lab, "select reembed.rollback('m', 'worse results')");
    cr_assert_str_eq(state_of("m"), state);
}

static const char *
operation_sql(const char *operation)
{
    if (strcmp(operation, "pause") == 0 || strcmp(operation, "fail") == 0)
        return lab_printf("select reembed.%s('m', 'because')", operation);
    return lab_printf("select reembed.%s('m')", operation);
}

/* As a refusal names what was wanted. */
static const char *
wanted_of(const char *operation)
{
    static const char *const names[][2] = {
        {"start", "in_progress"},  {"pause", "paused"},         {"fail", "failed"},
        {"resume", "in_progress"}, {"cancel", "cancelled"},     {"complete", "completed"},
        {"cutover", "flipped"},    {"rollback", "rolled_back"}, {"finalize", "finalized"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], operation) == 0)
            return names[i][1];
    lab_fail("no operation %s", operation);
}

static void
expect_refused(const char *state, const char *operation)
{
    const char *before = dump();
    expect_error(lab, "RE001", lab_printf("invalid migration transition from %s to %s: ", state, wanted_of(operation)),
                 "%s", operation_sql(operation));
    cr_assert_str_eq(dump(), before, "%s while %s was refused, but something was written", operation, state);
}

static const char *
counts(void)
{
    return sql_rows(lab, "select total, processed, skipped, failed, pending from reembed.progress");
}

static void
expect_moved(const char *state, const char *operation, const char *to)
{
    const char *before = counts();
    int64_t events = sql_int(lab, "select count(*) from reembed.events where migration_id = 'm'");
    const char *json = sql_text(lab, "%s", operation_sql(operation));
    cr_assert_str_eq(state_of("m"), to);
    cr_assert_str_eq(counts(), before, "%s while %s changed the counts", operation, state);
    cr_assert_str_eq(json, sql_text(lab, "select reembed.state_json('m')"), "the new state is returned");
    cr_assert_gt(sql_int(lab, "select count(*) from reembed.events where migration_id = 'm'"), events);
    cr_assert(sql_bool(lab,
                       "select exists (select from reembed.events where migration_id = 'm' and detail->>'from' = '%s' "
                       "and detail->>'to' = '%s')",
                       state, to),
              "no event tells of %s to %s", state, to);
}

#define MOVES(state, operation, to)                                                                                    \
    Test(transitions, state##_##operation##_leads_to_##to)                                                             \
    {                                                                                                                  \
        reach(#state);                                                                                                 \
        expect_moved(#state, #operation, #to);                                                                         \
    }
#define REFUSED(state, operation)                                                                                      \
    Test(transitions, state##_##operation##_is_refused)                                                                \
    {                                                                                                                  \
        reach(#state);                                                                                                 \
        expect_refused(#state, #operation);                                                                            \
    }

MOVES(planned, start, in_progress)
REFUSED(in_progress, start)
REFUSED(paused, start)
REFUSED(failed, start)
REFUSED(completed, start)
REFUSED(cancelled, start)
REFUSED(rolled_back, start)

REFUSED(planned, pause)
MOVES(in_progress, pause, paused)
REFUSED(paused, pause)
REFUSED(failed, pause)
REFUSED(completed, pause)
REFUSED(cancelled, pause)
REFUSED(rolled_back, pause)

REFUSED(planned, fail)
MOVES(in_progress, fail, failed)
REFUSED(paused, fail)
REFUSED(failed, fail)
REFUSED(completed, fail)
REFUSED(cancelled, fail)
REFUSED(rolled_back, fail)

REFUSED(planned, resume)
REFUSED(in_progress, resume)
MOVES(paused, resume, in_progress)
MOVES(failed, resume, in_progress)
REFUSED(completed, resume)
REFUSED(cancelled, resume)
REFUSED(rolled_back, resume)

MOVES(planned, cancel, cancelled)
MOVES(in_progress, cancel, cancelled)
MOVES(paused, cancel, cancelled)
MOVES(failed, cancel, cancelled)
REFUSED(completed, cancel)
REFUSED(cancelled, cancel)
REFUSED(rolled_back, cancel)

REFUSED(planned, complete)
REFUSED(in_progress, complete) /* not flipped, not swept */
REFUSED(paused, complete)
REFUSED(failed, complete)
REFUSED(completed, complete)
REFUSED(cancelled, complete)
REFUSED(rolled_back, complete)

REFUSED(planned, cutover)
MOVES(in_progress, cutover, in_progress)
MOVES(paused, cutover, paused)
REFUSED(failed, cutover)
REFUSED(completed, cutover)
REFUSED(cancelled, cutover)
MOVES(rolled_back, cutover, completed)

REFUSED(planned, rollback)
REFUSED(in_progress, rollback) /* not flipped */
REFUSED(paused, rollback)
REFUSED(failed, rollback)
MOVES(completed, rollback, rolled_back)
REFUSED(cancelled, rollback)
REFUSED(rolled_back, rollback)

REFUSED(planned, finalize)
REFUSED(in_progress, finalize)
REFUSED(paused, finalize)
REFUSED(failed, finalize)
REFUSED(completed, finalize) /* the window is open */
REFUSED(cancelled, finalize)

/* --- complete: by the exact sweep only --- */

static const char *const not_complete = "invalid migration transition from in_progress to completed";

static void
expect_not_complete(void)
{
    const char *before = dump();
    expect_error(lab, "RE001", not_complete, "select reembed.complete('m')");
    cr_assert_str_eq(dump(), before);
}

Test(transitions, complete_is_refused_before_the_flip_although_the_sweep_was_clean)
{
    begin_and_fill();
    cr_assert_eq(sweep(&worker), 0);
    expect_not_complete();
}

Test(transitions, complete_is_refused_while_no_sweep_was_clean)
{
    begin_and_fill();
    sql_text(lab, "select reembed.cutover('m', true)");
    expect_not_complete();
    sql_run(lab, "delete from reembed_data.docs__bge_base where doc_id = 3");
    cr_assert_eq(sweep(&worker), 1);
    expect_not_complete();
}

Test(transitions, complete_is_refused_while_a_chunk_is_open)
{
    start("m");
    worker_open(&worker, lab, "m", NULL);
    cut(&worker, 100);
    sql_text(lab, "select reembed.cutover('m', true)");
    sql_run(lab, "update reembed.migration set sweep_clean = true");
    expect_not_complete();
}

Test(transitions, complete_is_refused_while_documents_are_not_cut_into_chunks)
{
    start("m");
    sql_text(lab, "select reembed.cutover('m', true)");
    sql_run(lab, "update reembed.migration set sweep_clean = true");
    expect_not_complete();
}

Test(transitions, complete_follows_the_flip_and_a_clean_sweep)
{
    begin_and_fill();
    cr_assert_eq(sweep(&worker), 0);
    cr_assert(sql_bool(lab, "select reembed.try_cutover('m')"));
    expect_moved("in_progress", "complete", "completed");
}

/* A retry puts documents back to work: what the sweep saw before does not hold any more. */
Test(transitions, complete_is_refused_after_a_retry_until_the_next_sweep)
{
    sql_run(lab, "update docs set body = 'BAD' where id = 4");
    begin_and_fill();
    cr_assert_eq(sweep(&worker), 0);
    sql_text(lab, "select reembed.cutover('m', true)");
    sql_text(lab, "select reembed.retry('m', null)");
    expect_not_complete();
}

/* --- reasons and counts --- */

Test(transitions, the_reason_of_a_pause_is_kept_until_resume)
{
    reach("paused");
    expect_rows(lab, "paused|lunch", "select state, reason from reembed.progress");
    sql_text(lab, "select reembed.resume('m')");
    expect_rows(lab, "in_progress|", "select state, reason from reembed.progress");
}

Test(transitions, the_error_of_a_failure_is_kept_until_resume_and_counted_for_ever)
{
    reach("failed");
    expect_rows(lab, "failed|no such model|1", "select state, reason, error_count from reembed.progress");
    sql_text(lab, "select reembed.resume('m')");
    expect_rows(lab, "in_progress||1", "select state, reason, error_count from reembed.progress");
}

#define ERROR_COUNTS(state)                                                                                            \
    Test(transitions, an_error_counts_while_##state)                                                                   \
    {                                                                                                                  \
        reach(#state);                                                                                                 \
        int64_t before = sql_int(lab, "select error_count from reembed.progress");                                     \
        sql_text(lab, "select reembed.record_error('m', 'timeout')");                                                  \
        cr_assert_eq(sql_int(lab, "select error_count from reembed.progress"), before + 1);                            \
        cr_assert_str_eq(state_of("m"), #state);                                                                       \
    }

ERROR_COUNTS(planned)
ERROR_COUNTS(in_progress)
ERROR_COUNTS(paused)
ERROR_COUNTS(failed)
ERROR_COUNTS(completed)
ERROR_COUNTS(cancelled)
ERROR_COUNTS(rolled_back)

Test(transitions, cancel_of_a_planned_migration_shows_nothing_of_nothing)
{
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_rows(lab, "0|0|0|0|0", "select total, processed, skipped, failed, pending from reembed.progress");
}

/* --- rollback --- */

static void
expect_routed_to(const char *model)
{
    cr_assert_str_eq(sql_text(lab, "select query_model from reembed.routing"), model);
    cr_assert_str_eq(sql_text(lab, "select distinct model from reembed_data.docs_current"), model);
}

Test(transitions, rollback_of_a_flipped_migration_in_progress_pauses_it_and_nothing_flips_by_itself)
{
    begin_and_fill();
    sql_text(lab, "select reembed.cutover('m')");
    expect_routed_to("bge-base");
    expect_moved("in_progress", "rollback", "paused");
    expect_routed_to("bge-small");
    sql_text(lab, "select reembed.resume('m')");
    cr_assert_not(sql_bool(lab, "select reembed.try_cutover('m')"), "it flipped by itself after a rollback");
    expect_routed_to("bge-small");
    cr_assert(sql_bool(lab, "select not holds from reembed.gates where gate = 'approval'"));
    sql_text(lab, "select reembed.cutover('m')");
    expect_routed_to("bge-base");
    cr_assert(sql_bool(lab, "select reembed.try_cutover('m')"));
}

Test(transitions, rollback_of_a_flipped_and_paused_migration_leaves_it_paused)
{
    begin_and_fill();
    sql_text(lab, "select reembed.cutover('m')");
    sql_text(lab, "select reembed.pause('m', 'lunch')");
    expect_moved("paused", "rollback", "paused");
    expect_routed_to("bge-small");
}

Test(transitions, rollback_of_a_flipped_and_failed_migration_leaves_it_failed)
{
    begin_and_fill();
    sql_text(lab, "select reembed.cutover('m')");
    sql_text(lab, "select reembed.fail('m', 'key revoked')");
    expect_moved("failed", "rollback", "failed");
    expect_routed_to("bge-small");
}

Test(transitions, rollback_of_a_completed_migration_is_refused_once_the_window_is_over)
{
    reach("completed");
    sql_run(lab, "update reembed.migration set window_ends_at = clock_timestamp() - interval '1 second'");
    expect_refused("completed", "rollback");
    expect_routed_to("bge-base");
}

Test(transitions, rollback_of_a_completed_migration_is_refused_once_it_is_finalized)
{
    reach("completed");
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_refused("completed", "rollback");
}

Test(transitions, rollback_is_refused_where_the_collection_had_no_vectors_before)
{
    sql_text(lab, "select reembed.cancel('m', null)");
    sql_run(lab, "create table notes as select id, body from docs; alter table notes add primary key (id)");
    create("n", &(struct plan){.collection = "notes", .table = "public.notes", .source_column = ""});
    start("n");
    sql_text(lab, "select reembed.cutover('n', true)");
    const char *before = dump();
    expect_error(lab, "RE001", "invalid migration transition from in_progress to rolled_back",
                 "select reembed.rollback('n')");
    expect_error(lab, "RE001", "invalid migration transition from in_progress to cancelled",
                 "select reembed.cancel('n')");
    cr_assert_str_eq(dump(), before);
}

/* --- going forward again, and the end --- */

Test(transitions, cutover_after_a_rollback_opens_a_new_window)
{
    reach("rolled_back");
    expect_moved("rolled_back", "cutover", "completed");
    expect_routed_to("bge-base");
    cr_assert(sql_bool(lab, "select window_ends_at > clock_timestamp() + interval '23 hours' from reembed.routing"));
}

Test(transitions, cutover_after_a_rollback_waits_for_its_gates)
{
    reach("rolled_back");
    sql_run(lab, "update docs set body = 'new ' || id where id <= 3");
    sql_run(lab, "update reembed_data.docs_changes set at = at - interval '1 hour'");
    const char *before = dump();
    expect_error(lab, "RE003", "cutover of m is held back by: ", "select reembed.cutover('m')");
    cr_assert_str_eq(dump(), before);
    drain(&worker, TARGET);
    expect_moved("rolled_back", "cutover", "completed");
    expect_current(&worker, "body", "true");
}

Test(transitions, finalize_now_ends_an_open_window)
{
    reach("completed");
    sql_text(lab, "select reembed.finalize('m', true)");
    cr_assert_str_eq(state_of("m"), "completed");
    expect_rows(lab, "stable|bge-base|", "select phase, query_model, migration_id from reembed.routing");
}

Test(transitions, finalize_after_the_window_needs_no_now)
{
    reach("completed");
    sql_run(lab, "update reembed.migration set window_ends_at = clock_timestamp()");
    sql_text(lab, "select reembed.finalize('m')");
    cr_assert_str_eq(state_of("m"), "completed");
}

Test(transitions, finalize_twice_is_the_same_as_once)
{
    reach("completed");
    sql_text(lab, "select reembed.finalize('m', true)");
    const char *at = sql_text(lab, "select finalized_at from reembed.migration");
    sql_text(lab, "select reembed.finalize('m')");
    cr_assert_str_eq(sql_text(lab, "select finalized_at from reembed.migration"), at);
}

Test(transitions, finalize_of_a_rolled_back_migration_drops_the_target)
{
    reach("rolled_back");
    sql_text(lab, "select reembed.finalize('m')");
    cr_assert_str_eq(state_of("m"), "rolled_back");
    expect_rows(lab, "", "select to_regclass('reembed_data.docs__bge_base')");
    expect_routed_to("bge-small");
    cr_assert_eq(sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'docs'::regclass and not tgisinternal"),
                 0);
}

Test(transitions, cutover_of_a_finalized_rollback_is_refused_also_by_force)
{
    reach("rolled_back");
    sql_text(lab, "select reembed.finalize('m')");
    const char *before = dump();
    expect_error(lab, "RE001", "invalid migration transition from rolled_back to flipped",
                 "select reembed.cutover('m')");
    expect_error(lab, "RE001", "invalid migration transition from rolled_back to flipped",
                 "select reembed.cutover('m', true)");
    cr_assert_str_eq(dump(), before);
    expect_routed_to("bge-small");
}

Test(transitions, finalize_drop_source_takes_the_old_column_away)
{
    reach("completed");
    sql_text(lab, "select reembed.finalize('m', now => true, drop_source => true)");
    cr_assert_not(sql_bool(lab,
                           "select exists (select from pg_attribute where attrelid = 'docs'::regclass and attname = "
                           "'embedding')"));
    expect_routed_to("bge-base");
}

/* Changes go on into the target while it is rolled back, so that going forward again is safe. */
Test(transitions, while_rolled_back_changes_are_recorded_for_the_target)
{
    reach("rolled_back");
    sql_run(lab, "update docs set body = 'edited' where id = 2; delete from docs where id = 3; "
                 "insert into docs values (11, 'new')");
    cr_assert_eq(sql_int(lab, "select changes_pending from reembed.progress"), 3);
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
    sql_text(lab, "select reembed.cutover('m')");
    expect_routed_to("bge-base");
}

Test(transitions, cancel_of_a_flipped_migration_brings_queries_back)
{
    begin_and_fill();
    sql_text(lab, "select reembed.cutover('m')");
    sql_text(lab, "select reembed.cancel('m', 'no')");
    expect_routed_to("bge-small");
    cr_assert_eq(sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'docs'::regclass and not tgisinternal"),
                 0);
}

Test(transitions, the_work_of_a_cancelled_migration_is_fenced)
{
    struct lease lease;
    struct reading reading;
    start("m");
    worker_open(&worker, lab, "m", NULL);
    cut(&worker, 100);
    cr_assert(claim(&worker, LEASE_MS, &lease));
    read_chunk(&worker, &lease, 100, &reading);
    sql_text(lab, "select reembed.cancel('m', 'no')");
    cr_assert_not(write_chunk(&worker, &lease, &reading), "a cancelled migration was written to");
    cr_assert_eq(sql_int(lab, "select count(*) from reembed_data.docs__bge_base"), 0);
    reading_free(&reading);
    lease_free(&lease);
}

/* --- one unfinished migration a collection --- */

static void
expect_second_refused(const char *state)
{
    const char *before = dump();
    expect_error(lab, "RE001", lab_printf("invalid migration transition from %s to planned: collection docs", state),
                 "select reembed.create_migration('second', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.target_model = "bge-large"}));
    cr_assert_str_eq(dump(), before);
}

#define SECOND_REFUSED(state)                                                                                          \
    Test(transitions, a_second_migration_is_refused_while_##state)                                                     \
    {                                                                                                                  \
        reach(#state);                                                                                                 \
        expect_second_refused(#state);                                                                                 \
    }

SECOND_REFUSED(planned)
SECOND_REFUSED(in_progress)
SECOND_REFUSED(paused)
SECOND_REFUSED(failed)
SECOND_REFUSED(completed) /* its window is open */
SECOND_REFUSED(rolled_back)

static const char *
next_source(void)
{
    return sql_text(lab, "select query_table from reembed.routing");
}

Test(transitions, a_second_migration_is_allowed_after_cancel)
{
    reach("cancelled");
    create("second", &(struct plan){.target_model = "bge-large"});
}

Test(transitions, a_second_migration_is_allowed_after_the_window_and_leaves_from_the_first_ones_target)
{
    reach("completed");
    sql_run(lab, "update reembed.migration set window_ends_at = clock_timestamp()");
    create("second", &(struct plan){.source_model = "bge-base",
                                    .source_table = next_source(),
                                    .source_id = "doc_id",
                                    .target_model = "bge-large"});
    expect_rows(lab, "legacy|stable|bge-base",
                "select reembed.route_query('docs'), phase, query_model from reembed.routing");
}

Test(transitions, a_second_migration_is_allowed_once_a_rolled_back_one_is_finalized)
{
    reach("rolled_back");
    sql_text(lab, "select reembed.finalize('m')");
    create("second", NULL);
}

Test(transitions, two_who_create_at_once_leave_one_migration)
{
    struct db *other = lab_connect(LAB_OWNER);
    struct err err = ERR_INIT;
    sql_text(lab, "select reembed.cancel('m', null)");
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    create("one", NULL);
    sql_send(other, "select reembed.create_migration('two', $j$%s$j$::jsonb, false)", plan_json(NULL));
    sql_await_lock(other);
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    cr_assert_neq(sql_receive(other, &err), RC_OK);
    cr_assert_str_eq(err.sqlstate, "RE001", "%s", err.message);
    expect_rows(lab, "one", "select migration_id from reembed.migration where state = 'planned'");
}

/* --- unknown ids --- */

Test(transitions, an_unknown_id_is_RE002_for_every_operation)
{
    static const char *const calls[] = {
        "start('x')",           "pause('x')",      "resume('x')",        "fail('x', 'e')",   "cancel('x')",
        "complete('x')",        "cutover('x')",    "rollback('x')",      "finalize('x')",    "retry('x', '{}')",
        "skip('x', '{}', 'r')", "state_json('x')", "cutover('x', true)", "try_cutover('x')",
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        expect_error(lab, "RE002", "unknown migration 'x'", "select reembed.%s", calls[i]);
    expect_error(lab, "RE002", "unknown collection 'x'", "select reembed.routing_json('x')");
    expect_error(lab, "RE002", "unknown collection 'x'", "select reembed.route_query('x')");
    expect_error(lab, "RE002", "unknown collection 'x'", "select reembed.route_request('x', true)");
}
