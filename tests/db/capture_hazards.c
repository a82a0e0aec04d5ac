/* The application goes on without an error, whatever happens to us, and expressions that can't work are refused before
 * anything is installed. And the barrier: whoever wrote the documents before capture stood is waited for. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;
static struct db *app;

static void
open_fixture(void)
{
    lab_open();
    documents(20);
    app = lab_connect(LAB_APPLICATION);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(hazards, .init = open_fixture, .fini = close_fixture, .timeout = 60);
TestSuite(barrier, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
partition_documents(void)
{
    sql_run(
        lab,
        "drop table docs; create table docs (id bigint primary key, body text, embedding vector(4)) partition by hash (id);"
        "create table docs_0 partition of docs for values with (modulus 1, remainder 0);"
        "insert into docs select i, 'text ' || i from generate_series(1, 20) i; grant all on docs to " LAB_APPLICATION);
}

static void
expect_logged(const char *ids)
{
    expect_rows(lab, ids,
                "select coalesce(string_agg(distinct doc_id::text, ',' order by doc_id::text), '') from "
                "reembed_data.docs_changes");
}

static void
expect_bad_plan(const struct plan *plan, const char *message)
{
    const char *before = dump();
    expect_error(lab, "RE010", message, "select reembed.create_migration('m', $json$%s$json$::jsonb, false)",
                 plan_json(plan));
    cr_assert_str_eq(dump(), before, "something stayed behind");
    sql_run(
        app,
        "update docs set body = 'x' where id = 1; insert into docs values (100, 'y'); delete from docs where id = 100");
}

/* --- expressions that are refused --- */

Test(hazards, a_content_that_is_no_expression_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "body body"}, "documents.content: ");
}

Test(hazards, a_content_of_an_unknown_column_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "nothing"}, "documents.content: column \"nothing\" does not exist");
}

/* It works in the session of whoever writes the file, but not under the pinned path of the triggers. */
Test(hazards, a_content_of_a_function_that_only_the_search_path_finds_is_refused)
{
    sql_run(lab, "create function clean(t text) returns text language sql as $$ select lower(t) $$");
    sql_text(lab, "select clean(body) from docs limit 1");
    expect_bad_plan(&(struct plan){.content = "clean(body)"}, "documents.content: function clean(text) does not exist");
}

Test(hazards, an_aggregate_as_content_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "max(body)"}, "documents.content: aggregate functions are not allowed");
}

Test(hazards, a_window_function_as_content_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "row_number() over ()"},
                    "documents.content: window functions are not allowed");
}

Test(hazards, a_content_of_several_rows_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "regexp_split_to_table(body, ' ')"},
                    "documents.content: set-returning functions are not allowed");
}

Test(hazards, a_content_with_a_parameter_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "body || $1"}, "documents.content: ");
}

Test(hazards, a_system_column_as_content_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "ctid"}, "documents.content: ");
}

Test(hazards, a_content_that_hides_the_rest_of_the_statement_is_refused)
{
    expect_bad_plan(&(struct plan){.content = "body -- "}, "documents.content: ");
    expect_bad_plan(&(struct plan){.content = "body) from docs; drop table docs; --"}, "documents.content: ");
}

Test(hazards, a_filter_that_is_no_condition_is_refused)
{
    expect_bad_plan(&(struct plan){.where = "body"}, "documents.where: ");
    expect_bad_plan(&(struct plan){.where = "nothing = 1"}, "documents.where: column \"nothing\" does not exist");
    expect_bad_plan(&(struct plan){.where = "count(*) > 1"}, "documents.where: aggregate functions are not allowed");
}

Test(hazards, a_table_that_is_not_there_is_refused)
{
    expect_bad_plan(&(struct plan){.table = "public.nothing"}, "documents.table: there is no table public.nothing");
}

Test(hazards, a_view_is_refused)
{
    sql_run(lab, "create view v as select * from docs");
    expect_bad_plan(&(struct plan){.table = "public.v"}, "documents.table: public.v is not a table");
}

Test(hazards, a_table_with_inheritance_children_is_refused)
{
    sql_run(lab, "create table child () inherits (docs)");
    expect_bad_plan(NULL, "documents.table: public.docs has child tables");
}

Test(hazards, row_security_that_hides_rows_is_refused)
{
    sql_run(lab, "alter table docs enable row level security; alter table docs force row level security");
    expect_error(lab, "RE010", "documents.table: row security on public.docs hides rows from role conf_owner",
                 "select reembed.create_migration('m', $json$%s$json$::jsonb, false)", plan_json(NULL));
}

