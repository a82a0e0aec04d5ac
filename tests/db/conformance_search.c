/* Search from SQL: the routed space alone, and both spaces fused while coverage is partial. */
#include <criterion/criterion.h>
#include <inttypes.h>
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
    sql_run(lab, "update docs set embedding = oracle.vector_of(body)");
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(search, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
begin(const struct plan *plan, int64_t done)
{
    create("m", plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, done);
}

#define QUERY(id) "oracle.vector_of('text " #id "')"

Test(search, the_routed_space_only)
{
    begin(NULL, 5);
    expect_rows(lab, "7|0|bge-small", "select * from reembed.search('docs', " QUERY(7) ", 1)");
    sql_text(lab, "select reembed.cutover('m', true)");
    expect_rows(lab, "5|bge-base", "select count(*), min(model) from reembed.search('docs', " QUERY(7) ", 10)");
    sql_text(lab, "select reembed.rollback('m')");
    expect_rows(lab, "10|bge-small", "select count(*), min(model) from reembed.search('docs', " QUERY(7) ", 10)");
}

Test(search, a_query_of_another_size_is_refused_and_told_which_model_to_use)
{
    begin(NULL, 5);
    expect_error(lab, "RE010", "the query has 3 dimensions, collection docs is searched with the 4 of bge-small",
                 "select * from reembed.search('docs', '[1,2,3]')");
}

Test(search, documents_that_are_gone_or_have_no_vector_are_no_hits)
{
    sql_run(lab, "update docs set body = '' where id = 2");
    begin(NULL, INT64_MAX);
    sql_run(lab, "delete from docs where id = 3");
    drain(&worker, TARGET);
    sql_text(lab, "select reembed.cutover('m')");
    expect_rows(lab, "1,4,5,6,7,8,9,10",
                "select string_agg(doc_id, ',' order by doc_id::int) from reembed.search('docs', " QUERY(7) ", 100)");
}

Test(search, more_hits_than_an_index_scan_returns_by_itself)
{
    sql_run(lab, "insert into docs select i, 'text ' || i from generate_series(11, 300) i");
    begin(&(struct plan){.index = "hnsw"}, INT64_MAX);
    build_index(&worker, true);
    sql_text(lab, "select reembed.cutover('m')");
    struct err err = ERR_INIT;
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    sql_rows(lab, "set local enable_seqscan = off");
    expect_rows(lab, "150", "select count(distinct doc_id) from reembed.search('docs', " QUERY(7) ", 150)");
    expect_rows(lab, "150",
                "select count(distinct doc_id) from reembed.search_fused('docs', " QUERY(7) ", " QUERY(7) ", 150)");
    expect_rows(lab, "40|off",
                "select current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan')"); /* as before */
    db_rollback(lab);
}

/* --- fused --- */

Test(search, fused_finds_every_document_once_while_coverage_is_partial)
{
    begin(NULL, 5);
    expect_rows(
        lab,
        "1:bge-base,2:bge-base,3:bge-base,4:bge-base,5:bge-base,6:bge-small,7:bge-small,8:bge-small,9:bge-small,10:bge-small",
        "select string_agg(doc_id || ':' || model, ',' order by doc_id::int) from reembed.search_fused('docs', " QUERY(
            7) ", " QUERY(3) ", 10)");
    expect_rows(lab, "3,7",
                "select string_agg(doc_id, ',' order by doc_id) from reembed.search_fused('docs', " QUERY(7) ", " QUERY(
                    3) ", 2)");
    expect_rows(lab, "t",
                "select bool_and(score = 1.0 / 61) from reembed.search_fused('docs', " QUERY(7) ", " QUERY(3) ", 2)");
}

Test(search, fused_takes_a_document_from_the_target_as_soon_as_it_is_covered)
{
    begin(NULL, 0);
    expect_rows(lab, "7|bge-small",
                "select doc_id, model from reembed.search_fused('docs', " QUERY(7) ", " QUERY(7) ", 1)");
    backfill(&worker, INT64_MAX);
    expect_rows(lab, "7|bge-base",
                "select doc_id, model from reembed.search_fused('docs', " QUERY(7) ", " QUERY(7) ", 1)");
    expect_rows(lab, "bge-base",
                "select distinct model from reembed.search_fused('docs', " QUERY(7) ", " QUERY(7) ", 100)");
}

Test(search, fused_with_one_query_left_out)
{
    begin(NULL, 5);
    expect_rows(lab, "5|bge-base",
                "select count(*), min(model) from reembed.search_fused('docs', null, " QUERY(3) ", 10)");
    expect_rows(lab, "10|bge-small",
                "select count(*), min(model) from reembed.search_fused('docs', " QUERY(3) ", null, 10)");
}

Test(search, fused_with_indexes_on_both_sides_and_a_halfvec)
{
    sql_run(lab,
            "insert into docs select i, 'text ' || i, oracle.vector_of('text ' || i) from generate_series(11, 400) i;"
            "create index on docs using hnsw (embedding vector_cosine_ops); analyze docs");
    begin(&(struct plan){.target_type = "halfvec"}, 200);
    sql_run(
        lab,
        "create index on reembed_data.docs__bge_base using hnsw (embedding halfvec_cosine_ops); analyze reembed_data.docs__bge_base");
    expect_rows(lab, "100|100",
                "select count(*), count(distinct doc_id) from reembed.search_fused('docs', " QUERY(300) ", " QUERY(
                    20) ", 100)");
    expect_rows(lab, "0",
                "select count(*) from reembed.search_fused('docs', " QUERY(300) ", " QUERY(
                    20) ", 400) where (model = 'bge-base') <> (doc_id::int <= 200)");
}

Test(search, fused_with_a_table_of_vectors_as_source)
{
    sql_run(
        lab,
        "create table vectors (docs_id bigint primary key, v vector(4)); insert into vectors select id, oracle.vector_of(body) from docs");
    begin(&(struct plan){.source_table = "public.vectors", .source_id = "docs_id", .source_column = "v"}, 5);
    expect_rows(lab, "5|5",
                "select count(*) filter (where model = 'bge-base'), count(*) filter (where model = 'bge-small') from "
                "reembed.search_fused('docs', " QUERY(7) ", " QUERY(3) ", 10)");
}

Test(search, fused_refuses_a_query_of_another_size)
{
    begin(NULL, 5);
    expect_error(lab, "RE010", "the target query has 3 dimensions, bge-base has 4",
                 "select * from reembed.search_fused('docs', " QUERY(3) ", '[1,2,3]')");
    expect_error(lab, "RE010", "the source query has 3 dimensions, bge-small has 4",
                 "select * from reembed.search_fused('docs', '[1,2,3]', " QUERY(3) ")");
}

Test(search, fused_needs_a_migration)
{
    expect_error(lab, "RE002", "collection 'docs' has no migration that was started",
                 "select * from reembed.search_fused('docs', " QUERY(3) ", " QUERY(3) ")");
    expect_error(lab, "RE002", "collection 'nothing' has no vectors to search",
                 "select * from reembed.search('nothing', " QUERY(3) ")");
}

Test(search, fused_after_the_target_was_dropped_is_the_source_alone)
{
    begin(NULL, INT64_MAX);
    complete(&worker);
    sql_text(lab, "select reembed.rollback('m')");
    sql_text(lab, "select reembed.finalize('m')");
    expect_rows(lab, "10|bge-small",
                "select count(*), min(model) from reembed.search_fused('docs', " QUERY(7) ", " QUERY(3) ", 10)");
}

/* --- fused: ranks of both spaces on one scale --- */

/* Both spaces hold points on a line; the queries are points too. Documents 1, 4, 7, ... are covered. */
static void
begin_on_a_line(const char *target_type, const char *metric, const char *source_metric)
{
    sql_run(
        lab,
        "truncate docs; insert into docs select i, 'text ' || i, format('[%%s,1,0,1]', i)::vector from generate_series(1, 600) i;"
        "create index on docs using hnsw (embedding vector_%s_ops)",
        source_metric);
    begin(&(struct plan){.target_type = target_type}, 0);
    sql_run(lab,
            "update reembed.space set metric = '%s' where side; update reembed.space set metric = '%s' where not side;"
            "insert into reembed_data.docs__bge_base "
            "select i, 0, md5('text ' || i)::uuid, format('[%%s,1,0,1]', i)::vector from generate_series(1, 600, 3) i;"
            "create index on reembed_data.docs__bge_base using hnsw (embedding %s_%s_ops);"
            "analyze docs; analyze reembed_data.docs__bge_base",
            metric,
            strcmp(source_metric, "l2") == 0   ? "l2"
            : strcmp(source_metric, "ip") == 0 ? "inner_product"
                                               : "cosine",
            target_type,
            strcmp(metric, "l2") == 0              ? "l2"
            : strcmp(metric, "inner_product") == 0 ? "ip"
                                                   : "cosine");
}

Test(search, fused_puts_the_target_where_the_density_of_covered_documents_says)
{
    begin_on_a_line("vector", "l2", "l2");
    /* a third is covered: the target's hits are the first, fourth, seventh, ... of all */
    expect_rows(
        lab, "1:1,2:2,3:3,4:4,5:5,6:6,7:7,8:8,9:9",
        "select string_agg(doc_id || ':' || n, ',' order by n) from (select doc_id, row_number() over () as n from "
        "reembed.search_fused('docs', '[0,1,0,1]', '[0,1,0,1]', 9)) f");
    expect_rows(
        lab, "t",
        "select bool_and(abs(score - 1 / (60 + doc_id::float8)) < 0.0003 and (model = 'bge-base') = (doc_id::int %% 3 = 1)) from "
        "reembed.search_fused('docs', '[0,1,0,1]', '[0,1,0,1]', 60)");
}

Test(search, fused_speaks_the_metric_and_the_type_of_each_space)
{
    begin_on_a_line("halfvec", "inner_product", "l2");
    /* the largest product is the last document's, the nearest is the first one */
    expect_rows(
        lab, "598|1",
        "select max(doc_id::int) filter (where model = 'bge-base'), min(doc_id::int) filter (where model = 'bge-small') - 1 "
        "from reembed.search_fused('docs', '[0,1,0,1]', '[1,0,0,0]', 10)");
}

static void
expect_as_searched_alone(const char *model, const char *id, const char *query, const char *table)
{
    expect_rows(lab, "t",
                "select bool_and(a.doc_id = b.doc_id and a.model = '%s') and count(*) = 25 from "
                "(select *, row_number() over (order by score desc) as n from "
                "reembed.search_fused('docs', '[5,1,0,1]', '[90,1,0,1]', 25)) a join "
                "(select %s::text as doc_id, row_number() over (order by embedding <=> '%s') as n from %s "
                "where embedding is not null) b using (n)",
                model, id, query, table);
}

Test(search, fused_is_each_space_alone_where_coverage_is_none_or_whole)
{
    begin_on_a_line("vector", "cosine", "cosine");
    sql_run(lab, "drop index docs_embedding_idx; drop index reembed_data.docs__bge_base_embedding_idx;"
                 "delete from reembed_data.docs__bge_base");
    expect_as_searched_alone("bge-small", "id", "[5,1,0,1]", "docs");
    sql_run(lab,
            "insert into reembed_data.docs__bge_base "
            "select i, 0, md5('text ' || i)::uuid, format('[%%s,1,0,1]', i)::vector from generate_series(1, 600) i "
            "on conflict (doc_id) do update set embedding = excluded.embedding");
    expect_as_searched_alone("bge-base", "doc_id", "[90,1,0,1]", "reembed_data.docs__bge_base");
}

Test(search, fused_reaches_documents_that_only_one_space_holds)
{
    begin_on_a_line("vector", "l2", "l2");
    sql_run(lab, "update docs set embedding = null where id %% 3 = 1");
    expect_rows(lab, "600",
                "select count(distinct doc_id) from reembed.search_fused('docs', '[0,1,0,1]', '[0,1,0,1]', 600)");
}

Test(search, fused_goes_through_both_indexes)
{
    begin_on_a_line("vector", "l2", "l2");
    sql_run(
        lab,
        "create function public.scans() returns text language sql as $$ select string_agg(relname || ' ' || (idx_scan > 0), ',' order by relname) "
        "from pg_stat_user_indexes where indexrelname like '%%embedding_idx' and relname like 'docs%%' $$");
    struct err err = ERR_INIT;
    cr_assert_eq(db_begin(lab, &err), RC_OK);
    sql_rows(lab, "set local enable_seqscan = off");
    sql_rows(lab, "select * from reembed.search_fused('docs', '[0,1,0,1]', '[0,1,0,1]', 10)");
    cr_assert_eq(db_commit(lab, &err), RC_OK);
    sql_rows(lab, "select pg_stat_force_next_flush()");
    sql_await(lab, "select public.scans() = 'docs true,docs__bge_base true'");
}

Test(search, the_function_of_a_collection_has_ids_to_join_with)
{
    begin(NULL, 5);
    expect_rows(lab, "bigint|bigint",
                "select min(pg_typeof(doc_id)::text), max(pg_typeof(doc_id)::text) from reembed_data.docs_fused(" QUERY(
                    7) ", " QUERY(3) ")");
    expect_rows(lab, "3,5,7,9",
                "select string_agg(d.id::text, ',' order by d.id) from reembed_data.docs_fused(" QUERY(7) ", " QUERY(
                    3) ", 10) f "
                       "join docs d on d.id = f.doc_id where d.id %% 2 = 1 and d.id > 2");
    sql_run(lab, "select reembed.grant_role('" LAB_READER "', 'reader')");
    expect_rows(lab_connect(LAB_READER), "10",
                "select count(*) from reembed_data.docs_fused(" QUERY(7) ", " QUERY(3) ", 10)");
    expect_error(lab_connect(LAB_STRANGER), "42501", "permission denied",
                 "select * from reembed_data.docs_fused(" QUERY(7) ", " QUERY(3) ", 10)");
}
