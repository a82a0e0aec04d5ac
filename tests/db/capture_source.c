/* A source whose model the workers know is kept current beside the target: a column of the documents, a table of the
 * application's, or a side table of ours. And what is captured for whom, and until when. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;
static struct db *app;

static void
open_fixture(void)
{
    lab_open();
    documents(10);
    sql_run(lab, "update docs set embedding = oracle.vector_of(body)");
    app = lab_connect(LAB_APPLICATION);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(source, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
begin(const struct plan *plan)
{
    create("m", plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
}

/* How many documents have no vector of their present content in the old column. */
static int64_t
stale_in_column(void)
{
    return sql_int(lab, "select count(*) from docs where embedding is distinct from oracle.vector_of(body)");
}

static const char *
waiting(int space)
{
    return sql_text(
        lab,
        "select coalesce(string_agg(doc_id::text, ',' order by doc_id), '') from (select distinct doc_id from "
        "reembed_data.docs_changes where space_id = %" PRId64 ") x",
        worker.spaces[space].id);
}

static void
edit_insert_delete(void)
{
    sql_run(
        app,
        "update docs set body = 'edited' where id = 3; insert into docs (id, body) values (11, 'new'); delete from docs where id = 4");
}

/* --- a column of the documents --- */

Test(source, a_column_is_kept_current)
{
    begin(&(struct plan){.source_kept = true});
    edit_insert_delete();
    cr_assert_str_eq(waiting(SOURCE), "3,4,11");
    cr_assert_str_eq(waiting(TARGET), "3,4,11");
    drain(&worker, SOURCE);
    cr_assert_eq(stale_in_column(), 0);
    cr_assert_str_eq(waiting(TARGET), "3,4,11",
                     "our own write of the column is no change, and each space has its own log");
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
}

Test(source, a_column_whose_model_nobody_knows_is_left_alone)
{
    begin(NULL);
    edit_insert_delete();
    cr_assert_str_eq(waiting(SOURCE), "");
    cr_assert_str_eq(waiting(TARGET), "3,4,11");
}

Test(source, a_row_that_the_application_holds_is_left_for_the_next_pass)
{
    struct err err = ERR_INIT;
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
    int64_t settled = 0;
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "update docs set body = 'edited' where id in (3, 5)");
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_text(app, "select id from docs where id = 3 for update");
    cr_assert(drain_claim(&worker, SOURCE, LEASE_MS, &drainer));
    drain_list(&worker, SOURCE, 100, &changes);
    drain_read(&worker, SOURCE, &changes, &reading);
    cr_assert(drain_write(&worker, SOURCE, &drainer, &changes, &reading, &settled)); /* does not wait */
    cr_assert_eq(settled, 1);
    cr_assert_str_eq(waiting(SOURCE), "3");
    reading_free(&reading);
    changes_free(&changes);
    drain_release(&worker, SOURCE, &drainer);
    cr_assert_eq(db_commit(app, &err), RC_OK);
    drain(&worker, SOURCE);
    cr_assert_eq(stale_in_column(), 0);
}

Test(source, a_document_that_changed_after_it_was_read_keeps_its_old_vector_until_the_next_pass)
{
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
    int64_t settled = 0;
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "update docs set body = 'edited' where id = 3");
    cr_assert(drain_claim(&worker, SOURCE, LEASE_MS, &drainer));
    drain_list(&worker, SOURCE, 100, &changes);
    drain_read(&worker, SOURCE, &changes, &reading);
    sql_run(app, "update docs set body = 'again' where id = 3");
    cr_assert(drain_write(&worker, SOURCE, &drainer, &changes, &reading, &settled));
    cr_assert_eq(settled, 0);
    expect_rows(lab, "t", "select embedding = oracle.vector_of('text 3') from docs where id = 3");
    reading_free(&reading);
    changes_free(&changes);
    drain_release(&worker, SOURCE, &drainer);
    drain(&worker, SOURCE);
    cr_assert_eq(stale_in_column(), 0);
}

Test(source, a_document_that_cannot_be_embedded_has_no_vector_in_the_column)
{
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "update docs set body = 'BAD' where id = 3");
    drain(&worker, SOURCE);
    cr_assert_str_eq(waiting(SOURCE), "");
    expect_rows(lab, "3", "select string_agg(id::text, ',') from docs where embedding is null");
    expect_rows(lab, "3|permanent_api_error|bge-small", "select doc_id, reason, model from reembed.failures");
    sql_run(app, "update docs set body = 'good' where id = 3");
    drain(&worker, SOURCE);
    cr_assert_eq(stale_in_column(), 0);
    expect_rows(lab, "0", "select count(*) from reembed.failures");
}