Test(hazards, a_source_that_is_no_vector_column_is_refused)
{
    expect_bad_plan(&(struct plan){.source_column = "body"}, "source.column: body of public.docs is of type text");
    expect_bad_plan(&(struct plan){.source_column = "nothing"},
                    "source.column: table public.docs has no column nothing");
    expect_bad_plan(&(struct plan){.source_table = "public.nothing"}, "source.table: there is no table public.nothing");
    expect_bad_plan(&(struct plan){.source_table = "public.docs", .source_id = "nothing"},
                    "source.id: table public.docs has no column nothing");
}

Test(hazards, a_target_table_that_is_the_applications_is_refused)
{
    expect_bad_plan(&(struct plan){.target_table = "public.docs"},
                    "target.table: public.docs exists and was not made by reembed");
}

/* --- expressions that fail later --- */

static void
fail_later(void)
{
    create("m", &(struct plan){.content = "100 / length(body)", .where = "length(body) / length(body) = 1"});
    start("m");
    sql_run(app, "update docs set body = '' where id in (1, 2)");
    sql_run(app, "insert into docs values (21, ''), (22, 'x')");
    sql_run(app, "update docs set body = 'y' where id = 1");
    sql_run(app, "delete from docs where id = 2");
    expect_logged("1,2,21,22");
}

Test(hazards, a_content_that_fails_for_a_row_does_not_fail_the_applications_write)
{
    fail_later();
}

Test(hazards, a_content_that_fails_for_a_row_does_not_fail_the_write_to_a_partitioned_table)
{
    partition_documents();
    fail_later();
}

static void
drop_column_later(void)
{
    sql_run(lab, "alter table docs add title text");
    create("m", &(struct plan){.content = "title || body", .where = "title is distinct from 'x'"});
    start("m");
    sql_run(app, "update docs set body = 'before' where id = 3"); /* plans are kept from here */
    sql_run(lab, "alter table docs drop column title");
    sql_run(
        app,
        "update docs set body = 'after' where id = 4; insert into docs values (21, 'new'); delete from docs where id = 5");
}

Test(hazards, a_column_that_is_dropped_under_the_expression_does_not_fail_the_applications_write)
{
    drop_column_later();
    cr_assert_eq(
        sql_int(lab, "select count(distinct doc_id) from reembed_data.docs_changes where doc_id in (4, 5, 21)"), 3);
}

Test(hazards, a_column_that_is_dropped_under_the_expression_does_not_fail_the_write_to_a_partitioned_table)
{
    partition_documents();
    drop_column_later();
}

/* The content is just a column here, and the triggers have no block that would catch an error. */
Test(hazards, a_content_column_that_gets_another_name_or_goes_counts_as_changed)
{
    create("m", NULL);
    start("m");
    sql_run(lab, "alter table docs rename body to words");
    sql_run(app, "update docs set words = words where id = 7");
    expect_logged("7");
    sql_run(app, "insert into docs (id, words) values (100, 'x'); delete from docs where id = 9");
    expect_logged("100,7,9");
    sql_run(lab, "alter table docs drop column words; alter table docs add other text");
    sql_run(app, "update docs set other = 'x' where id = 11");
    expect_logged("100,11,7,9");
}

Test(hazards, a_key_that_gets_another_name_is_logged_as_if_anything_had_changed)
{
    create("m", NULL);
    start("m");
    sql_run(lab, "alter table docs rename id to number");
    sql_run(app, "update docs set body = 'x' where number = 6; insert into docs (number, body) values (100, 'y'); "
                 "delete from docs where number = 100");
    cr_assert_gt(sql_int(lab, "select count(*) from reembed_data.docs_changes where doc_id is null"), 0);
    cr_assert_eq(sql_int(lab, "select count(*) from reembed_data.docs_changes where doc_id is not null"), 0);
}

Test(hazards, a_renamed_table_stays_captured)
{
    create("m", NULL);
    start("m");
    sql_run(lab, "alter table docs rename to papers; create schema other; alter table papers set schema other; "
                 "grant usage on schema other to " LAB_APPLICATION);
    sql_run(app, "update other.papers set body = 'x' where id = 6");
    expect_logged("6");
    sql_text(lab, "select reembed.cancel('m', null)");
    cr_assert_eq(
        sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'other.papers'::regclass and not tgisinternal"),
        0);
}

Test(hazards, a_dropped_table_can_be_cancelled)
{
    create("m", NULL);
    start("m");
    sql_run(lab, "drop table docs cascade");
    sql_text(lab, "select reembed.cancel('m', null)");
    cr_assert_str_eq(state_of("m"), "cancelled");
}

