/* A whole migration for every type that an id may have, for plain and partitioned tables, and for names that need
 * quoting or that a careless statement would take for its own. */
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
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(ids, .init = open_fixture, .fini = close_fixture, .timeout = 60);

/* How a test writes its documents: everything as SQL. */
struct shape {
    const char *table;
    const char *id;      /* column */
    const char *make_id; /* an id of the number n */
    const char *body;    /* column */
    const char *content; /* expression; NULL: the body */
    const char *where;
};

static const char *
id_of(const struct shape *shape, int number)
{
    return sql_text(lab, "select quote_literal((%s)::text) from (values (%d)) x(n)", shape->make_id, number);
}

static void
fill(const struct shape *shape, int first, int last)
{
    sql_run(lab, "insert into %s (%s, %s) select %s, 'text ' || n from generate_series(%d, %d) n", shape->table,
            shape->id, shape->body, shape->make_id, first, last);
}

static void
edit(const struct shape *shape, int number, const char *text)
{
    sql_run(lab, "update %s set %s = '%s' where %s = %s", shape->table, shape->body, text, shape->id,
            id_of(shape, number));
}

static void
erase(const struct shape *shape, int number)
{
    sql_run(lab, "delete from %s where %s = %s", shape->table, shape->id, id_of(shape, number));
}

