/* What the migration file's facts become: names of side tables, what may change under a running migration, and what is
 * refused with the keys named. */
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
    documents(5);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(config, .init = open_fixture, .fini = close_fixture, .timeout = 60);

static void
again(const struct plan *plan)
{
    sql_text(lab, "select reembed.create_migration('m', $j$%s$j$::jsonb, false)", plan_json(plan));
}

static void
expect_differs(const struct plan *plan, const char *keys)
{
    const char *before = dump();
    expect_error(lab, "RE010", lab_printf("migration 'm' exists and these keys differ from it: %s", keys),
                 "select reembed.create_migration('m', $j$%s$j$::jsonb, false)", plan_json(plan));
    cr_assert_str_eq(dump(), before);
}

/* --- under an existing id --- */

Test(config, the_same_file_again_changes_nothing)
{
    create("m", NULL);
    start("m");
    const char *before = dump();
    again(NULL);
    cr_assert_str_eq(dump(), before);
}

Test(config, settings_may_change_and_each_change_is_an_event)
{
    create("m", &(struct plan){.backfill = "{\"target_query_threshold\": 0.8}"});
    start("m");
    again(&(struct plan){.backfill = "{\"target_query_threshold\": 0.5, \"rollback_window_secs\": 60}",
                         .gates = "{\"max_failed\": 7}",
                         .limits = "{\"max_tokens\": 5}"});
    expect_rows(
        lab, "0.5|7",
        "select required, (select required from reembed.gates where gate = 'failed') from reembed.gates where gate = 'coverage'");
    expect_rows(
        lab, "0.8|0.5",
        "select detail#>>'{before,backfill,target_query_threshold}', detail#>>'{after,backfill,target_query_threshold}' "
        "from reembed.events where event = 'configured'");
    cr_assert_str_eq(state_of("m"), "in_progress");
}

Test(config, what_is_migrated_may_not_change_and_the_keys_are_named)
{
    create("m", NULL);
    start("m");
    expect_differs(&(struct plan){.content = "upper(body)"}, "documents.content");
    expect_differs(&(struct plan){.where = "id > 3"}, "documents.where");
    expect_differs(&(struct plan){.target_model = "bge-large"}, "target.model");
    expect_differs(&(struct plan){.target_type = "halfvec"}, "target.type");
    expect_differs(&(struct plan){.source_model = "other"}, "source.model");
    expect_differs(&(struct plan){.source_column = ""}, "source.column");
    expect_differs(&(struct plan){.collection = "other"}, "collection");
}

Test(config, what_has_not_started_may_change_altogether)
{
    create("m", NULL);
    create("m", &(struct plan){.content = "upper(body)", .target_model = "bge-large", .source_kept = true});
    expect_rows(lab, "m|planned|bge-large", "select migration_id, state, target_model from reembed.migration");
    start("m");
    worker_open(&worker, lab, "m", NULL);
    complete(&worker);
    expect_current(&worker, "upper(body)", "true");
    expect_rows(lab, "2", "select count(*) from reembed.space");
}

Test(config, a_collection_whose_queries_go_elsewhere_is_refused_as_source)
{
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    complete(&worker);
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_error(
        lab, "RE010",
        "source: queries of docs go to bge-base in reembed_data.docs__bge_base.embedding, not to the source given",
        "select reembed.create_migration('n', $j$%s$j$::jsonb, false)",
        plan_json(&(struct plan){.target_model = "bge-large"}));
}

