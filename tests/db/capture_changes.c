/* What the application does to its documents, and what the change log hears of it. Every write is made by a role that
 * has no right on anything of reembed; every test ends with the oracle. */
#include <criterion/criterion.h>
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
    app = lab_connect(LAB_APPLICATION);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(changes, .init = open_fixture, .fini = close_fixture, .timeout = 60);

#define COLUMNS "(id int primary key, title text, body text, lang text, n int)"

static void
make_documents(bool partitioned)
{
    if (partitioned)
        sql_run(lab, "create table docs " COLUMNS " partition by range (id);"
                     "create table docs_low partition of docs for values from (minvalue) to (11);"
                     "create table docs_high partition of docs for values from (11) to (maxvalue)");
    else
        sql_run(lab, "create table docs " COLUMNS);
    sql_run(lab,
            "insert into docs select i, 'title ' || i, 'text ' || i, case when i %% 2 = 0 then 'en' else 'de' end, 0 "
            "from generate_series(1, 20) i;"
            "grant all on all tables in schema public to " LAB_APPLICATION);
}

static const char *content;
static const char *filter;

/* Everything embedded and drained: the log is empty. */
static void
migrate(const char *content_expression, const char *where)
{
    content = content_expression;
    filter = where != NULL ? where : "true";
    create("m", &(struct plan){.content = content, .where = where, .source_column = ""});
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    expect_current(&worker, content, filter);
}

/* The ids in the change log, each once, in order; "null" for a TRUNCATE. */
static void
expect_logged(const char *ids)
{
    expect_rows(lab, ids,
                "select coalesce(string_agg(distinct_id, ',' order by i nulls last), '') from "
                "(select distinct doc_id as i, coalesce(doc_id::text, 'null') as distinct_id from "
                "reembed_data.docs_changes) x");
}

static void
settle(void)
{
    drain(&worker, TARGET);
    expect_logged("");
    expect_current(&worker, content, filter);
}

