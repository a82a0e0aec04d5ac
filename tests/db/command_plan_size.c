/* The sizes that plan tells, against tables and indexes that were really made. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "coordinator/plan.h"
#include "tests/db/fresh_database.h"

enum { ROWS = 1000 };

static struct fresh_database database;
static struct db *db;

static void
set_up(void)
{
    fresh_database_create(&database, true);
    db = fresh_database_connect(&database, (struct db_options){.statement_timeout_ms = DB_NO_TIMEOUT});
}

static void
tear_down(void)
{
    db = db_close(db);
    fresh_database_drop(&database);
}

TestSuite(plan_size, .init = set_up, .fini = tear_down, .timeout = 280);

static void
expect_near(const char *what, int dimensions, double told, double real)
{
    cr_assert_lt(fabs(told - real), 0.1 * real + 3 * 8192, "%s of %d dimensions: %.0f told, %.0f real", what,
                 dimensions, told, real);
}

static void
compare(int dimensions, enum migration_vector_type type, const char *method)
{
    const char *name = migration_vector_type_name(type);
    struct migration_target target = {
        .dimensions = dimensions, .type = type, .index = {.m = 16, .ef_construction = 32, .lists = 10}};
    struct plan_size size;
    char sql[1024];

    must_run(db, "drop table if exists side");
    snprintf(
        sql, sizeof sql,
        "create table side (doc_id bigint primary key, read_token bigint not null, content_hash uuid, embedding %s(%d))",
        name, dimensions);
    must_run(db, sql);
    snprintf(
        sql, sizeof sql,
        "insert into side select i, i, md5(i::text)::uuid, (select array_agg(sin(i * 7.1 + d * d)) from generate_series(1, "
        "%d) d)::real[]::vector::%s from generate_series(1, %d) i",
        dimensions, name, ROWS);
    must_run(db, sql);
    snprintf(sql, sizeof sql, "create index made on side using %s (embedding %s_l2_ops) with (%s)", method, name,
             method[0] == 'h' ? "m = 16, ef_construction = 32" : "lists = 10");
    must_run(db, sql);

    plan_size(&target, "bigint", method, ROWS, 1, true, &size);
    expect_near(
        "table", dimensions, size.table_bytes,
        (double)must_read_int64(
            db,
            "select sum(pg_relation_size(r))::int8 as v from (select 'side'::regclass union all select 'side_pkey' union all select reltoastrelid from pg_class where oid = 'side'::regclass union all select indexrelid from pg_index where indrelid = (select reltoastrelid from pg_class where oid = 'side'::regclass)) x(r)"));
    expect_near(method, dimensions, size.index_bytes,
                (double)must_read_int64(db, "select pg_relation_size('made') as v"));
}

Test(plan_size, of_vectors_in_the_row_out_of_line_and_of_their_hnsw_index)
{
    static const int dimensions[] = {64, 384, 480, 512, 768, 1024, 1536, 2000};

    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++)
        compare(dimensions[i], VECTOR_TYPE_VECTOR, "hnsw");
    compare(768, VECTOR_TYPE_HALFVEC, "hnsw");
    compare(3072, VECTOR_TYPE_HALFVEC, "hnsw");
}

Test(plan_size, of_an_ivfflat_index)
{
    compare(128, VECTOR_TYPE_VECTOR, "ivfflat");
    compare(768, VECTOR_TYPE_VECTOR, "ivfflat");
}

/* pgvector says by itself after how many tuples its graph no longer fits. */
Test(plan_size, memory_is_enough_and_not_far_more_than_enough)
{
    const struct migration_target target = {.dimensions = 512, .index = {.m = 16}};
    struct plan_size size;

    plan_size(&target, "bigint", "hnsw", 3035, 1, true, &size); /* measured: 3035 tuples fill 8 MB */
    cr_assert_lt(fabs(size.index_memory_bytes - 8.0 * 1024 * 1024), 0.02 * 8 * 1024 * 1024, "%.0f",
                 size.index_memory_bytes);
}

Test(plan_size, without_an_index_there_is_none_and_an_unknown_one_is_unknown)
{
    const struct migration_target target = {.dimensions = 100, .index = {.m = 16}};
    struct plan_size none, unknown, half;

    plan_size(&target, "bigint", "none", 1000, 1, true, &none);
    cr_assert_eq(none.index_bytes, 0);
    cr_assert_eq(none.wal_bytes, 1000 * (400 + 216));
    plan_size(&target, "bigint", NULL, 1000, 1, true, &unknown);
    cr_assert_lt(unknown.index_bytes, 0);
    plan_size(&target, "bigint", "none", 1000, 0.5, true, &half);
    cr_assert_eq(half.wal_bytes, none.wal_bytes / 2);
    cr_assert_eq(half.table_bytes, none.table_bytes);
}