/* The log is ours alone: nobody reads it through a role of the application, and a search path can't turn it aside. */
Test(hazards, the_application_needs_and_has_no_right_on_anything_of_ours)
{
    create("m", NULL);
    start("m");
    sql_run(app, "create temp table docs_changes (space_id bigint, doc_id bigint); set search_path = pg_temp, public; "
                 "update public.docs set body = 'x' where id = 7");
    expect_logged("7");
    expect_error(app, "42501", "permission denied for schema reembed", "select * from reembed.migration");
    expect_error(app, "42501", "permission denied for schema reembed_data", "select * from reembed_data.docs_changes");
}

Test(hazards, a_role_that_may_only_read_and_create_triggers_can_capture)
{
    struct db *super = lab_connect(NULL);
    sql_run(super, "create schema private; create table private.docs (id int primary key, body text); "
                   "grant usage on schema private to " LAB_OWNER ", " LAB_APPLICATION
                   "; grant select, trigger on private.docs to " LAB_OWNER ";"
                   "grant select, insert, update, delete, truncate on private.docs to " LAB_APPLICATION ";"
                   "insert into private.docs select i, 'text ' || i from generate_series(1, 5) i");
    create("m", &(struct plan){.table = "private.docs", .source_column = ""});
    start("m");
    sql_run(
        app,
        "update private.docs set body = 'x' where id = 2; insert into private.docs values (6, 'new'); delete from private.docs where id = 3");
    expect_logged("2,3,6");
    expect_rows(lab, "1", "select count(*) from reembed.events where event = 'triggers_not_always'");
    sql_text(lab, "select reembed.cancel('m', null)"); /* the triggers may stay, silent: they are not ours to drop */
    sql_run(app, "update private.docs set body = 'y' where id = 2; truncate private.docs");
    expect_logged("");
}

Test(hazards, a_second_table_for_the_same_collection_leaves_the_first_one_alone)
{
    create("m", NULL);
    start("m");
    sql_text(lab, "select reembed.cancel('m', null)");
    sql_run(lab, "create table papers (id bigint primary key, txt text); insert into papers values (1, 'a'), (2, 'b'); "
                 "grant all on papers to " LAB_APPLICATION);
    create("n",
           &(struct plan){
               .table = "public.papers", .content = "txt", .source_table = "public.docs", .target_model = "bge-large"});
    start("n");
    sql_run(app, "update docs set body = 'x' where id = 1; update papers set txt = 'c' where id = 2");
    expect_logged("2");
    cr_assert_eq(sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'docs'::regclass and not tgisinternal"),
                 0);
}

/* The same collection, another table, another type of id: the change log must take what the triggers write. */
Test(hazards, a_collection_whose_ids_are_of_another_type_now)
{
    create("m", NULL);
    start("m");
    sql_text(lab, "select reembed.cancel('m', null)");
    sql_run(
        lab,
        "create table papers (id uuid primary key, txt text); insert into papers select md5(i::text)::uuid, 'text ' || i from generate_series(1, 5) i; "
        "grant all on papers to " LAB_APPLICATION);
    create("n", &(struct plan){.table = "public.papers", .content = "txt", .source_table = "public.docs"});
    start("n");
    sql_run(app,
            "insert into papers values (md5('6')::uuid, 'new'); update papers set txt = 'x' where id = md5('1')::uuid");
    worker_open(&worker, lab, "n", NULL);
    complete(&worker);
    expect_current(&worker, "txt", "true");
}

/* Ids that outgrew their type while we captured: the application goes on; it is for us to complain. */
Test(hazards, ids_that_become_bigger_than_they_were)
{
    sql_run(lab, "alter table docs alter id type int");
    create("m", &(struct plan){.source_column = ""});
    start("m");
    sql_run(app, "update docs set body = 'x' where id = 1");
    sql_run(lab, "alter table docs alter id type bigint");
    sql_run(app, "insert into docs values (5000000000, 'new'); update docs set body = 'y' where id in (2, 5000000000); "
                 "delete from docs where id in (3, 5000000000)");
    expect_logged("1,2,3,5000000000");
}

/* --- the barrier --- */

/* A transaction that wrote before the triggers stood and commits afterwards: its rows are neither in the log nor, had we
 * not waited, in the snapshot that counts and bounds. */
