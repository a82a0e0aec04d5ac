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