Test(source, a_column_that_refuses_null_keeps_its_old_vector)
{
    sql_run(lab, "alter table docs alter embedding set not null");
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "update docs set body = 'BAD' where id = 3");
    drain(&worker, SOURCE);
    cr_assert_str_eq(waiting(SOURCE), "");
    expect_rows(lab, "t", "select embedding = oracle.vector_of('text 3') from docs where id = 3");
}

Test(source, an_old_drainer_writes_nothing_into_the_column)
{
    struct drainer old, new;
    struct changes changes;
    struct reading reading;
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "update docs set body = 'edited' where id = 3");
    cr_assert(drain_claim(&worker, SOURCE, EXPIRED_MS, &old));
    drain_list(&worker, SOURCE, 100, &changes);
    drain_read(&worker, SOURCE, &changes, &reading);
    cr_assert(drain_claim(&worker, SOURCE, LEASE_MS, &new));
    cr_assert_not(drain_write(&worker, SOURCE, &old, &changes, &reading, NULL));
    expect_rows(lab, "t", "select embedding = oracle.vector_of('text 3') from docs where id = 3");
    cr_assert_str_eq(waiting(SOURCE), "3");
    reading_free(&reading);
    changes_free(&changes);
}

Test(source, a_truncate_is_settled_for_a_column)
{
    begin(&(struct plan){.source_kept = true});
    sql_run(app, "truncate docs; insert into docs (id, body) values (3, 'text 3'), (20, 'new')");
    drain(&worker, SOURCE);
    cr_assert_eq(stale_in_column(), 0);
}

/* --- a table of the application's --- */

static const struct plan own_table = {
    .source_table = "public.vectors", .source_id = "docs_id", .source_column = "v", .source_kept = true};

static void
make_own_table(const char *constraint)
{
    sql_run(lab,
            "create table vectors (docs_id bigint primary key, v vector(4) %s);"
            "insert into vectors select id, oracle.vector_of(body) from docs; alter table docs drop column embedding",
            constraint);
}

static void
expect_own_table_current(void)
{
    expect_rows(
        lab, "0",
        "select count(*) from docs d full join vectors x on x.docs_id = d.id where x.v is distinct from oracle.vector_of(d.body)");
}

Test(source, a_table_of_vectors_is_kept_current)
{
    make_own_table("");
    begin(&own_table);
    edit_insert_delete();
    drain(&worker, SOURCE);
    expect_own_table_current();
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
}

Test(source, a_table_of_vectors_that_refuses_null)
{
    make_own_table("not null");
    begin(&own_table);
    sql_run(app,
            "update docs set body = 'BAD' where id = 3; insert into docs (id, body) values (11, 'BAD'), (12, 'new')");
    drain(&worker, SOURCE);
    cr_assert_str_eq(waiting(SOURCE), "");
    expect_rows(lab, "t", "select v = oracle.vector_of('text 3') from vectors where docs_id = 3");
    expect_rows(lab, "12", "select string_agg(docs_id::text, ',') from vectors where docs_id > 10");
    expect_rows(lab, "11,3",
                "select string_agg(doc_id, ',' order by doc_id) from reembed.failures where model = 'bge-small'");
}

Test(source, a_row_of_the_table_that_the_application_holds_is_left_for_the_next_pass)
{
    struct err err = ERR_INIT;
    make_own_table("");
    sql_run(lab, "grant all on vectors to " LAB_APPLICATION);
    begin(&own_table);
    sql_run(app, "update docs set body = 'edited' where id in (3, 5); delete from docs where id in (6, 7)");
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_text(app, "select count(*) from (select from vectors where docs_id in (3, 6) for update) x");
    struct drainer drainer;
    struct changes changes;
    struct reading reading;
    cr_assert(drain_claim(&worker, SOURCE, LEASE_MS, &drainer));
    drain_list(&worker, SOURCE, 100, &changes);
    drain_read(&worker, SOURCE, &changes, &reading);
    cr_assert(drain_write(&worker, SOURCE, &drainer, &changes, &reading, NULL));
    cr_assert_str_eq(waiting(SOURCE), "3,6");
    reading_free(&reading);
    changes_free(&changes);
    drain_release(&worker, SOURCE, &drainer);
    cr_assert_eq(db_commit(app, &err), RC_OK);
    drain(&worker, SOURCE);
    expect_own_table_current();
}

Test(source, a_truncate_empties_the_table_of_vectors)
{
    make_own_table("");
    begin(&own_table);
    sql_run(app, "truncate docs; insert into docs (id, body) values (3, 'text 3'), (20, 'new')");
    drain(&worker, SOURCE);
    expect_own_table_current();
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
}

