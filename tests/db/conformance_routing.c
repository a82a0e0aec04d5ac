/* Where queries and writes go in every state, through all four of its faces: reembed.routing, routing_json, route_query
 * and route_request; and the shapes of state_json. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/db/steps.h"
#include "tests/db/support.h"

#define S "bge-small"
#define T "bge-base"

static struct worker worker;

static void
open_fixture(void)
{
    lab_open();
    documents(10);
}

static void
close_fixture(void)
{
    worker_close(&worker);
    lab_close();
}

TestSuite(routing, .init = open_fixture, .fini = close_fixture, .timeout = 60);
TestSuite(json, .init = open_fixture, .fini = close_fixture, .timeout = 60);

/* One row of the table. `writes` as a list: S or S,T or T. */
struct row {
    const char *query;
    const char *new;
    const char *existing;
    const char *query_model;
    const char *writes;
    const char *phase;
    const char *id; /* NULL: null */
};

static void
expect_row(const struct row *row)
{
    expect_rows(lab, row->query, "select reembed.route_query('docs')");
    expect_rows(lab, row->new, "select reembed.route_request('docs', true)");
    expect_rows(lab, row->existing, "select reembed.route_request('docs', false)");
    expect_rows(
        lab, lab_printf("docs|%s|%s|%s|%s", row->phase, row->query_model, row->writes, row->id != NULL ? row->id : ""),
        "select collection, phase, query_model, array_to_string(write_models, ','), migration_id from reembed.routing");
    /* as jsonb compares: key by key */
    cr_assert(sql_bool(lab,
                       "select reembed.routing_json('docs') = jsonb_build_object('query_model', '%s', 'write_models', "
                       "to_jsonb(string_to_array('%s', ',')), 'phase', '%s', 'migration_id', %s::text)",
                       row->query_model, row->writes, row->phase,
                       row->id != NULL ? lab_printf("'%s'", row->id) : "null"),
              "%s", sql_text(lab, "select reembed.routing_json('docs')"));
    expect_rows(
        lab, "t|t|t",
        "select query_space = (select space_id from reembed.space where model = '%s'), query_table = (select table_name "
        "from reembed.space where model = '%s'), to_regclass(query_table) is not null from reembed.routing",
        row->query_model, row->query_model);
    cr_assert_str_eq(
        sql_text(lab, "select coalesce(max(model), '%s') from reembed_data.docs_current", row->query_model),
        row->query_model, "the stable view shows another model than routing names");
}

static void
begin(const struct plan *plan)
{
    create("m", plan);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    backfill(&worker, INT64_MAX);
}

static void
flip(void)
{
    sql_text(lab, "select reembed.cutover('m')");
}

static const struct row migrating = {"legacy", "dual_write", "legacy", S, S "," T, "migrating", "m"};
static const struct row flipped = {"target", "dual_write", "legacy", T, S "," T, "migrating", "m"};
static const struct row window = {"target", "dual_write", "dual_write", T, S "," T, "rollback_window", "m"};
static const struct row over = {"target", "target", "target", T, T, "stable", NULL};
static const struct row untouched = {"legacy", "legacy", "legacy", S, S, "stable", NULL};

Test(routing, planned)
{
    create("m", NULL);
    expect_row(&untouched);
}

Test(routing, in_progress_before_capture)
{
    create("m", NULL);
    sql_text(lab, "select reembed.start('m')");
    expect_row(&migrating);
}

Test(routing, in_progress_dual_write_not_flipped)
{
    begin(NULL);
    expect_row(&migrating);
}

Test(routing, in_progress_dual_write_flipped)
{
    begin(NULL);
    flip();
    expect_row(&flipped);
}

Test(routing, in_progress_no_dual_write_not_flipped)
{
    begin(&(struct plan){.backfill = "{\"dual_write\": false}"});
    expect_row(&(struct row){"legacy", "legacy", "legacy", S, S, "migrating", "m"});
}

/* Queries are answered by the target: its vectors are written too, whatever the file says. */
Test(routing, in_progress_no_dual_write_flipped)
{
    begin(&(struct plan){.backfill = "{\"dual_write\": false}"});
    flip();
    expect_row(&flipped);
}

