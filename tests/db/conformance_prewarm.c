/* The new index in memory before the flip. */
#include <criterion/criterion.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
    documents(300);
    create("m", &(struct plan){.index = "hnsw"});
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(prewarm, .init = open_fixture, .fini = close_fixture, .timeout = 60);

Test(prewarm, searches_touch_the_index_where_the_extension_is_missing)
{
    build_index(&worker, true);
    sql_rows(lab, "select pg_stat_force_next_flush()");
    int64_t before = sql_int(
        lab,
        "select max(idx_scan) from pg_stat_user_indexes where relname = 'docs__bge_base' and indexrelname not like '%%pkey'");
    expect_rows(lab, "searches|200", "select * from reembed.prewarm('m')");
    sql_rows(lab, "select pg_stat_force_next_flush()");
    sql_await(
        lab,
        "select max(idx_scan) >= %lld from pg_stat_user_indexes where relname = 'docs__bge_base' and indexrelname not like '%%pkey'",
        (long long)before + 200);
    expect_rows(lab, "searches|200",
                "select detail->>'method', detail->>'searches' from reembed.events where event = 'prewarm'");
    expect_rows(lab, "40|on",
                "select current_setting('hnsw.ef_search'), current_setting('enable_seqscan')"); /* as before */
}

Test(prewarm, without_an_index_or_after_the_flip_there_is_nothing_to_do)
{
    expect_rows(lab, "|", "select * from reembed.prewarm('m')");
    build_index(&worker, true);
    sql_text(lab, "select reembed.cutover('m', true)");
    expect_rows(lab, "|", "select * from reembed.prewarm('m')");
    expect_rows(lab, "|", "select * from reembed.prewarm('nobody')");
}