static void
late_commit(const char *write)
{
    struct db *other = lab_connect(LAB_OWNER);
    struct err err = ERR_INIT;
    create("m", NULL);
    sql_text(lab, "select reembed.start('m')");
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_run(app, "%s", write);
    sql_send(other, "select reembed.install_capture('docs')");
    sql_await_lock(other);
    cr_assert_eq(db_commit(app, &err), RC_OK, "%s", err.message);
    cr_assert_eq(sql_receive(other, &err), RC_OK, "%s", err.message);
    sql_text(lab, "select reembed.count_documents('m')");
    worker_open(&worker, lab, "m", NULL);
    complete(&worker);
    expect_current(&worker, "body", "true");
}

Test(barrier, an_insert_that_commits_late_is_not_missed)
{
    late_commit("insert into docs values (1000, 'late')");
    expect_rows(lab, "21", "select total from reembed.progress");
}

Test(barrier, an_update_that_commits_late_is_not_missed)
{
    late_commit("update docs set body = 'late' where id = 20");
}

Test(barrier, a_delete_that_commits_late_is_not_missed)
{
    late_commit("delete from docs where id = 20");
    expect_rows(lab, "19", "select total from reembed.progress");
}

/* The old snapshot of another transaction does not matter: its write comes after the triggers and is logged. */
Test(barrier, a_transaction_that_began_before_and_writes_after_is_logged)
{
    struct err err = ERR_INIT;
    create("m", NULL);
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_text(app, "select count(*) from pg_class");
    start("m");
    sql_run(app, "update docs set body = 'late' where id = 3");
    cr_assert_eq(db_commit(app, &err), RC_OK);
    expect_logged("3");
}

Test(barrier, a_reader_is_not_waited_for)
{
    struct err err = ERR_INIT;
    create("m", NULL);
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_text(app, "select count(*) from docs");
    start("m");
    sql_run(app, "update docs set body = 'late' where id = 3");
    cr_assert_eq(db_commit(app, &err), RC_OK);
    expect_logged("3");
}

/* The lock is asked for no longer than lock_timeout; then nothing has happened, and it can be tried again. */
Test(barrier, a_writer_that_does_not_end_makes_capture_give_up_after_lock_timeout)
{
    struct db *other = lab_connect(LAB_OWNER);
    struct err err = ERR_INIT;
    create("m", NULL);
    sql_text(lab, "select reembed.start('m')");
    cr_assert_eq(db_set_timeouts(other, 20000, 100, &err), RC_OK);
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_run(app, "update docs set body = 'x' where id = 1");
    const char *before = dump();
    sql_send(other, "select reembed.install_capture('docs')");
    cr_assert_eq(sql_receive(other, &err), RC_RETRY);
    cr_assert_str_eq(err.sqlstate, "55P03", "%s", err.message);
    cr_assert_str_eq(dump(), before);
    expect_error(lab, "P0001", "bound before capture", "select reembed.count_documents('m')");
    cr_assert_eq(db_commit(app, &err), RC_OK);
    sql_send(other, "select reembed.install_capture('docs')");
    cr_assert_eq(sql_receive(other, &err), RC_OK, "%s", err.message);
    sql_text(lab, "select reembed.count_documents('m')");
}

/* Ending capture must not wait for writers either: the functions fall silent, the triggers go when they can. */
Test(barrier, cancel_does_not_wait_for_writers)
{
    struct err err = ERR_INIT;
    create("m", NULL);
    start("m");
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_run(app, "update docs set body = 'x' where id = 1");
    sql_text(lab, "select reembed.cancel('m', null)");
    sql_run(app, "update docs set body = 'y' where id = 2");
    cr_assert_eq(db_commit(app, &err), RC_OK);
    sql_run(app, "update docs set body = 'z' where id = 3");
    create("n", &(struct plan){.target_model = "bge-large"});
    start("n");
    sql_run(app, "update docs set body = 'z' where id = 4");
    expect_rows(
        lab, "4",
        "select doc_id from reembed_data.docs_changes where space_id = (select max(space_id) from reembed.space)");
}

/* Two processes begin at once: one installs, the other finds it done. */
Test(barrier, two_who_install_at_once)
{
    struct db *other = lab_connect(LAB_OWNER);
    struct err err = ERR_INIT;
    create("m", NULL);
    sql_text(lab, "select reembed.start('m')");
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    cr_assert(sql_bool(lab, "select reembed.install_capture('docs')"));
    sql_send(other, "select reembed.install_capture('docs')");
    sql_await_lock(other);
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    cr_assert_eq(sql_receive(other, &err), RC_OK, "%s", err.message);
    cr_assert_not(sql_bool(other, "select reembed.install_capture('docs')"), "installed twice");
    cr_assert_eq(sql_int(lab, "select count(*) from pg_trigger where tgrelid = 'docs'::regclass and not tgisinternal"),
                 4);
}