Test(source, documents_in_a_table_called_as_a_statement_calls_its_parts)
{
    sql_run(lab, "alter table docs rename to u");
    sql_run(
        lab,
        "create table vectors (docs_id bigint primary key, v vector(4)); insert into vectors select id, oracle.vector_of(body) from u");
    struct plan plan = own_table;
    plan.table = "public.u";
    begin(&plan);
    sql_run(
        app,
        "update u set body = 'edited' where id = 3; insert into u (id, body) values (11, 'new'); delete from u where id = 4");
    drain(&worker, SOURCE);
    expect_rows(
        lab, "0",
        "select count(*) from u full join vectors x on x.docs_id = u.id where x.v is distinct from oracle.vector_of(u.body)");
}

/* --- who is captured, until when --- */

static const char *
captured(void)
{
    return sql_text(
        lab,
        "select coalesce((select string_agg(model, ',' order by model) from reembed.space where space_id = any (captured)), '') "
        "from reembed.collection");
}

static int64_t
triggers(void)
{
    return sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'docs'::regclass and not tgisinternal");
}

Test(source, both_spaces_are_captured_until_the_window_is_over)
{
    begin(&(struct plan){.source_kept = true});
    cr_assert_str_eq(captured(), "bge-base,bge-small");
    complete(&worker);
    capture("docs");
    cr_assert_str_eq(captured(), "bge-base,bge-small");
    sql_run(lab, "update reembed.migration set window_ends_at = clock_timestamp()");
    capture("docs");
    cr_assert_str_eq(captured(), "bge-base");
    edit_insert_delete();
    cr_assert_str_eq(waiting(SOURCE), "");
    cr_assert_str_eq(waiting(TARGET), "3,4,11");
}

Test(source, after_finalize_the_active_side_table_stays_current_unless_detached)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.finalize('m', true)");
    cr_assert_str_eq(captured(), "bge-base");
    sql_run(app, "update docs set body = 'edited' where id = 3");
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
    sql_text(lab, "select reembed.finalize('m', detach => true)");
    cr_assert_str_eq(captured(), "");
    cr_assert_eq(triggers(), 0);
}

Test(source, in_the_window_and_after_a_rollback_both_are_kept_and_going_forward_again_is_safe)
{
    begin(&(struct plan){.source_kept = true});
    complete(&worker);
    sql_run(app, "update docs set body = 'in the window' where id = 1");
    drain(&worker, SOURCE);
    drain(&worker, TARGET);
    sql_text(lab, "select reembed.rollback('m', 'worse')");
    cr_assert_eq(stale_in_column(), 0);
    capture("docs");
    cr_assert_str_eq(captured(), "bge-base,bge-small");
    sql_run(app, "update docs set body = 'rolled back' where id = 2");
    drain(&worker, SOURCE);
    drain(&worker, TARGET);
    sql_text(lab, "select reembed.cutover('m')");
    cr_assert_eq(stale_in_column(), 0);
    expect_current(&worker, "body", "true");
}

Test(source, changes_for_a_space_that_is_no_longer_captured_are_thrown_away)
{
    begin(&(struct plan){.source_kept = true});
    edit_insert_delete();
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_rows(lab, "0", "select count(*) from reembed_data.docs_changes");
    cr_assert_eq(triggers(), 0);
}

/* The vectors of a cancelled migration are taken up again; what changed meanwhile is found by its hash, what was deleted
 * by the sweep. */
Test(source, a_cancelled_targets_vectors_are_taken_up_again)
{
    struct lease lease;
    struct reading reading;
    begin(NULL);
    sql_text(lab, "select reembed.cancel('m', null)");
    worker_close(&worker);
    edit_insert_delete();
    create("again", NULL);
    start("again");
    worker_open(&worker, lab, "again", NULL);
    cut(&worker, 100);
    cr_assert(claim(&worker, LEASE_MS, &lease));
    read_chunk(&worker, &lease, 100, &reading);
    cr_assert_eq(reading_to_embed(&reading), 2, "the edited one and the new one");
    cr_assert(write_chunk(&worker, &lease, &reading));
    reading_free(&reading);
    lease_free(&lease);
    complete(&worker);
    expect_current(&worker, "body", "true");
}

/* Somebody dropped the side table by hand: the next migration makes a new one. */
Test(source, a_side_table_that_was_dropped_by_hand_is_made_anew)
{
    begin(NULL);
    sql_text(lab, "select reembed.cancel('m', null)");
    worker_close(&worker);
    sql_run(lab, "drop table reembed_data.docs__bge_base");
    create("again", NULL);
    start("again");
    worker_open(&worker, lab, "again", NULL);
    complete(&worker);
    expect_current(&worker, "body", "true");
}