Test(routing, paused_not_flipped)
{
    begin(NULL);
    sql_text(lab, "select reembed.pause('m', null)");
    expect_row(&migrating);
}

Test(routing, failed_not_flipped)
{
    begin(NULL);
    sql_text(lab, "select reembed.fail('m', 'x')");
    expect_row(&migrating);
}

Test(routing, paused_flipped)
{
    begin(NULL);
    flip();
    sql_text(lab, "select reembed.pause('m', null)");
    expect_row(&flipped);
}

Test(routing, failed_flipped)
{
    begin(NULL);
    flip();
    sql_text(lab, "select reembed.fail('m', 'x')");
    expect_row(&flipped);
}

Test(routing, cancelled)
{
    begin(NULL);
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_row(&untouched);
}

Test(routing, cancelled_when_flipped)
{
    begin(NULL);
    flip();
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_row(&untouched);
}

Test(routing, completed_window_open)
{
    begin(NULL);
    complete(&worker);
    expect_row(&window);
    cr_assert(
        sql_bool(lab, "select window_ends_at = (select window_ends_at from reembed.progress) from reembed.routing"));
}

/* The window ends by itself, with no process alive, by the database's clock. */
Test(routing, completed_window_over)
{
    begin(NULL);
    complete(&worker);
    sql_run(lab, "update reembed.migration set completed_at = completed_at - interval '1 day 1 second', "
                 "window_ends_at = window_ends_at - interval '1 day 1 second'");
    expect_row(&over);
    expect_rows(lab, "", "select window_ends_at from reembed.routing");
}

Test(routing, completed_window_of_0_seconds)
{
    begin(&(struct plan){.backfill = "{\"rollback_window_secs\": 0}"});
    complete(&worker);
    expect_row(&over);
}

Test(routing, completed_and_finalized)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_row(&over);
}

Test(routing, rolled_back)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.rollback('m', null)");
    expect_row(&untouched);
}

Test(routing, rolled_back_and_finalized)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.rollback('m', null)");
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_row(&untouched);
}

Test(routing, rolled_back_before_completion)
{
    begin(NULL);
    flip();
    sql_text(lab, "select reembed.rollback('m', null)");
    expect_row(&migrating);
}

Test(routing, rolled_back_and_forward_again)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.rollback('m', null)");
    flip();
    expect_row(&window);
}

Test(routing, a_chain_of_two_migrations)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.finalize('m', true)");
    worker_close(&worker);
    create("n", &(struct plan){.source_model = T,
                               .source_table = sql_text(lab, "select query_table from reembed.routing"),
                               .source_id = "doc_id",
                               .target_model = "bge-large"});
    expect_row(&(struct row){"legacy", "legacy", "legacy", T, T, "stable", NULL});
    start("n");
    expect_row(&(struct row){"legacy", "dual_write", "legacy", T, T ",bge-large", "migrating", "n"});
    worker_open(&worker, lab, "n", NULL);
    complete(&worker);
    expect_row(
        &(struct row){"target", "dual_write", "dual_write", "bge-large", T ",bge-large", "rollback_window", "n"});
    /* in the window the side table that queries left is kept current, too */
    sql_run(lab, "update docs set body = 'edited' where id = 3; delete from docs where id = 4");
    drain(&worker, SOURCE);
    drain(&worker, TARGET);
    expect_current(&worker, "body", "true");
    sql_text(lab, "select reembed.rollback('n', null)");
    expect_row(&(struct row){"legacy", "legacy", "legacy", T, T, "stable", NULL});
    expect_rows(lab, "9|0",
                "select count(*), count(*) filter (where v.embedding <> oracle.vector_of(body)) from "
                "reembed_data.docs_current v full join docs d on d.id = v.doc_id");
}