/* One test for the plain and one for the partitioned table. */
#define BOTH(name)                                                                                                     \
    static void name(void);                                                                                            \
    Test(changes, name##_plain)                                                                                        \
    {                                                                                                                  \
        make_documents(false);                                                                                         \
        name();                                                                                                        \
    }                                                                                                                  \
    Test(changes, name##_partitioned)                                                                                  \
    {                                                                                                                  \
        make_documents(true);                                                                                          \
        name();                                                                                                        \
    }                                                                                                                  \
    static void name(void)

BOTH(an_edit_an_insert_and_a_delete)
{
    migrate("body", NULL);
    sql_run(app, "update docs set body = 'edited' where id = 3");
    sql_run(app, "insert into docs (id, body) values (21, 'new')");
    sql_run(app, "delete from docs where id = 15");
    expect_logged("3,15,21");
    settle();
}

BOTH(an_update_of_something_else_queues_nothing)
{
    migrate("body", NULL);
    sql_run(app, "update docs set n = n + 1, title = 'another', lang = null");
    sql_run(app, "update docs set body = body");
    expect_logged("");
}

BOTH(an_update_of_many_rows_queues_those_whose_content_changed)
{
    migrate("body", NULL);
    sql_run(app, "update docs set body = case when id in (2, 12) then 'edited' else body end");
    expect_logged("2,12");
    settle();
}

BOTH(insert_on_conflict)
{
    migrate("body", NULL);
    sql_run(app, "insert into docs (id, body) values (4, 'edited'), (5, 'text 5'), (16, 'edited too'), (22, 'new') "
                 "on conflict (id) do update set body = excluded.body");
    sql_run(app, "insert into docs (id, body) values (6, 'edited'), (23, 'new') on conflict do nothing");
    expect_logged("4,16,22,23");
    settle();
}

BOTH(merge)
{
    migrate("body", NULL);
    sql_run(
        app,
        "merge into docs d using (values (7, 'edited'), (8, null), (18, 'edited'), (24, 'new')) s(id, body) on d.id = s.id "
        "when matched and s.body is null then delete when matched then update set body = s.body "
        "when not matched then insert (id, body) values (s.id, s.body)");
    expect_logged("7,8,18,24");
    settle();
}

BOTH(copy)
{
    migrate("body", NULL);
    struct db *super = lab_connect(NULL);
    sql_run(super, "copy docs (id, body) from program 'printf \"25\\tnew\\n26\\tnewer\\n\"'");
    expect_logged("25,26");
    settle();
}

BOTH(a_key_that_changes_gives_both_ids)
{
    migrate("body", NULL);
    sql_run(app, "update docs set id = 30 where id = 9");
    sql_run(app, "update docs set id = id + 100 where id in (19, 20)");
    expect_logged("9,19,20,30,119,120");
    settle();
}

Test(changes, keys_that_change_places)
{
    sql_run(
        lab,
        "create table docs (id int, title text, body text, lang text, n int, primary key (id) deferrable);"
        "create unique index on docs (id);"
        "insert into docs select i, '', 'text ' || i from generate_series(1, 20) i; grant all on docs to " LAB_APPLICATION);
    migrate("body", NULL);
    sql_run(lab, "drop index docs_id_idx");
    sql_run(app, "set constraints all deferred; update docs set id = 3 - id where id in (1, 2)");
    expect_logged("1,2");
    settle();
}

BOTH(what_is_rolled_back_queues_nothing)
{
    migrate("body", NULL);
    struct err err = ERR_INIT;
    cr_assert_eq(db_begin(app, &err), RC_OK);
    sql_text(app, "with x as (update docs set body = 'edited' where id = 1 returning 1) select count(*) from x");
    db_rollback(app);
    sql_run(app, "savepoint s; update docs set body = 'edited' where id = 2; rollback to s; "
                 "update docs set body = 'edited' where id = 3");
    expect_logged("3");
    settle();
}

BOTH(a_data_modifying_with)
{
    migrate("body", NULL);
    sql_run(app, "with gone as (delete from docs where id <= 2 returning id, body) "
                 "insert into docs (id, body) select id + 200, body from gone");
    expect_logged("1,2,201,202");
    settle();
}

BOTH(an_updatable_view)
{
    migrate("body", NULL);
    sql_run(lab, "create view v as select id, body as b from docs; grant all on v to " LAB_APPLICATION);
    sql_run(app, "update v set b = 'edited' where id = 10; delete from v where id = 11");
    expect_logged("10,11");
    settle();
}

BOTH(the_applications_own_trigger_changes_the_content_of_an_update_that_names_another_column)
{
    sql_run(
        lab,
        "create function stamp() returns trigger language plpgsql as $$ begin new.body := new.title || ' stamped'; "
        "return new; end $$; create trigger stamp before update of title on docs for each row execute function stamp()");
    migrate("body", NULL);
    sql_run(app, "update docs set title = 'other' where id in (5, 15)");
    expect_logged("5,15");
    settle();
}

BOTH(a_delete_that_cascades)
{
    sql_run(lab, "create table parent (id int primary key); insert into parent select generate_series(1, 20);"
                 "alter table docs add foreign key (id) references parent on delete cascade on update cascade;"
                 "grant all on parent to " LAB_APPLICATION);
    migrate("body", NULL);
    sql_run(app, "delete from parent where id in (4, 14); update parent set id = 300 where id = 5");
    expect_logged("4,5,14,300");
    settle();
}

BOTH(replicated_writes_are_heard)
{
    migrate("body", NULL);
    struct db *super = lab_connect(NULL);
    sql_run(super, "set local session_replication_role = replica; update docs set body = 'edited' where id in (1, 20); "
                   "insert into docs (id, body) values (31, 'new'); delete from docs where id = 12");
    expect_logged("1,12,20,31");
    sql_run(super, "set local session_replication_role = replica; truncate docs");
    expect_logged("1,12,20,31,null");
    settle();
}

/* --- TRUNCATE --- */

BOTH(truncate)
{
    migrate("body", NULL);
    sql_run(app, "truncate docs");
    expect_logged("null");
    settle();
    expect_rows(lab, "0", "select count(*) from reembed_data.docs__bge_base where embedding is not null");
}

BOTH(truncate_and_refill_in_one_transaction)
{
    migrate("body", NULL);
    sql_run(app, "truncate docs; insert into docs (id, body) values (3, 'text 3'), (4, 'other'), (40, 'new')");
    expect_logged("3,4,40,null");
    settle();
}

Test(changes, truncate_of_one_partition)
{
    make_documents(true);
    migrate("body", NULL);
    sql_run(app, "truncate docs_low");
    expect_logged("null");
    settle();
    expect_rows(lab, "10", "select count(*) from reembed_data.docs__bge_base where embedding is not null");
}

/* --- partitions --- */

Test(changes, writes_that_are_aimed_at_a_partition)
{
    make_documents(true);
    migrate("body", NULL);
    sql_run(app, "update docs_low set body = 'edited' where id = 3; delete from docs_high where id = 13; "
                 "insert into docs_high (id, body) values (33, 'new')");
    expect_logged("3,13,33");
    settle();
}

Test(changes, a_document_that_moves_to_another_partition)
{
    make_documents(true);
    migrate("body", NULL);
    sql_run(app, "update docs set id = id + 50 where id = 3");
    expect_logged("3,53");
    settle();
}

Test(changes, a_partition_that_is_made_later)
{
    sql_run(
        lab,
        "create table docs " COLUMNS " partition by range (id);"
        "create table docs_low partition of docs for values from (minvalue) to (1000);"
        "insert into docs (id, body) select i, 'text ' || i from generate_series(1, 20) i; grant all on docs to " LAB_APPLICATION);
    migrate("body", NULL);
    sql_run(
        lab,
        "create table docs_more partition of docs for values from (1000) to (2000); grant all on docs_more to " LAB_APPLICATION);
    sql_run(
        app,
        "insert into docs (id, body) values (1001, 'new'); insert into docs_more (id, body) values (1002, 'newer')");
    struct db *super = lab_connect(NULL);
    sql_run(super,
            "set local session_replication_role = replica; insert into docs (id, body) values (1003, 'replicated')");
    expect_logged("1001,1002,1003");
    settle();
}

Test(changes, documents_that_are_a_partition_hear_of_writes_through_its_parent)
{
    sql_run(lab, "create table every " COLUMNS " partition by range (id);"
                 "create table docs partition of every for values from (minvalue) to (1000);"
                 "create table others partition of every for values from (1000) to (maxvalue);"
                 "insert into every (id, body) select i, 'text ' || i from generate_series(1, 20) i;"
                 "grant all on every, docs, others to " LAB_APPLICATION);
    migrate("body", NULL);
    sql_run(
        app,
        "update every set body = 'edited' where id = 3; insert into every (id, body) values (34, 'new'), (1034, 'not ours'); "
        "delete from every where id = 4; update every set id = 1005 where id = 5; update docs set body = 'edited' where id = 6");
    expect_logged("3,4,5,6,34");
    settle();
    sql_run(app, "truncate every");
    expect_logged("null");
    settle();
}

Test(changes, documents_that_inherit_hear_of_writes_through_the_parent)
{
    sql_run(
        lab,
        "create table every (id int, title text, body text, lang text, n int); create table docs (primary key (id)) inherits (every);"
        "insert into docs (id, body) select i, 'text ' || i from generate_series(1, 20) i; grant all on every, docs to " LAB_APPLICATION);
    migrate("body", NULL);
    sql_run(app, "update every set body = 'edited' where id = 3; delete from every where id = 4; truncate every");
    expect_logged("3,4,null");
    settle();
}

/* --- content --- */

BOTH(a_content_of_several_columns)
{
    migrate("coalesce(title, '') || E'\\n' || body", NULL);
    sql_run(
        app,
        "update docs set title = null where id = 2; update docs set title = 'x' where id = 12; update docs set n = 3");
    expect_logged("2,12");
    settle();
}

BOTH(a_content_that_names_its_table)
{
    migrate("docs.title || docs.body", NULL);
    sql_run(app, "update docs set body = 'x' where id = 2");
    expect_logged("2");
    settle();
}

BOTH(a_content_by_functions)
{
    sql_run(
        lab,
        "create function public.clean(t text) returns text language sql immutable as $$ select regexp_replace(lower(t), '\\s+', ' ', 'g') $$");
    migrate("public.clean(format('%s: %s', title, body))", NULL);
    sql_run(app, "update docs set body = upper(body) where id = 2; update docs set body = 'x' where id = 12");
    expect_logged("12");
    settle();
}

BOTH(a_content_that_is_no_text)
{
    migrate("n", NULL);
    sql_run(app, "update docs set n = 7 where id = 2; update docs set body = 'x'");
    expect_logged("2");
    settle();
}

BOTH(a_stored_generated_column_as_content)
{
    sql_run(
        lab,
        "alter table docs add all_of_it text generated always as (coalesce(title, '') || coalesce(body, '')) stored");
    migrate("all_of_it", NULL);
    sql_run(
        app,
        "update docs set title = 'x' where id in (2, 12); insert into docs (id, body) values (35, 'new'); delete from docs where id = 5");
    expect_logged("2,5,12,35");
    settle();
}

BOTH(a_virtual_generated_column_as_content)
{
    if (lab_version() < 18)
        cr_skip_test("Postgres %d has no virtual columns", lab_version());
    sql_run(
        lab,
        "create function public.both(a text, b text) returns text language sql immutable as $$ select coalesce(a, '') || coalesce(b, '') $$;"
        "alter table docs add \"All of it\" text generated always as (coalesce(title, '') || coalesce(body, '')) virtual");
    migrate("\"All of it\"", "\"All of it\" like 't%'");
    sql_run(
        app,
        "update docs set title = 'tx' where id in (2, 12); update docs set n = 3; update docs set title = 'x' where id = 3; "
        "insert into docs (id, body) values (35, 'text'), (36, 'no'); delete from docs where id = 5");
    expect_logged("2,3,5,12,35");
    settle();
}

BOTH(a_content_that_becomes_null_or_stops_to_be)
{
    sql_run(lab, "update docs set body = null where id in (1, 11)");
    create("m", &(struct plan){.source_column = ""});
    start("m");
    content = "body";
    filter = "true";
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
    expect_rows(
        lab, "1,11",
        "select string_agg(doc_id, ',' order by doc_id::int) from reembed.failures where reason = 'empty_content'");
    sql_run(
        app,
        "update docs set body = 'now' where id = 1; update docs set body = null where id = 12; insert into docs (id) values (37)");
    expect_logged("1,12,37");
    settle();
    expect_rows(
        lab, "11,12,37",
        "select string_agg(doc_id, ',' order by doc_id::int) from reembed.failures where reason = 'empty_content'");
    expect_rows(
        lab, "0",
        "select count(*) from reembed_data.docs__bge_base where embedding is not null and doc_id in (11, 12, 37)");
}

/* --- filters --- */

BOTH(documents_that_begin_or_stop_to_match)
{
    migrate("body", "lang = 'en'");
    expect_rows(lab, "10", "select total from reembed.progress");
    sql_run(app, "update docs set lang = 'en' where id in (1, 11); update docs set lang = 'de' where id in (2, 12); "
                 "update docs set lang = null where id = 4");
    expect_logged("1,2,4,11,12");
    settle();
    expect_rows(
        lab, "1,6,8,10,11,14,16,18,20",
        "select string_agg(doc_id::text, ',' order by doc_id) from reembed_data.docs__bge_base where embedding is not null");
}

BOTH(documents_that_do_not_match_queue_nothing)
{
    migrate("body", "lang = 'en'");
    sql_run(
        app,
        "update docs set body = 'x' where lang = 'de'; delete from docs where lang = 'de' and id < 5; "
        "insert into docs (id, body, lang) values (38, 'x', 'de'), (39, 'x', null); update docs set lang = 'fr' where lang = 'de'");
    expect_logged("");
    sql_run(app, "insert into docs (id, body, lang) values (40, 'x', 'en'); delete from docs where id = 6");
    expect_logged("6,40");
    settle();
}

/* --- others on the same table --- */

BOTH(two_collections_of_one_table)
{
    migrate("body", NULL);
    create("t",
           &(struct plan){.collection = "titles", .content = "title", .where = "lang = 'en'", .source_column = ""});
    start("t");
    sql_run(app, "update docs set body = 'x' where id = 2; update docs set title = 'x' where id in (3, 4)");
    expect_logged("2");
    expect_rows(lab, "4", "select doc_id from reembed_data.titles_changes");
    sql_text(lab, "select reembed.cancel('t', null)");
    sql_run(app, "update docs set body = 'x', title = 'y' where id = 12");
    expect_logged("2,12");
    settle();
    expect_rows(lab, "0", "select count(*) from reembed_data.titles_changes");
}

/* --- many rows, one session --- */

/* plpgsql keeps the plan of its first call; a plan that is quadratic would need minutes here, and the statement's
 * timeout is 30 s. */
Test(changes, a_bulk_update_after_single_ones_is_not_quadratic)
{
    make_documents(false);
    migrate("body", NULL);
    for (int i = 1; i <= 10; i++)
        sql_run(app, "update docs set body = body || 'x' where id = %d", i);
    sql_run(app, "insert into docs (id, body) select i, 'text ' || i from generate_series(100, 60099) i");
    sql_run(app, "update docs set body = body || 'y' where id >= 100");
    sql_run(app, "update docs set n = 1");
    expect_rows(lab, "60010", "select count(distinct doc_id) from reembed_data.docs_changes");
    sql_run(app, "delete from docs where id >= 100");
    settle();
}