Test(config, vectors_of_another_model_are_not_taken_for_the_sources)
{
    create("m", NULL);
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_error(lab, "RE010", "source.model: public.docs.embedding was filled by bge-small, not by other",
                 "select reembed.create_migration('n', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.source_model = "other"}));
}

Test(config, another_table_under_a_collection_that_has_a_side_table_of_its_own_is_refused)
{
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    complete(&worker);
    sql_text(lab, "select reembed.finalize('m', true)");
    sql_run(lab, "create table papers (id uuid primary key, body text)");
    const char *before = dump();
    expect_error(lab, "RE010",
                 "documents.table: collection docs is of public.docs, and its queries go to vectors of those documents",
                 "select reembed.create_migration('n', $j$%s$j$::jsonb, false)",
                 plan_json(&(struct plan){.table = "public.papers",
                                          .source_model = "bge-base",
                                          .source_table = "reembed_data.docs__bge_base",
                                          .source_id = "doc_id",
                                          .target_model = "bge-large"}));
    cr_assert_str_eq(dump(), before);
    sql_run(lab, "insert into docs values (7, 'the application goes on')");
}

/* --- side tables --- */

static const char *
target_of(const char *id)
{
    return sql_text(
        lab,
        "select table_name from reembed.space join reembed.migration on space_id = target_space where migration_id = '%s'",
        id);
}

static void
move_on(const char *id, const struct plan *plan)
{
    create(id, plan);
    start(id);
    worker_open(&worker, lab, id, NULL);
    complete(&worker);
    worker_close(&worker);
    sql_text(lab, "select reembed.finalize('%s', true)", id);
}

Test(config, models_whose_names_begin_alike_have_tables_of_their_own)
{
    move_on("a", &(struct plan){.target_model = "paraphrase-multilingual-MiniLM-L12-v2"});
    move_on("b", &(struct plan){.source_model = "paraphrase-multilingual-minilm-l12-v2",
                                .source_table = target_of("a"),
                                .source_id = "doc_id",
                                .target_model = "paraphrase-multilingual-mpnet-base-v2"});
    cr_assert_str_neq(target_of("a"), target_of("b"));
    expect_rows(lab, "paraphrase-multilingual-mpnet-base-v2", "select query_model from reembed.routing");
}

Test(config, the_same_model_again_gets_a_table_beside_the_one_it_leaves)
{
    move_on("a", NULL);
    move_on("b", &(struct plan){.source_model = "bge-base",
                                .source_table = target_of("a"),
                                .source_id = "doc_id",
                                .target_model = "bge-base"});
    cr_assert_str_eq(target_of("b"), "reembed_data.docs__bge_base_next");
    move_on("c", &(struct plan){.source_model = "bge-base",
                                .source_table = target_of("b"),
                                .source_id = "doc_id",
                                .target_model = "bge-base"});
    cr_assert_str_neq(target_of("c"), target_of("b"));
}

Test(config, the_same_model_in_another_type_gets_a_table_of_its_own)
{
    move_on("a", NULL);
    move_on("b", &(struct plan){.source_model = "bge-base",
                                .source_table = target_of("a"),
                                .source_id = "doc_id",
                                .target_model = "bge-base",
                                .target_type = "halfvec"});
    expect_rows(
        lab, "halfvec(4)",
        "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = '%s'::regclass and attname = 'embedding'",
        target_of("b"));
}

/* There and back again: the old side table is taken up, and what changed or went meanwhile is found. */
Test(config, back_to_a_model_whose_table_is_still_there)
{
    move_on("a", NULL);
    move_on("b", &(struct plan){.source_model = "bge-base",
                                .source_table = target_of("a"),
                                .source_id = "doc_id",
                                .target_model = "bge-large"});
    sql_run(
        lab,
        "update docs set body = 'edited' where id = 2; delete from docs where id = 3; insert into docs values (9, 'new')");
    create("c", &(struct plan){.source_model = "bge-large",
                               .source_table = target_of("b"),
                               .source_id = "doc_id",
                               .target_model = "bge-base"});
    cr_assert_str_eq(target_of("c"), target_of("a"));
    start("c");
    worker_open(&worker, lab, "c", NULL);
    complete(&worker);
    expect_current(&worker, "body", "true");
    expect_rows(lab, "bge-base|5", "select min(model), count(*) from reembed_data.docs_current");
}

Test(config, names_of_models_compare_without_case)
{
    move_on("a", &(struct plan){.target_model = "BGE-Base"});
    create("b", &(struct plan){.source_model = "bge-base",
                               .source_table = target_of("a"),
                               .source_id = "doc_id",
                               .target_model = "bge-large"});
}