/* Edits, inserts, deletes and changed keys before, amid and after the backfill; then completion by the exact sweep. */
static void
migrate(const struct shape *shape)
{
    const char *content = shape->content != NULL ? shape->content : shape->body;
    const char *filter = shape->where != NULL ? shape->where : "true";
    struct plan plan = {
        .table = shape->table, .id = shape->id, .content = content, .where = shape->where, .source_column = ""};

    fill(shape, 1, 250);
    create("m", &plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    expect_rows(lab, "250", "select total from reembed.progress");
    edit(shape, 3, "edited before");
    edit(shape, 250, "edited before too");
    erase(shape, 4);
    cr_assert_gt(backfill(&worker, 120), 0);
    edit(shape, 5, "edited amid");
    edit(shape, 249, "edited amid too");
    erase(shape, 6);
    erase(shape, 248);
    fill(shape, 301, 301);
    sql_run(lab, "update %s set %s = (select %s from (values (302)) x(n)) where %s = %s", shape->table, shape->id,
            shape->make_id, shape->id, id_of(shape, 7));
    complete(&worker);
    expect_current(&worker, content, filter);
    expect_rows(lab, "0|0", "select pending, changes_pending from reembed.progress");
    int64_t total =
        sql_int(lab, "select total from reembed.progress"); /* three were deleted, some of them before they were read */
    cr_assert(total >= 246 && total <= 249, "total is %d", (int)total);
    cr_assert_eq(sql_int(lab, "select processed from reembed.progress"), total);

    edit(shape, 8, "edited after");
    erase(shape, 9);
    drain(&worker, TARGET);
    expect_current(&worker, content, filter);
    expect_rows(lab, lab_printf("%s", sql_text(lab, "select count(*) from %s where %s", shape->table, filter)),
                "select count(*) from reembed_data.docs_current");
}

#define PLAIN(name, type, expression)                                                                                  \
    Test(ids, name##_in_a_plain_table)                                                                                 \
    {                                                                                                                  \
        sql_run(lab, "create table docs (id %s primary key, body text)", type);                                        \
        migrate(&(struct shape){"public.docs", "id", expression, "body", NULL, NULL});                                 \
    }
#define PARTITIONED(name, type, expression)                                                                            \
    Test(ids, name##_in_a_partitioned_table)                                                                           \
    {                                                                                                                  \
        sql_run(lab,                                                                                                   \
                "create table docs (id %s primary key, body text) partition by hash (id);"                             \
                "create table docs_0 partition of docs for values with (modulus 3, remainder 0);"                      \
                "create table docs_1 partition of docs for values with (modulus 3, remainder 1);"                      \
                "create table docs_2 (body text, extra int, id %s not null);" /* another order of columns */           \
                "alter table docs_2 drop column extra;"                                                                \
                "alter table docs attach partition docs_2 for values with (modulus 3, remainder 2)",                   \
                type, type);                                                                                           \
        migrate(&(struct shape){"public.docs", "id", expression, "body", NULL, NULL});                                 \
    }
#define BOTH(name, type, expression) PLAIN(name, type, expression) PARTITIONED(name, type, expression)

BOTH(smallint, "smallint", "n::smallint - 100")
BOTH(integer, "integer", "n - 100")
BOTH(bigint, "bigint", "n::bigint * 1000000007")
BOTH(uuid, "uuid", "md5(n::text)::uuid")
BOTH(text, "text", "'doc ' || n")
BOTH(text_with_odd_letters, "text", "case n % 3 when 0 then 'Ä' when 1 then 'a''\"\\' else 'Z' end || n")
BOTH(varchar, "varchar(40)", "'doc ' || n")
BOTH(text_of_collation_C, "text collate \"C\"", "case n % 3 when 0 then 'Ä' when 1 then 'a' else 'Z' end || n")

/* The order of another language: side tables, chunks and cursors must sort as the documents do. */
static const char *
language_collation(void)
{
    static const char *const names[] = {"en-x-icu",   "und-x-icu", "en_US.utf8",
                                        "de_DE.utf8", "unicode",   "pg_unicode_fast"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PGresult *result = NULL;
        enum rc rc = db_exec_text(lab, lab_printf("select 'a' < 'b' collate \"%s\"", names[i]), NULL, &result, NULL);
        PQclear(result);
        if (rc == RC_OK)
            return names[i];
    }
    return NULL;
}

#define COLLATED(name, partitions)                                                                                     \
    Test(ids, name)                                                                                                    \
    {                                                                                                                  \
        const char *collation = language_collation();                                                                  \
        if (collation == NULL)                                                                                         \
            cr_skip_test("this server has no collation but C");                                                        \
        sql_run(lab, "create table docs (id text collate \"%s\" primary key, body text) %s", collation, partitions);   \
        migrate(&(struct shape){"public.docs", "id", "case n % 3 when 0 then 'Ä' when 1 then 'a' else 'Z' end || n",   \
                                "body", NULL, NULL});                                                                  \
    }
COLLATED(text_of_a_language_in_a_plain_table, "")
COLLATED(text_of_a_language_in_a_partitioned_table,
         "partition by hash (id); create table docs_0 partition of docs for values with (modulus 1, remainder 0)")

/* The key of a partitioned table has the partition's column in it, so ids that are unique by themselves have an index
 * of their own only where they are that column: ranges of ids, and documents that move from one to the other. */
Test(ids, ranges_of_ids_whose_documents_move)
{
    sql_run(lab, "create table docs (id int primary key, body text) partition by range (id);"
                 "create table docs_low partition of docs for values from (minvalue) to (250);"
                 "create table docs_high partition of docs for values from (250) to (maxvalue)");
    migrate(&(struct shape){"public.docs", "id", "n", "body", NULL, NULL});
}

/* --- names --- */

Test(ids, names_that_need_quotes)
{
    sql_run(
        lab,
        "create schema \"My \"\"Schema\"\"\";"
        "create table \"My \"\"Schema\"\"\".\"Docs %% of 'us'\" (\"The Id\" int primary key, \"Body {content}\" text)");
    migrate(&(struct shape){"\"My \"\"Schema\"\"\".\"Docs % of 'us'\"", "\"The Id\"", "n", "\"Body {content}\"", NULL,
                            NULL});
}

Test(ids, a_table_on_the_search_path_needs_no_schema)
{
    sql_run(lab, "create table docs (id int primary key, body text)");
    migrate(&(struct shape){"docs", "id", "n", "body", NULL, NULL});
}

/* Documents whose table or columns are called what a statement calls its own parts. */
#define TABLE_CALLED(name)                                                                                             \
    Test(ids, a_table_called_##name)                                                                                   \
    {                                                                                                                  \
        sql_run(lab, "create table \"" #name "\" (id int primary key, body text)");                                    \
        migrate(&(struct shape){"public.\"" #name "\"", "id", "n", "body", NULL, NULL});                               \
    }
TABLE_CALLED(b)
TABLE_CALLED(c)
TABLE_CALLED(d)
TABLE_CALLED(f)
TABLE_CALLED(i)
TABLE_CALLED(m)
TABLE_CALLED(n)
TABLE_CALLED(o)
TABLE_CALLED(r)
TABLE_CALLED(s)
TABLE_CALLED(t)
TABLE_CALLED(u)
TABLE_CALLED(w)
TABLE_CALLED(x)
TABLE_CALLED(fence)
TABLE_CALLED(new_rows)
TABLE_CALLED(old_rows)
TABLE_CALLED(new)
TABLE_CALLED(old)

#define ID_CALLED(name)                                                                                                \
    Test(ids, an_id_called_##name)                                                                                     \
    {                                                                                                                  \
        sql_run(lab, "create table docs (\"" #name "\" int primary key, txt text)");                                   \
        migrate(&(struct shape){"public.docs", "\"" #name "\"", "n", "txt", NULL, NULL});                              \
    }
ID_CALLED(body)
ID_CALLED(h)
ID_CALLED(hi)
ID_CALLED(doc_id)
ID_CALLED(space_id)
ID_CALLED(cursor)
ID_CALLED(content)
ID_CALLED(new)
ID_CALLED(found)

#define CONTENT_CALLED(name)                                                                                           \
    Test(ids, a_content_called_##name)                                                                                 \
    {                                                                                                                  \
        sql_run(lab, "create table docs (key int primary key, \"" #name "\" text)");                                   \
        migrate(&(struct shape){"public.docs", "key", "n", "\"" #name "\"", NULL, NULL});                              \
    }
CONTENT_CALLED(id)
CONTENT_CALLED(h)
CONTENT_CALLED(content)
CONTENT_CALLED(is_in)
CONTENT_CALLED(found)
CONTENT_CALLED(new)
CONTENT_CALLED(old)
CONTENT_CALLED(tg_op)
CONTENT_CALLED(reembed_before)
CONTENT_CALLED(doc_id)
CONTENT_CALLED(space_id)

#define CONTENT_CALLED_PARTITIONED(name)                                                                               \
    Test(ids, a_content_called_##name##_in_a_partitioned_table)                                                        \
    {                                                                                                                  \
        sql_run(lab, "create table docs (key int primary key, \"" #name "\" text) partition by hash (key);"            \
                     "create table docs_0 partition of docs for values with (modulus 1, remainder 0)");                \
        migrate(&(struct shape){"public.docs", "key", "n", "\"" #name "\"", NULL, NULL});                              \
    }
CONTENT_CALLED_PARTITIONED(found)
CONTENT_CALLED_PARTITIONED(new)
CONTENT_CALLED_PARTITIONED(reembed_before)
CONTENT_CALLED_PARTITIONED(space_id)

/* Names of 63 bytes and more are cut by Postgres; what belongs to one collection must not become another's. */
static void
migrate_collection(const char *collection)
{
    sql_run(lab, "create table docs (id int primary key, body text);"
                 "insert into docs select n, 'text ' || n from generate_series(1, 20) n");
    create("m", &(struct plan){.collection = collection, .source_column = ""});
    start("m");
    worker_open(&worker, lab, "m", NULL);
    sql_run(lab, "update docs set body = 'edited' where id = 2; delete from docs where id = 3; "
                 "insert into docs values (21, 'new')");
    expect_rows(lab, "2,3,21", "select string_agg(doc_id::text, ',' order by doc_id) from %s",
                sql_text(lab, "select changes_table from reembed.collection"));
    complete(&worker);
    expect_current(&worker, "body", "true");
}

Test(ids, a_collection_with_a_long_name)
{
    migrate_collection("a_collection_whose_name_is_longer_than_a_name_may_be_in_postgres_by_far");
}

Test(ids, a_collection_with_a_long_name_of_wide_letters)
{
    migrate_collection("äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü");
}

Test(ids, a_collection_with_odd_letters)
{
    migrate_collection("It's \"mine\"; 100 % {docs} \\");
}

/* --- what can't be an id --- */

static void
expect_bad_id(const char *definition, const char *id, const char *message)
{
    sql_run(lab, "create table docs (%s)", definition);
    expect_error(lab, "RE010", message, "select reembed.create_migration('m', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.id = id, .source_column = ""}));
    expect_rows(lab, "0|0",
                "select (select count(*) from reembed.collection), (select count(*) from reembed.migration)");
}

Test(ids, a_composite_key_is_refused)
{
    expect_bad_id("id int, part int, body text, primary key (id, part)", "id",
                  "documents.id: id is only part of a composite key of public.docs");
}

Test(ids, two_columns_are_refused)
{
    expect_bad_id("id int, part int, body text, primary key (id, part)", "id, part",
                  "documents.id: a composite key (id, part) is not supported");
}

Test(ids, a_column_that_is_no_key_is_refused)
{
    expect_bad_id("id int not null, body text", "id", "documents.id: id of public.docs is no key");
}

Test(ids, a_partial_unique_index_is_no_key)
{
    sql_run(
        lab,
        "create table docs (id int not null, body text, gone bool); create unique index on docs (id) where not gone");
    expect_error(lab, "RE010", "documents.id: id of public.docs is no key",
                 "select reembed.create_migration('m', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.source_column = ""}));
}

Test(ids, a_unique_index_on_an_expression_is_no_key)
{
    sql_run(lab, "create table docs (id text not null, body text); create unique index on docs (lower(id))");
    expect_error(lab, "RE010", "documents.id: id of public.docs is no key",
                 "select reembed.create_migration('m', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.source_column = ""}));
}

Test(ids, a_key_that_may_be_null_is_refused)
{
    expect_bad_id("id int unique, body text", "id", "documents.id: id of public.docs may be NULL");
}

Test(ids, another_type_is_refused)
{
    expect_bad_id("id numeric primary key, body text", "id",
                  "documents.id: column id of public.docs is of type numeric");
}

Test(ids, a_column_that_is_not_there_is_refused)
{
    expect_bad_id("id int primary key, body text", "key", "documents.id: table public.docs has no column key");
}