Test(routing, a_collection_that_had_no_vectors)
{
    begin(&(struct plan){.source_column = ""});
    expect_rows(lab, "||{" T "}|migrating|m",
                "select query_model, query_table, write_models, phase, migration_id from reembed.routing");
    expect_rows(lab, "legacy|target", "select reembed.route_query('docs'), reembed.route_request('docs', true)");
    expect_error(lab, "RE002", "collection 'docs' has no vectors to search",
                 "select * from reembed.search('docs', '[1,2,3,4]')");
    complete(&worker);
    expect_rows(lab, T "|rollback_window", "select query_model, phase from reembed.routing");
    sql_text(lab, "select reembed.finalize('m', true)");
    expect_row(&over);
}

Test(routing, the_version_rises_with_each_change_of_routing)
{
    begin(NULL);
    int64_t version = sql_int(lab, "select version from reembed.routing");
    flip();
    cr_assert_eq(sql_int(lab, "select version from reembed.routing"), version + 1);
    sql_text(lab, "select reembed.rollback('m', null)");
    cr_assert_eq(sql_int(lab, "select version from reembed.routing"), version + 2);
    sql_text(lab, "select reembed.resume('m')");
    cr_assert_eq(sql_int(lab, "select version from reembed.routing"), version + 2);
}

/* --- JSON --- */

static void
expect_json(const char *json)
{
    cr_assert(sql_bool(lab, "select reembed.state_json('m') = '%s'::jsonb", json), "%s, not %s",
              sql_text(lab, "select reembed.state_json('m')"), json);
}

Test(json, planned)
{
    create("m", NULL);
    expect_rows(lab, "\"planned\"", "select reembed.state_json('m')");
}

Test(json, in_progress)
{
    create("m", NULL);
    start("m");
    worker_open(&worker, lab, "m", NULL);
    sql_text(lab, "select reembed.skip('m', '{9,10}', 'not needed')");
    backfill(&worker, 4);
    expect_json("{\"in_progress\": {\"processed\": 4, \"total\": 10, \"skipped\": 2}}");
}

Test(json, paused)
{
    create("m", NULL);
    start("m");
    sql_text(lab, "select reembed.pause('m', 'why \"so\"')");
    expect_json("{\"paused\": {\"processed\": 0, \"total\": 10, \"skipped\": 0, \"reason\": \"why \\\"so\\\"\"}}");
}

Test(json, failed)
{
    create("m", NULL);
    start("m");
    sql_text(lab, "select reembed.fail('m', 'no such model')");
    expect_json("{\"failed\": {\"processed\": 0, \"total\": 10, \"skipped\": 0, \"error\": \"no such model\"}}");
}

Test(json, completed)
{
    begin(NULL);
    complete(&worker);
    sql_run(lab, "update reembed.migration set started_at = completed_at - interval '5.5 seconds'");
    expect_json("{\"completed\": {\"processed\": 10, \"skipped\": 0, \"duration_secs\": 5.5}}");
}

Test(json, cancelled)
{
    begin(NULL);
    sql_text(lab, "select reembed.cancel('m', null)");
    expect_json("{\"cancelled\": {\"processed\": 10, \"total\": 10, \"skipped\": 0}}");
}

Test(json, rolled_back)
{
    begin(NULL);
    complete(&worker);
    sql_text(lab, "select reembed.rollback('m', null)");
    expect_json("{\"rolled_back\": {\"processed\": 10, \"total\": 10, \"skipped\": 0}}");
}

Test(json, migration_id_is_written_as_null)
{
    create("m", NULL);
    cr_assert(sql_bool(
        lab,
        "select reembed.routing_json('docs') ? 'migration_id' and reembed.routing_json('docs')->>'migration_id' is null"));
}

Test(json, operations_return_the_state_that_state_json_shows)
{
    static const char *const operations[] = {"start('m')",     "pause('m', 'x')", "resume('m')",
                                             "fail('m', 'x')", "resume('m')",     "cancel('m', 'x')"};
    create("m", NULL);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        cr_assert_str_eq(sql_text(lab, "select reembed.%s", operations[i]),
                         sql_text(lab, "select reembed.state_json('m')"));
}

Test(json, the_configuration_is_kept_as_it_was_given)
{
    create("m", NULL);
    cr_assert(sql_bool(lab, "select config = $j$%s$j$::jsonb from reembed.migration", plan_json(NULL)));
}
